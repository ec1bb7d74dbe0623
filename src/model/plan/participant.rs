//! The decision about one participant: whom a removal means, and whether somebody may be invited.
//!
//! Both need our own leg of the call: once it ends, Graph takes neither.

use super::{
    Decision, Earlier, Elsewhere, Match, Order, ParticipantCandidate, Participants, Question,
    Refusal, Replaced, View, is_ending, is_of_another_app, refuse, send,
};
use crate::id::canonical_guid;
use crate::model::participant::{Invitation, ParticipantSelector};

/// Decides what the request to remove one participant leads to.
///
/// # Errors
///
/// Those of the view; nothing was decided.
pub(super) fn remove<V: View>(
    question: &Question,
    view: &mut V,
    one: &Match,
    who: &ParticipantSelector,
) -> Result<Decision, V::Error> {
    let leg_over = leg_over_by_us(view, one)?;
    let has_ended = one.call.ended_at.is_some();
    // Whom a number means cannot be known any more, and need not when the end is as good.
    if has_ended && !question.ended_is_success && matches!(who, ParticipantSelector::Known(_)) {
        return repeated_or(view, one, Refusal::LegOver);
    }
    let participants = view.participants(one, who)?;
    let is_told = !participants.matching.is_empty() || participants.elsewhere.is_some();
    let target = match target(question, who, participants) {
        Ok(target) => target,
        Err(refusal @ (Refusal::NoParticipant(_) | Refusal::Unnamed)) => {
            return repeated_or(view, one, leg_over.unwrap_or(refusal));
        }
        Err(refusal) => return Ok(refuse(one, refusal)),
    };
    // Neither of these adds an effect, so no hold changes anything about them.
    match view.deletion_at(one, &target)? {
        Some(earlier) if earlier.state.is_open() => return Ok(Decision::Join(earlier)),
        Some(earlier) if earlier.state.is_taken() => return Ok(Decision::AlreadyDeleted(earlier)),
        _ => {}
    }
    if let Some(refusal) = leg_over {
        return Ok(refuse(one, refusal));
    }
    if view.held(one)? {
        return Ok(refuse(one, Refusal::Policy));
    }
    // Of an id that nobody told of, nobody knows that it was of this call.
    if has_ended && question.ended_is_success && is_told {
        return Ok(Decision::AlreadyEnded { call_id: one.call.call_id.clone() });
    }
    Ok(send(question, one, Order::RemoveParticipant(target)))
}

/// Decides what the request to invite one user leads to.
///
/// # Errors
///
/// Those of the view; nothing was decided.
pub(super) fn invite<V: View>(
    question: &Question,
    view: &mut V,
    one: &Match,
    invitation: &Invitation,
) -> Result<Decision, V::Error> {
    let is_over = one.call.ended_at.is_some() || is_ending(question, one);
    let by_us = leg_over_by_us(view, one)?;
    if let Some(refusal) = by_us.or(is_over.then_some(Refusal::LegOver)) {
        return Ok(refuse(one, refusal));
    }
    let mut invitation = invitation.clone();
    if let Some(id) = &invitation.replaces {
        match view.replaced(id)? {
            // Nobody leaves a call for the same call.
            Replaced::Known(replaced) if replaced.row == one.row => {
                return Ok(refuse(one, Refusal::ReplacesItself));
            }
            Replaced::Known(replaced) if is_of_another_app(question, &replaced) => {
                return Ok(refuse(one, Refusal::OtherApp));
            }
            // The user leaves that call, and it may end by that.
            Replaced::Known(replaced) if view.held(&replaced)? => {
                return Ok(refuse(one, Refusal::Policy));
            }
            Replaced::Known(replaced) => invitation.replaces = Some(replaced.call.graph_id.0),
            Replaced::Hidden => return Ok(refuse(one, Refusal::NotFound)),
            // So a hold is found on it once it is known.
            Replaced::Unknown => invitation.replaces = canonical_guid(id).or(invitation.replaces),
        }
    }
    // Whoever may be on his way is not invited once more. Of one who joined, or never will, nothing is
    // shown: people leave and are invited again.
    if let Some(earlier) = view.deletion_at(one, &invitation.target())? {
        return Ok(Decision::Join(earlier));
    }
    if view.held(one)? {
        return Ok(refuse(one, Refusal::Policy));
    }
    Ok(send(question, one, Order::Invite(invitation)))
}

/// Why nothing can be done in a call whose leg of ours a deletion of ours ends, or has ended.
fn leg_over_by_us<V: View>(view: &mut V, one: &Match) -> Result<Option<Refusal>, V::Error> {
    let earlier = view.deletion_of(one)?;
    let counts = |earlier: &Earlier| earlier.state.is_open() || earlier.state.is_taken();
    Ok(earlier.filter(counts).map(|earlier| leg_over(&earlier)))
}

/// The same, given that deletion.
pub(super) fn leg_over(earlier: &Earlier) -> Refusal {
    if earlier.state.is_open() { Refusal::LegEnding } else { Refusal::LegOver }
}

/// The removal in this call that the same key made by the same selector, or `refusal`: whoever was
/// removed is found by no number any more.
fn repeated_or<V: View>(view: &mut V, one: &Match, refusal: Refusal) -> Result<Decision, V::Error> {
    let here = view.earlier()?.filter(|earlier| earlier.call_id == one.call.call_id);
    Ok(match here {
        Some(earlier) if earlier.state.is_open() => Decision::Join(earlier),
        Some(earlier) if earlier.state.is_taken() => Decision::AlreadyDeleted(earlier),
        _ => refuse(one, refusal),
    })
}

/// Graph's id of the one participant that is meant.
///
/// An id that nobody has told us of is taken as it is, because rosters may not have been told; Graph
/// decides.
fn target(
    question: &Question,
    who: &ParticipantSelector,
    participants: Participants,
) -> Result<String, Refusal> {
    let Participants { mut matching, elsewhere, candidates } = participants;
    let shown = |candidates: Vec<ParticipantCandidate>| {
        if question.sees_candidates { candidates } else { Vec::new() }
    };
    match (matching.pop(), who) {
        (Some(only), _) if matching.is_empty() => Ok(only),
        (Some(_), _) => Err(Refusal::AmbiguousParticipant {
            count: matching.len() + 1,
            candidates: shown(candidates),
        }),
        (None, ParticipantSelector::Id(id))
            if matches!(elsewhere, None | Some(Elsewhere::Left)) =>
        {
            Ok(id.clone())
        }
        (None, _) => Err(match elsewhere {
            Some(Elsewhere::Ourselves) => Refusal::OurOwnPlace,
            Some(Elsewhere::Unnamed) => Refusal::Unnamed,
            _ => Refusal::NoParticipant(shown(candidates)),
        }),
    }
}
