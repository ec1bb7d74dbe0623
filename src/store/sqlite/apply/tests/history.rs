//! What happens to a call, and what Graph tells of it: each in several forms, whole or in part.

use crate::id::GraphCallId;
use crate::model::call::{CallState, Direction, Party};
use crate::model::change::{CallChange, EndReason, Participant, RosterChange};
use crate::store::sqlite::model_test::Dice;

/// Calls belong to one of so many tenants by turns.
pub(super) const TENANTS: usize = 2;

/// Code and subcode of ends, the ones that stand against those behind them first: what Graph's
/// documents explain, what was only seen, what nobody knows, and what is only half of it.
pub(super) const RESULTS: [(i64, Option<i64>); 5] =
    [(200, Some(5001)), (200, Some(7000)), (500, Some(7106)), (200, Some(99)), (200, None)];
/// Words of ends in the same order.
pub(super) const WORDS: [&str; 3] = ["AppInitiated", "CallTerminated", "Absurd"];

/// A call and all that is told of it, with contradictions.
#[derive(Debug)]
pub(super) struct History {
    pub(super) graph_id: String,
    pub(super) told: Vec<CallChange>,
    /// Rosters without numbers only mean something in the order they were sent.
    pub(super) keeps_order: bool,
}

/// Who is in the call, with the number of the last event about each.
struct Room {
    present: Vec<(usize, i64)>,
    last: i64,
    numbering: Numbering,
}

/// Which rosters and changes of them have numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbering {
    All,
    Some,
    None,
}

impl History {
    pub(super) fn new(dice: &mut Dice, n: usize) -> Self {
        let all =
            [Numbering::All, Numbering::All, Numbering::All, Numbering::Some, Numbering::None];
        let numbering = all[dice.roll(all.len())];
        let keeps_order = numbering != Numbering::All || dice.one_in(3);
        let mut history = Self { graph_id: format!("call-{n}"), told: Vec::new(), keeps_order };
        history.live(dice, numbering);
        history
    }

    fn live(&mut self, dice: &mut Dice, numbering: Numbering) {
        use CallState::{
            Established, Establishing, Hold, Incoming, Redirecting, Ringing, Terminating,
        };
        let first = [Incoming, Establishing, Ringing][dice.roll(3)];
        let created = !dice.one_in(3);
        let change = CallChange { created, ..self.state(dice, first) };
        self.told.push(change);
        if dice.one_in(4) {
            let change = self.state(dice, Redirecting);
            self.told.push(change);
        } else if !dice.one_in(3) {
            let change = self.state(dice, Established);
            self.told.push(change);
            let mut room = Room { present: Vec::new(), last: 0, numbering };
            for _ in 0..dice.roll(9) {
                let roster = Some(room.event(dice));
                // Nothing reads the subject: it says how many events there had been.
                let subject = Some(room.last.to_string());
                self.told.push(CallChange { subject, roster, ..self.nothing() });
            }
            if dice.one_in(3) {
                let change = self.state(dice, Hold);
                self.told.push(change);
            }
        }
        if dice.one_in(3) {
            return;
        }
        if dice.one_in(2) {
            let change = self.state(dice, Terminating);
            self.told.push(CallChange { end: some_end(dice), ..change });
        }
        self.die(dice);
    }

    /// The last steps of the first beta, or the last one of today.
    fn die(&mut self, dice: &mut Dice) {
        let terminated = self.state(dice, CallState::Terminated);
        let deleted = CallChange { deleted: true, ..self.nothing() };
        if dice.one_in(2) {
            self.told.push(CallChange { end: some_end(dice), ..terminated });
            self.told.push(CallChange { end: some_end(dice), ..deleted });
        } else {
            self.told.push(CallChange { deleted: true, end: some_end(dice), ..terminated });
        }
        if dice.one_in(3) {
            self.told.push(CallChange { end: some_end(dice), ..self.nothing() });
        }
    }

    fn nothing(&self) -> CallChange {
        CallChange::of(GraphCallId(self.graph_id.clone()))
    }

    fn state(&self, dice: &mut Dice, state: CallState) -> CallChange {
        let party = |role, number: usize| Party {
            role,
            kind: "number",
            raw: number.to_string(),
            normalised: number.to_string(),
            display_name: None,
        };
        let mut parties = Vec::new();
        for _ in 0..dice.roll(3) {
            parties.push(party(["source", "target"][dice.roll(2)], dice.roll(3)));
        }
        CallChange {
            state: Some(state),
            direction: [None, Some(Direction::Incoming), Some(Direction::Outgoing)][dice.roll(3)],
            chain_id: dice.one_in(2).then(|| format!("chain-{}", dice.roll(2))),
            parties,
            ..self.nothing()
        }
    }
}

impl Room {
    /// Lets somebody come, go or change, and tells of it as a change or as the whole roster.
    fn event(&mut self, dice: &mut Dice) -> RosterChange {
        self.last += 1;
        // The first one stays: an empty roster has no number to be compared by.
        let who = if self.last == 1 { 0 } else { dice.roll(3) };
        let there = self.present.iter().position(|one| one.0 == who);
        let leaves = there.is_some() && who != 0 && !dice.one_in(4);
        if let Some(there) = there {
            self.present.remove(there);
        }
        if !leaves {
            self.present.push((who, self.last));
        }
        let numbered = match self.numbering {
            Numbering::All => true,
            Numbering::Some => dice.one_in(2),
            Numbering::None => false,
        };
        let participant = |dice: &mut Dice, who: usize, last: i64| Participant {
            participant_id: format!("p{who}"),
            raw: None,
            normalised: dice.one_in(2).then(|| format!("number-{who}")),
            user_id: dice.one_in(2).then(|| format!("user-{who}")),
            display_name: None,
            app_id: None,
            removed: false,
            sequence: numbered.then_some(last),
        };
        if dice.one_in(2) {
            let one = participant(dice, who, self.last);
            let sequence = one.sequence.filter(|_| dice.one_in(2));
            let participants = vec![Participant { removed: leaves, sequence, ..one }];
            return RosterChange::Delta { sequence: numbered.then_some(self.last), participants };
        }
        if !numbered && leaves && dice.one_in(2) {
            return RosterChange::Left(format!("p{who}"));
        }
        RosterChange::Whole(
            self.present.iter().map(|(who, last)| participant(dice, *who, *last)).collect(),
        )
    }
}

/// A reason, whole or in part, or none.
fn some_end(dice: &mut Dice) -> Option<EndReason> {
    let (code, subcode) = RESULTS[dice.roll(RESULTS.len())];
    let word = dice.one_in(2).then(|| WORDS[dice.roll(WORDS.len())].to_owned());
    let message = dice.one_in(2).then(|| "because".to_owned());
    match dice.roll(4) {
        0 => None,
        1 => Some(EndReason { word, ..EndReason::default() }),
        _ => Some(EndReason { code: Some(code), subcode, message, word }),
    }
}
