//! The decision: what a request for a deletion leads to, given what the store shows of it.
//!
//! Pure. The store implements [`View`] inside the transaction that also records the result, so what
//! is decided here is still true when it is written. Nothing in here knows codes or markup.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{CallId, DeletionId};
use crate::model::call::{Call, CallState};
use crate::model::deletion::{DeletionKind, DeletionState};
use crate::model::selector::StatusWord;

/// For so long a call is believed to be ending without a deletion of ours. Its end may never be
/// told, and then waiting for it would be a promise that nobody keeps.
pub(crate) const ENDING_IS_BELIEVED: Duration = Duration::from_mins(1);

/// What the decision depends on besides the view.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) kind: DeletionKind,
    /// The time of the request.
    pub(crate) now: Timestamp,
    /// The status words, when the parameter was sent.
    pub(crate) status: Option<Vec<StatusWord>>,
    /// Nothing is to be recorded.
    pub(crate) dry_run: bool,
    /// `legacy.on_ended = "success"`.
    pub(crate) ended_is_success: bool,
    /// The key may see the candidates of an ambiguous answer.
    pub(crate) sees_candidates: bool,
}

/// What the store knows of the calls and deletions that a selector names.
pub(crate) trait View {
    /// Why the store could not be asked.
    type Error;

    /// The calls that the identifiers and this status word match.
    fn matching(&mut self, word: Option<StatusWord>) -> Result<Matches, Self::Error>;

    /// The last deletion by the same key and selector whose client went away before the answer,
    /// within [`REPEATED_BY_THE_STACK`](crate::model::deletion::REPEATED_BY_THE_STACK).
    fn abandoned(&mut self) -> Result<Option<Earlier>, Self::Error>;

    /// The last deletion by the same key and selector, within
    /// [`REPEATED_BY_THE_CALLER`](crate::model::deletion::REPEATED_BY_THE_CALLER).
    fn earlier(&mut self) -> Result<Option<Earlier>, Self::Error>;

    /// The deletion of this call and of the question's kind that is open, or the one of whatever kind
    /// that Graph has taken.
    fn deletion_of(&mut self, call: &Match) -> Result<Option<Earlier>, Self::Error>;

    /// A hold stands on this call.
    fn held(&mut self, call: &Match) -> Result<bool, Self::Error>;
}

/// The calls that match, the first [`Ambiguity::LISTED`] of them at least.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matches {
    /// How many there are; counting stops past [`Ambiguity::COUNTED`].
    pub(crate) count: usize,
    pub(crate) calls: Vec<Match>,
    /// Calls that may match as well were not looked at, because there are too many: one that was
    /// found is not the only one, and none that was found means nothing.
    pub(crate) is_cut: bool,
}

/// A call that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    /// The store's own number of it.
    pub(crate) row: i64,
    pub(crate) call: Call,
    /// The other party's number, masked.
    pub(crate) other_party: Option<String>,
}

/// A deletion that was recorded before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Earlier {
    pub(crate) deletion_id: DeletionId,
    pub(crate) call_id: CallId,
    pub(crate) state: DeletionState,
    /// What was sent last, or is to be sent.
    pub(crate) operation: Option<Operation>,
}

/// What a request leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Record a deletion of this call and send the operation.
    Admit { call: Match, operation: Operation },
    /// A deletion of the same call is under way; this request shares its fate.
    Join(Earlier),
    /// Graph has taken an earlier deletion of ours.
    AlreadyDeleted(Earlier),
    /// The call was seen being ended by others just now; there is nothing to add.
    Ending { call_id: CallId },
    /// The call has ended, and that counts as success here.
    AlreadyEnded { call_id: CallId },
    /// A dry run of what would be admitted.
    WouldSend { call_id: CallId, operation: Operation },
    /// Nothing is done.
    Refuse { refusal: Refusal, call_id: Option<CallId> },
}

/// Decides what the request for a deletion of the one call leads to.
///
/// # Errors
///
/// Those of the view; nothing was decided.
pub(crate) fn decide<V: View>(question: &Question, view: &mut V) -> Result<Decision, V::Error> {
    if let Some(earlier) = view.abandoned()?
        && (earlier.state.is_open() || earlier.state.is_taken())
    {
        return Ok(Decision::Join(earlier));
    }
    let status = question.status.as_deref();
    let mut is_cut = false;
    let found = find(status, question.sees_candidates, |word| {
        let matches = view.matching(word)?;
        is_cut |= matches.is_cut;
        Ok(matches)
    })?;
    match found {
        // A call that was not looked at is not one that an earlier deletion has taken.
        Found::None if is_cut => Ok(Decision::Refuse { refusal: Refusal::NotFound, call_id: None }),
        Found::None => Ok(match view.earlier()? {
            Some(earlier) if earlier.state.is_taken() => Decision::AlreadyDeleted(earlier),
            Some(earlier) if earlier.state.is_open() => Decision::Join(earlier),
            _ => Decision::Refuse { refusal: Refusal::NotFound, call_id: None },
        }),
        Found::One(one) => decide_one(question, view, &one),
        Found::Several(ambiguity) => {
            Ok(Decision::Refuse { refusal: Refusal::Ambiguous(ambiguity), call_id: None })
        }
    }
}

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
        // No key can have the right to arm a deletion yet: the word is skipped.
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

