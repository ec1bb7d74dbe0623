//! `scope=all`: who is removed, when our own leg ends, and when it stays; and the removal of one.

use super::{SECOND, SENT};
use crate::clock::Timestamp;
use crate::id::ProcessId;
use crate::model::deletion::DeletionState::{
    Confirmed, Failed, Gone, Held, Obsolete, Sent, Unknown,
};
use crate::model::deletion::{
    DeletionKind, DeletionState, LEG_ASKED_FOR, LEG_OVER, PLACE_UNKNOWN, REPEATED_BY_THE_STACK,
    Scope, TOO_MANY,
};
use crate::model::everybody::{InTheCall, Present};
use crate::model::participant::{Invitation, ParticipantSelector};
use crate::model::plan::{Decision, Operation, Order, Progress};
use crate::store::admission::{Ask, AttemptEnd, Leased, Next, Settled};
use crate::store::fixture::{DEADLINE, Fixture, LEASE, NOW, answered, by_call_id, over};

const OURS: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
const THEIRS: &str = "1891555a-92ff-42e6-80fa-6e1300c6b5c6";

impl Fixture {
    /// Begins `kind` of the call `a`.
    pub(super) async fn begin_as(&self, kind: DeletionKind, now: Timestamp) -> Leased {
        let mut ask = self.ask(by_call_id("a"), now).await;
        ask.question.kind = kind;
        self.admit(Ask { lease: Some(self.lease(now)), ..ask }).await.leased.unwrap()
    }

    async fn begin_all(&self) -> Leased {
        self.call("a", "100").await;
        let leased = self.begin_as(DeletionKind::DeleteCall(Scope::All { most: 3 }), NOW).await;
        assert_eq!((&leased.order, leased.is_part), (&Order::ReadRoster, true));
        leased
    }

    pub(super) async fn roster_is_read(&self, people: &[(&str, Option<&str>)]) {
        let leased = self.begin_all().await;
        assert_eq!(self.end(leased, answered(NOW, 200, seen(people))).await, None);
    }

    /// The roster is read, and what is due then.
    async fn removals(&self, people: &[(&str, Option<&str>)]) -> Vec<Leased> {
        self.roster_is_read(people).await;
        self.leased_at(NOW).await
    }

    pub(super) async fn end(&self, leased: Leased, end: AttemptEnd) -> Option<Settled> {
        self.store.settle(leased, end).await.unwrap()
    }

    pub(super) async fn leased_at(&self, now: Timestamp) -> Vec<Leased> {
        self.store.lease_due(now, self.lease(now), 10, Vec::new()).await.unwrap().leased
    }

    pub(super) async fn over_at(&self, now: Timestamp) -> Vec<Settled> {
        self.store.lease_due(now, self.lease(now), 10, Vec::new()).await.unwrap().over
    }

    fn is_in_the_call(&self, id: &str) {
        self.by_hand(&format!(
            "INSERT INTO roster (call, participant_id, tenant, joined_at) \
             SELECT call, '{id}', tenant, 1 FROM calls WHERE graph_id = 'a'"
        ));
    }

    fn has_left(&self, id: &str, at: Timestamp) {
        let sql = format!("UPDATE roster SET left_at = {} WHERE participant_id = '{id}'", at.0);
        self.by_hand(&sql);
    }

    pub(super) fn hold_everything(&self) {
        self.by_hand(
            "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
             SELECT 'h', tenant, 'all', '', 'me', 1 FROM tenants",
        );
    }
}

fn seen(people: &[(&str, Option<&str>)]) -> Next {
    let one = |(id, app): &(&str, Option<&str>)| Present {
        participant_id: (*id).to_owned(),
        app_id: app.map(str::to_owned),
        is_person: app.is_none(),
    };
    let everybody = people.iter().map(one).collect();
    Next::RemoveAll(InTheCall { client_id: Some(OURS.to_owned()), everybody })
}

fn orders(leased: &[Leased]) -> Vec<Order> {
    leased.iter().map(|leased| leased.order.clone()).collect()
}

