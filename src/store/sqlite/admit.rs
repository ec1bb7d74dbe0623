//! Resolves and records a deletion in one transaction.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::access::still_stands;
use super::turns::IS_TAKEN;
use super::{Sqlite, audit, resolve, turns};
use crate::clock::Timestamp;
use crate::id::{CallId, DeletionId};
use crate::model::call::LONGEST_RINGING;
use crate::model::deletion::{DeletionKind, REPEATED_BY_THE_CALLER, REPEATED_BY_THE_STACK};
use crate::model::plan::{Decision, Earlier, Match, Matches, Operation, Refusal, View, decide};
use crate::model::selector::StatusWord;
use crate::store::admission::{Admission, Ask, Decided, Leased, Selection, StepRef};
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
        let (store, now) = (self.clone(), ask.now);
        let committed = move |admission: &Admission| {
            committed(admission);
            if let Admission::Decided(decided) = admission {
                store.look_at_candidates(decided.candidates.clone(), now);
            }
        };
        self.write_with(move |connection| admit(connection, &ask), committed).await
    }
}

pub(super) fn admit(connection: &Connection, ask: &Ask) -> Result<Admission, StoreError> {
    if !still_stands(connection, &ask.checked)? {
        return Ok(Admission::AccessChanged);
    }
    let mut view = Transaction { connection, ask, matched: Vec::new() };
    let decision = decide(&ask.question, &mut view)?;
    let is_ambiguous = matches!(decision, Decision::Refuse { refusal: Refusal::Ambiguous(_), .. });
    // Of a dry run, nothing reaches Graph.
    let asks = is_ambiguous && !ask.question.dry_run;
    let candidates = if asks { view.matched } else { Vec::new() };
    let mut decided = Decided { decision, recorded: None, claim: None, leased: None, candidates };
    if let Decision::Admit { call, operation } = &decided.decision {
        let deletion_id = DeletionId::sortable();
        decided.leased = record(connection, ask, call, *operation, deletion_id)?;
        decided.recorded = Some(deletion_id);
        decided.claim = Some(1);
    }
    if let Decision::Join(earlier) = &decided.decision
        && !ask.question.dry_run
    {
        decided.claim = claim(connection, ask, earlier.deletion_id)?;
    }
    write_down(connection, ask, &decided)?;
    Ok(Admission::Decided(Box::new(decided)))
}

/// Writes deletion, step and, with a lease, the first attempt.
fn record(
    connection: &Connection,
    ask: &Ask,
    call: &Match,
    operation: Operation,
    deletion_id: DeletionId,
) -> Result<Option<Leased>, StoreError> {
    let selection = &ask.selection;
    let session = ask.checked.session.as_deref();
    let deadline = step_deadline(ask, call, operation);
    // Nothing else takes the place of a rejection that came too late.
    let is_all = matches!(ask.question.kind, DeletionKind::RejectCall(_));
    let deletion_deadline = if is_all { deadline } else { ask.deadline };
    connection
        .prepare_cached(
            "INSERT INTO deletions (deletion_id, tenant, kind, key, session, user, peer, selector, \
             selector_hash, scope, reason, call, state, created_at, deadline_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'leg', ?10, ?11, 'open', ?12, ?13)",
        )?
        .execute(params![
            deletion_id.to_string(),
            selection.tenant_row,
            ask.question.kind.as_str(),
            ask.checked.key.row,
            session.map(|session| session.row),
            session.and_then(|session| session.user_row),
            ask.peer,
            selection.canonical,
            selection.hash,
            ask.reason,
            call.row,
            ask.now.0,
            deletion_deadline.0
        ])?;
    let step = StepRef { deletion: connection.last_insert_rowid(), position: 1 };
    let is_free = !turns::is_another_sent(connection, call.row, step.deletion)?;
    let lease = ask.lease.filter(|_| is_free);
    let due = lease.map_or(ask.now, |lease| lease.until);
    let leased = i64::from(lease.is_some());
    let reject_reason = ask.question.kind.reject_reason();
    connection
        .prepare_cached(
            "INSERT INTO steps (deletion, position, tenant, operation, state, attempts, \
             next_attempt_at, deadline_at, lease_owner, lease_until, fence, reject_reason) \
             VALUES (?1, ?2, ?3, ?4, 'open', ?5, ?6, ?7, ?8, ?9, ?5, ?10)",
        )?
        .execute(params![
            step.deletion,
            step.position,
            selection.tenant_row,
            operation.as_str(),
            leased,
            due.0,
            deadline.0,
            lease.map(|lease| lease.owner.to_string()),
            lease.map(|lease| lease.until.0),
            (operation == Operation::Reject).then(|| reject_reason.as_str())
        ])?;
    if lease.is_none() {
        return Ok(None);
    }
    connection
        .prepare_cached(
            "INSERT INTO attempts (deletion, position, number, tenant, started_at) \
             VALUES (?1, ?2, 1, ?3, ?4)",
        )?
        .execute(params![step.deletion, step.position, selection.tenant_row, ask.now.0])?;
    Ok(Some(Leased {
        step,
        fence: 1,
        attempt: 1,
        deletion_id,
        tenant: ask.checked.key.tenant.clone(),
        call_id: call.call.call_id.clone(),
        graph_id: call.call.graph_id.clone(),
        operation,
        reject_reason,
        earlier_effect_possible: false,
        deadline,
    }))
}

