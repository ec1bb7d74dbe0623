//! Words with `next` among them, for a key that may arm deletions.

use super::*;

fn armed() -> DeletionId {
    earlier(Armed).deletion_id
}

fn arming(words: Vec<StatusWord>) -> Question {
    Question { status: Some(words), may_arm: true, ..QUESTION }
}

fn found(word: StatusWord, calls: Vec<Match>) -> Shown {
    let matches = Matches { count: calls.len(), calls, is_cut: false };
    Shown { matching: vec![(Some(word), matches)], ..Shown::default() }
}

#[test]
fn what_no_call_matches_is_armed_once() {
    for (words, asked) in [
        (vec![Next], vec!["abandoned", "armed"]),
        (vec![Ongoing, Next], vec!["abandoned", "ongoing", "armed"]),
        (vec![Ongoing, Last, Next], vec!["abandoned", "ongoing", "last", "armed"]),
        (vec![Ongoing, Next, Last], vec!["abandoned", "ongoing", "armed"]),
    ] {
        let question = arming(words);
        // That its own earlier deletion has taken a call does not say that this one is meant.
        let mut shown = Shown { earlier: Some(earlier(Sent)), ..Shown::default() };
        check(&question, &mut shown, &Decision::Arm);
        assert_eq!(shown.asked, asked);
        check(&Question { dry_run: true, ..question.clone() }, &mut shown, &Decision::WouldArm);
        shown.armed = Some(armed());
        check(&question, &mut shown, &Decision::JoinArmed(armed()));
        shown.abandoned = Some(earlier(Open));
        check(&question, &mut shown, &Decision::Join(earlier(Open)));
    }
}

#[test]
fn a_word_before_it_that_matches_decides() {
    let question = arming(vec![Ongoing, Next]);
    check(&question, &mut found(Ongoing, vec![running("a")]), &admit(running("a")));
    let ambiguity = Ambiguity { count: 2, decided_by: "callID", candidates: Vec::new() };
    let mut several = found(Ongoing, vec![running("a"), running("b")]);
    check(&question, &mut several, &refuse(Refusal::Ambiguous(ambiguity)));
}

#[test]
fn a_word_after_it_is_never_tried() {
    let mut shown = found(Last, vec![ended("a")]);
    check(&arming(vec![Next, Last]), &mut shown, &Decision::Arm);
}

#[test]
fn nothing_is_armed_while_calls_were_not_looked_at() {
    let cut = Matches { is_cut: true, ..Matches::default() };
    let mut shown = Shown { matching: vec![(Some(Ongoing), cut)], ..Shown::default() };
    check(&arming(vec![Ongoing, Next]), &mut shown, &refuse(Refusal::NotFound));
}
