//! Who is in the calls, what is asked about them, and whom that means: read from plain values.

use rusqlite::{Connection, params};

use super::deletions::Recorded;
use super::naive::Naive;
use super::registry::{Dice, NUMBERS};
use crate::clock::Timestamp;
use crate::model::deletion::{DeletionKind, DeletionState, REPEATED_BY_THE_STACK, Scope};
use crate::model::number::{Number, masked};
use crate::model::participant::{Invitation, ParticipantSelector};
use crate::model::plan::{Elsewhere, ParticipantCandidate, RejectReason};
use crate::store::fixture::NOW;

/// The app that we are.
pub(super) const CLIENT: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
/// Apps as calls and rosters name them; the last one is another's.
pub(super) const APPS: [&str; 4] = [
    CLIENT,
    "2891555A92FF42E680FA6E1300C6B5C6",
    "api://botid-2891555a-92ff-42e6-80fa-6e1300c6b5c6",
    "another",
];
/// The ids of participants as Graph spells them.
const IDS: [&str; 6] = ["p", "q", "r", "s", "t", "0a1b2c3d-0000-4000-8000-123456789abc"];
/// Other spellings, and what nobody has.
const ASKED: [&str; 3] =
    ["{0A1B2C3D-0000-4000-8000-123456789ABC}", "0a1b2c3d000040008000123456789abc", "nobody"];

/// One who is or was in a call.
#[derive(Debug)]
pub(super) struct OnRoster {
    pub(super) id: String,
    pub(super) number: Option<String>,
    pub(super) user: Option<String>,
    pub(super) app: Option<String>,
    pub(super) joined_at: Timestamp,
    pub(super) left: bool,
}

/// One who can be removed.
pub(super) struct Person {
    pub(super) id: String,
    /// The numbers and the user id that this one has, in the order one of them is shown.
    pub(super) names: Vec<String>,
    is_invited: bool,
}

impl Person {
    pub(super) fn candidate(&self) -> ParticipantCandidate {
        ParticipantCandidate {
            participant_id: self.id.clone(),
            is_invited: self.is_invited,
            party: self.names.first().map(|name| masked(name)),
        }
    }
}

/// A participant's id.
pub(super) fn id(dice: &mut Dice) -> String {
    dice.pick(&IDS).to_owned()
}

/// A number or a user id; some are much more common than others, so that several people have them.
fn number(dice: &mut Dice) -> Number {
    let among = if dice.one_in(3) { NUMBERS.len() } else { 2 };
    Number::parse(NUMBERS[dice.roll(among)]).unwrap()
}

/// What is asked of a call; its end more often than anything else.
pub(super) fn kind(dice: &mut Dice) -> DeletionKind {
    match dice.roll(14) {
        0 => DeletionKind::RejectCall(RejectReason::None),
        1 | 2 => DeletionKind::DeleteCall(Scope::All { most: 9 }),
        3 | 4 => DeletionKind::DeleteParticipant(ParticipantSelector::Id(if dice.one_in(3) {
            dice.pick(&ASKED).to_owned()
        } else {
            id(dice)
        })),
        5..9 => DeletionKind::DeleteParticipant(ParticipantSelector::Known(number(dice))),
        9 => DeletionKind::InviteParticipant(Invitation {
            user_id: dice.pick(&NUMBERS).to_owned(),
            user_tenant: None,
            replaces: dice.maybe_id(2),
            context: None,
        }),
        _ => DeletionKind::DeleteCall(Scope::Leg),
    }
}