fn decide_one<V: View>(
    question: &Question,
    view: &mut V,
    one: &Match,
) -> Result<Decision, V::Error> {
    // Neither of these adds an effect, so a hold that came later changes nothing about them; the
    // sender looks for holds itself.
    match view.deletion_of(one)? {
        Some(earlier) if earlier.state.is_open() => return Ok(Decision::Join(earlier)),
        Some(earlier) if earlier.state.is_taken() => return Ok(Decision::AlreadyDeleted(earlier)),
        _ => {}
    }
    let call_id = one.call.call_id.clone();
    if view.held(one)? {
        return Ok(Decision::Refuse { refusal: Refusal::Policy, call_id: Some(call_id) });
    }
    // What rings for longer is about to be ended by Graph, or was answered without a word.
    let rings = one.call.rings_until.is_some_and(|until| question.now < until);
    if let (DeletionKind::RejectCall(_), false) = (question.kind, rings) {
        let is_over = one.call.ended_at.is_some() || one.call.state >= CallState::Terminating;
        let refusal = if is_over { Refusal::Ended } else { Refusal::RingsNoMore };
        return Ok(Decision::Refuse { refusal, call_id: Some(call_id) });
    }
    if one.call.ended_at.is_some() {
        if question.ended_is_success {
            return Ok(Decision::AlreadyEnded { call_id });
        }
    } else if one.call.state == CallState::Terminating
        && question.now.since(one.call.last_seen_at) <= ENDING_IS_BELIEVED
    {
        return Ok(Decision::Ending { call_id });
    }
    let operation = if rings { Operation::Reject } else { Operation::HangUp };
    Ok(if question.dry_run {
        Decision::WouldSend { call_id, operation }
    } else {
        Decision::Admit { call: one.clone(), operation }
    })
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

/// What is asked of Graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `hang-up`
    HangUp,
    /// `reject`
    Reject,
    /// `remove-participant`
    RemoveParticipant,
    /// `invite`
    Invite,
}

impl Operation {
    const ALL: [Self; 4] = [Self::HangUp, Self::Reject, Self::RemoveParticipant, Self::Invite];

    /// Reads its word back.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == word)
    }

    /// Its word in answers, columns and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::HangUp => "hang-up",
            Self::Reject => "reject",
            Self::RemoveParticipant => "remove-participant",
            Self::Invite => "invite",
        }
    }
}

/// Why a call is rejected, as whoever calls is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RejectReason {
    /// `none`
    #[default]
    None,
    /// `busy`
    Busy,
    /// `forbidden`
    Forbidden,
}

impl RejectReason {
    const ALL: [Self; 3] = [Self::None, Self::Busy, Self::Forbidden];

    /// Reads Graph's word, in any case.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str().eq_ignore_ascii_case(word))
    }

    /// Graph's word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Busy => "busy",
            Self::Forbidden => "forbidden",
        }
    }
}

/// Why nothing is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No call matches.
    NotFound,
    /// No deletion of this key has the id.
    NoSuchDeletion,
    /// The call has ended; Graph said so.
    Ended,
    /// The call is not known to ring, or not any more, so that it cannot be rejected.
    RingsNoMore,
    /// Several calls match.
    Ambiguous(Ambiguity),
    /// A hold or another rule forbids it.
    Policy,
    /// The key lacks the right; which one, in our words.
    NotPermitted(&'static str),
    /// Graph refused for good.
    RefusedByGraph,
    /// It may or may not have been done.
    UnknownOutcome,
    /// Graph has not answered in time, and nothing will be sent.
    Withdrawn,
    /// A browser or scanner asked ahead of its user.
    Prefetch,
}

/// Several calls match a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguity {
    /// How many match; counting stops at [`Ambiguity::COUNTED`].
    pub(crate) count: usize,
    /// The parameter that would decide, such as `status` or `callID`.
    pub(crate) decided_by: &'static str,
    /// The first ten, when the key may see them.
    pub(crate) candidates: Vec<Candidate>,
}

impl Ambiguity {
    /// More matches than this are not told apart.
    pub(crate) const COUNTED: usize = 100;
    /// More candidates than this are not listed.
    pub(crate) const LISTED: usize = 10;
}

/// One of several calls that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) call_id: CallId,
    pub(crate) state: CallState,
    pub(crate) started_at: Option<Timestamp>,
    /// Masked to its last three digits.
    pub(crate) other_party: Option<String>,
}
