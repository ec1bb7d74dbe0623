//! The decision: what a request for a deletion leads to, given what the store shows of it.
//!
//! Pure. The store implements [`View`] inside the transaction that also records the result, so what
//! is decided here is still true when it is written. Nothing in here knows codes or markup.

mod everybody;
mod find;
mod next;
mod order;
mod participant;
mod refusal;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{CallId, DeletionId};
use crate::model::call::{Call, CallState};
use crate::model::deletion::{DeletionKind, DeletionState};
use crate::model::participant::{Invited, ParticipantSelector};
use crate::model::reconcile::is_same_app;
use crate::model::selector::StatusWord;

pub(crate) use self::find::{Found, find};
pub(crate) use self::order::{Operation, Order, RejectReason};
pub(crate) use self::refusal::{Ambiguity, Candidate, ParticipantCandidate, Progress, Refusal};

/// For so long a call is believed to be ending without a deletion of ours. Its end may never be
/// told, and then waiting for it would be a promise that nobody keeps.
pub(crate) const ENDING_IS_BELIEVED: Duration = Duration::from_mins(1);

/// What the decision depends on besides the view.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct Question {
    pub(crate) kind: DeletionKind,
    /// The time of the request.
    pub(crate) now: Timestamp,
    /// The status words, when the parameter was sent.
    pub(crate) status: Option<Vec<StatusWord>>,
    /// `next` among the status words arms a deletion; it is skipped otherwise.
    pub(crate) may_arm: bool,
    /// Nothing is to be recorded.
    pub(crate) dry_run: bool,
    /// `legacy.on_ended = "success"`.
    pub(crate) ended_is_success: bool,
    /// The app of the tenant, whose calls alone it may end.
    pub(crate) client_id: Option<String>,
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

    /// The deletion by the same key and selector that is armed.
    fn armed(&mut self) -> Result<Option<DeletionId>, Self::Error>;

    /// The deletion that ends our leg of this call and that Graph has taken, or that is open and of the
    /// question's kind; for a question about one participant, an open `DeleteCall`. One that is open
    /// comes first.
    fn deletion_of(&mut self, call: &Match) -> Result<Option<Earlier>, Self::Error>;

    /// The deletion of the question's kind that has this target in the call and is open; or, of a
    /// removal, that Graph has taken, unless the participant was told of as joining since, or was
    /// invited; or, of an invitation, that Graph has taken or may have taken within
    /// [`REPEATED_BY_THE_CALLER`](crate::model::deletion::REPEATED_BY_THE_CALLER), while it may still be
    /// followed.
    fn deletion_at(&mut self, call: &Match, target: &str) -> Result<Option<Earlier>, Self::Error>;

    /// Those in the call whom this selector means.
    fn participants(
        &mut self,
        call: &Match,
        who: &ParticipantSelector,
    ) -> Result<Participants, Self::Error>;

    /// The call that an invitation is to replace, by an id, ours or Graph's.
    fn replaced(&mut self, id: &str) -> Result<Replaced, Self::Error>;

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

/// Whom in a call a selector means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Participants {
    /// Graph's ids of those who match, who have not left, each once.
    pub(crate) matching: Vec<String>,
    /// For an id that is nobody's who may be removed: what else is known of it.
    pub(crate) elsewhere: Option<Elsewhere>,
    /// Those who match, or everybody in the call when nobody does; the first
    /// [`Ambiguity::LISTED`] of them.
    pub(crate) candidates: Vec<ParticipantCandidate>,
}

/// What is known of a participant id that is nobody's who may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// Our own place in the call: that ends with the call only.
    Ourselves,
    /// This one was in the call and has left.
    Left,
    /// This one is or was in another call.
    InAnotherCall,
    /// This one was invited, or may have been, and Graph has not told the id yet.
    Unnamed,
}