/// Puts people into a call of a tenant.
pub(super) fn roster(
    connection: &Connection,
    dice: &mut Dice,
    (call, tenant): (i64, i64),
    ended_at: Option<Timestamp>,
) -> Vec<OnRoster> {
    let mut roster: Vec<OnRoster> = Vec::new();
    for _ in 0..dice.roll(6) {
        let one = OnRoster::random(dice);
        if roster.iter().any(|other| other.id == one.id) {
            continue;
        }
        connection
            .prepare_cached(
                "INSERT INTO roster (call, participant_id, tenant, normalised, user_id, app_id, \
                 joined_at, left_at, ended_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )
            .unwrap()
            .execute(params![
                call,
                one.id,
                tenant,
                one.number,
                one.user,
                one.app,
                one.joined_at.0,
                one.left.then_some(NOW.0),
                ended_at.map(|at| at.0)
            ])
            .unwrap();
        roster.push(one);
    }
    roster
}

impl OnRoster {
    fn random(dice: &mut Dice) -> Self {
        let mut maybe = || {
            let normalised = number(dice).normalised;
            (!dice.one_in(3)).then_some(normalised)
        };
        let (number, user) = (maybe(), maybe());
        let joined = REPEATED_BY_THE_STACK / 2 * u32::try_from(dice.roll(6)).unwrap();
        Self {
            number,
            user,
            id: id(dice),
            app: dice.one_in(4).then(|| dice.pick(&APPS).to_owned()),
            joined_at: NOW + joined,
            left: dice.one_in(3),
        }
    }
}

/// Every app but the last one is ours.
fn is_ours(app: Option<&String>) -> bool {
    app.is_some_and(|app| app != APPS[3])
}

impl Naive<'_> {
    /// Everybody in the call who can be removed.
    pub(super) fn people(&self, call: usize) -> Vec<Person> {
        let known = &self.registry.calls[call];
        let we_are_known = self.ask.question.client_id.is_some();
        let ours = |one: &OnRoster| {
            known.ours.as_ref() == Some(&one.id) || we_are_known && is_ours(one.app.as_ref())
        };
        let are_we_there = known.roster.iter().any(|one| !one.left && ours(one));
        let mut people: Vec<Person> = Vec::new();
        for one in &known.roster {
            let is_named = one.number.is_some() || one.user.is_some() || one.app.is_some();
            if !ours(one) && !one.left && (is_named || are_we_there) {
                let names = [&one.number, &one.user].into_iter().flatten().cloned().collect();
                people.push(Person { id: one.id.clone(), names, is_invited: false });
            }
        }
        let here = || self.registry.deletions.iter().filter(move |one| one.call == call);
        for one in here() {
            let Some(id) = one.invited.as_ref().and_then(|one| one.participant_id.clone()) else {
                continue;
            };
            let is_pending = self.is_pending(one, &id);
            let is_there = people.iter().any(|other| other.id == id);
            if is_pending && !is_there && known.ours.as_ref() != Some(&id) {
                let names = one.invited_user().into_iter().collect();
                people.push(Person { id, names, is_invited: true });
            }
        }
        people
    }

    /// The one of this id whom an invitation is for may still join by it.
    pub(super) fn is_pending(&self, invitation: &Recorded, id: &str) -> bool {
        let mut later = self
            .registry
            .deletions
            .iter()
            .filter(|other| other.call == invitation.call && other.row > invitation.row)
            .flat_map(|other| &other.removals);
        !later.any(|removal| removal.target == id && removal.is_done())
            && self.registry.calls[invitation.call].roster.iter().all(|other| other.id != id)
    }

    /// One who is named by what was asked for has an invitation that names nobody yet.
    pub(super) fn is_unnamed(&self, call: usize, asked: &str) -> bool {
        let roster = &self.registry.calls[call].roster;
        self.registry.deletions.iter().any(|one| {
            let has_joined = |user: &str| {
                let mut here = roster.iter();
                here.any(|other| {
                    other.user.as_deref() == Some(user) && other.joined_at >= one.created_at
                })
            };
            one.call == call
                && one.invited.as_ref().is_some_and(|invited| invited.participant_id.is_none())
                && [DeletionState::Open, DeletionState::Sent, DeletionState::Unknown]
                    .contains(&one.state)
                && one
                    .invited_user()
                    .is_some_and(|user| self.equal(asked, &user) && !has_joined(&user))
        })
    }

    /// What is known of an id that is nobody's who can be removed.
    pub(super) fn elsewhere(&self, call: usize, id: &str) -> Option<Elsewhere> {
        let known = &self.registry.calls[call];
        let we_are_known = self.ask.question.client_id.is_some();
        let here = known.roster.iter().find(|one| one.id == id);
        if known.ours.as_ref().is_some_and(|ours| ours == id)
            || here.is_some_and(|one| we_are_known && is_ours(one.app.as_ref()))
        {
            return Some(Elsewhere::Ourselves);
        }
        if let Some(one) = here {
            // Who is there and was not found may be ourselves.
            return Some(if one.left { Elsewhere::Left } else { Elsewhere::Ourselves });
        }
        let of_tenant =
            |other: usize| other != call && self.registry.calls[other].tenant == known.tenant;
        let on_rosters =
            self.registry.calls.iter().enumerate().any(|(other, known)| {
                of_tenant(other) && known.roster.iter().any(|one| one.id == id)
            });
        let among_invited = self.registry.deletions.iter().any(|one| {
            let invited = one.invited.as_ref().and_then(|one| one.participant_id.as_ref());
            of_tenant(one.call) && invited.is_some_and(|invited| invited == id)
        });
        (on_rosters || among_invited).then_some(Elsewhere::InAnotherCall)
    }
}