fn removal(id: &str) -> Order {
    Order::RemoveParticipant(id.to_owned())
}

fn one(id: &str) -> DeletionKind {
    DeletionKind::DeleteParticipant(ParticipantSelector::Id(id.to_owned()))
}

#[tokio::test]
async fn everybody_else_is_removed_and_then_our_leg_ends() {
    let there = Fixture::new().await;
    let mut due = there.removals(&[("x", None), ("me", Some(OURS)), ("y", Some(THEIRS))]).await;
    assert_eq!(orders(&due), [removal("x"), removal("y")]);
    assert!(due.iter().all(|leased| leased.is_part && leased.deadline == NOW + DEADLINE));
    let (y, x) = (due.pop().unwrap(), due.pop().unwrap());
    assert_eq!(there.end(x, answered(NOW, 204, SENT)).await, None);
    assert!(there.leased_at(NOW).await.is_empty(), "one is still being removed");
    assert_eq!(there.end(y, answered(NOW, 404, over(Gone, None, false))).await, None);
    let none = "SELECT count(*) FROM calls WHERE deleted_by IS NOT NULL OR ended_at IS NOT NULL";
    assert_eq!(there.look::<i64>(none), 0, "our leg is there");
    let mut last = there.leased_at(NOW).await;
    assert_eq!(orders(&last), [Order::HangUp]);
    assert!(last[0].earlier_effect_possible, "whom all have left, Graph may end by itself");
    let settled = there.end(last.remove(0), answered(NOW, 204, SENT)).await.unwrap();
    assert_eq!((settled.state, settled.operation), (Sent, Some(Operation::HangUp)));
    assert_eq!(settled.progress, Some(Progress { removed: 2, of: 2 }));
    assert_eq!(there.look::<i64>(none), 1);
}

#[tokio::test]
async fn whoever_was_invited_and_may_still_join_is_one_of_the_others() {
    for (pending, may_remove) in [(1, true), (3, false)] {
        let there = Fixture::new().await;
        let leased = there.begin_all().await;
        for id in 0..pending {
            there.by_hand(&format!(
                "INSERT INTO deletions (deletion_id, tenant, kind, key, peer, selector, \
                 selector_hash, scope, call, state, created_at, deadline_at) SELECT 'i{id}', tenant, \
                 'InviteParticipant', key, peer, selector, selector_hash, 'leg', call, 'sent', 1, 1 \
                 FROM deletions WHERE scope = 'all'; \
                 INSERT INTO invitations (deletion, call, tenant, user_id, normalised, participant_id) \
                 SELECT deletion, call, tenant, 'u', 'u', 'p{id}' FROM deletions \
                 WHERE deletion_id = 'i{id}'"
            ));
        }
        let seen = seen(&[("x", None), ("me", Some(OURS))]);
        let settled = there.end(leased, answered(NOW, 200, seen)).await;
        if may_remove {
            assert_eq!(settled, None);
            assert_eq!(orders(&there.leased_at(NOW).await), [removal("x"), removal("p0")]);
        } else {
            assert_eq!(settled.unwrap().failure.as_deref(), Some(TOO_MANY));
        }
    }
}

#[tokio::test]
async fn our_leg_stays_when_somebody_may_still_be_in_the_call() {
    for (ends, expected) in [
        ([Sent, Failed], Failed),
        ([Unknown, Failed], Failed),
        ([Unknown, Sent], Unknown),
        ([Obsolete, Unknown], Unknown),
        ([Gone, Obsolete], Obsolete),
        ([Held, Obsolete], Obsolete),
        ([Held, Gone], Held),
    ] {
        let there = Fixture::new().await;
        let due = there.removals(&[("x", None), ("y", None)]).await;
        let mut settled = Vec::new();
        for (leased, state) in due.into_iter().zip(ends) {
            let why = (!state.is_taken()).then_some(state.as_str());
            settled.push(there.end(leased, answered(NOW, 403, over(state, why, false))).await);
        }
        let [None, Some(settled)] = settled.as_slice() else { panic!("{settled:?}") };
        assert_eq!(
            (settled.state, settled.failure.as_deref()),
            (expected, Some(expected.as_str()))
        );
        let removed = ends.iter().filter(|state| state.is_taken()).count();
        let removed = u32::try_from(removed).unwrap();
        assert_eq!(settled.progress, Some(Progress { removed, of: 2 }));
        assert!(there.leased_at(NOW).await.is_empty());
        assert_eq!(there.look::<i64>("SELECT count(*) FROM calls WHERE deleted_by > 0"), 0);
    }
}

