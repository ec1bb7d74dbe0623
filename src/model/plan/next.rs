//! `status=next`: nothing that exists matches, and a deletion is armed for a call that has not begun.

use super::{Decision, Question, View};
use crate::model::selector::StatusWord;

/// The words that are tried among the calls there are, and whether a deletion is armed when none of
/// them matches. What follows `next` is never tried, because arming always matches.
pub(super) fn words(question: &Question) -> (Option<&[StatusWord]>, bool) {
    let words = question.status.as_deref();
    let next = words.and_then(|words| words.iter().position(|word| *word == StatusWord::Next));
    match (words, next) {
        (Some(words), Some(at)) if question.may_arm => (Some(&words[..at]), true),
        _ => (words, false),
    }
}

/// Arms a deletion, unless the same is armed already.
pub(super) fn arm<V: View>(question: &Question, view: &mut V) -> Result<Decision, V::Error> {
    Ok(match view.armed()? {
        Some(deletion) => Decision::JoinArmed(deletion),
        None if question.dry_run => Decision::WouldArm,
        None => Decision::Arm,
    })
}
