//! Refusals and look-ups on their way into the audit chain.
//!
//! What changes something is recorded in the transaction that does it. A refusal and a look-up change
//! nothing, so those alike within a second are folded into one record with a count, in bounded
//! memory, and written within a second. Look-ups are alike only when all of them is the same: whoever
//! reads the record wants to know who looked at which, and how. Of refusals a record for several
//! keeps what all of them have in common, so that it says of none of them what was another's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, Timestamp};
use crate::model::chain::{AuditEvent, Personal};
use crate::store::Store;
use crate::store::access::AuditEntry;

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
    held: Arc<Mutex<HashMap<Alike, AuditEntry>>>,
}

/// What makes two decisions count as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Alike {
    key_id: Option<String>,
    peer: Option<String>,
    action: String,
    result: &'static str,
    /// Why, where the result does not say it.
    cause: Option<&'static str>,
    /// All of it, when it is a look-up.
    look: Option<Box<(AuditEvent, Personal)>>,
    second: i64,
}

impl Audit {
    /// Writes to `store`, once [`Audit::run`] runs.
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, held: Arc::default() }
    }

    /// Takes note of a refusal.
    pub(crate) fn refused(&self, event: AuditEvent, personal: Personal) {
        self.note(event, personal, false);
    }

    /// Takes note that a call or a deletion was looked up.
    pub(crate) fn looked_up(&self, event: AuditEvent, personal: Personal) {
        self.note(event, personal, true);
    }

    fn note(&self, event: AuditEvent, personal: Personal, is_look: bool) {
        let at = self.clock.now();
        let alike = Alike {
            key_id: event.key_id.clone(),
            peer: personal.peer.clone(),
            action: event.action.clone(),
            result: event.result,
            cause: event.cause,
            look: is_look.then(|| Box::new((event.clone(), personal.clone()))),
            second: at.0.div_euclid(1000),
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        fold(&mut held, alike, AuditEntry { at, count: 1, event, personal });
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
            if let Err(error) = self.store.record(refusals).await {
                if !error.is_shown() {
                    tracing::error!(
                        refusals = unwritten.len(),
                        "refusals and look-ups could not be recorded: {error}"
                    );
                }
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

/// Counts `refused` in the record of its like. Past [`HELD`], it is counted in one record for all of its
/// result until there is room again, which is nobody's in particular.
fn fold(held: &mut HashMap<Alike, AuditEntry>, mut alike: Alike, mut refused: AuditEntry) {
    if held.len() >= HELD && !held.contains_key(&alike) {
        let AuditEvent { decision, result, .. } = refused.event;
        refused.event = AuditEvent { decision, result, ..AuditEvent::default() };
        refused.personal = Personal::default();
        alike = Alike { result, ..Alike::default() };
    }
    match held.entry(alike) {
        Entry::Occupied(mut known) => known.get_mut().add(refused),
        Entry::Vacant(room) => {
            room.insert(refused);
        }
    }
}

impl AuditEntry {
    /// Counts `other`, which is alike, in this one; what the two do not share is left out, and all
    /// parameters of both are named.
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.at = Timestamp::min(self.at, other.at);
        let (event, personal) = (&mut self.event, &mut self.personal);
        for (known, other) in [
            (&mut event.call_id, other.event.call_id),
            (&mut event.deletion_id, other.event.deletion_id),
            (&mut event.session_id, other.event.session_id),
            (&mut personal.user, other.personal.user),
            (&mut personal.selector, other.personal.selector),
            (&mut personal.reason, other.personal.reason),
            (&mut personal.subject, other.personal.subject),
        ] {
            if *known != other {
                *known = None;
            }
        }
        for name in other.event.parameters {
            if !event.parameters.contains(&name) {
                event.parameters.push(name);
            }
        }
    }
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
    async fn what_was_refused_for_different_causes_is_counted_apart() {
        let there = Fixture::new().await;
        let audit = Audit::new(there.store.clone(), Clock::manual(NOW));
        for cause in [Some("expired"), Some("revoked"), None, Some("expired")] {
            audit.refused(AuditEvent { result: "bad_key", cause, ..event() }, peer("a"));
        }
        audit.write().await;
        assert_eq!(there.look::<i64>("SELECT count(*) FROM audit"), 3);
        let expired = "SELECT count FROM audit WHERE canonical LIKE '%\"cause\":\"expired\"%'";
        assert_eq!(there.look::<i64>(expired), 2);
    }

    #[tokio::test]
    async fn a_record_for_logins_of_several_names_nobody() {
        let there = Fixture::new().await;
        let audit = Audit::new(there.store.clone(), Clock::manual(NOW));
        let login = |user: &str| Personal { user: Some(user.to_owned()), ..peer("a") };
        let wrong = |result| AuditEvent { result, ..event() };
        for (result, user) in [("bad_login", "jane"), ("bad_login", "jane"), ("refused", "jane")] {
            audit.refused(wrong(result), login(user));
        }
        audit.refused(wrong("refused"), login("joe"));
        audit.write().await;
        let named = "SELECT count(*) FROM audit WHERE personal LIKE '%jane%'";
        assert_eq!(there.look::<i64>(named), 1);
        assert_eq!(there.look::<i64>("SELECT count(*) FROM audit WHERE personal LIKE '%joe%'"), 0);
        assert_eq!(counts(&there), "2,2");
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
    async fn looks_at_one_call_by_other_ways_are_other_records() {
        let there = Fixture::new().await;
        let audit = Audit::new(there.store.clone(), Clock::manual(NOW));
        let selected =
            |selector: &str| Personal { selector: Some(selector.to_owned()), ..peer("a") };
        let look = || AuditEvent {
            call_id: Some("one".to_owned()),
            parameters: vec!["callID"],
            ..event()
        };
        audit.looked_up(look(), selected("callID=1:a;"));
        audit.looked_up(look(), selected("nativeID=1:b;"));
        audit.looked_up(AuditEvent { parameters: vec!["cid"], ..look() }, selected("callID=1:a;"));
        audit.looked_up(
            AuditEvent { session_id: Some("s".to_owned()), ..look() },
            selected("callID=1:a;"),
        );
        audit.looked_up(look(), selected("callID=1:a;"));
        audit.write().await;
        assert_eq!(there.look::<i64>("SELECT count(*) FROM audit"), 4);
        assert_eq!(there.look::<i64>("SELECT count(*) FROM audit WHERE count = 2"), 1);
    }

    #[tokio::test]
    async fn a_record_of_several_refusals_says_only_what_holds_for_all_of_them() {
        let there = Fixture::new().await;
        let audit = Audit::new(there.store.clone(), Clock::manual(NOW));
        let refuse = |one: &str, name| {
            let event = AuditEvent {
                call_id: Some(one.to_owned()),
                deletion_id: Some(one.to_owned()),
                session_id: Some(one.to_owned()),
                parameters: vec!["apiKey", name],
                ..event()
            };
            let personal = Personal {
                user: Some("jane".to_owned()),
                selector: Some(one.to_owned()),
                reason: Some(one.to_owned()),
                subject: Some(one.to_owned()),
                ..peer("a")
            };
            audit.refused(event, personal);
        };
        for (one, name) in [("first", "callID"), ("second", "extension"), ("second", "callID")] {
            refuse(one, name);
        }
        audit.write().await;
        let record: String = there.look("SELECT canonical || personal FROM audit WHERE count = 3");
        assert!(!record.contains("first") && !record.contains("second"), "{record}");
        for kept in ["\"parameters\":[\"apiKey\",\"callID\",\"extension\"]", "\"user\":\"jane\""] {
            assert!(record.contains(kept), "{kept} in {record}");
        }
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
    async fn what_is_kept_while_nothing_can_be_written_has_an_end() {
        let there = Fixture::new().await;
        let audit = Audit::new(there.store.clone(), Clock::manual(NOW));
        there.by_hand(
            "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, ''); END",
        );
        let newer = Audit::new(there.store.clone(), Clock::manual(NOW));
        for n in 0..HELD {
            audit.refused(event(), peer(&format!("old {n}")));
            newer.refused(event(), peer(&format!("new {n}")));
        }
        // As if these had come while the others were on their way.
        let newer = std::mem::take(&mut *newer.held.lock().unwrap());
        let old = std::mem::replace(&mut *audit.held.lock().unwrap(), newer);
        for (alike, entry) in old {
            fold(&mut audit.held.lock().unwrap(), alike, entry);
        }
        audit.write().await;
        assert!(audit.held.lock().unwrap().len() <= HELD + 1);
        there.by_hand("DROP TRIGGER refuse");
        audit.write().await;
        let twice = i64::try_from(2 * HELD).unwrap();
        assert_eq!(there.look::<i64>("SELECT sum(count) FROM audit"), twice);
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
