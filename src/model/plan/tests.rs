//! Each row of the decision, on a view that stands in memory.

mod everybody;
mod invitations;
mod next;
mod participants;
mod ringing;
mod shown;

use self::shown::Shown;
use super::*;
use crate::id::GraphCallId;
use crate::model::deletion::DeletionState::{
    Armed, Cancelled, Confirmed, Failed, Gone, Held, Obsolete, Open, PendingApproval, Sent, Unknown,
};
use crate::model::deletion::Scope;
use crate::model::selector::StatusWord::{Last, Next, Ongoing};

const NOW: Timestamp = Timestamp(1_000_000);
const QUESTION: Question = Question {
    kind: DeletionKind::DeleteCall(Scope::Leg),
    now: NOW,
    status: None,
    may_arm: false,
    dry_run: false,
    ended_is_success: false,
    client_id: None,
    sees_candidates: false,
};
const ENDED: Timestamp = Timestamp(9);

fn a_call(name: &str, state: CallState, ended_at: Option<Timestamp>) -> Match {
    let call = Call {
        call_id: CallId::new(name),
        graph_id: GraphCallId(format!("graph-{name}")),
        app_id: None,
        state,
        started_at: Some(Timestamp(1)),
        ended_at,
        last_seen_at: NOW,
        rings_until: None,
    };
    Match { row: 7, call, other_party: Some("***123".to_owned()) }
}

fn running(name: &str) -> Match {
    a_call(name, CallState::Established, None)
}

fn ended(name: &str) -> Match {
    a_call(name, CallState::Terminated, Some(ENDED))
}

fn matches(calls: Vec<Match>) -> Vec<(Option<StatusWord>, Matches)> {
    vec![(None, Matches { count: calls.len(), calls, is_cut: false })]
}

fn one(call: Match) -> Shown {
    Shown { matching: matches(vec![call]), ..Shown::default() }
}

fn earlier(state: DeletionState) -> Earlier {
    let deletion_id = "0190a5c0-0000-7000-8000-000000000001".parse().unwrap();
    Earlier {
        deletion_id,
        call_id: CallId::new("earlier"),
        state,
        operation: None,
        is_all: false,
        created_at: NOW,
        participant_id: None,
        progress: None,
        invited: None,
    }
}

