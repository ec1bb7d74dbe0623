//! Resolves and records a deletion in one transaction.

pub(super) mod record;
mod view;

use rusqlite::{Connection, OptionalExtension, params};

use self::view::Transaction;
use super::access::still_stands;
use super::{Sqlite, armed, audit, everybody, pause, turns};
use crate::id::DeletionId;
use crate::model::deletion::{DeletionKind, Scope};
use crate::model::plan::{Decision, Refusal, decide};
use crate::store::admission::{Admission, Ask, Decided};
use crate::store::error::StoreError;

/// The operation of the last step of `deletions AS d`.
pub(super) const LAST_OPERATION: &str = "(SELECT operation FROM steps WHERE steps.deletion = d.deletion \
                              ORDER BY position DESC LIMIT 1)";

impl Sqlite {
    /// See [`crate::store::Store::admit`].
    pub(crate) async fn admit(
        &self,
        ask: Ask,
        committed: impl FnOnce(&Admission) + Send + 'static,
    ) -> Result<Admission, StoreError> {
        let (store, moment) = (self.clone(), ask.moment());
        let committed = move |admission: &Admission| {
            committed(admission);
            if let Admission::Decided(decided) = admission {
                store.look_at_candidates(decided.candidates.clone(), moment);
            }
        };
        self.write_with(move |connection| admit(connection, &ask), committed).await
    }
}

pub(super) fn admit(connection: &Connection, ask: &Ask) -> Result<Admission, StoreError> {
    if !still_stands(connection, &ask.checked)? {
        return Ok(Admission::AccessChanged);
    }
    let mut view = Transaction::new(connection, ask);
    let decision = decide(&ask.question, &mut view)?;
    let is_ambiguous = matches!(decision, Decision::Refuse { refusal: Refusal::Ambiguous(_), .. });
    // Of a dry run, nothing reaches Graph.
    let asks = is_ambiguous && !ask.question.dry_run;
    let candidates = if asks { view.into_matched() } else { Vec::new() };
    let mut decided = Decided {
        decision,
        recorded: None,
        claim: None,
        leased: None,
        superseded: None,
        kept_back: false,
        candidates,
    };
    if let Decision::Admit { call, order } = &decided.decision {
        if matches!(ask.question.kind, DeletionKind::DeleteCall(Scope::Leg)) {
            decided.superseded = everybody::supersede(connection, call.row, ask.now)?;
        }
        let deletion_id = DeletionId::sortable();
        decided.leased = record::record(connection, ask, call, order, deletion_id)?;
        decided.recorded = Some(deletion_id);
        decided.claim = Some(1);
    }
    if matches!(decided.decision, Decision::Arm) {
        let deletion_id = DeletionId::sortable();
        armed::arm(connection, ask, deletion_id)?;
        decided.recorded = Some(deletion_id);
        decided.claim = Some(1);
    }
    let joined = match &decided.decision {
        Decision::Join(earlier) => Some(earlier.deletion_id),
        Decision::JoinArmed(deletion) => Some(*deletion),
        _ => None,
    };
    if let Some(deletion) = joined
        && !ask.question.dry_run
    {
        decided.claim = claim(connection, ask, deletion)?;
    }
    decided.kept_back = is_kept_back(connection, ask, &decided)?;
    write_down(connection, ask, &decided)?;
    Ok(Admission::Decided(Box::new(decided)))
}

/// Nothing can come of the deletion before its tenant is resumed, or, because Graph asked for patience, at all.
fn is_kept_back(connection: &Connection, ask: &Ask, decided: &Decided) -> Result<bool, StoreError> {
    let deletion = match &decided.decision {
        Decision::Admit { .. } if decided.leased.is_none() => decided.recorded,
        Decision::Join(earlier) if earlier.state.is_open() => Some(earlier.deletion_id),
        _ => None,
    };
    let Some(deletion) = deletion else { return Ok(false) };
    if !pause::is_paused(connection, ask.selection.tenant_row)? {
        let patience = turns::patience(connection, deletion, ask.now)?;
        return Ok(patience == turns::Patience::TooShort);
    }
    Ok(connection
        .prepare_cached(
            "SELECT NOT EXISTS (SELECT 1 FROM deletions AS d JOIN steps AS s \
             ON s.deletion = d.deletion WHERE d.deletion_id = ?1 AND s.state = 'open' \
             AND s.lease_owner IS NOT NULL)",
        )?
        .query_row([deletion.to_string()], |row| row.get(0))?)
}