/// The call that somebody leaves for another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Replaced {
    /// This one.
    Known(Box<Match>),
    /// It does not exist for this key, or cannot be told from others.
    Hidden,
    /// Nothing is known of it.
    Unknown,
}

/// A deletion that was recorded before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Earlier {
    pub(crate) deletion_id: DeletionId,
    pub(crate) call_id: CallId,
    pub(crate) state: DeletionState,
    /// What was sent last, or is to be sent.
    pub(crate) operation: Option<Operation>,
    /// It was to end everybody's leg.
    pub(crate) is_all: bool,
    pub(crate) created_at: Timestamp,
    /// Of the removal of one participant: Graph's id of that one.
    pub(crate) participant_id: Option<String>,
    /// Of one that was to end everybody's leg: how far it got.
    pub(crate) progress: Option<Progress>,
    /// Of an invitation that Graph took.
    pub(crate) invited: Option<Invited>,
}

/// What a request leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Record a deletion of this call and send the operation.
    Admit { call: Match, order: Order },
    /// A deletion of the same call is under way; this request shares its fate.
    Join(Earlier),
    /// Graph has taken an earlier deletion of ours.
    AlreadyDeleted(Earlier),
    /// The call was seen being ended by others just now; there is nothing to add.
    Ending { call_id: CallId },
    /// The call has ended, and that counts as success here.
    AlreadyEnded { call_id: CallId },
    /// A dry run of what would be admitted.
    WouldSend { call_id: CallId, order: Order },
    /// Record a deletion of the first call of the number that begins in time.
    Arm,
    /// A deletion by the same key and selector is armed already.
    JoinArmed(DeletionId),
    /// A dry run of what would be armed.
    WouldArm,
    /// Nothing is done.
    Refuse { refusal: Refusal, call_id: Option<CallId> },
}

/// Decides what the request for a deletion of the one call leads to.
///
/// # Errors
///
/// Those of the view; nothing was decided.
pub(crate) fn decide<V: View>(question: &Question, view: &mut V) -> Result<Decision, V::Error> {
    let is_invitation = matches!(question.kind, DeletionKind::InviteParticipant(_));
    if let Some(earlier) = view.abandoned()?
        && (earlier.state.is_open()
            || earlier.state.is_taken()
            // Whoever may have been invited is not invited again because a stack repeated itself.
            || is_invitation && earlier.state == DeletionState::Unknown)
    {
        return Ok(Decision::Join(earlier));
    }
    let (status, arms) = next::words(question);
    let mut is_cut = false;
    let found = find(status, question.sees_candidates, |word| {
        let matches = view.matching(word)?;
        is_cut |= matches.is_cut;
        Ok(matches)
    })?;
    match found {
        // A call that was not looked at is not one that an earlier deletion has taken.
        Found::None if is_cut => Ok(Decision::Refuse { refusal: Refusal::NotFound, call_id: None }),
        Found::None if arms => next::arm(question, view),
        Found::None => Ok(match view.earlier()? {
            // People leave, and an invitation that was taken says nothing of the next one.
            Some(earlier) if earlier.state.is_taken() && !is_invitation => {
                Decision::AlreadyDeleted(earlier)
            }
            Some(earlier) if earlier.state.is_open() => Decision::Join(earlier),
            _ => Decision::Refuse { refusal: Refusal::NotFound, call_id: None },
        }),
        Found::One(one) => decide_one(question, view, &one),
        Found::Several(ambiguity) => {
            Ok(Decision::Refuse { refusal: Refusal::Ambiguous(ambiguity), call_id: None })
        }
    }
}

fn decide_one<V: View>(
    question: &Question,
    view: &mut V,
    one: &Match,
) -> Result<Decision, V::Error> {
    if is_of_another_app(question, one) {
        return Ok(refuse(one, Refusal::OtherApp));
    }
    match &question.kind {
        DeletionKind::DeleteCall(_) | DeletionKind::RejectCall(_) => {
            decide_leg(question, view, one)
        }
        DeletionKind::DeleteParticipant(who) => participant::remove(question, view, one, who),
        DeletionKind::InviteParticipant(invitation) => {
            participant::invite(question, view, one, invitation)
        }
    }
}

