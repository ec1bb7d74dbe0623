//! The reference: what the store should show, read from plain values.

use super::deletions::Recorded;
use super::people::Person;
use super::registry::{Known, Registry};
use crate::clock::Timestamp;
use crate::id::DeletionId;
use crate::model::deletion::{
    DeletionKind, DeletionState, REPEATED_BY_THE_CALLER, REPEATED_BY_THE_STACK,
};
use crate::model::number::masked;
use crate::model::participant::{Invited, ParticipantSelector};
use crate::model::plan::{
    Earlier, Elsewhere, Match, Matches, Operation, Participants, Progress, Replaced, View,
};
use crate::model::selector::StatusWord;
use crate::store::admission::{Ask, Selection};
use crate::store::fixture::NOW;

/// The reference: no SQL, no index, nothing of the resolution's own code.
pub(super) struct Naive<'a> {
    pub(super) registry: &'a Registry,
    pub(super) ask: &'a Ask,
}

impl Naive<'_> {
    /// With `now`, those of the roster count who have not left.
    fn matches(&self, known: &Known, now: bool) -> bool {
        let Selection { selector, tenant_row, match_roster, .. } = &self.ask.selection;
        let is = |asked: &Option<String>, fields: &[Option<&String>]| {
            asked.as_ref().is_none_or(|asked| fields.contains(&Some(asked)))
        };
        let Known { call, chain, thread, join_meeting, platform, native, meeting, .. } = known;
        let by_call_id = selector.call_id.as_ref().is_none_or(|asked| {
            let same =
                |ours: &str| ours == asked || guid(ours).is_some() && guid(ours) == guid(asked);
            same(call.call_id.as_str()) || same(&call.graph_id.0)
        });
        let by_number = selector.extension.as_ref().is_none_or(|asked| {
            let parties = known.parties.iter().map(|party| &party.normalised);
            let roster = known.roster.iter().filter(|one| *match_roster && !(now && one.left));
            let roster = roster.flat_map(|one| [&one.number, &one.user]).flatten();
            parties.chain(roster).any(|number| self.equal(&asked.normalised, number))
        });
        known.tenant == *tenant_row
            && self.exists(known)
            && by_call_id
            && by_number
            && is(&selector.platform_call_id, &[platform.as_ref(), chain.as_ref()])
            && is(&selector.native_id, &[native.as_ref(), Some(&call.graph_id.0)])
            && is(&selector.meeting_id, &[meeting.as_ref(), thread.as_ref(), join_meeting.as_ref()])
    }

    /// One who is or was in the call fits a pattern, or is, under another number, one who does.
    fn exists(&self, known: &Known) -> bool {
        let Selection { patterns, match_roster, .. } = &self.ask.selection;
        let prefixes = || self.ask.peer.split(' ').filter(|prefix| !prefix.is_empty());
        let fits = |number: &str| {
            let fits = |form: &str| patterns.iter().any(|pattern| pattern.fits(form));
            let longer = |prefix| format!("{prefix}{number}");
            let shorter = |prefix| number.strip_prefix(prefix).filter(|rest| short(rest));
            fits(number)
                || short(number) && prefixes().any(|prefix| fits(&longer(prefix)))
                || !short(number) && prefixes().filter_map(shorter).any(fits)
        };
        let parties = known.parties.iter().map(|party| &party.normalised);
        let roster = known.roster.iter().filter(|_| *match_roster);
        let roster = roster.flat_map(|one| [&one.number, &one.user]).flatten();
        patterns.is_empty() || parties.chain(roster).any(|number| fits(number))
    }

    /// A short number is a long one that is a prefix and it; all others are equal to themselves.
    pub(super) fn equal(&self, one: &str, other: &str) -> bool {
        // The prefixes that are in force travel in a field that resolving does not read.
        let prefixes = || self.ask.peer.split(' ').filter(|prefix| !prefix.is_empty());
        one == other
            || short(one) && prefixes().any(|prefix| format!("{prefix}{one}") == other)
            || short(other) && prefixes().any(|prefix| format!("{prefix}{other}") == one)
    }

    fn by_selector(&self, since: Timestamp, abandoned_only: bool) -> Option<Earlier> {
        let kind = &self.ask.question.kind;
        let wanted = |one: &&Recorded| {
            one.kind.as_str() == kind.as_str()
                && one.kind.is_all() == kind.is_all()
                && one.key == self.ask.checked.key.row
                && one.selector == self.ask.selection.canonical
                && one.created_at > since
                && (one.abandoned || !abandoned_only)
        };
        let all = self.registry.deletions.iter().filter(wanted);
        all.max_by_key(|one| (one.created_at, one.row)).map(|one| self.told(one))
    }

    fn told(&self, one: &Recorded) -> Earlier {
        let count = |count: usize| u32::try_from(count).unwrap();
        let progress = || Progress {
            removed: count(one.removals.iter().filter(|one| one.is_sent()).count()),
            of: count(one.removals.len()),
        };
        let is_removal = matches!(one.kind, DeletionKind::DeleteParticipant(_));
        Earlier {
            deletion_id: one.id,
            call_id: self.registry.calls[one.call].call.call_id.clone(),
            state: one.state,
            created_at: one.created_at,
            operation: match &one.removals[..] {
                [] => one.kind.is_all().then_some(Operation::ReadRoster),
                _ => Some(Operation::RemoveParticipant),
            },
            is_all: one.kind.is_all(),
            participant_id: one.target.clone().filter(|_| is_removal),
            progress: one.kind.is_all().then(progress),
            invited: one.invited.clone().and_then(|invited| {
                let Invited { operation_id, participant_id, failed } = invited;
                (!operation_id.is_empty()).then_some(Invited {
                    operation_id,
                    participant_id,
                    failed,
                })
            }),
        }
    }

    fn shown(&self, known: &Known, several: bool) -> Match {
        let other = known.parties.iter().find(|party| {
            let asked = self.ask.selection.selector.extension.as_ref();
            party.kind != "application"
                && asked.is_none_or(|asked| !self.equal(&asked.normalised, &party.normalised))
        });
        let other_party = other.filter(|_| several).map(|party| masked(&party.normalised));
        Match { row: known.row, call: known.call.clone(), other_party }
    }

    fn known(&self, call: &Match) -> usize {
        self.registry.calls.iter().position(|known| known.row == call.row).unwrap()
    }
}