/// Takes the place of the caller before, when the deletion was asked for by the same key and
/// selector: a third request is then a new one, unless this caller goes away as well.
fn claim(
    connection: &Connection,
    ask: &Ask,
    deletion: DeletionId,
) -> Result<Option<i64>, StoreError> {
    let selection = &ask.selection;
    Ok(connection
        .prepare_cached(
            "UPDATE deletions SET claims = claims + 1, answered_at = NULL, abandoned_at = NULL \
             WHERE deletion_id = ?1 AND key = ?2 AND selector_hash = ?3 AND selector = ?4 \
             RETURNING claims",
        )?
        .query_row(
            params![deletion.to_string(), ask.checked.key.row, selection.hash, selection.canonical],
            |row| row.get(0),
        )
        .optional()?)
}

/// Writes the audit record of what was allowed; refusals are folded and written elsewhere.
fn write_down(connection: &Connection, ask: &Ask, decided: &Decided) -> Result<(), StoreError> {
    let mut event = ask.audit.clone();
    let (result, call_id, deletion_id) = match &decided.decision {
        Decision::Refuse { .. } => return Ok(()),
        Decision::Admit { call, .. } => ("admitted", Some(&call.call.call_id), decided.recorded),
        Decision::Join(earlier) => ("joined", Some(&earlier.call_id), Some(earlier.deletion_id)),
        Decision::Arm => ("armed", None, decided.recorded),
        Decision::JoinArmed(deletion) => ("armed", None, Some(*deletion)),
        Decision::WouldArm => ("would_send", None, None),
        Decision::AlreadyDeleted(earlier) => {
            ("already_deleted", Some(&earlier.call_id), Some(earlier.deletion_id))
        }
        Decision::Ending { call_id } => ("joined", Some(call_id), None),
        Decision::AlreadyEnded { call_id } => ("already_ended", Some(call_id), None),
        Decision::WouldSend { call_id, .. } => ("would_send", Some(call_id), None),
    };
    event.decision = "allowed";
    event.result = result;
    event.call_id = call_id.map(ToString::to_string);
    event.deletion_id = deletion_id.map(|id| id.to_string());
    audit::append(connection, ask.now, 1, &event, &ask.personal)
}

/// The holds `h` that stand and cover the call `?1`.
pub(super) const STANDING_HOLDS: &str = "holds AS h JOIN calls AS c ON c.tenant = h.tenant \
             WHERE c.call = ?1 AND h.lifted_at IS NULL AND CASE h.kind \
             WHEN 'all' THEN 1 \
             WHEN 'call' THEN h.value IN (c.call_id, c.graph_id, c.graph_key) \
             WHEN 'platform_call' THEN h.value IN (c.platform_call_id, c.chain_id) \
             WHEN 'native' THEN h.value IN (c.native_id, c.graph_id) \
             WHEN 'meeting' THEN h.value IN (c.meeting_id, c.thread_id, c.join_meeting_id) \
             WHEN 'number' THEN EXISTS (SELECT 1 FROM parties WHERE parties.call = c.call \
             AND normalised = h.value) OR EXISTS (SELECT 1 FROM roster WHERE roster.call = c.call \
             AND normalised = h.value) END";

/// A hold that stands covers this call.
pub(super) fn held(connection: &Connection, call: i64) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(&format!("SELECT EXISTS (SELECT 1 FROM {STANDING_HOLDS})"))?
        .query_row([call], |row| row.get(0))?)
}
