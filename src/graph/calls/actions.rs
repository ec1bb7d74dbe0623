//! What else is asked of Graph about a call: to reject it, to remove or invite somebody, and who is
//! in it.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::LONGEST_CALL;
use crate::graph::error::GraphError;
use crate::graph::{Answer, GraphClient, LONGEST_BODY, Request, Tenant, model};
use crate::id::{GraphCallId, TenantId};
use crate::model::change::Participant;
use crate::model::participant::{Invitation, Invited};
use crate::model::plan::RejectReason;

/// A roster with more pages than this is not read to its end, so it is none.
const MOST_PAGES: usize = 50;
/// Nor is one with more people.
const MOST_PARTICIPANTS: usize = 5_000;

/// The body that asks for an invitation.
fn invite_body(invitation: &Invitation) -> Value {
    let mut user = json!({"id": invitation.user_id, "identityProvider": "AAD"});
    if let Some(tenant) = &invitation.user_tenant {
        user["tenantId"] = json!(tenant.as_str());
    }
    let mut participant = json!({"identity": {"user": user}});
    if let Some(call) = &invitation.replaces {
        participant["replacesCallId"] = json!(call);
    }
    let mut body = json!({"participants": [participant]});
    if let Some(context) = &invitation.context {
        body["clientContext"] = json!(context.as_str());
    }
    body
}

impl GraphClient {
    /// Rejects a call that has not been answered. No `callbackUri` is sent with it. It is over after
    /// `within`, logins included: nothing of it is sent later.
    pub(crate) async fn reject(
        &self,
        tenant: &TenantId,
        call: &GraphCallId,
        reason: RejectReason,
        within: Duration,
    ) -> Answer {
        let deadline = Instant::now() + self.request_timeout.min(within);
        let Some(request) = Request::new(Method::POST, &[&call.0, "reject"], 0) else {
            return Answer::unsent(GraphError::UnusableId);
        };
        let request = request.with(&json!({"reason": reason.as_str()}));
        self.send_by(tenant, &request, deadline).await.and_then(|_body| Ok(()))
    }

    /// Removes one participant, or takes an invitation back. Doing it twice does no harm.
    pub(crate) async fn remove_participant(
        &self,
        tenant: &TenantId,
        call: &GraphCallId,
        participant_id: &str,
    ) -> Answer {
        let path = [&call.0, "participants", participant_id];
        let request = Request::new(Method::DELETE, &path, 0);
        let request = request.map(|request| Request { is_about_participant: true, ..request });
        self.ask(tenant, request).await.and_then(|_body| Ok(()))
    }

    /// Invites one participant. A success says that Graph took it, not that anybody joined; doing it
    /// twice invites twice.
    pub(crate) async fn invite(
        &self,
        tenant: &TenantId,
        call: &GraphCallId,
        invitation: &Invitation,
    ) -> Answer<Invited> {
        let path = [&call.0, "participants", "invite"];
        let request = Request::new(Method::POST, &path, LONGEST_BODY);
        let request = request.map(|request| request.with(&invite_body(invitation)));
        let answer = self.ask(tenant, request).await;
        let status = answer.status.unwrap_or_default();
        answer.and_then(|body| {
            model::roster::operation(&body).ok_or(GraphError::Unreadable { status })
        })
    }

    /// Who is in the call, read to the end within `graph.request_timeout`. That nobody is in it says
    /// nothing: Graph also shows it for calls of two.
    pub(crate) async fn roster(
        &self,
        tenant: &TenantId,
        call: &GraphCallId,
    ) -> Answer<Vec<Participant>> {
        let deadline = Instant::now() + self.request_timeout;
        let path = [&call.0, "participants"];
        let Some(request) = Request::new(Method::GET, &path, LONGEST_CALL + 1) else {
            return Answer::unsent(GraphError::UnusableId);
        };
        let tenant = match self.tenant(tenant) {
            Ok(tenant) => tenant,
            Err(error) => return Answer::unsent(error),
        };
        let Ok(mut url) = tenant.url(&request) else {
            return Answer::unsent(GraphError::UnusableId);
        };
        let (mut everybody, mut known) = (Vec::new(), HashSet::new());
        for _ in 0..MOST_PAGES {
            let answer = self.send_to(tenant, &url, &request, deadline).await;
            let status = answer.status.unwrap_or_default();
            let answer = answer.and_then(|body| {
                let whole = Some(body).filter(|body| body.len() <= LONGEST_CALL);
                let page = whole.and_then(|body| model::roster::page(&body));
                page.ok_or(GraphError::Unreadable { status })
            });
            let (people, next) = match &answer.result {
                Ok((people, next)) => (people.clone(), next.clone()),
                Err(_) => return answer.and_then(|_| Ok(Vec::new())),
            };
            // While somebody joins, one may be on two pages.
            let is_new = |one: &Participant| known.insert(one.participant_id.clone());
            everybody.extend(people.into_iter().filter(is_new));
            if everybody.len() > MOST_PARTICIPANTS {
                return answer.and_then(|_| Err(GraphError::TooMany));
            }
            url = match next.map(|next| tenant.follow(&next)) {
                None => return answer.and_then(|_| Ok(everybody)),
                Some(Some(next)) => next,
                Some(None) => return answer.and_then(|_| Err(GraphError::ForeignPage)),
            };
        }
        Answer::unsent(GraphError::TooMany)
    }
}

impl Tenant {
    /// The address of a further page. None when it is not within this tenant's calls: the token must
    /// not go anywhere else.
    fn follow(&self, next: &str) -> Option<Url> {
        let (next, calls) = (Url::parse(next).ok()?, Url::parse(&self.calls).ok()?);
        let is_within =
            next.path().strip_prefix(calls.path()).is_some_and(|rest| rest.starts_with('/'));
        let is_bare = next.username().is_empty() && next.password().is_none();
        (next.origin() == calls.origin() && is_within && is_bare).then_some(next)
    }
}

impl Request {
    /// The same with a body.
    fn with(self, body: &Value) -> Self {
        Self { body: Some(body.to_string()), ..self }
    }
}

#[cfg(test)]
mod tests;
