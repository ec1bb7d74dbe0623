//! What the state of a deletion means to its caller: the one reading for those who wait for it and
//! for those who look it up later.

use super::outcome::OutcomeKind;
use crate::model::deletion::{
    DeletionState, ENDED_BEFORE, LEG_ASKED_FOR, LEG_OVER, NO_SUCH_CALL, NO_SUCH_PARTICIPANT,
    OTHER_APP, PLACE_UNKNOWN, RINGS_NO_MORE, TOO_MANY,
};
use crate::model::plan::{Progress, Refusal};

/// What its caller is told of a deletion in this state; none for what it cannot come to yet.
pub(super) fn told(
    state: DeletionState,
    failure: Option<&str>,
    progress: Option<Progress>,
) -> Option<Result<OutcomeKind, Refusal>> {
    Some(match state {
        DeletionState::Open => Ok(OutcomeKind::Accepted),
        DeletionState::Sent | DeletionState::Confirmed => Ok(OutcomeKind::Sent),
        DeletionState::Gone => Ok(OutcomeKind::Gone),
        DeletionState::Held => Err(Refusal::Policy),
        DeletionState::Unknown => Err(Refusal::UnknownOutcome),
        DeletionState::Failed => {
            Err(known(failure).or(partly(progress)).unwrap_or(Refusal::RefusedByGraph))
        }
        DeletionState::Cancelled | DeletionState::Obsolete => {
            // When nobody was removed, it is as if nothing had been asked for.
            let begun = progress.filter(|progress| progress.removed > 0);
            Err(known(failure).or(partly(begun)).unwrap_or(Refusal::Withdrawn))
        }
        DeletionState::Armed => Ok(OutcomeKind::Armed),
        DeletionState::PendingApproval => return None,
    })
}

/// What our own words for a failure say.
fn known(failure: Option<&str>) -> Option<Refusal> {
    Some(match failure? {
        NO_SUCH_CALL | ENDED_BEFORE => Refusal::Ended,
        RINGS_NO_MORE => Refusal::RingsNoMore,
        NO_SUCH_PARTICIPANT => Refusal::ParticipantLeft,
        LEG_OVER | LEG_ASKED_FOR => Refusal::LegOver,
        TOO_MANY => Refusal::TooMany { most: None },
        PLACE_UNKNOWN => Refusal::PlaceUnknown,
        OTHER_APP => Refusal::OtherApp,
        _ => return None,
    })
}

/// When everybody was removed, it is only our own leg that goes on.
fn partly(progress: Option<Progress>) -> Option<Refusal> {
    progress.filter(|progress| progress.removed < progress.of).map(Refusal::Partly)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_in_the_words_of_a_deletion() {
        use DeletionState::{
            Armed, Cancelled, Confirmed, Failed, Gone, Held, Obsolete, Open, PendingApproval, Sent,
            Unknown,
        };
        for (state, expected) in [
            (Open, Some(Ok(OutcomeKind::Accepted))),
            (Sent, Some(Ok(OutcomeKind::Sent))),
            (Confirmed, Some(Ok(OutcomeKind::Sent))),
            (Gone, Some(Ok(OutcomeKind::Gone))),
            (Failed, Some(Err(Refusal::RefusedByGraph))),
            (Held, Some(Err(Refusal::Policy))),
            (Obsolete, Some(Err(Refusal::Withdrawn))),
            (Cancelled, Some(Err(Refusal::Withdrawn))),
            (Unknown, Some(Err(Refusal::UnknownOutcome))),
            (Armed, Some(Ok(OutcomeKind::Armed))),
            (PendingApproval, None),
        ] {
            assert_eq!(told(state, Some("why"), None), expected, "{state}");
        }
    }

    #[test]
    fn what_we_know_of_a_failure_is_told() {
        use DeletionState::{Failed, Obsolete, Unknown};
        let progress = Some(Progress { removed: 1, of: 3 });
        for (state, failure, expected) in [
            (Failed, NO_SUCH_CALL, Refusal::Ended),
            (Obsolete, ENDED_BEFORE, Refusal::Ended),
            (Obsolete, RINGS_NO_MORE, Refusal::RingsNoMore),
            (Failed, NO_SUCH_PARTICIPANT, Refusal::ParticipantLeft),
            (Obsolete, LEG_OVER, Refusal::LegOver),
            (Obsolete, LEG_ASKED_FOR, Refusal::LegOver),
            (Failed, TOO_MANY, Refusal::TooMany { most: None }),
            (Failed, PLACE_UNKNOWN, Refusal::PlaceUnknown),
            (Failed, OTHER_APP, Refusal::OtherApp),
            // A request whose answer was lost may have had an effect, whatever came before it.
            (Unknown, NO_SUCH_CALL, Refusal::UnknownOutcome),
        ] {
            for progress in [None, progress] {
                let found = told(state, Some(failure), progress);
                assert_eq!(found, Some(Err(expected.clone())), "{failure}");
            }
        }
    }

    #[test]
    fn of_everybody_is_told_how_many_are_out() {
        use DeletionState::{Failed, Held, Obsolete, Unknown};
        let told = |state, removed| {
            told(state, None, Some(Progress { removed, of: 3 })).expect("it is over").unwrap_err()
        };
        let partly = |removed| Refusal::Partly(Progress { removed, of: 3 });
        assert_eq!((told(Failed, 0), told(Failed, 2)), (partly(0), partly(2)));
        assert_eq!((told(Obsolete, 0), told(Obsolete, 2)), (Refusal::Withdrawn, partly(2)));
        assert_eq!(
            (told(Failed, 3), told(Obsolete, 3)),
            (Refusal::RefusedByGraph, Refusal::Withdrawn)
        );
        assert_eq!((told(Unknown, 2), told(Held, 2)), (Refusal::UnknownOutcome, Refusal::Policy));
    }
}
