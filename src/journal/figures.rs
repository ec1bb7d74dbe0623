//! What `/metrics` says of attempts and tenants.

use super::Journal;
use super::verdict::Verdict;
use crate::graph::Answer;
use crate::graph::error::GraphError;
use crate::telemetry::metrics::JournalFigures;
use crate::telemetry::metrics::label::Judged;

impl Journal {
    /// What the sender does now, and what came of all its attempts. Of tenants those that are configured.
    pub(crate) fn figures(&self) -> JournalFigures {
        let tenants = self.rules.apps.iter().map(|app| &app.tenant);
        let (places, taken, tenants) = self.budget.figures(tenants);
        JournalFigures { attempts: self.attempts.clone(), places, taken, tenants }
    }
}

/// The word of a verdict.
pub(super) fn judged(verdict: Verdict, answer: &Answer) -> Judged {
    match verdict {
        Verdict::Sent => Judged::Sent,
        Verdict::Gone => Judged::Gone,
        Verdict::NeverThere => Judged::NeverThere,
        Verdict::Again { .. } if matches!(answer.result, Err(GraphError::Throttled { .. })) => {
            Judged::Throttled
        }
        Verdict::Again { .. } => Judged::Again,
        Verdict::Replan => Judged::Replan,
        Verdict::TenantFault { .. } => Judged::TenantFault,
        Verdict::Failed { .. } => Judged::Refused,
        Verdict::Unknown => Judged::Unknown,
    }
}
