//! Whom a removal means, and when nothing is sent.

use super::*;
use crate::model::number::Number;

fn by_id() -> Question {
    let kind = DeletionKind::DeleteParticipant(ParticipantSelector::Id("p".to_owned()));
    Question { kind, ..QUESTION }
}

fn by_number() -> Question {
    let who = ParticipantSelector::Known(Number::parse("8856").unwrap());
    Question { kind: DeletionKind::DeleteParticipant(who), ..QUESTION }
}

fn candidates() -> Vec<ParticipantCandidate> {
    let one = |id: &str, is_invited| ParticipantCandidate {
        participant_id: id.to_owned(),
        is_invited,
        party: Some("***856".to_owned()),
    };
    vec![one("q", false), one("r", true)]
}

/// A running call in which these are meant.
fn meant(ids: &[&str]) -> Shown {
    let matching = ids.iter().map(|id| (*id).to_owned()).collect();
    let participants = Participants { matching, elsewhere: None, candidates: candidates() };
    Shown { participants, ..one(running("a")) }
}

fn nobody(elsewhere: Option<Elsewhere>) -> Shown {
    let mut shown = meant(&[]);
    shown.participants.elsewhere = elsewhere;
    shown
}

fn removes(id: &str) -> Decision {
    Decision::Admit { call: running("a"), order: Order::RemoveParticipant(id.to_owned()) }
}

fn no_participant(candidates: Vec<ParticipantCandidate>) -> Decision {
    refuse_a(Refusal::NoParticipant(candidates))
}

#[test]
fn the_one_who_is_meant_is_removed() {
    for question in [by_id(), by_number()] {
        check(&question, &mut meant(&["q"]), &removes("q"));
        let order = Order::RemoveParticipant("q".to_owned());
        let would = Decision::WouldSend { call_id: CallId::new("a"), order };
        check(&Question { dry_run: true, ..question }, &mut meant(&["q"]), &would);
    }
}

#[test]
fn an_id_that_was_never_told_or_has_left_is_for_graph_to_decide() {
    for elsewhere in [None, Some(Elsewhere::Left)] {
        check(&by_id(), &mut nobody(elsewhere), &removes("p"));
        check(&by_number(), &mut nobody(elsewhere), &no_participant(Vec::new()));
    }
}

#[test]
fn one_of_another_call_and_ourselves_are_nobody_in_this_call() {
    for sees_candidates in [false, true] {
        let question = Question { sees_candidates, ..by_id() };
        let shown = if sees_candidates { candidates() } else { Vec::new() };
        let elsewhere = Some(Elsewhere::InAnotherCall);
        check(&question, &mut nobody(elsewhere), &no_participant(shown));
        let ours = refuse_a(Refusal::OurOwnPlace);
        check(&question, &mut nobody(Some(Elsewhere::Ourselves)), &ours);
    }
}

#[test]
fn one_who_was_invited_and_is_not_named_yet_is_told_from_nobody() {
    let unnamed = refuse_a(Refusal::Unnamed);
    check(&by_number(), &mut nobody(Some(Elsewhere::Unnamed)), &unnamed);
}

#[test]
fn none_and_several_are_refused_with_those_who_are_there_for_who_may_see_them() {
    for sees_candidates in [false, true] {
        let question = Question { sees_candidates, ..by_number() };
        let shown = if sees_candidates { candidates() } else { Vec::new() };
        check(&question, &mut meant(&[]), &no_participant(shown.clone()));
        let several = Refusal::AmbiguousParticipant { count: 3, candidates: shown };
        check(&question, &mut meant(&["q", "r", "s"]), &refuse_a(several));
    }
}

#[test]
fn a_removal_of_the_same_one_is_joined_or_told_whatever_holds() {
    for question in [by_id(), by_number()] {
        for (state, fate) in states() {
            for held in [false, true] {
                let mut shown = Shown { held, ..meant(&["q"]) };
                shown.target = ("q", Some(earlier(state)));
                let expected = match (fate, held) {
                    ("joined", _) => Decision::Join(earlier(state)),
                    ("taken", _) => Decision::AlreadyDeleted(earlier(state)),
                    (_, true) => refuse_a(Refusal::Policy),
                    (_, false) => removes("q"),
                };
                check(&question, &mut shown, &expected);
            }
        }
    }
}

