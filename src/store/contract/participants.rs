//! Single people in a call, invitations, and everybody at once: what is found, decided and recorded.

use super::news::{nothing, state};
use super::{SECOND, SENT};
use crate::clock::Timestamp;
use crate::id::DeletionId;
use crate::model::call::CallState;
use crate::model::change::{CallChange, Participant, RosterChange};
use crate::model::deletion::DeletionState::{Failed, Sent};
use crate::model::deletion::{DeletionKind, NO_SUCH_PARTICIPANT, Scope};
use crate::model::number::{Number, NumberingPlan};
use crate::model::participant::{ClientContext, Invitation, Invited, ParticipantSelector};
use crate::model::plan::{Decision, Order, ParticipantCandidate, Refusal, RejectReason};
use crate::store::admission::{Ask, Claim, Decided, Leased, Next};
use crate::store::fixture::{Fixture, NOW, answered, by_call_id, over, selection_rules};

const CLIENT: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
const GUID: &str = "0a1b2c3d-0000-4000-8000-123456789abc";

pub(super) fn by_id(id: &str) -> DeletionKind {
    DeletionKind::DeleteParticipant(ParticipantSelector::Id(id.to_owned()))
}

pub(super) fn by_number(raw: &str) -> DeletionKind {
    let number = Number::parse(raw).unwrap();
    DeletionKind::DeleteParticipant(ParticipantSelector::Known(number))
}

pub(super) fn invitation(user_id: &str, replaces: Option<&str>) -> Invitation {
    Invitation {
        user_id: user_id.to_owned(),
        user_tenant: None,
        replaces: replaces.map(str::to_owned),
        context: ClientContext::new("ticket 7"),
    }
}

pub(super) fn invite(user_id: &str) -> DeletionKind {
    DeletionKind::InviteParticipant(invitation(user_id, None))
}

const fn all(most: u32) -> DeletionKind {
    DeletionKind::DeleteCall(Scope::All { most })
}

/// One with a number, a user id, or both.
pub(super) fn member(id: &str, number: &str, user_id: &str) -> Participant {
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Participant {
        participant_id: id.to_owned(),
        raw: known(number),
        normalised: known(number),
        user_id: known(user_id),
        display_name: None,
        app_id: None,
        removed: false,
        sequence: None,
    }
}

pub(super) fn operation(participant_id: Option<&str>) -> Invited {
    let participant_id = participant_id.map(str::to_owned);
    Invited { operation_id: "operation".to_owned(), participant_id, failed: None }
}

impl Fixture {
    /// Two calls that run: in `a` are p, q and one with a GUID, in `b` is r.
    pub(super) async fn rooms() -> Self {
        let there = Self::new().await;
        there.apply(["a", "b"].map(|id| state(id, CallState::Established)).into(), NOW).await;
        let everybody =
            [member("p", "+49301238856", "user-p"), member("q", "77", ""), member(GUID, "", "g")];
        there.in_call("a", everybody.into(), NOW).await;
        there.in_call("b", vec![member("r", "55", "")], NOW).await;
        there
    }

    /// Tells who is in a call, all of them.
    pub(super) async fn in_call(&self, call: &str, people: Vec<Participant>, now: Timestamp) {
        let roster = Some(RosterChange::Whole(people));
        self.apply(vec![CallChange { roster, ..nothing(call) }], now).await;
    }

    /// A request about the call `a` by the one key, with a lease.
    pub(super) async fn about(&self, kind: DeletionKind, now: Timestamp) -> Ask {
        let ask = self.ask(by_call_id("a"), now).await;
        let mut rules = selection_rules();
        rules.numbering = NumberingPlan::new(&["+4930123".to_owned()]);
        let selector = ask.selection.selector.clone();
        let selection = rules.select_for(&ask.checked.key, selector, &kind);
        let mut ask = Ask { selection, lease: Some(self.lease(now)), ..ask };
        ask.question.kind = kind;
        ask.question.sees_candidates = true;
        ask.question.client_id = Some("app".to_owned());
        ask
    }

