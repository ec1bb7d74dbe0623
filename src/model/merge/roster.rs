//! Who is in a call, as far as was told.
//!
//! Of each participant the news with the highest sequence number counts, whenever it comes, and of
//! two with the same the one that says "has left". News without a number count by their arrival.
//! Where nothing tells which news are newer, somebody has left: to miss a call that somebody is in
//! does less harm than to end one that somebody has left.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::model::change::{Participant, RosterChange};
use crate::model::number::Number;

/// What is known of those who are or were in a call: of all, or of those that a change names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    /// By participant id.
    pub(crate) members: BTreeMap<String, Member>,
    /// The highest sequence number of a whole roster that was told: who was not in it had left.
    pub(crate) whole: Option<i64>,
}

/// One who is or was in a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) raw: Option<String>,
    pub(crate) normalised: Option<String>,
    /// As it is compared.
    pub(crate) user_id: Option<String>,
    pub(crate) display_name: Option<String>,
    /// Of an application, as it is compared.
    pub(crate) app_id: Option<String>,
    /// When the present stay, or the last one, became known.
    pub(crate) joined_at: Option<Timestamp>,
    pub(crate) left_at: Option<Timestamp>,
    /// That of the news that count, of those that name this one.
    pub(crate) sequence: Option<i64>,
}

impl Roster {
    /// Adds what `change` says at `now`. Gives the ids of those of whom something changed.
    ///
    /// A whole roster has no number of its own; it is as new as the newest entry in it, at least, and
    /// older than what another whole one said of somebody in it under a higher number. Who is missing
    /// in it has left, unless it is older by that than the joining of the missing one.
    pub(crate) fn merge(&mut self, change: &RosterChange, now: Timestamp) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        match change {
            RosterChange::Whole(participants) => {
                let number = participants.iter().filter_map(|one| one.sequence).max();
                self.leave_all_but(participants, now, &mut changed);
                for one in participants {
                    self.tell(one, one.sequence.or(number), now, &mut changed);
                }
                self.whole = self.whole.max(number);
            }
            RosterChange::Delta { sequence, participants } => {
                for one in participants {
                    // That of the entry may be older: it says when it changed last, and being
                    // removed may not count.
                    self.tell(one, one.sequence.max(*sequence), now, &mut changed);
                }
            }
            RosterChange::Left(id) => {
                if let Some(member) = self.members.get_mut(id)
                    && member.leave(now)
                {
                    changed.insert(id.clone());
                }
            }
        }
        changed
    }

    fn leave_all_but(
        &mut self,
        present: &[Participant],
        now: Timestamp,
        changed: &mut BTreeSet<String>,
    ) {
        // Who has left may have the number of another's entry, or of a change, which may be counted
        // apart: they prove nothing.
        let newer = |one: &Participant| {
            let member = self.members.get(&one.participant_id)?;
            let known = member.sequence.filter(|_number| member.left_at.is_none())?;
            let is_newer = one.sequence.is_some_and(|told| told < known);
            (is_newer && Some(known) <= self.whole).then_some(known)
        };
        let older_than = present.iter().filter_map(newer).min();
        let present: BTreeSet<_> = present.iter().map(|one| one.participant_id.as_str()).collect();
        for (id, member) in &mut self.members {
            if present.contains(id.as_str()) || member.left_at.is_some() {
                continue;
            }
            if older_than.is_some() && member.sequence >= older_than {
                continue;
            }
            member.leave(now);
            changed.insert(id.clone());
        }
    }

    /// Adds what is told of one participant under `number`.
    fn tell(
        &mut self,
        told: &Participant,
        number: Option<i64>,
        now: Timestamp,
        changed: &mut BTreeSet<String>,
    ) {
        let whole = self.whole;
        let known = self.members.get(&told.participant_id);
        let mut member = known.cloned().unwrap_or_default();
        // Who is not in a whole roster had left by then, known or not.
        let standing = match known {
            Some(known) if known.left_at.is_none() => known.sequence,
            Some(known) => known.sequence.max(whole),
            None => whole,
        };
        let counts = match (number, standing) {
            (Some(number), Some(standing)) => number > standing,
            _ => true,
        };
        member.describe(told, counts);
        if counts {
            member.sequence = number.or(member.sequence);
            if told.removed {
                member.leave(now);
            } else if member.joined_at.is_none() || member.left_at.is_some() {
                member.joined_at = Some(now);
                member.left_at = None;
            }
        } else if known.is_none() {
            member.sequence = standing;
            member.joined_at = Some(now);
            member.leave(now);
        } else if told.removed && number == standing {
            member.leave(now);
        }
        if known != Some(&member) {
            changed.insert(told.participant_id.clone());
            self.members.insert(told.participant_id.clone(), member);
        }
    }
}

impl Member {
    /// Notes the leaving; gives false when it was known.
    fn leave(&mut self, now: Timestamp) -> bool {
        let is_news = self.left_at.is_none();
        self.left_at.get_or_insert(now);
        is_news
    }

    /// Takes over who it is: all that is told when that is newer, else what was not known.
    fn describe(&mut self, told: &Participant, is_newer: bool) {
        let user_id = told.user_id.as_deref().map(comparable);
        let number = (told.raw.clone(), told.normalised.clone());
        let known = (self.raw.take(), self.normalised.take());
        let has = |one: &(Option<String>, Option<String>)| one.0.is_some() || one.1.is_some();
        let takes = has(&number) && (is_newer || !has(&known));
        (self.raw, self.normalised) = if takes { number } else { known };
        let (name, app_id) = (told.display_name.clone(), told.app_id.clone());
        if is_newer {
            self.app_id = app_id.or(self.app_id.take());
            self.user_id = user_id.or(self.user_id.take());
            self.display_name = name.or(self.display_name.take());
        } else {
            self.app_id = self.app_id.take().or(app_id);
            self.user_id = self.user_id.take().or(user_id);
            self.display_name = self.display_name.take().or(name);
        }
    }
}

/// A user's id as a selector's identifier is compared.
fn comparable(user_id: &str) -> String {
    Number::parse(user_id).map_or_else(|_error| user_id.to_lowercase(), |number| number.normalised)
}