/// Every state, and whether a deletion in it is joined, has been taken, or is as if there were none.
fn states() -> [(DeletionState, &'static str); 11] {
    [
        (Open, "joined"),
        (Sent, "taken"),
        (Confirmed, "taken"),
        (Gone, "taken"),
        (PendingApproval, "none"),
        (Armed, "none"),
        (Failed, "none"),
        (Obsolete, "none"),
        (Held, "none"),
        (Cancelled, "none"),
        (Unknown, "none"),
    ]
}

#[track_caller]
fn check(question: &Question, shown: &mut Shown, expected: &Decision) {
    let Ok(decision) = decide(question, shown);
    assert_eq!(decision, *expected, "asked {:?}", shown.asked);
}

fn refuse(refusal: Refusal) -> Decision {
    Decision::Refuse { refusal, call_id: None }
}

/// As [`refuse`], once the call `a` was found.
fn refuse_a(refusal: Refusal) -> Decision {
    Decision::Refuse { refusal, call_id: Some(CallId::new("a")) }
}

fn admit(call: Match) -> Decision {
    Decision::Admit { call, order: Order::HangUp }
}

#[test]
fn one_running_call_is_hung_up() {
    let mut shown = one(running("a"));
    check(&QUESTION, &mut shown, &admit(running("a")));
    assert_eq!(shown.asked, ["abandoned", "matching", "deletion of", "held"]);
}

#[test]
fn a_call_in_any_state_before_its_end_is_hung_up() {
    for state in ["incoming", "establishing", "ringing", "hold", "transferring", "redirecting"] {
        let call = a_call("a", state.parse().unwrap(), None);
        check(&QUESTION, &mut one(call.clone()), &admit(call));
    }
}

#[test]
fn what_a_client_left_is_joined_before_anything_else_is_looked_at() {
    for (state, fate) in states() {
        let mut shown = one(running("next"));
        shown.abandoned = Some(earlier(state));
        shown.held = true;
        if fate == "none" {
            let call_id = Some(CallId::new("next"));
            let policy = Decision::Refuse { refusal: Refusal::Policy, call_id };
            check(&QUESTION, &mut shown, &policy);
        } else {
            check(&QUESTION, &mut shown, &Decision::Join(earlier(state)));
            assert_eq!(shown.asked, ["abandoned"]);
        }
    }
}

#[test]
fn a_selector_that_matches_nothing_means_the_deletion_that_was_made_by_it() {
    for (state, fate) in states() {
        let mut shown = Shown { earlier: Some(earlier(state)), ..Shown::default() };
        let expected = match fate {
            "joined" => Decision::Join(earlier(state)),
            "taken" => Decision::AlreadyDeleted(earlier(state)),
            _ => refuse(Refusal::NotFound),
        };
        check(&QUESTION, &mut shown, &expected);
        assert_eq!(shown.asked, ["abandoned", "matching", "earlier"]);
    }
    check(&QUESTION, &mut Shown::default(), &refuse(Refusal::NotFound));
}

#[test]
fn an_earlier_deletion_says_nothing_when_a_call_matches() {
    let mut shown = Shown { earlier: Some(earlier(Sent)), ..one(running("a")) };
    check(&QUESTION, &mut shown, &admit(running("a")));
}

#[test]
fn a_deletion_of_the_call_is_joined_or_told_whatever_became_of_the_call_and_whatever_holds() {
    for call in [running("a"), ended("a"), a_call("a", CallState::Terminating, None)] {
        for (state, fate) in states() {
            for question in [QUESTION, Question { dry_run: true, ..QUESTION }] {
                let mut shown = Shown { deletion: Some(earlier(state)), ..one(call.clone()) };
                shown.held = true;
                let expected = match fate {
                    "joined" => Decision::Join(earlier(state)),
                    "taken" => Decision::AlreadyDeleted(earlier(state)),
                    _ => Decision::Refuse {
                        refusal: Refusal::Policy,
                        call_id: Some(CallId::new("a")),
                    },
                };
                check(&question, &mut shown, &expected);
            }
        }
    }
}

#[test]
fn a_hold_wins_over_all_that_would_follow() {
    let policy = Decision::Refuse { refusal: Refusal::Policy, call_id: Some(CallId::new("a")) };
    for call in [running("a"), ended("a"), a_call("a", CallState::Terminating, None)] {
        for (dry_run, ended_is_success) in [(false, false), (true, false), (false, true)] {
            let question = Question { dry_run, ended_is_success, ..QUESTION };
            check(&question, &mut Shown { held: true, ..one(call.clone()) }, &policy);
        }
    }
}

#[test]
fn an_ended_call_is_forwarded_unless_its_end_counts_as_success() {
    let success = Question { ended_is_success: true, ..QUESTION };
    check(&QUESTION, &mut one(ended("a")), &admit(ended("a")));
    let already = Decision::AlreadyEnded { call_id: CallId::new("a") };
    check(&success, &mut one(ended("a")), &already);
    check(&Question { dry_run: true, ..success.clone() }, &mut one(ended("a")), &already);
    check(&success, &mut one(running("a")), &admit(running("a")));
}

#[test]
fn a_call_that_is_being_ended_gets_nothing_new() {
    let terminating = a_call("a", CallState::Terminating, None);
    for dry_run in [false, true] {
        let question = Question { dry_run, ..QUESTION };
        let ending = Decision::Ending { call_id: CallId::new("a") };
        check(&question, &mut one(terminating.clone()), &ending);
    }
}

#[test]
fn a_call_that_nobody_has_seen_ending_for_a_minute_is_hung_up() {
    let seen = |last_seen_at| {
        let mut call = a_call("a", CallState::Terminating, None);
        call.call.last_seen_at = last_seen_at;
        call
    };
    let ending = Decision::Ending { call_id: CallId::new("a") };
    // One that is seen in the future was written by a clock that is ahead.
    for last_seen_at in [NOW - ENDING_IS_BELIEVED, NOW, NOW + ENDING_IS_BELIEVED * 2] {
        check(&QUESTION, &mut one(seen(last_seen_at)), &ending);
    }
    let old = seen(NOW - ENDING_IS_BELIEVED - Duration::from_millis(1));
    check(&QUESTION, &mut one(old.clone()), &admit(old.clone()));
    let would = Decision::WouldSend { call_id: CallId::new("a"), order: Order::HangUp };
    check(&Question { dry_run: true, ..QUESTION }, &mut one(old), &would);
}

#[test]
fn a_dry_run_says_what_would_be_sent() {
    let question = Question { dry_run: true, ..QUESTION };
    for call in [running("a"), ended("a")] {
        let order = Order::HangUp;
        let would = Decision::WouldSend { call_id: CallId::new("a"), order };
        check(&question, &mut one(call), &would);
    }
}

#[test]
fn the_first_word_that_matches_any_call_decides_and_next_is_skipped() {
    let found = |word, names: &[&str]| {
        let calls: Vec<_> = names.iter().map(|name| running(name)).collect();
        (Some(word), Matches { count: calls.len(), calls, is_cut: false })
    };
    // The words, what they match; the call that is meant, and what was looked for.
    for (words, matching, meant, looked) in [
        (vec![Ongoing], vec![found(Ongoing, &["a"])], Some("a"), vec!["ongoing"]),
        (vec![Ongoing, Last], vec![found(Last, &["b"])], Some("b"), vec!["ongoing", "last"]),
        (
            vec![Last, Ongoing],
            vec![found(Ongoing, &["a"]), found(Last, &["b"])],
            Some("b"),
            vec!["last"],
        ),
        (vec![Next, Last], vec![found(Next, &["x"]), found(Last, &["b"])], Some("b"), vec!["last"]),
        (vec![Next], vec![found(Next, &["x"])], None, vec![]),
        (vec![Ongoing, Next], vec![], None, vec!["ongoing"]),
    ] {
        let question = Question { status: Some(words), ..QUESTION };
        let mut shown = Shown { matching, ..Shown::default() };
        let expected = meant.map_or(refuse(Refusal::NotFound), |name| admit(running(name)));
        check(&question, &mut shown, &expected);
        let searched: Vec<_> = shown
            .asked
            .iter()
            .filter(|asked| ["ongoing", "last", "next"].contains(*asked))
            .collect();
        assert_eq!(searched, looked.iter().collect::<Vec<_>>());
    }
}

#[test]
fn several_matches_of_the_first_word_are_ambiguous_whatever_the_second_would_match() {
    let several = Matches { count: 2, calls: vec![running("a"), running("b")], is_cut: false };
    let last = Matches { count: 1, calls: vec![ended("c")], is_cut: false };
    let mut shown =
        Shown { matching: vec![(Some(Ongoing), several), (Some(Last), last)], ..Shown::default() };
    let question = Question { status: Some(vec![Ongoing, Last]), ..QUESTION };
    let ambiguity = Ambiguity { count: 2, decided_by: "callID", candidates: Vec::new() };
    check(&question, &mut shown, &refuse(Refusal::Ambiguous(ambiguity)));
    assert_eq!(shown.asked, ["abandoned", "ongoing"]);
}

#[test]
fn an_ambiguous_answer_names_the_parameter_that_would_decide() {
    // Running and ended calls; whether status was sent; what would decide.
    for (calls, sent, decided_by) in [
        ("re", false, "status"),
        ("ree", false, "status"),
        ("rre", false, "status"),
        ("rr", false, "callID"),
        ("ee", false, "callID"),
        ("rree", false, "callID"),
        ("re", true, "callID"),
    ] {
        let call = |(n, kind): (usize, char)| {
            if kind == 'r' { running(&n.to_string()) } else { ended(&n.to_string()) }
        };
        let calls: Vec<_> = calls.chars().enumerate().map(call).collect();
        let word = sent.then_some(Ongoing);
        let count = calls.len();
        let matching = vec![(word, Matches { count, calls, is_cut: false })];
        let question = Question { status: word.map(|word| vec![word]), ..QUESTION };
        let ambiguity = Ambiguity { count, decided_by, candidates: Vec::new() };
        let expected = refuse(Refusal::Ambiguous(ambiguity));
        check(&question, &mut Shown { matching, ..Shown::default() }, &expected);
    }
}

#[test]
fn what_is_not_all_shown_is_decided_by_the_call_id_only() {
    let matching =
        vec![(None, Matches { count: 11, calls: vec![running("a"), ended("b")], is_cut: false })];
    let ambiguity = Ambiguity { count: 11, decided_by: "callID", candidates: Vec::new() };
    let expected = refuse(Refusal::Ambiguous(ambiguity));
    check(&QUESTION, &mut Shown { matching, ..Shown::default() }, &expected);
}

#[test]
fn one_call_shown_of_several_that_match_is_ambiguous() {
    let matching = vec![(None, Matches { count: 2, calls: vec![running("a")], is_cut: false })];
    let Ok(decision) = decide(&QUESTION, &mut Shown { matching, ..Shown::default() });
    assert!(
        matches!(decision, Decision::Refuse { refusal: Refusal::Ambiguous(_), call_id: None }),
        "{decision:?}"
    );
}

#[test]
fn candidates_are_listed_for_those_who_may_see_them_ten_at_most() {
    let calls: Vec<_> = (0..12).map(|n| running(&format!("call-{n}"))).collect();
    for (sees_candidates, listed) in [(true, 10), (false, 0)] {
        let mut shown = Shown { matching: matches(calls.clone()), ..Shown::default() };
        let Ok(decision) = decide(&Question { sees_candidates, ..QUESTION }, &mut shown);
        let Decision::Refuse { refusal: Refusal::Ambiguous(ambiguity), .. } = decision else {
            panic!("{decision:?}");
        };
        assert_eq!((ambiguity.count, ambiguity.candidates.len()), (12, listed));
        if let Some(first) = ambiguity.candidates.first() {
            let expected = Candidate {
                call_id: CallId::new("call-0"),
                state: CallState::Established,
                started_at: Some(Timestamp(1)),
                other_party: Some("***123".to_owned()),
            };
            assert_eq!(*first, expected);
        }
    }
}

#[test]
fn one_call_found_where_others_were_not_looked_at_is_ambiguous() {
    let matching = vec![(None, Matches { count: 1, calls: vec![running("a")], is_cut: true })];
    let ambiguity = Ambiguity { count: 2, decided_by: "callID", candidates: Vec::new() };
    let expected = refuse(Refusal::Ambiguous(ambiguity));
    check(&QUESTION, &mut Shown { matching, ..Shown::default() }, &expected);
}

#[test]
fn none_found_where_others_were_not_looked_at_leads_neither_to_the_next_word_nor_to_a_repeat() {
    let matching = vec![
        (Some(Ongoing), Matches { is_cut: true, ..Matches::default() }),
        (Some(Last), Matches { count: 1, calls: vec![ended("b")], is_cut: false }),
    ];
    let mut shown = Shown { matching, earlier: Some(earlier(Sent)), ..Shown::default() };
    let question = Question { status: Some(vec![Ongoing, Last]), ..QUESTION };
    check(&question, &mut shown, &refuse(Refusal::NotFound));
    assert_eq!(shown.asked, ["abandoned", "ongoing"]);
}