impl View for Naive<'_> {
    type Error = std::convert::Infallible;

    fn matching(&mut self, word: Option<StatusWord>) -> Result<Matches, Self::Error> {
        let now = word == Some(StatusWord::Ongoing);
        let mut found: Vec<_> =
            self.registry.calls.iter().filter(|known| self.matches(known, now)).collect();
        match word {
            None => {}
            Some(StatusWord::Ongoing) => {
                found.retain(|known| known.call.ended_at.is_none() && known.deleted_at.is_none());
            }
            Some(StatusWord::Last) => {
                // What was told of the end counts, and only without that our own deletion.
                let end = |known: &Known| known.call.ended_at.or(known.deleted_at);
                let last = found.iter().filter_map(|known| end(known)).max();
                found.retain(|known| last.is_some() && end(known) == last);
            }
            Some(StatusWord::Next) => found.clear(),
        }
        let count = found.len();
        let calls = found.iter().map(|one| self.shown(one, count > 1)).collect();
        Ok(Matches { count, calls, is_cut: false })
    }

    fn abandoned(&mut self) -> Result<Option<Earlier>, Self::Error> {
        Ok(self.by_selector(NOW - REPEATED_BY_THE_STACK, true))
    }

    fn earlier(&mut self) -> Result<Option<Earlier>, Self::Error> {
        Ok(self.by_selector(NOW - REPEATED_BY_THE_CALLER, false))
    }

    fn armed(&mut self) -> Result<Option<DeletionId>, Self::Error> {
        Ok(None)
    }

    fn deletion_of(&mut self, call: &Match) -> Result<Option<Earlier>, Self::Error> {
        let call = self.known(call);
        let rejects = |kind: &DeletionKind| matches!(kind, DeletionKind::RejectCall(_));
        let counts = |one: &&Recorded| {
            one.call == call
                && one.ends_the_leg()
                && (one.state.is_taken()
                    || one.state == DeletionState::Open
                        && rejects(&one.kind) == rejects(&self.ask.question.kind))
        };
        let all = self.registry.deletions.iter().filter(counts);
        let newest = all.max_by_key(|one| (one.state == DeletionState::Open, one.row));
        Ok(newest.map(|one| self.told(one)))
    }

    fn deletion_at(&mut self, call: &Match, target: &str) -> Result<Option<Earlier>, Self::Error> {
        let call = self.known(call);
        let came_back = |one: &Recorded| {
            let joined = self.registry.calls[call].roster.iter().any(|member| {
                Some(&member.id) == one.target.as_ref()
                    && !member.left
                    && (one.state == DeletionState::Confirmed || member.joined_at >= one.settled_at)
            });
            let invited = self.registry.deletions.iter().any(|other| {
                let invited = other.invited.as_ref().and_then(|one| one.participant_id.as_ref());
                other.call == call
                    && other.row > one.row
                    && invited.is_some_and(|id| Some(id) == one.target.as_ref())
            });
            joined || invited
        };
        let lasts = |one: &Recorded| {
            one.state.is_taken()
                && (one.state != DeletionState::Sent
                    || one.settled_at > NOW - REPEATED_BY_THE_CALLER)
        };
        let may_be_followed = |one: &Recorded| {
            let user = one.invited_user();
            let is_recent = one.created_at > self.ask.now - REPEATED_BY_THE_CALLER;
            let may_be_taken = [DeletionState::Sent, DeletionState::Unknown].contains(&one.state);
            let id = one.invited.as_ref().and_then(|invited| invited.participant_id.as_ref());
            let is_pending = match id {
                Some(id) => self.is_pending(one, id),
                None => self.registry.calls[call]
                    .roster
                    .iter()
                    .all(|member| member.user != user || member.joined_at < one.created_at),
            };
            user.is_some() && is_recent && may_be_taken && is_pending
        };
        let counts = |one: &&Recorded| {
            let is_removal = matches!(one.kind, DeletionKind::DeleteParticipant(_));
            one.call == call
                && one.kind.as_str() == self.ask.question.kind.as_str()
                && one.target.as_deref() == Some(target)
                && (one.state == DeletionState::Open
                    || is_removal && lasts(one) && !came_back(one)
                    || may_be_followed(one))
        };
        let all = self.registry.deletions.iter().filter(counts);
        let newest = all.max_by_key(|one| (one.state == DeletionState::Open, one.row));
        Ok(newest.map(|one| self.told(one)))
    }

    fn participants(
        &mut self,
        call: &Match,
        who: &ParticipantSelector,
    ) -> Result<Participants, Self::Error> {
        let room = self.people(self.known(call));
        let is_meant = |one: &&Person| match who {
            ParticipantSelector::Id(id) => *id == one.id,
            ParticipantSelector::Known(number) => {
                one.names.iter().any(|name| self.equal(&number.normalised, name))
            }
        };
        let meant: Vec<_> = room.iter().filter(is_meant).collect();
        let shown = if meant.is_empty() { room.iter().collect() } else { meant.clone() };
        let elsewhere = match who {
            ParticipantSelector::Id(id) if meant.is_empty() => self.elsewhere(self.known(call), id),
            ParticipantSelector::Known(number) if meant.is_empty() => {
                let is_unnamed = self.is_unnamed(self.known(call), &number.normalised);
                is_unnamed.then_some(Elsewhere::Unnamed)
            }
            _ => None,
        };
        Ok(Participants {
            matching: meant.iter().map(|one| one.id.clone()).collect(),
            elsewhere,
            candidates: shown.into_iter().map(Person::candidate).collect(),
        })
    }

    fn replaced(&mut self, id: &str) -> Result<Replaced, Self::Error> {
        let Selection { tenant_row, patterns, .. } = &self.ask.selection;
        let is = |known: &&Known| {
            known.tenant == *tenant_row
                && self.exists(known)
                && [known.call.call_id.as_str(), &known.call.graph_id.0]
                    .iter()
                    .any(|ours| *ours == id || guid(ours).is_some() && guid(ours) == guid(id))
        };
        let found: Vec<_> = self.registry.calls.iter().filter(is).collect();
        Ok(match found[..] {
            [known] => Replaced::Known(Box::new(self.shown(known, false))),
            [] if patterns.is_empty() => Replaced::Unknown,
            _ => Replaced::Hidden,
        })
    }

    fn held(&mut self, call: &Match) -> Result<bool, Self::Error> {
        let known = &self.registry.calls[self.known(call)];
        Ok(self.registry.holds.iter().any(|(tenant, kind, value)| {
            let is =
                |fields: &[&Option<String>]| fields.iter().any(|one| one.as_ref() == Some(value));
            let graph_id = &known.call.graph_id.0;
            *tenant == known.tenant
                && match *kind {
                    "all" => true,
                    "call" => {
                        known.call.call_id.as_str() == value
                            || graph_id == value
                            || guid(graph_id).as_ref() == Some(value)
                    }
                    "platform_call" => is(&[&known.platform, &known.chain]),
                    "native" => is(&[&known.native]) || graph_id == value,
                    "meeting" => is(&[&known.meeting, &known.thread, &known.join_meeting]),
                    _ => {
                        known.parties.iter().any(|party| party.normalised == *value)
                            || known.roster.iter().any(|one| one.number.as_ref() == Some(value))
                    }
                }
        }))
    }
}

/// It is dialled inside one site.
pub(super) fn short(number: &str) -> bool {
    (1..=7).contains(&number.len()) && number.chars().all(|c| c.is_ascii_digit())
}

/// The one spelling of a GUID.
pub(super) fn guid(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    if digits.len() != 32 {
        return None;
    }
    let plain = digits.to_lowercase();
    let parts = [&plain[..8], &plain[8..12], &plain[12..16], &plain[16..20], &plain[20..]];
    let dashed = parts.join("-");
    let spellings =
        [plain.clone(), dashed.clone(), format!("{{{plain}}}"), format!("{{{dashed}}}")];
    spellings.contains(&text.to_lowercase()).then_some(dashed)
}