/// Until when the operation is tried: nothing is rejected that rings no more, and no clock that was
/// ahead when the call began makes that time longer.
fn step_deadline(ask: &Ask, call: &Match, operation: Operation) -> Timestamp {
    let rings_until = call.call.rings_until.filter(|_| operation == Operation::Reject);
    rings_until.map_or(ask.deadline, |until| until.min(ask.now + LONGEST_RINGING).min(ask.deadline))
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

/// What the decision may see, in the transaction that records it.
struct Transaction<'a> {
    connection: &'a Connection,
    ask: &'a Ask,
    /// The calls that matched last.
    matched: Vec<i64>,
}

impl Transaction<'_> {
    fn by_selector(
        &self,
        condition: &str,
        made_since: Timestamp,
        since: Timestamp,
    ) -> Result<Option<Earlier>, StoreError> {
        let selection: &Selection = &self.ask.selection;
        let sql = format!(
            "SELECT d.deletion_id, c.call_id, d.state, {LAST_OPERATION} FROM deletions AS d \
             JOIN calls AS c ON c.call = d.call WHERE d.key = ?1 AND d.selector_hash = ?2 AND d.created_at > ?3 \
             AND d.selector = ?4 AND d.kind = ?5 {condition} ORDER BY d.created_at DESC, \
             d.deletion DESC LIMIT 1"
        );
        self.connection
            .prepare_cached(&sql)?
            .query_row(
                params![
                    self.ask.checked.key.row,
                    selection.hash,
                    made_since.0,
                    selection.canonical,
                    self.ask.question.kind.as_str(),
                    since.0
                ],
                earlier,
            )
            .optional()?
            .transpose()
    }
}

impl View for Transaction<'_> {
    type Error = StoreError;

    fn matching(&mut self, word: Option<StatusWord>) -> Result<Matches, StoreError> {
        let matches = resolve::matching(self.connection, &self.ask.selection, word)?;
        self.matched = matches.calls.iter().map(|one| one.row).collect();
        Ok(matches)
    }

    fn abandoned(&mut self) -> Result<Option<Earlier>, StoreError> {
        let now = self.ask.now;
        // It may have waited for longer than this before its client went away.
        let made_since = now - REPEATED_BY_THE_CALLER;
        self.by_selector("AND d.abandoned_at > ?6", made_since, now - REPEATED_BY_THE_STACK)
    }

    fn earlier(&mut self) -> Result<Option<Earlier>, StoreError> {
        let since = self.ask.now - REPEATED_BY_THE_CALLER;
        self.by_selector("AND d.created_at > ?6", since, since)
    }

    fn deletion_of(&mut self, call: &Match) -> Result<Option<Earlier>, StoreError> {
        self.connection
            .prepare_cached(&format!(
                "SELECT d.deletion_id, c.call_id, d.state, {LAST_OPERATION} FROM deletions AS d \
                 JOIN calls AS c ON c.call = d.call WHERE d.call = ?1 \
                 AND ({IS_TAKEN} OR d.state = 'open' AND d.kind = ?2) \
                 ORDER BY d.state = 'open' DESC, d.deletion DESC LIMIT 1"
            ))?
            .query_row(params![call.row, self.ask.question.kind.as_str()], earlier)
            .optional()?
            .transpose()
    }

    fn held(&mut self, call: &Match) -> Result<bool, StoreError> {
        held(self.connection, call.row)
    }
}

/// A hold that stands covers this call.
pub(super) fn held(connection: &Connection, call: i64) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM holds AS h JOIN calls AS c ON c.tenant = h.tenant \
             WHERE c.call = ?1 AND h.lifted_at IS NULL AND CASE h.kind \
             WHEN 'all' THEN 1 \
             WHEN 'call' THEN h.value IN (c.call_id, c.graph_id, c.graph_key) \
             WHEN 'platform_call' THEN h.value IN (c.platform_call_id, c.chain_id) \
             WHEN 'native' THEN h.value IN (c.native_id, c.graph_id) \
             WHEN 'meeting' THEN h.value IN (c.meeting_id, c.thread_id, c.join_meeting_id) \
             WHEN 'number' THEN EXISTS (SELECT 1 FROM parties WHERE parties.call = c.call \
             AND normalised = h.value) OR EXISTS (SELECT 1 FROM roster WHERE roster.call = c.call \
             AND normalised = h.value) END)",
        )?
        .query_row([call], |row| row.get(0))?)
}

fn earlier(row: &Row<'_>) -> rusqlite::Result<Result<Earlier, StoreError>> {
    let (deletion_id, call_id, state): (String, String, String) =
        (row.get(0)?, row.get(1)?, row.get(2)?);
    let operation: Option<String> = row.get(3)?;
    Ok(deletion_id.parse().map_err(StoreError::unexpected).and_then(|deletion_id| {
        Ok(Earlier {
            deletion_id,
            call_id: CallId::new(&call_id),
            state: state.parse().map_err(StoreError::unexpected)?,
            operation: operation.as_deref().and_then(Operation::from_word),
        })
    }))
}