#[test]
fn nobody_is_removed_once_our_own_leg_ends() {
    for question in [by_id(), by_number()] {
        for (state, fate) in states() {
            let mut shown = Shown { deletion: Some(earlier(state)), ..meant(&["q"]) };
            let expected = match fate {
                "none" => removes("q"),
                "joined" => refuse_a(Refusal::LegEnding),
                _ => refuse_a(Refusal::LegOver),
            };
            check(&question, &mut shown, &expected);
        }
    }
}

#[test]
fn whoever_was_removed_before_our_leg_ended_was_removed() {
    for question in [by_id(), by_number()] {
        for leg in [Open, Sent] {
            let mut shown = Shown { deletion: Some(earlier(leg)), ..meant(&["q"]) };
            shown.target = ("q", Some(earlier(Sent)));
            check(&question, &mut shown, &Decision::AlreadyDeleted(earlier(Sent)));
        }
    }
}

#[test]
fn an_end_that_counts_as_success_is_one_for_those_of_this_call_only() {
    let over = |shown: Shown| Shown { matching: one(ended("a")).matching, ..shown };
    let success = |question| Question { ended_is_success: true, ..question };
    let already = Decision::AlreadyEnded { call_id: CallId::new("a") };
    check(&success(by_id()), &mut over(nobody(Some(Elsewhere::Left))), &already);
    let elsewhere = nobody(Some(Elsewhere::InAnotherCall));
    check(&success(by_id()), &mut over(elsewhere), &no_participant(Vec::new()));
    let ours = refuse_a(Refusal::OurOwnPlace);
    check(&success(by_id()), &mut over(nobody(Some(Elsewhere::Ourselves))), &ours);
    check(&success(by_number()), &mut over(nobody(None)), &no_participant(Vec::new()));
    // Nobody told of it: Graph decides.
    let order = Order::RemoveParticipant("p".to_owned());
    let forwarded = Decision::Admit { call: ended("a"), order };
    check(&success(by_id()), &mut over(nobody(None)), &forwarded);
}

#[test]
fn of_a_call_that_has_ended_graph_decides_about_an_id_only() {
    let over = |shown: Shown| Shown { matching: one(ended("a")).matching, ..shown };
    let order = Order::RemoveParticipant("q".to_owned());
    let forwarded = Decision::Admit { call: ended("a"), order };
    check(&by_id(), &mut over(meant(&["q"])), &forwarded);
    let elsewhere = nobody(Some(Elsewhere::InAnotherCall));
    check(&by_id(), &mut over(elsewhere), &no_participant(Vec::new()));
    check(&by_number(), &mut over(meant(&["q"])), &refuse_a(Refusal::LegOver));
    for question in [by_id(), by_number()] {
        let question = Question { ended_is_success: true, ..question };
        let already = Decision::AlreadyEnded { call_id: CallId::new("a") };
        check(&question, &mut over(meant(&["q"])), &already);
        let held = Shown { held: true, ..over(meant(&["q"])) };
        check(&question, &mut { held }, &refuse_a(Refusal::Policy));
    }
}

#[test]
fn whoever_is_found_no_more_was_removed_by_the_same_selector_from_this_call() {
    for (state, fate) in states() {
        for (call, shown) in [("a", meant(&[])), ("a", one(ended("a"))), ("b", meant(&[]))] {
            let is_over = shown.matching[0].1.calls[0].call.ended_at.is_some();
            let before = Earlier { call_id: CallId::new(call), ..earlier(state) };
            let mut shown = Shown { earlier: Some(before.clone()), ..shown };
            let expected = match (fate, call) {
                ("joined", "a") => Decision::Join(before),
                ("taken", "a") => Decision::AlreadyDeleted(before),
                _ if is_over => refuse_a(Refusal::LegOver),
                _ => no_participant(Vec::new()),
            };
            check(&by_number(), &mut shown, &expected);
        }
    }
}
