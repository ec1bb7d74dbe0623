//! What an operator is told of attempts: a line for each deletion that fails, one when a tenant is stopped
//! and one when it goes on, and a part of `/readyz` for each tenant.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use super::attempt::{Attempt, jitter};
use super::breaker::{Change, Sign, Where};
use super::budget::Place;
use super::figures::judged;
use super::verdict::Verdict;
use crate::graph::Answer;
use crate::graph::error::GraphError;
use crate::id::TenantId;
use crate::store::admission::Leased;

/// The part of `/readyz` that says whether anything can be sent for this tenant.
pub(super) fn part_of(tenant: &TenantId) -> String {
    format!("graph.{tenant}")
}

/// The part that says that calls of another app wait.
pub(super) fn part_of_other_app(tenant: &TenantId) -> String {
    format!("graph.{tenant}.app")
}

impl Attempt {
    /// Says in log and health what an operator should know of an answer, and of its tenant.
    pub(super) fn report(
        &self,
        leased: &Leased,
        verdict: Verdict,
        answer: &Answer,
        place: &mut Place,
    ) {
        self.journal.attempts.count((leased.order.operation(), judged(verdict, answer)));
        let sign = Sign::of(leased.order.operation(), answer);
        match place.tell(sign, leased.deletion_id, jitter()) {
            Some(Change::Stopped | Change::Patience) => self.report_stop(leased, sign, answer),
            Some(Change::Over { after, waited }) => {
                self.health.restored(&part_of(&leased.tenant));
                // What waited is sent now.
                self.journal.backlog.store(true, Ordering::Relaxed);
                let noun = if waited == 1 { "operation" } else { "operations" };
                tracing::info!(
                    tenant.id = %leased.tenant, seconds = after.as_secs(), waited,
                    "sending for this tenant goes on after {} s; {waited} {noun} waited",
                    after.as_secs()
                );
            }
            None => {}
        }
        if sign == Sign::OtherApp {
            let reason = "calls of another app than the one that is configured wait";
            self.health.degraded(part_of_other_app(&leased.tenant), reason);
        }
        self.report_verdict(leased, verdict, answer);
    }

    /// Once for each time that a tenant is stopped, or asked to be left alone while it is.
    fn report_stop(&self, leased: &Leased, sign: Sign, answer: &Answer) {
        let error = answer.result.as_ref().err();
        let explanation = error.map(GraphError::for_log).unwrap_or_default();
        let operation = leased.order.operation();
        let hint = error.and_then(|error| error.hint_for(operation));
        let hint = hint.map(|hint| self.graph.in_keys_of(&leased.tenant, hint));
        let reason = reason(sign);
        let advice = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        let tenant = &leased.tenant;
        let patience = self.patience(sign);
        let part = match (hint.is_some(), answer.status) {
            (true, _) => format!("{reason}{advice}"),
            (false, Some(status)) => format!("{reason} ({status}){patience}"),
            (false, None) => format!("{reason}{patience}"),
        };
        self.health.degraded(part_of(tenant), Cow::from(part));
        if matches!(sign, Sign::Refused | Sign::NotConfigured) {
            tracing::error!(
                tenant.id = %tenant, status = answer.status,
                "nothing can be sent for this tenant, and everything waits but one probe at a time: \
                 {explanation}{advice}"
            );
        } else {
            tracing::warn!(
                tenant.id = %tenant, status = answer.status,
                "sending for this tenant is stopped, and everything waits but single probes: \
                 {explanation}{advice}{patience}"
            );
        }
    }

    /// What can be done about a stop that may pass by itself, behind its reason.
    fn patience(&self, sign: Sign) -> Cow<'static, str> {
        if let Some(wait) = sign.patience() {
            let until = self.journal.clock.now() + wait;
            return Cow::from(format!(
                "; it asked to be left alone until {until}: only a restart asks it before that"
            ));
        }
        let (what, whose) = match sign {
            Sign::NotConfigured | Sign::Refused => return Cow::from(""),
            Sign::Unreachable(Where::Login, _) => ("look for outages of", "the login"),
            Sign::Unreachable(Where::Graph, _) => ("look at", "the network"),
            _ => ("look for outages of", "Graph"),
        };
        Cow::from(format!(
            "; one probe at a time goes on trying: if it lasts, see the log, and {what} {whose}"
        ))
    }

    fn report_verdict(&self, leased: &Leased, verdict: Verdict, answer: &Answer) {
        let explanation = answer.result.as_ref().err().map(GraphError::for_log);
        let explanation = explanation.as_deref().unwrap_or("accepted");
        let status = answer.status;
        match verdict {
            Verdict::Failed { hint } => tracing::warn!(
                deletion.id = %leased.deletion_id, attempt = leased.attempt, status,
                "deletion {} failed: {explanation}{}", leased.deletion_id, after_failure(hint)
            ),
            // Of a tenant that is stopped, one line says it for all.
            Verdict::Again { .. } | Verdict::TenantFault { .. }
                if !self.journal.budget.is_stopped(&leased.tenant) =>
            {
                let operation = leased.order.operation();
                let hint = answer.result.as_ref().err().and_then(|error| error.hint_for(operation));
                tracing::warn!(
                    deletion.id = %leased.deletion_id, attempt = leased.attempt, status,
                    "deletion {} is tried again: {explanation}{}",
                    leased.deletion_id, after_failure(hint)
                );
            }
            _ => tracing::debug!(
                deletion.id = %leased.deletion_id, attempt = leased.attempt, status,
                "deletion {}: {explanation}", leased.deletion_id
            ),
        }
    }
}

/// Why a tenant is stopped, in words that name nothing of it.
fn reason(sign: Sign) -> &'static str {
    match sign {
        Sign::NotConfigured => "operations wait for a tenant that is not configured",
        Sign::Refused => "Graph or its login refuses the app",
        Sign::Unreachable(Where::Login, _) => "its login gives no token",
        Sign::Unreachable(Where::Graph, _) => "Graph cannot be reached",
        _ => "Graph throttles or fails every request",
    }
}

/// A hint behind the failure that it is about.
fn after_failure(hint: Option<&str>) -> String {
    hint.map(|hint| format!("; {hint}")).unwrap_or_default()
}
