//! A view that stands in memory.

use std::convert::Infallible;

use super::*;

/// What the store would show, and what it was asked.
pub(super) struct Shown {
    pub(super) matching: Vec<(Option<StatusWord>, Matches)>,
    pub(super) abandoned: Option<Earlier>,
    pub(super) earlier: Option<Earlier>,
    pub(super) armed: Option<DeletionId>,
    pub(super) deletion: Option<Earlier>,
    /// The target that is asked for, and what is shown of it.
    pub(super) target: (&'static str, Option<Earlier>),
    pub(super) participants: Participants,
    pub(super) replaced: Replaced,
    pub(super) held: bool,
    /// A call, by the store's number, that a hold stands on whatever `held` says.
    pub(super) held_too: Option<i64>,
    pub(super) asked: Vec<&'static str>,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            matching: Vec::new(),
            abandoned: None,
            earlier: None,
            armed: None,
            deletion: None,
            target: ("", None),
            participants: Participants::default(),
            replaced: Replaced::Unknown,
            held: false,
            held_too: None,
            asked: Vec::new(),
        }
    }
}

impl View for Shown {
    type Error = Infallible;

    fn matching(&mut self, word: Option<StatusWord>) -> Result<Matches, Infallible> {
        self.asked.push(word.map_or("matching", StatusWord::as_str));
        let found = self.matching.iter().find(|(one, _)| *one == word);
        Ok(found.map(|(_, matches)| matches.clone()).unwrap_or_default())
    }

    fn abandoned(&mut self) -> Result<Option<Earlier>, Infallible> {
        self.asked.push("abandoned");
        Ok(self.abandoned.clone())
    }

    fn earlier(&mut self) -> Result<Option<Earlier>, Infallible> {
        self.asked.push("earlier");
        Ok(self.earlier.clone())
    }

    fn armed(&mut self) -> Result<Option<DeletionId>, Infallible> {
        self.asked.push("armed");
        Ok(self.armed)
    }

    fn deletion_of(&mut self, _: &Match) -> Result<Option<Earlier>, Infallible> {
        self.asked.push("deletion of");
        Ok(self.deletion.clone())
    }

    fn deletion_at(&mut self, _: &Match, target: &str) -> Result<Option<Earlier>, Infallible> {
        self.asked.push("deletion at");
        Ok(self.target.1.clone().filter(|_| self.target.0 == target))
    }

    fn participants(
        &mut self,
        _: &Match,
        _: &ParticipantSelector,
    ) -> Result<Participants, Infallible> {
        self.asked.push("participants");
        Ok(self.participants.clone())
    }

    fn replaced(&mut self, _: &str) -> Result<Replaced, Infallible> {
        self.asked.push("replaced");
        Ok(self.replaced.clone())
    }

    fn held(&mut self, call: &Match) -> Result<bool, Infallible> {
        self.asked.push("held");
        Ok(self.held || self.held_too == Some(call.row))
    }
}