#[tokio::test]
async fn nobody_is_removed_when_there_are_too_many_or_we_cannot_be_told_from_them() {
    let many = [("a", None), ("b", None), ("c", None), ("d", None)];
    for (people, failure) in
        [(&many[..], TOO_MANY), (&[("x", None), ("y", Some(THEIRS))][..], PLACE_UNKNOWN)]
    {
        let there = Fixture::new().await;
        let leased = there.begin_all().await;
        let settled = there.end(leased, answered(NOW, 200, seen(people))).await.unwrap();
        assert_eq!((settled.state, settled.failure.as_deref()), (Failed, Some(failure)));
        assert_eq!(settled.progress, None);
        assert!(there.leased_at(NOW).await.is_empty());
    }
}

#[tokio::test]
async fn whom_graph_does_not_list_is_removed_when_we_were_told_of_him() {
    let there = Fixture::new().await;
    let leased = there.begin_all().await;
    there.is_in_the_call("x");
    there.is_in_the_call("gone");
    there.is_in_the_call("me");
    there.has_left("gone", NOW);
    there.by_hand("UPDATE calls SET my_participant_id = 'me'");
    assert_eq!(there.end(leased, answered(NOW, 200, seen(&[("me", None)]))).await, None);
    assert_eq!(orders(&there.leased_at(NOW).await), [removal("x")]);

    let alone = Fixture::new().await;
    assert_eq!(orders(&alone.removals(&[]).await), [Order::HangUp]);
}

#[tokio::test]
async fn nobody_is_removed_when_a_row_without_a_name_may_be_our_own() {
    for (is_named, is_known) in [(false, false), (true, false), (false, true)] {
        let there = Fixture::new().await;
        let leased = there.begin_all().await;
        // As an earlier version left them: neither apps nor our own place are known.
        there.is_in_the_call("us");
        there.is_in_the_call("x");
        there.by_hand("UPDATE roster SET normalised = '77' WHERE participant_id = 'x'");
        if is_named {
            there.by_hand("UPDATE roster SET user_id = 'y' WHERE participant_id = 'us'");
        }
        if is_known {
            there.by_hand("UPDATE calls SET my_participant_id = 'us'");
        }
        let settled = there.end(leased, answered(NOW, 200, seen(&[]))).await;
        let failure = settled.and_then(|settled| settled.failure);
        let is_refused = !is_named && !is_known;
        assert_eq!(failure.as_deref(), is_refused.then_some(PLACE_UNKNOWN));
        let due = orders(&there.leased_at(NOW).await);
        let expected = match (is_named, is_known) {
            (true, _) => vec![removal("us"), removal("x")],
            (_, true) => vec![removal("x")],
            _ => Vec::new(),
        };
        assert_eq!(due, expected);
    }
}