/// Decides what ends our leg of the call, alone or after everybody else's.
fn decide_leg<V: View>(
    question: &Question,
    view: &mut V,
    one: &Match,
) -> Result<Decision, V::Error> {
    // None of these adds an effect, so a hold that came later changes nothing about them; the
    // sender looks for holds itself.
    match view.deletion_of(one)? {
        Some(earlier) if everybody::gives_way(question, &earlier) => {}
        Some(earlier) if earlier.state.is_open() || earlier.state.is_taken() => {
            return Ok(repeated(question, one, earlier));
        }
        _ => {}
    }
    let call_id = one.call.call_id.clone();
    if view.held(one)? {
        return Ok(refuse(one, Refusal::Policy));
    }
    // What rings for longer is about to be ended by Graph, or was answered without a word.
    let rings = one.call.rings_until.is_some_and(|until| question.now < until);
    if let (DeletionKind::RejectCall(_), false) = (&question.kind, rings) {
        let is_over = one.call.ended_at.is_some() || one.call.state >= CallState::Terminating;
        return Ok(refuse(one, if is_over { Refusal::Ended } else { Refusal::RingsNoMore }));
    }
    if one.call.ended_at.is_some() {
        if question.ended_is_success {
            return Ok(Decision::AlreadyEnded { call_id });
        }
    } else if is_ending(question, one) {
        // Others end our leg only: whoever else is in the call stays.
        let is_all = question.kind.is_all();
        return Ok(if is_all {
            refuse(one, Refusal::LegOver)
        } else {
            Decision::Ending { call_id }
        });
    }
    Ok(send(question, one, order(&question.kind, rings, one.call.ended_at.is_some())))
}

/// The answer of an earlier deletion of this call that is open, or that Graph has taken.
fn repeated(question: &Question, one: &Match, earlier: Earlier) -> Decision {
    if question.kind.is_all() && !earlier.is_all {
        // Once our leg has ended, the others cannot be removed any more.
        refuse(one, participant::leg_over(&earlier))
    } else if matches!(question.kind, DeletionKind::RejectCall(_))
        && earlier.state.is_taken()
        && earlier.operation != Some(Operation::Reject)
    {
        // What was hung up was not rejected.
        refuse(one, Refusal::Ended)
    } else if earlier.state.is_open() {
        Decision::Join(earlier)
    } else {
        Decision::AlreadyDeleted(earlier)
    }
}

/// What ends a call. In one that rings there is nobody else, and in one that has ended nobody at all.
pub(crate) fn order(kind: &DeletionKind, rings: bool, has_ended: bool) -> Order {
    if rings {
        Order::Reject(kind.reject_reason())
    } else if kind.is_all() && !has_ended {
        Order::ReadRoster
    } else {
        Order::HangUp
    }
}

/// Graph told of the call to another app than the tenant's.
fn is_of_another_app(question: &Question, one: &Match) -> bool {
    one.call
        .app_id
        .as_ref()
        .zip(question.client_id.as_ref())
        .is_some_and(|(app_id, client_id)| !is_same_app(app_id, client_id))
}

/// The call is being ended, and that was told so lately that its end is believed.
fn is_ending(question: &Question, one: &Match) -> bool {
    one.call.state == CallState::Terminating
        && question.now.since(one.call.last_seen_at) <= ENDING_IS_BELIEVED
}

fn send(question: &Question, one: &Match, order: Order) -> Decision {
    if question.dry_run {
        Decision::WouldSend { call_id: one.call.call_id.clone(), order }
    } else {
        Decision::Admit { call: one.clone(), order }
    }
}

fn refuse(one: &Match, refusal: Refusal) -> Decision {
    Decision::Refuse { refusal, call_id: Some(one.call.call_id.clone()) }
}
