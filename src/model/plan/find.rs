//! How many calls a request means, and among which it could not choose.

use super::{Ambiguity, Candidate, Match, Matches};
use crate::model::selector::StatusWord;

/// How many calls are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found<T> {
    None,
    One(T),
    Several(Ambiguity),
}

/// Finds the one call that is meant, by the words of `status` and `matching`, which gives the calls
/// that the identifiers and a word match. Candidates are listed for those who may see them.
///
/// # Errors
///
/// Those of `matching`; nothing was found out.
pub(crate) fn find<E>(
    status: Option<&[StatusWord]>,
    sees_candidates: bool,
    matching: impl FnMut(Option<StatusWord>) -> Result<Matches, E>,
) -> Result<Found<Match>, E> {
    let mut matches = first_matches(status, matching)?;
    Ok(match matches.calls.pop() {
        None => Found::None,
        Some(one) if matches.count == 1 && !matches.is_cut => Found::One(one),
        Some(last) => {
            matches.calls.push(last);
            // One more may match, of those that were not looked at.
            let count = matches.count + usize::from(matches.is_cut);
            let count = count.min(Ambiguity::COUNTED + 1);
            Found::Several(ambiguity(status, sees_candidates, count, &matches.calls))
        }
    })
}

/// The first status word that matches any call, or may match one, decides which calls are meant.
fn first_matches<E>(
    status: Option<&[StatusWord]>,
    mut matching: impl FnMut(Option<StatusWord>) -> Result<Matches, E>,
) -> Result<Matches, E> {
    let Some(words) = status else { return matching(None) };
    for word in words {
        // Nothing that exists can match the word that arms a deletion.
        if *word == StatusWord::Next {
            continue;
        }
        let matches = matching(Some(*word))?;
        if matches.count > 0 || matches.is_cut {
            return Ok(matches);
        }
    }
    Ok(Matches::default())
}

fn ambiguity(
    status: Option<&[StatusWord]>,
    sees_candidates: bool,
    count: usize,
    calls: &[Match],
) -> Ambiguity {
    let running = calls.iter().filter(|one| one.call.ended_at.is_none()).count();
    let status_would_decide =
        status.is_none() && count == calls.len() && (running == 1 || calls.len() - running == 1);
    let candidates = if sees_candidates { calls } else { &[] };
    Ambiguity {
        count,
        decided_by: if status_would_decide { "status" } else { "callID" },
        candidates: candidates
            .iter()
            .take(Ambiguity::LISTED)
            .map(|one| Candidate {
                call_id: one.call.call_id.clone(),
                state: one.call.state,
                started_at: one.call.started_at,
                other_party: one.other_party.clone(),
            })
            .collect(),
    }
}