#[tokio::test]
async fn nobody_is_invited_while_everybody_is_removed() {
    let invitation = |user: &str| {
        let user_id = user.to_owned();
        let kind = Invitation { user_id, user_tenant: None, replaces: None, context: None };
        DeletionKind::InviteParticipant(kind)
    };
    for ends in [true, false] {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        let invite = there.begin_as(invitation("late"), NOW).await;
        there.end(invite, answered(NOW, 429, Next::At(NOW + SECOND))).await;
        let all = there.begin_as(DeletionKind::DeleteCall(Scope::All { most: 3 }), NOW).await;
        there.end(all, answered(NOW, 200, seen(&[("x", None), ("me", Some(OURS))]))).await;
        let mut due = there.leased_at(NOW + SECOND).await;
        assert_eq!(orders(&due), [removal("x")], "the invitation waits");
        let end = if ends { SENT } else { over(Failed, Some("no"), false) };
        there.end(due.remove(0), answered(NOW + SECOND, 204, end)).await;
        let mut due = there.leased_at(NOW + SECOND * 2).await;
        if !ends {
            assert!(matches!(orders(&due)[..], [Order::Invite(_)]), "{due:?}");
            continue;
        }
        assert_eq!(orders(&due), [Order::HangUp], "it still waits");
        there.end(due.remove(0), answered(NOW + SECOND * 2, 204, SENT)).await;
        let ended = there.over_at(NOW + SECOND * 4).await;
        let ends: Vec<_> = ended.iter().map(|one| (one.state, one.failure.as_deref())).collect();
        assert_eq!(ends, [(Obsolete, Some(LEG_OVER))]);
    }
}

#[tokio::test]
async fn nobody_else_is_removed_once_our_leg_has_ended_by_itself() {
    let there = Fixture::new().await;
    let mut due = there.removals(&[("x", None), ("me", Some(OURS)), ("y", None)]).await;
    let (y, x) = (due.pop().unwrap(), due.pop().unwrap());
    there.end(x, answered(NOW, 204, SENT)).await;
    there.end(y, answered(NOW, 429, Next::At(NOW + SECOND))).await;
    there.by_hand("UPDATE calls SET state = 'terminated', ended_at = 1790000000000");
    let ended = there.over_at(NOW + SECOND).await;
    let [settled] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!((settled.state, settled.failure.as_deref()), (Obsolete, Some(LEG_OVER)));
    assert_eq!(settled.progress, Some(Progress { removed: 1, of: 2 }));
    assert!(there.leased_at(NOW + SECOND * 2).await.is_empty());
}

#[tokio::test]
async fn a_deletion_of_all_that_does_not_get_on_gives_way_to_one_of_our_leg() {
    let there = Fixture::new().await;
    let mut due = there.removals(&[("x", None), ("me", Some(OURS)), ("y", None)]).await;
    let all = due[0].deletion_id;
    let (y, x) = (due.pop().unwrap(), due.pop().unwrap());
    there.end(x, answered(NOW, 204, SENT)).await;
    let later = NOW + REPEATED_BY_THE_STACK;
    let leg = async |now| {
        let ask = there.ask(by_call_id("a"), now).await;
        there.admit(Ask { lease: Some(there.lease(now)), ..ask }).await
    };
    assert!(matches!(leg(later).await.decision, Decision::Join(one) if one.deletion_id == all));
    let decided = leg(later + SECOND).await;
    let told = decided.superseded.unwrap();
    assert_eq!((told.deletion_id, told.state), (all, Obsolete));
    assert_eq!(told.failure.as_deref(), Some(LEG_ASKED_FOR));
    assert_eq!(told.progress, Some(Progress { removed: 1, of: 2 }));
    assert_eq!(there.state(all).await, Obsolete);
    // What was under way keeps its answer, and settles nothing.
    assert_eq!(there.end(y, answered(later + SECOND, 204, SENT)).await, None);
    let sent = "SELECT count(*) FROM attempts WHERE status = 204";
    assert_eq!(there.look::<i64>(sent), 2);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM steps WHERE state = 'open'"), 1);
    let leased = decided.leased.unwrap();
    assert_eq!((&leased.order, leased.is_part), (&Order::HangUp, false));
    let settled = there.end(leased, answered(later + SECOND, 204, SENT)).await.unwrap();
    assert_eq!((settled.state, settled.progress), (Sent, None));
}

#[tokio::test]
async fn a_hold_or_the_deadline_ends_what_is_left_of_a_deletion_of_all() {
    for (now, expected) in [(NOW, Held), (NOW + DEADLINE, Obsolete)] {
        let there = Fixture::new().await;
        let leased = there.begin_all().await;
        there.end(leased, answered(NOW, 200, seen(&[("x", None), ("y", None)]))).await;
        if expected == Held {
            there.hold_everything();
        }
        let ended = there.over_at(now).await;
        assert_eq!(ended.iter().map(|settled| settled.state).collect::<Vec<_>>(), [expected]);
        assert_eq!(ended[0].progress, Some(Progress { removed: 0, of: 2 }));
    }
}

