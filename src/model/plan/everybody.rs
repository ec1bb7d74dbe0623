//! Everybody's leg and ours: a deletion of all that does not get on gives way to one of our leg alone.

use super::{Earlier, Operation, Question};
use crate::model::deletion::{DeletionKind, REPEATED_BY_THE_STACK, Scope};

/// The earlier deletion is still to remove others from the call, and has been for so long that the request
/// to end our leg alone is no repeat of it: our leg must not wait for others who cannot be removed.
pub(super) fn gives_way(question: &Question, earlier: &Earlier) -> bool {
    // Once all have been removed, and in a call that rings, our leg is what is being ended.
    let removes = [Some(Operation::ReadRoster), Some(Operation::RemoveParticipant)];
    matches!(question.kind, DeletionKind::DeleteCall(Scope::Leg))
        && earlier.is_all
        && earlier.state.is_open()
        && removes.contains(&earlier.operation)
        && question.now.since(earlier.created_at) > REPEATED_BY_THE_STACK
}
