//! Why a deletion that is open or armed is not being tried at this moment, when it is, and what can be done.
//!
//! It is told of what is on disk. That a tenant is stopped is known to the gateway alone, whose `/readyz`
//! says it: here it shows as a step that is due and not tried.

use std::time::Duration;

use anyhow::Context as _;

use crate::cli::lock;
use crate::cli::output::short_time;
use crate::cli::pause::with_remedy;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::store::Store;
use crate::store::pause::Pause;
use crate::store::records::DeletionRow;

/// So long a deletion may wait for the answer to another one of its call.
const TURN: Duration = Duration::from_secs(2);

const ASKED: &str = ": in answer to an earlier request for the same, Graph, or the login, asked not to be asked before";

/// What holds for every deletion at this moment.
pub(super) struct Around {
    pauses: Vec<Pause>,
    is_served: bool,
    now: Timestamp,
}

impl Around {
    /// Looks at it.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(super) async fn look(store: &Store, config: &Config) -> anyhow::Result<Self> {
        let pauses = store.pauses().await.context("the pauses could not be read")?;
        let is_served = lock::is_held(&config.store.path);
        Ok(Self { pauses, is_served, now: Clock::System.now() })
    }

    /// What a deletion waits for, in one line; none when it waits for nothing any more.
    pub(super) fn waits(&self, row: &DeletionRow) -> Option<String> {
        let waiting = row.waiting.as_ref()?;
        if let Some(number) = &waiting.armed_for {
            let deadline = short_time(row.deadline_at);
            return Some(format!("it waits for the next call of {number}, until {deadline}"));
        }
        if waiting.is_being_sent && self.is_served {
            return Some("it is being sent".to_owned());
        }
        if let Some(pause) = self.pause_of(&row.tenant) {
            return Some(with_remedy(pause));
        }
        if !self.is_served {
            return Some("no gateway runs: `callgate serve` sends it".to_owned());
        }
        let is_kept = waiting.next_attempt_at.is_some_and(|next| next > self.now + TURN);
        let reason = match &row.failure {
            Some(failure) => format!(": {failure}"),
            // Without an attempt of its own it waits for no other reason.
            None if is_kept => ASKED.to_owned(),
            None => String::new(),
        };
        let hint = waiting.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        Some(format!("{}{reason}{hint}", self.when(waiting.next_attempt_at, row.deadline_at)))
    }

    fn when(&self, next: Option<Timestamp>, deadline: Timestamp) -> String {
        match next {
            Some(next) if next >= deadline => {
                format!("it is not tried before its deadline, {}", short_time(deadline))
            }
            Some(next) if next > self.now => format!("the next attempt is at {}", short_time(next)),
            _ => "it is due, and waits for a free place (`graph.concurrency`) or for a tenant that is stopped (see /readyz)"
                .to_owned(),
        }
    }

    fn pause_of(&self, tenant: &str) -> Option<&Pause> {
        let is_of = |pause: &&Pause| pause.tenant.as_ref().is_none_or(|of| of.as_str() == tenant);
        self.pauses.iter().find(is_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DeletionId, TenantId};
    use crate::model::deletion::DeletionState;
    use crate::store::records::Waiting;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn around() -> Around {
        Around { pauses: Vec::new(), is_served: true, now: NOW }
    }

    /// One that waits until so many seconds from now, after Graph said what is told with it.
    fn waits(next: i64, failure: Option<&str>, hint: Option<&str>) -> DeletionRow {
        DeletionRow {
            row: 1,
            deletion_id: DeletionId::random(),
            state: DeletionState::Open,
            call_id: None,
            graph_call_id: None,
            tenant: "contoso.example".to_owned(),
            key_id: None,
            kind: "DeleteCall".to_owned(),
            scope: "leg".to_owned(),
            target: None,
            created_at: NOW,
            settled_at: None,
            confirmed_at: None,
            deadline_at: Timestamp(NOW.0 + 3_600_000),
            failure: failure.map(str::to_owned),
            waiting: Some(Waiting {
                is_being_sent: false,
                next_attempt_at: Some(Timestamp(NOW.0 + 1000 * next)),
                hint: hint.map(str::to_owned),
                armed_for: None,
            }),
        }
    }

    #[test]
    fn it_is_said_when_it_is_tried_next_and_why_not_now() {
        let said = |next, failure, hint| around().waits(&waits(next, failure, hint)).unwrap();
        assert_eq!(
            said(120, Some("Graph throttled the request"), None),
            "the next attempt is at 2027-01-15T08:02:00Z: Graph throttled the request"
        );
        assert_eq!(
            said(9000, Some("Graph is unavailable"), None),
            "it is not tried before its deadline, 2027-01-15T09:00:00Z: Graph is unavailable"
        );
        assert_eq!(
            said(-1, Some("no token for Graph"), Some("make a new secret")),
            "it is due, and waits for a free place (`graph.concurrency`) or for a tenant that is stopped (see /readyz): no token \
             for Graph; make a new secret"
        );
    }

    #[test]
    fn what_is_paused_or_not_served_waits_for_its_operator() {
        let row = waits(-1, Some("Graph is unavailable"), None);
        let mut around = around();
        around.is_served = false;
        let said = around.waits(&row).unwrap();
        assert_eq!(said, "no gateway runs: `callgate serve` sends it");
        let pause = |tenant: &str| Pause {
            tenant: Some(TenantId::new(tenant)),
            since: NOW,
            by: "joe@gateway".to_owned(),
            reason: Some("audit".to_owned()),
            backup_at: None,
        };
        around.pauses = vec![pause("fabrikam.example")];
        assert_eq!(around.waits(&row).unwrap(), said, "another tenant's pause");
        around.pauses.push(pause("contoso.example"));
        assert_eq!(
            around.waits(&row).unwrap(),
            "nothing is sent for tenant contoso.example: paused by joe@gateway since \
             2027-01-15T08:00:00Z: audit; `callgate resume --tenant contoso.example` ends that"
        );
    }

    #[test]
    fn what_is_armed_waits_for_a_call_whatever_is_paused_or_served() {
        let mut row = waits(40, None, None);
        if let Some(waiting) = &mut row.waiting {
            waiting.armed_for = Some("8999".to_owned());
        }
        let mut around = around();
        around.is_served = false;
        let said = around.waits(&row).unwrap();
        assert_eq!(said, "it waits for the next call of 8999, until 2027-01-15T09:00:00Z");
    }

    #[test]
    fn what_is_on_its_way_or_over_waits_for_nothing() {
        let mut row = waits(40, None, None);
        if let Some(waiting) = &mut row.waiting {
            waiting.is_being_sent = true;
        }
        assert_eq!(around().waits(&row).unwrap(), "it is being sent");
        row.waiting = None;
        assert_eq!(around().waits(&row), None);
    }
}