#[tokio::test]
async fn a_removal_is_judged_by_its_own_attempts_also_after_a_crash() {
    let there = Fixture::new().await;
    let mut due = there.removals(&[("x", None), ("y", None)]).await;
    let x = due.remove(0);
    assert!(!x.earlier_effect_possible, "to read has no effect");
    there.end(x, answered(NOW, 429, Next::At(NOW))).await;
    there.store.take_over(ProcessId::random(), NOW + SECOND).await.unwrap();
    let again = there.leased_at(NOW + SECOND).await;
    assert_eq!(orders(&again).len(), 2);
    for leased in again {
        let is_y = leased.order == removal("y");
        assert_eq!((leased.attempt, leased.earlier_effect_possible), (2, is_y));
    }
}

#[tokio::test]
async fn the_removal_of_one_is_confirmed_when_he_is_told_of_as_gone() {
    for told_first in [false, true] {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        there.is_in_the_call("x");
        there.by_hand("UPDATE roster SET normalised = '77'");
        let leased = there.begin_as(one("x"), NOW).await;
        assert_eq!((&leased.order, leased.is_part), (&removal("x"), false));
        let deletion = leased.deletion_id;
        if told_first {
            there.has_left("x", NOW + SECOND);
        }
        let settled = there.end(leased, answered(NOW + SECOND, 204, SENT)).await.unwrap();
        assert_eq!(settled.state, if told_first { Confirmed } else { Sent });
        if !told_first {
            there.has_left("x", NOW + SECOND);
        }
        assert_eq!(there.state(deletion).await, Confirmed);
        assert_eq!(there.look::<i64>("SELECT count(*) FROM calls WHERE deleted_by > 0"), 0);
    }
}

#[tokio::test]
async fn the_end_of_the_call_confirms_no_removal_and_a_missing_participant_ends_no_call() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let leased = there.begin_as(one("x"), NOW).await;
    let second = there.begin_as(one("y"), NOW).await;
    let sent = there.end(leased, answered(NOW, 204, SENT)).await.unwrap();
    let missing = over(Failed, Some("no such participant"), false);
    assert_eq!(there.end(second, answered(NOW, 404, missing)).await.unwrap().state, Failed);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM calls WHERE ended_at > 0"), 0);
    let whole = there.begin("a", NOW).await;
    there.end(whole, answered(NOW, 404, over(Failed, Some("never there"), true))).await;
    assert_eq!(there.look::<i64>("SELECT count(*) FROM calls WHERE ended_at > 0"), 1);
    assert_eq!(there.state(sent.deletion_id).await, Sent);
}

#[tokio::test]
async fn removals_wait_for_nobody_and_are_over_with_our_leg() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let first = there.begin_as(one("x"), NOW).await;
    let second = there.begin_as(one("y"), NOW).await;
    let third = there.begin_as(one("z"), NOW).await;
    there.end(first, answered(NOW, 429, Next::At(NOW + SECOND))).await;
    there.end(second, answered(NOW, 500, Next::At(NOW + SECOND))).await;
    let whole = there.begin("a", NOW).await;
    assert!(there.leased_at(NOW + SECOND).await.is_empty(), "our leg is about to end");
    there.end(whole, answered(NOW + SECOND, 204, SENT)).await.unwrap();
    let ended = there.over_at(NOW + SECOND * 2).await;
    let ends: Vec<(DeletionState, &str)> =
        ended.iter().map(|settled| (settled.state, settled.failure.as_deref().unwrap())).collect();
    let lost = format!("{LEG_OVER}, and an earlier attempt may have taken effect");
    assert_eq!(ends, [(Obsolete, LEG_OVER), (Unknown, lost.as_str())]);
    let third = there.end(third, answered(NOW + LEASE, 204, SENT)).await.unwrap();
    assert_eq!(third.state, Sent, "what was under way is judged by its answer");
}
