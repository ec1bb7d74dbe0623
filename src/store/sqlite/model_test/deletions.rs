//! Random deletions of every kind, with their steps and invitations.

use rusqlite::{Connection, params};

use super::people;
use super::registry::{Dice, Registry};
use crate::clock::Timestamp;
use crate::id::DeletionId;
use crate::model::deletion::{
    DeletionKind, DeletionState, NO_SUCH_PARTICIPANT, REPEATED_BY_THE_STACK,
};
use crate::model::participant::Invited;
use crate::model::selector::Selector;
use crate::store::fixture::{NOW, api_key, selection_rules};

/// A deletion that was recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) row: i64,
    pub(super) id: DeletionId,
    pub(super) key: i64,
    pub(super) kind: DeletionKind,
    /// As it is compared.
    pub(super) target: Option<String>,
    pub(super) selector: String,
    pub(super) call: usize,
    pub(super) state: DeletionState,
    pub(super) created_at: Timestamp,
    pub(super) settled_at: Timestamp,
    pub(super) abandoned: bool,
    pub(super) removals: Vec<Removal>,
    /// Of an invitation, with an empty id of the operation when Graph has not taken it.
    pub(super) invited: Option<Invited>,
}

impl Recorded {
    /// The user who is invited, as it is compared.
    pub(super) fn invited_user(&self) -> Option<String> {
        match &self.kind {
            DeletionKind::InviteParticipant(invitation) => Some(invitation.normalised()),
            _ => None,
        }
    }
}

/// A step that removes somebody.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) target: String,
    pub(super) state: &'static str,
    /// Graph did not have this one in the call.
    pub(super) never_there: bool,
}

impl Recorded {
    pub(super) const fn ends_the_leg(&self) -> bool {
        matches!(self.kind, DeletionKind::DeleteCall(_) | DeletionKind::RejectCall(_))
    }
}

impl Removal {
    fn random(dice: &mut Dice, target: String) -> Self {
        let state = ["open", "sent", "gone", "failed"][dice.roll(4)];
        Self { target, state, never_there: state == "failed" && dice.one_in(2) }
    }

    /// Whoever was to be removed is not in the call any more.
    pub(super) fn is_done(&self) -> bool {
        self.is_sent() || self.never_there
    }

    pub(super) fn is_sent(&self) -> bool {
        ["sent", "gone"].contains(&self.state)
    }
}

