//! Refusals and look-ups on their way into the audit chain.
//!
//! What changes something is recorded in the transaction that does it. A refusal and a look-up change
//! nothing, so those alike within a second are folded into one record with a count, in bounded
//! memory, and written within a second. Look-ups of different calls or deletions are never alike:
//! whoever reads the record wants to know who looked at which.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, Timestamp};
use crate::model::chain::{AuditEvent, Personal};
use crate::store::{Refused, Store};

/// How often what has gathered is written.
const INTERVAL: Duration = Duration::from_millis(500);
/// Decisions of different kinds that are held at most; past it they are counted without a person.
const HELD: usize = 10_000;
/// Records that are written in one transaction, so that requests come in between.
const WRITTEN_TOGETHER: usize = 250;

/// The decisions that are not written yet.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    store: Store,
    clock: Clock,
    held: Arc<Mutex<HashMap<Alike, Refused>>>,
}

/// What makes two decisions count as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Alike {
    key_id: Option<String>,
    peer: Option<String>,
    action: String,
    result: &'static str,
    /// What was looked up.
    seen: Option<String>,
    second: i64,
}

impl Audit {
    /// Writes to `store`, once [`Audit::run`] runs.
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, held: Arc::default() }
    }

    /// Takes note of a refusal.
    pub(crate) fn refused(&self, event: AuditEvent, personal: Personal) {
        self.note(event, personal, None);
    }

    /// Takes note that a call or a deletion was looked up.
    pub(crate) fn looked_up(&self, event: AuditEvent, personal: Personal) {
        let seen = event.deletion_id.clone().or_else(|| event.call_id.clone());
        self.note(event, personal, seen);
    }

    fn note(&self, mut event: AuditEvent, mut personal: Personal, seen: Option<String>) {
        let at = self.clock.now();
        let mut alike = Alike {
            key_id: event.key_id.clone(),
            peer: personal.peer.clone(),
            action: event.action.clone(),
            result: event.result,
            seen,
            second: at.0.div_euclid(1000),
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= HELD && !held.contains_key(&alike) {
            // One record for all of a result until there is room again: nobody's in particular.
            personal = Personal::default();
            event = AuditEvent {
                action: String::new(),
                decision: event.decision,
                result: event.result,
                tenant: None,
                key_id: None,
                call_id: None,
                deletion_id: None,
                parameters: Vec::new(),
            };
            alike = Alike { result: event.result, ..Alike::default() };
        }
        fold(&mut held, alike, Refused { at, count: 1, event, personal });
    }

    /// Writes what gathers until `shutdown`, and then once more.
    pub(crate) async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !*shutdown.borrow_and_update() {
            tokio::select! {
                _ = interval.tick() => self.write().await,
                changed = shutdown.changed() => if changed.is_err() { break },
            }
        }
        self.write().await;
    }

    /// Writes what has gathered; what cannot be written now is kept for the next time.
    pub(crate) async fn write(&self) {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        if held.is_empty() {
            return;
        }
        let mut held: Vec<_> = held.into_iter().collect();
        held.sort_by_key(|(_, refused)| refused.at);
        let mut unwritten = held.as_slice();
        while let Some((now, later)) =
            unwritten.split_at_checked(WRITTEN_TOGETHER.min(unwritten.len()))
            && !now.is_empty()
        {
            let refusals = now.iter().map(|(_, refused)| refused.clone()).collect();
            if let Err(error) = self.store.record_refusals(refusals).await {
                tracing::error!(
                    refusals = unwritten.len(),
                    "refusals and look-ups could not be recorded: {error}"
                );
                let mut newer = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                for (alike, refused) in unwritten {
                    fold(&mut newer, alike.clone(), refused.clone());
                }
                return;
            }
            unwritten = later;
        }
    }
}

fn fold(held: &mut HashMap<Alike, Refused>, alike: Alike, refused: Refused) {
    held.entry(alike)
        .and_modify(|known| {
            known.count += refused.count;
            known.at = Timestamp::min(known.at, refused.at);
        })
        .or_insert(refused);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{Fixture, NOW, event};

    fn peer(name: &str) -> Personal {
        Personal { peer: Some(name.to_owned()), ..Personal::default() }
    }

    fn counts(there: &Fixture) -> String {
        there.look("SELECT coalesce(group_concat(count), '') FROM (SELECT count FROM audit ORDER BY position)")
    }

    #[tokio::test]
    async fn refusals_alike_within_a_second_are_one_record() {
        let there = Fixture::new().await;
        let clock = Clock::manual(NOW);
        let audit = Audit::new(there.store.clone(), clock.clone());
        let other = AuditEvent { result: "bad_key", ..event() };
        for (event, personal) in
            [(event(), peer("a")), (event(), peer("a")), (event(), peer("b")), (other, peer("a"))]
        {
            audit.refused(event, personal);
        }
        clock.advance(Duration::from_secs(1));
        audit.refused(event(), peer("a"));
        audit.write().await;
        assert_eq!(there.look::<i64>("SELECT sum(count) FROM audit"), 5);
        assert_eq!(there.look::<i64>("SELECT count(*) FROM audit"), 4);
        assert_eq!(there.look::<i64>("SELECT max(count) FROM audit"), 2);
        audit.write().await;
        assert_eq!(there.look::<i64>("SELECT count(*) FROM audit"), 4, "written once");
    }

    #[tokio::test]
    async fn looks_at_one_call_are_folded_and_looks_at_two_are_not() {
        let there = Fixture::new().await;
        let audit = Audit::new(there.store.clone(), Clock::manual(NOW));
        let look = |call: &str| AuditEvent {
            action: "GetCallID".to_owned(),
            decision: "allowed",
            result: "found",
            call_id: Some(call.to_owned()),
            ..event()
        };
        for call in ["one", "two", "one"] {
            audit.looked_up(look(call), peer("a"));
        }
        audit.write().await;
        assert_eq!(there.look::<i64>("SELECT sum(count) FROM audit"), 3);
        let calls = "SELECT count(*) FROM audit WHERE canonical LIKE '%\"call_id\":\"one\"%' \
                     AND canonical LIKE '%\"decision\":\"allowed\"%' AND count = 2";
        assert_eq!(there.look::<i64>(calls), 1);
        assert_eq!(there.look::<i64>("SELECT count(*) FROM audit"), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_kept_and_counted_on() {
        let there = Fixture::new().await;
        let audit = Audit::new(there.store.clone(), Clock::manual(NOW));
        audit.refused(event(), peer("a"));
        there.by_hand(
            "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, ''); END",
        );
        audit.write().await;
        audit.refused(event(), peer("a"));
        there.by_hand("DROP TRIGGER refuse");
        audit.write().await;
        assert_eq!(counts(&there), "2");
    }

    #[tokio::test]
    async fn an_overflow_is_counted_in_one_record_that_names_nobody() {
        let there = Fixture::new().await;
        let clock = Clock::manual(NOW);
        let audit = Audit::new(there.store.clone(), clock.clone());
        for n in 0..HELD + 3 {
            audit.refused(
                AuditEvent { key_id: Some("key".to_owned()), ..event() },
                peer(&n.to_string()),
            );
            clock.advance(Duration::from_millis(400));
        }
        audit.write().await;
        assert_eq!(
            there.look::<i64>("SELECT count(*) FROM audit"),
            i64::try_from(HELD).unwrap() + 1
        );
        let overflow: String =
            there.look("SELECT personal || canonical FROM audit WHERE count = 3");
        for name in ["\"peer\":null", "\"key_id\":null", "\"result\":\"not_found\""] {
            assert!(overflow.contains(name), "{name} in {overflow}");
        }
    }
}
