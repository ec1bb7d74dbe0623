//! Graph, as it is in these histories: it takes, refuses, or loses what is sent.

use super::{OURS, SECOND, World};
use crate::model::deletion::DeletionState;
use crate::model::everybody::{InTheCall, Present};
use crate::model::participant::Invited;
use crate::model::plan::Order;
use crate::store::admission::{AttemptEnd, Leased, Next};
use crate::store::fixture::{answered, over};
use crate::store::sqlite::lease;

impl World<'_> {
    pub(super) fn send(&mut self, leased: &Leased) -> AttemptEnd {
        self.may_be_sent(leased);
        let fault = self.dice.roll(8);
        if fault == 0 {
            let again = self.now + SECOND * u32::try_from(1 + self.dice.roll(6)).unwrap();
            return answered(self.now, 429, Next::At(again));
        }
        if fault == 1 {
            return answered(self.now, 403, over(DeletionState::Failed, Some("refused"), false));
        }
        let told = if fault == 2 { None } else { self.graph_does(leased) };
        match told {
            Some(next) if fault > 3 => answered(self.now, 200, next),
            None if fault > 3 => self.not_found(leased),
            _ => self.lost_answer(leased),
        }
    }

    fn lost_answer(&self, leased: &Leased) -> AttemptEnd {
        let next = match leased.order {
            Order::Invite(_) => over(DeletionState::Unknown, Some("lost"), false),
            _ => Next::At(self.now + SECOND),
        };
        let effect_possible = leased.order != Order::ReadRoster;
        AttemptEnd { status: None, effect_possible, ..answered(self.now, 500, next) }
    }

    /// What follows a 404: the rows of the Graph contract.
    fn not_found(&self, leased: &Leased) -> AttemptEnd {
        let effect = lease::effect_possible(self.connection, leased.step, leased.attempt).unwrap();
        let is_removal = matches!(leased.order, Order::RemoveParticipant(_));
        let next = match leased.order {
            Order::Invite(_) => over(DeletionState::Failed, Some("no call"), false),
            _ if effect || is_removal && leased.is_part => {
                over(DeletionState::Gone, None, !is_removal)
            }
            _ => over(DeletionState::Failed, Some("never there"), !is_removal),
        };
        answered(self.now, 404, next)
    }

    /// What Graph does, and says of it; none when it has no such call or participant.
    fn graph_does(&mut self, leased: &Leased) -> Option<Next> {
        if !self.is_there {
            return None;
        }
        match &leased.order {
            Order::HangUp => {
                self.is_there = false;
                self.hung_up = true;
            }
            Order::RemoveParticipant(id) => {
                if !self.people.contains(id) {
                    return None;
                }
                self.leaves(id);
            }
            Order::Invite(_) => {
                self.invited.insert(leased.deletion_id);
                let participant_id = self.dice.one_in(2).then(|| format!("p{}", self.came));
                self.somebody_comes();
                let operation_id = leased.deletion_id.to_string();
                return Some(Next::Invited(Invited { operation_id, participant_id, failed: None }));
            }
            Order::ReadRoster => return Some(self.roster()),
            Order::Reject(_) => panic!("nothing rings"),
        }
        Some(over(DeletionState::Sent, None, false))
    }

    /// Who is in the call, ourselves among them; or nobody, which Graph shows as well.
    fn roster(&mut self) -> Next {
        let present = |id: &str, app_id: Option<String>| Present {
            participant_id: id.to_owned(),
            is_person: app_id.is_none(),
            app_id,
        };
        let mut everybody: Vec<_> = self.people.iter().map(|id| present(id, None)).collect();
        everybody.push(present("me", Some(OURS.to_owned())));
        if self.dice.one_in(6) {
            everybody.clear();
        }
        Next::RemoveAll(InTheCall { client_id: Some(OURS.to_owned()), everybody })
    }
}