    pub(super) async fn decides(&self, kind: DeletionKind, now: Timestamp) -> Decided {
        self.admit(self.about(kind, now).await).await
    }

    pub(super) async fn begins(&self, kind: DeletionKind, now: Timestamp) -> Leased {
        let decided = self.decides(kind, now).await;
        decided.leased.unwrap_or_else(|| panic!("{:?}", decided.decision))
    }

    /// Whom a removal would remove.
    pub(super) async fn meant(&self, kind: DeletionKind) -> Result<String, Refusal> {
        let mut ask = self.about(kind, NOW).await;
        ask.question.dry_run = true;
        match self.admit(ask).await.decision {
            Decision::WouldSend { order: Order::RemoveParticipant(id), .. } => Ok(id),
            Decision::Refuse { refusal, .. } => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn settles(&self, leased: Leased, next: Next) {
        self.store.settle(leased, answered(NOW + SECOND, 200, next)).await.unwrap();
    }
}

fn ids(candidates: &[ParticipantCandidate]) -> Vec<(&str, bool)> {
    candidates.iter().map(|one| (one.participant_id.as_str(), one.is_invited)).collect()
}

#[tokio::test]
async fn a_removal_is_recorded_with_its_participant() {
    let there = Fixture::rooms().await;
    let leased = there.begins(by_number("8856"), NOW).await;
    assert_eq!(leased.order, Order::RemoveParticipant("p".to_owned()));
    assert_eq!((leased.graph_id.0.as_str(), leased.app_id.as_deref()), ("a", Some("app")));
    assert!(!leased.is_part && !leased.earlier_effect_possible);
    let row = "SELECT d.kind || ' ' || d.scope || ' ' || d.target || ' ' || s.operation || ' ' \
               || s.target FROM deletions AS d JOIN steps AS s USING (deletion)";
    assert_eq!(there.look::<String>(row), "DeleteParticipant leg p remove-participant p");
}

#[tokio::test]
async fn an_invitation_is_recorded_with_all_that_was_asked() {
    let there = Fixture::rooms().await;
    let mut asked = invitation("User-7", Some("our-c"));
    there.call("c", "100").await;
    let leased = there.begins(DeletionKind::InviteParticipant(asked.clone()), NOW).await;
    asked.replaces = Some("c".to_owned());
    assert_eq!(leased.order, Order::Invite(asked));
    let row = "SELECT i.user_id || ' ' || i.normalised || ' ' || i.replaces || ' ' \
               || i.client_context || ' ' || d.target FROM invitations AS i \
               JOIN deletions AS d USING (deletion) WHERE i.operation_id IS NULL \
               AND i.user_tenant IS NULL AND i.tenant = d.tenant AND i.call = d.call";
    let expected = "User-7 user-7 c ticket 7 replacesCallID=1:c;user-7";
    assert_eq!(there.look::<String>(row), expected);
}

#[tokio::test]
async fn a_deletion_of_everybody_s_leg_is_recorded_with_its_ceiling() {
    let there = Fixture::rooms().await;
    let leased = there.begins(all(7), NOW).await;
    assert!(leased.is_part && leased.order == Order::ReadRoster, "{leased:?}");
    let row = "SELECT d.scope || ' ' || d.most_others || ' ' || s.operation FROM deletions AS d \
               JOIN steps AS s USING (deletion) WHERE d.target IS NULL";
    assert_eq!(there.look::<String>(row), "all 7 read-roster");
}

#[tokio::test]
async fn of_each_kind_and_target_one_is_open() {
    let there = Fixture::rooms().await;
    let reject = DeletionKind::RejectCall(RejectReason::Busy);
    let (leg, everybody) = (DeletionKind::DeleteCall(Scope::Leg), all(9));
    for (first, second, third) in [
        (by_id("p"), by_number("user-p"), by_id("q")),
        (invite("User-1"), invite("uSER-1"), invite("user-2")),
        (everybody.clone(), leg.clone(), leg.clone()),
    ] {
        let recorded = there.decides(first.clone(), NOW).await.recorded.unwrap();
        for again in [first.clone(), second] {
            match there.decides(again, NOW).await.decision {
                Decision::Join(earlier) => assert_eq!(earlier.deletion_id, recorded),
                other => panic!("{first:?}: {other:?}"),
            }
        }
        let is_another = there.decides(third.clone(), NOW).await.recorded.is_some();
        assert_eq!(is_another, third != leg, "{third:?}");
    }
    there.by_hand("DELETE FROM deletions");
    there.begins(leg, NOW).await;
    for kind in [everybody, by_id("p"), by_number("77"), invite("user-1")] {
        let decision = there.decides(kind, NOW).await.decision;
        assert!(
            matches!(decision, Decision::Refuse { refusal: Refusal::LegEnding, .. }),
            "{decision:?}"
        );
    }
    there.apply(vec![state("c", CallState::Incoming)], NOW).await;
    for kind in [reject.clone(), reject] {
        let mut ask = there.ask(by_call_id("c"), NOW).await;
        ask.question.kind = kind;
        let decided = there.admit(ask).await;
        assert!(
            matches!(decided.decision, Decision::Admit { .. } | Decision::Join(_)),
            "{decided:?}"
        );
    }
    assert_eq!(there.look::<i64>("SELECT count(*) FROM deletions WHERE kind = 'RejectCall'"), 1);
}

#[tokio::test]
async fn somebody_is_found_by_any_spelling_of_the_number_or_by_the_user_id_and_never_by_a_tail() {
    let there = Fixture::rooms().await;
    for asked in ["+49 30 1238856", "8856", "0049301238856", "USER-P"] {
        assert_eq!(there.meant(by_number(asked)).await, Ok("p".to_owned()), "{asked}");
    }
    for asked in ["856", "38856", "+49301238857", "p", "7", "55"] {
        match there.meant(by_number(asked)).await {
            Err(Refusal::NoParticipant(candidates)) => {
                assert_eq!(ids(&candidates), [(GUID, false), ("p", false), ("q", false)]);
                assert_eq!(candidates[1].party.as_deref(), Some("***856"));
            }
            other => panic!("{asked}: {other:?}"),
        }
    }
    let two = vec![member("p", "77", ""), member("q", "", "77"), member("s", "88", "")];
    there.in_call("a", two, NOW + SECOND).await;
    match there.meant(by_number("77")).await {
        Err(Refusal::AmbiguousParticipant { count, candidates }) => {
            assert_eq!((count, ids(&candidates)), (2, vec![("p", false), ("q", false)]));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_id_is_taken_to_the_letter_unless_it_is_of_another_call() {
    let there = Fixture::rooms().await;
    // Another spelling may be somebody else's, so it is for Graph to decide.
    for asked in [GUID.to_owned(), GUID.to_uppercase(), format!("{{{GUID}}}")] {
        assert_eq!(there.meant(by_id(&asked)).await, Ok(asked.clone()), "{asked}");
    }
    assert_eq!(there.meant(by_id("unknown")).await, Ok("unknown".to_owned()));
    assert!(matches!(there.meant(by_id("r")).await, Err(Refusal::NoParticipant(_))));
    // One who has left is for Graph to decide; in two calls at once, he is in this one.
    there.in_call("a", vec![member("r", "55", "")], NOW + SECOND).await;
    for asked in ["p", "r"] {
        assert_eq!(there.meant(by_id(asked)).await, Ok(asked.to_owned()));
    }
}

#[tokio::test]
async fn we_ourselves_are_nobody_who_can_be_removed() {
    let there = Fixture::rooms().await;
    let by_app = format!("UPDATE roster SET app_id = 'api://{CLIENT}' WHERE participant_id = 'q'");
    for (is_known, ours) in [("UPDATE calls SET my_participant_id = 'p'", "p"), (&by_app, "q")] {
        there.by_hand(is_known);
        for kind in [by_id(ours), by_number(if ours == "p" { "8856" } else { "77" })] {
            let mut ask = there.about(kind, NOW).await;
            ask.question.client_id = Some(CLIENT.to_owned());
            there.by_hand("UPDATE calls SET app_id = NULL");
            match there.admit(ask).await.decision {
                Decision::Refuse { refusal: Refusal::OurOwnPlace, .. } => {}
                Decision::Refuse { refusal: Refusal::NoParticipant(candidates), .. } => {
                    assert!(ids(&candidates).iter().all(|(id, _)| *id != ours), "{candidates:?}");
                }
                other => panic!("{ours}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn one_who_was_invited_can_be_removed_before_any_roster_shows_him() {
    let there = Fixture::rooms().await;
    let leased = there.begins(invite("User-7"), NOW).await;
    assert_eq!(there.meant(by_number("user-7")).await, Err(Refusal::Unnamed));
    there.settles(leased, Next::Invited(operation(Some("i")))).await;
    for kind in [by_number("USER-7"), by_id("i")] {
        assert_eq!(there.meant(kind).await, Ok("i".to_owned()));
    }
    match there.meant(by_number("nobody")).await {
        Err(Refusal::NoParticipant(candidates)) => {
            assert_eq!(ids(&candidates).last(), Some(&("i", true)));
        }
        other => panic!("{other:?}"),
    }
    // Taken back, or never there: he is not invited any more, and a second invitation is no riddle.
    for next in [SENT, over(Failed, Some(NO_SUCH_PARTICIPANT), false)] {
        let leased = there.begins(by_number("user-7"), NOW).await;
        there.settles(leased, next).await;
        let leased = there.begins(invite("user-7"), NOW).await;
        there.settles(leased, Next::Invited(operation(Some("j")))).await;
        assert_eq!(there.meant(by_number("user-7")).await, Ok("j".to_owned()));
    }
    // On the roster he is one of them, and no other one.
    there.in_call("a", vec![member("j", "", "user-7")], NOW + SECOND).await;
    assert_eq!(there.meant(by_number("user-7")).await, Ok("j".to_owned()));
    there.in_call("a", Vec::new(), NOW + SECOND * 2).await;
    assert!(there.meant(by_number("user-7")).await.is_err());
}

#[tokio::test]
async fn whom_graph_removed_is_told_as_removed_until_he_comes_back() {
    let there = Fixture::rooms().await;
    let leased = there.begins(by_number("77"), NOW).await;
    let removed = leased.deletion_id;
    there.settles(leased, SENT).await;
    let is_told = |decided: Decided| match decided.decision {
        Decision::AlreadyDeleted(earlier) => {
            assert_eq!((earlier.deletion_id, earlier.state.is_taken()), (removed, true));
            assert_eq!(earlier.participant_id.as_deref(), Some("q"));
        }
        other => panic!("{other:?}"),
    };
    for kind in [by_number("77"), by_id("q")] {
        is_told(there.decides(kind, NOW + SECOND).await);
    }
    there.in_call("a", vec![member("p", "8856", "")], NOW + SECOND).await;
    for kind in [by_number("77"), by_id("q")] {
        is_told(there.decides(kind, NOW + SECOND).await);
    }
    // Another selector, or the same one later, finds nobody.
    for (number, seconds) in [("077", 1), ("77", 601)] {
        let decision = there.decides(by_number(number), NOW + SECOND * seconds).await.decision;
        assert!(
            matches!(decision, Decision::Refuse { refusal: Refusal::NoParticipant(_), .. }),
            "{decision:?}"
        );
    }
    there.in_call("a", vec![member("q", "77", "")], NOW + SECOND * 2).await;
    let leased = there.begins(by_number("77"), NOW + SECOND * 3).await;
    assert_ne!(leased.deletion_id, removed);
}

#[tokio::test]
async fn a_repeated_invitation_that_was_cut_off_gets_the_same_operation() {
    let there = Fixture::rooms().await;
    let decided = there.decides(invite("user-7"), NOW).await;
    let deletion = decided.recorded.unwrap();
    there.settles(decided.leased.unwrap(), Next::Invited(operation(None))).await;
    let claim = Claim { deletion, number: decided.claim.unwrap() };
    there.store.abandon(claim, NOW + SECOND).unwrap();
    there.flush().await;
    for other in ["user-8", "user-9"] {
        assert_ne!(there.begins(invite(other), NOW + SECOND * 2).await.deletion_id, deletion);
    }
    match there.decides(invite("user-7"), NOW + SECOND * 2).await.decision {
        Decision::Join(earlier) => {
            assert_eq!((earlier.deletion_id, earlier.state), (deletion, Sent));
            assert_eq!(earlier.invited, Some(operation(None)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(there.joins("user-7", NOW + SECOND * 3).await, deletion);
}

impl Fixture {
    /// The invitation of this user that is joined.
    pub(super) async fn joins(&self, user: &str, now: Timestamp) -> DeletionId {
        match self.decides(invite(user), now).await.decision {
            Decision::Join(earlier) => earlier.deletion_id,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_hold_on_the_call_that_is_left_forbids_the_invitation() {
    let there = Fixture::rooms().await;
    there.by_hand(
        "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
         VALUES ('h', (SELECT tenant FROM tenants), 'call', 'b', 'somebody', 0)",
    );
    let replacing = |id: &str| DeletionKind::InviteParticipant(invitation("user-7", Some(id)));
    let decision = there.decides(replacing("b"), NOW).await.decision;
    assert!(matches!(decision, Decision::Refuse { refusal: Refusal::Policy, .. }), "{decision:?}");
    let leased = there.begins(replacing("unknown"), NOW).await;
    let Order::Invite(invitation) = leased.order else { panic!("{leased:?}") };
    assert_eq!(invitation.replaces.as_deref(), Some("unknown"));
}

#[tokio::test]
async fn a_key_with_patterns_has_nobody_leave_a_call_that_does_not_exist_for_it() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.call("b", "200").await;
    there.call("c", "100").await;
    for (replaces, is_admitted) in [("our-b", false), ("b", false), ("unknown", false), ("c", true)]
    {
        let kind = DeletionKind::InviteParticipant(invitation("user-7", Some(replaces)));
        let mut ask = there.about(kind, NOW).await;
        ask.selection.patterns = vec!["1*".parse().unwrap()];
        let decided = there.admit(ask).await;
        assert_eq!(decided.recorded.is_some(), is_admitted, "{replaces}");
    }
}

#[tokio::test]
async fn what_was_asked_for_before_answers_neither_another_kind_nor_another_scope_nor_another_target()
 {
    let there = Fixture::rooms().await;
    let leg = || DeletionKind::DeleteCall(Scope::Leg);
    let kinds = [leg(), all(9), by_id("p"), by_id("q"), by_number("77"), invite("user-7")];
    for first in &kinds {
        let decided = there.decides(first.clone(), NOW).await;
        let deletion = decided.recorded.unwrap();
        let claim = Claim { deletion, number: decided.claim.unwrap() };
        there.store.abandon(claim, NOW).unwrap();
        there.flush().await;
        // Neither the call nor anybody in it is found any more.
        there.by_hand("UPDATE calls SET graph_id = 'away', call_id = 'away' WHERE graph_id = 'a'");
        for second in &kinds {
            let decision = there.decides(second.clone(), NOW + SECOND).await.decision;
            let is_joined = matches!(&decision, Decision::Join(one) if one.deletion_id == deletion);
            assert_eq!(is_joined, first == second, "{first:?}, {second:?}: {decision:?}");
        }
        there.by_hand(
            "UPDATE calls SET graph_id = 'a' WHERE graph_id = 'away'; DELETE FROM deletions",
        );
    }
}