impl Registry {
    pub(super) fn add_deletion(
        &mut self,
        connection: &Connection,
        dice: &mut Dice,
        asked: &[(Selector, DeletionKind)],
    ) {
        use DeletionState::{Cancelled, Confirmed, Failed, Gone, Open, Sent, Unknown};
        if self.calls.is_empty() {
            return;
        }
        let call = dice.roll(self.calls.len());
        let states = [Open, Open, Sent, Sent, Confirmed, Gone, Failed, Cancelled, Unknown];
        let state = states[dice.roll(states.len())];
        let (selector, kind) = asked[dice.roll(asked.len())].clone();
        let target = match &kind {
            DeletionKind::DeleteCall(_) | DeletionKind::RejectCall(_) => None,
            DeletionKind::DeleteParticipant(_) => Some(people::id(dice)),
            DeletionKind::InviteParticipant(invitation) => Some(invitation.target()),
        };
        let is_open = |one: &Recorded| {
            let is_same = one.kind.as_str() == kind.as_str() && one.target == target;
            one.call == call && one.state == Open && is_same
        };
        if state == Open && self.deletions.iter().any(is_open) {
            return;
        }
        let ages = [1, 29_999, 30_000, 599_999, 600_000, 600_001];
        let tenant = self.calls[call].tenant;
        let key = tenant * 2 - i64::from(dice.one_in(2));
        let selection = selection_rules().select_for(&api_key(key, tenant), selector, &kind);
        let removals = match (&kind, &target) {
            (DeletionKind::DeleteParticipant(_), Some(target)) => {
                vec![Removal::random(dice, target.clone())]
            }
            _ if kind.is_all() => (0..dice.roll(3))
                .map(|_| people::id(dice))
                .collect::<Vec<_>>()
                .into_iter()
                .map(|target| Removal::random(dice, target))
                .collect(),
            _ => Vec::new(),
        };
        let invited = matches!(kind, DeletionKind::InviteParticipant(_)).then(|| Invited {
            operation_id: if dice.one_in(3) { String::new() } else { "operation".to_owned() },
            participant_id: (!dice.one_in(3)).then(|| people::id(dice)),
            failed: None,
        });
        let recorded = Recorded {
            row: 0,
            id: DeletionId::random(),
            key,
            target,
            selector: selection.canonical,
            call,
            state,
            created_at: Timestamp(NOW.0 - ages[dice.roll(ages.len())]),
            // The instants at which calls end, and such as lie between, before and after them.
            settled_at: NOW
                + REPEATED_BY_THE_STACK / 2 * (1 + u32::try_from(dice.roll(5)).unwrap()),
            abandoned: dice.one_in(3),
            removals,
            invited,
            kind,
        };
        let row = insert(connection, &recorded, (tenant, self.calls[call].row), selection.hash);
        if state.is_taken() && recorded.ends_the_leg() {
            self.calls[call].deleted_at = Some(recorded.settled_at);
            connection
                .execute(
                    "UPDATE calls SET deleted_by = ?2 WHERE call = ?1",
                    [self.calls[call].row, row],
                )
                .unwrap();
        }
        self.deletions.push(Recorded { row, ..recorded });
    }
}

/// Writes it for a tenant and a call; gives its number.
fn insert(
    connection: &Connection,
    one: &Recorded,
    (tenant, call): (i64, i64),
    hash: [u8; 16],
) -> i64 {
    connection
        .prepare_cached(
            "INSERT INTO deletions (deletion_id, tenant, kind, key, selector, selector_hash, \
             scope, call, state, created_at, deadline_at, abandoned_at, settled_at, target) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, ?11, ?12, ?13)",
        )
        .unwrap()
        .execute(params![
            one.id.to_string(),
            tenant,
            one.kind.as_str(),
            one.key,
            one.selector,
            hash,
            if one.kind.is_all() { "all" } else { "leg" },
            call,
            one.state.as_str(),
            one.created_at.0,
            one.abandoned.then_some(one.created_at.0),
            (one.state != DeletionState::Open).then_some(one.settled_at.0),
            one.target
        ])
        .unwrap();
    let row = connection.last_insert_rowid();
    if one.kind.is_all() {
        connection
            .prepare_cached(
                "INSERT INTO steps (deletion, position, tenant, operation, state, deadline_at) \
                 VALUES (?1, 1, ?2, 'read-roster', 'sent', 0)",
            )
            .unwrap()
            .execute([row, tenant])
            .unwrap();
    }
    for (position, removal) in (2_i64..).zip(&one.removals) {
        connection
            .prepare_cached(
                "INSERT INTO steps (deletion, position, tenant, operation, target, state, \
                 deadline_at, failure) VALUES (?1, ?2, ?3, 'remove-participant', ?4, ?5, 0, ?6)",
            )
            .unwrap()
            .execute(params![
                row,
                position,
                tenant,
                removal.target,
                removal.state,
                removal.never_there.then_some(NO_SUCH_PARTICIPANT)
            ])
            .unwrap();
    }
    if let Some(invited) = &one.invited {
        connection
            .prepare_cached(
                "INSERT INTO invitations (deletion, call, tenant, user_id, normalised, \
                 operation_id, participant_id) VALUES (?1, ?2, ?3, ?4, ?4, nullif(?5, ''), ?6)",
            )
            .unwrap()
            .execute(params![
                row,
                call,
                tenant,
                one.invited_user(),
                invited.operation_id,
                invited.participant_id
            ])
            .unwrap();
    }
    row
}
