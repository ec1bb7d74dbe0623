//! Among whom a request could not choose: calls, or people in a call.

use crate::model::plan::{Candidate, ParticipantCandidate, Refusal};

/// Those that the caller may see; at least one.
pub(super) struct Candidates {
    /// What they are, for people.
    pub(super) heading: &'static str,
    /// The attributes of each, in the order they are written.
    pub(super) rows: Vec<Vec<(&'static str, String)>>,
}

impl Candidates {
    /// Those of this refusal, where it has any.
    pub(super) fn of(refusal: &Refusal) -> Option<Self> {
        let (heading, rows): (_, Vec<_>) = match refusal {
            Refusal::Ambiguous(ambiguity) => {
                ("Calls that match", ambiguity.candidates.iter().map(call).collect())
            }
            Refusal::AmbiguousParticipant { candidates, .. } => {
                ("Participants that match", candidates.iter().map(participant).collect())
            }
            Refusal::NoParticipant(candidates) => {
                ("Participants of the call", candidates.iter().map(participant).collect())
            }
            _ => return None,
        };
        (!rows.is_empty()).then_some(Self { heading, rows })
    }
}

fn call(candidate: &Candidate) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("callID", candidate.call_id.to_string()),
        ("state", candidate.state.as_str().to_owned()),
    ];
    facts.extend(candidate.started_at.map(|at| ("startedAt", at.to_string())));
    facts.extend(candidate.other_party.clone().map(|party| ("otherParty", party)));
    facts
}

fn participant(candidate: &ParticipantCandidate) -> Vec<(&'static str, String)> {
    let state = if candidate.is_invited { "invited" } else { "joined" };
    let mut facts =
        vec![("participantID", candidate.participant_id.clone()), ("state", state.to_owned())];
    facts.extend(candidate.party.clone().map(|party| ("party", party)));
    facts
}
