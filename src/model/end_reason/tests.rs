use proptest::prelude::*;

use super::EndVerdict::{EndedByOther, EndedByUs, Failed, Unknown};
use super::*;

/// Every row of the table "Call end reason codes" of Graph's page on deleting a call.
const DOCUMENTED: [(i64, i64); 30] = [
    (200, 4097),
    (200, 4521),
    (200, 5000),
    (200, 5001),
    (200, 5002),
    (200, 5003),
    (200, 5007),
    (200, 5010),
    (200, 5012),
    (200, 5013),
    (200, 5014),
    (200, 5020),
    (200, 5030),
    (200, 5300),
    (200, 5855),
    (200, 7000),
    (200, 7015),
    (200, 10550),
    (200, 18503),
    (200, 540_000),
    (200, 560_000),
    (408, 8537),
    (408, 1106),
    (408, 10057),
    (410, 301_005),
    (480, 10037),
    (480, 10076),
    (480, 10134),
    (480, 10199),
    (500, 1005),
];

/// Seen in real calls, and explained nowhere.
const SEEN: [(i64, i64); 7] =
    [(500, 7106), (500, 7117), (500, 3002), (500, 3003), (408, 13025), (500, 560_500), (400, 2203)];

fn numbers(code: i64, subcode: i64) -> EndReason {
    EndReason { code: Some(code), subcode: Some(subcode), ..EndReason::default() }
}

fn word(word: &str) -> EndReason {
    EndReason { word: Some(word.to_owned()), ..EndReason::default() }
}

/// The verdicts without a deletion of ours, with one that may have had an effect, and with one that
/// Graph took.
#[track_caller]
fn check(reason: &EndReason, expected: [EndVerdict; 3]) {
    let found = [OurPart::None, OurPart::Possible, OurPart::Taken].map(|it| verdict(reason, it));
    assert_eq!(found, expected, "{reason:?}");
}

#[test]
fn a_reason_reads_with_its_numbers_and_its_meaning_as_far_as_there_are_any() {
    let reason = |code, subcode| EndReason { code, subcode, ..EndReason::default() };
    assert_eq!(
        in_words(&reason(Some(480), Some(10076))),
        "480/10076 The called party could not be reached."
    );
    assert_eq!(in_words(&reason(Some(499), Some(7))), "499/7");
    assert_eq!(in_words(&reason(Some(499), None)), "499");
    assert_eq!(in_words(&reason(None, None)), "");
}

#[test]
fn every_documented_reason_has_a_meaning_and_every_other_is_marked() {
    for (pairs, documented) in [(&DOCUMENTED[..], true), (&SEEN[..], false)] {
        for (code, subcode) in pairs {
            let found = meaning(&numbers(*code, *subcode)).expect("it is in the table");
            assert_eq!(found.documented, documented, "{code}/{subcode}");
            assert_eq!(found.cause == Cause::Failure, *code >= 400, "{code}/{subcode}");
        }
    }
    // With as many rows as pairs, no row is here twice or by mistake.
    assert_eq!(NUMBERS.len(), DOCUMENTED.len() + SEEN.len());
}

#[test]
fn every_meaning_is_a_sentence() {
    let texts = NUMBERS.iter().map(|(_, _, meaning)| meaning.text);
    for text in texts.chain(WORDS.iter().map(|(_, meaning)| meaning.text)) {
        assert!(text.ends_with('.') && text.starts_with(char::is_uppercase), "{text}");
    }
}

#[test]
fn what_names_the_app_is_ours_when_a_deletion_of_ours_was_sent() {
    for reason in [numbers(200, 7000), numbers(200, 10550), word("AppInitiated")] {
        check(&reason, [EndedByOther, EndedByUs, EndedByUs]);
    }
    // The first betas wrote no subcode, and a partial notification may leave the code out.
    check(&word("appinitiated"), [EndedByOther, EndedByUs, EndedByUs]);
    let subcode = EndReason { subcode: Some(7000), ..EndReason::default() };
    check(&subcode, [EndedByOther, EndedByUs, EndedByUs]);
}

#[test]
fn what_only_says_that_the_call_is_over_is_ours_when_graph_took_a_deletion() {
    let plain = EndReason { code: Some(200), ..EndReason::default() };
    for reason in [numbers(200, 5001), numbers(200, 5003), plain, word("CallTerminated")] {
        check(&reason, [EndedByOther, Unknown, EndedByUs]);
    }
}

#[test]
fn who_was_faster_than_our_deletion_ended_the_call() {
    for (code, subcode) in [(200, 4097), (200, 5002), (200, 5030), (200, 7015), (200, 540_000)] {
        check(&numbers(code, subcode), [EndedByOther; 3]);
    }
    check(&word("AppTransferred"), [EndedByOther; 3]);
}

#[test]
fn a_code_of_four_hundred_and_more_is_a_failure_whatever_its_subcode() {
    for (code, subcode) in [(408, 8537), (480, 10037), (500, 1005), (500, 7106), (503, 1)] {
        check(&numbers(code, subcode), [Failed; 3]);
    }
    check(&EndReason { code: Some(400), ..EndReason::default() }, [Failed; 3]);
    // The number of an app that hung up is something else under another code.
    check(&numbers(500, 7000), [Failed; 3]);
    let both = EndReason { code: Some(500), ..word("AppInitiated") };
    check(&both, [Failed; 3]);
    assert_eq!(meaning(&both), None);
}

#[test]
fn a_subcode_that_nobody_explains_means_nothing() {
    for reason in [numbers(200, 99_999), numbers(0, 5001), numbers(302, 5001), word("Bored")] {
        check(&reason, [Unknown; 3]);
        assert_eq!(meaning(&reason), None);
    }
}

#[test]
fn an_end_without_a_reason_is_ours_only_when_graph_took_a_deletion() {
    check(&EndReason::default(), [Unknown, Unknown, EndedByUs]);
    let text = EndReason { message: Some("gone".to_owned()), ..EndReason::default() };
    check(&text, [Unknown, Unknown, EndedByUs]);
}

#[test]
fn a_word_decides_where_the_numbers_only_say_that_the_call_is_over() {
    let app = EndReason { word: Some("AppInitiated".to_owned()), ..numbers(200, 5001) };
    check(&app, [EndedByOther, EndedByUs, EndedByUs]);
    let other = EndReason { word: Some("CallTerminated".to_owned()), ..numbers(200, 4521) };
    check(&other, [EndedByOther; 3]);
    let unknown = EndReason { word: Some("Bored".to_owned()), ..numbers(200, 5001) };
    check(&unknown, [EndedByOther, Unknown, EndedByUs]);
}

proptest! {
    #[test]
    fn whatever_graph_says_there_is_a_verdict(
        code in proptest::option::of(any::<i64>()),
        subcode in proptest::option::of(any::<i64>()),
        word in proptest::option::of("\\PC{0,20}"),
    ) {
        let reason = EndReason { code, subcode, message: None, word };
        for ours in [OurPart::None, OurPart::Possible, OurPart::Taken] {
            let found = verdict(&reason, ours);
            prop_assert_eq!(found == Failed, code.is_some_and(|code| code >= 400));
            prop_assert!(found != EndedByUs || ours != OurPart::None);
        }
    }
}
