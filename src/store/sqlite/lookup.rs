//! What clients look up, on the read-only connections: no look-up waits for the writer.

use rusqlite::{Connection, Row};

use super::access::still_stands;
use super::deletions::{self, time};
use super::{Sqlite, resolve};
use crate::clock::Timestamp;
use crate::id::{CallId, GraphCallId};
use crate::model::change::EndReason;
use crate::model::end_reason::{CallEnd, OurPart};
use crate::model::plan::{Found, find};
use crate::store::access::Checked;
use crate::store::error::StoreError;
use crate::store::lookup::{CallLookup, CallReport, DeletionLookup, LookedUp, PartyReport};
use crate::store::records::DeletionDetails;

impl Sqlite {
    /// See [`crate::store::Store::look_up_call`].
    pub(crate) async fn look_up_call(
        &self,
        look: CallLookup,
    ) -> Result<LookedUp<Found<Box<CallReport>>>, StoreError> {
        let now = look.now;
        let mut candidates = Vec::new();
        let queried = self
            .look(look.checked.clone(), move |connection| look_up_call(connection, &look))
            .await
            .map(|queried| match queried {
                LookedUp::AccessChanged => LookedUp::AccessChanged,
                LookedUp::Seen((found, several)) => {
                    candidates = several;
                    LookedUp::Seen(found)
                }
            })?;
        self.look_at_candidates(candidates, now);
        Ok(queried)
    }

    /// See [`crate::store::Store::look_up_deletion`].
    pub(crate) async fn look_up_deletion(
        &self,
        look: DeletionLookup,
    ) -> Result<LookedUp<Option<DeletionDetails>>, StoreError> {
        let line = look.checked.key.line_row;
        self.look(look.checked, move |connection| {
            deletions::details(connection, look.deletion_id, Some(line))
        })
        .await
    }

    /// Reads in one transaction, if key, session and user are what the caller was checked against:
    /// who was revoked a moment ago sees nothing more.
    async fn look<T, Run>(&self, checked: Checked, run: Run) -> Result<LookedUp<T>, StoreError>
    where
        T: Send + 'static,
        Run: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.read(move |connection| {
            let transaction = connection.unchecked_transaction()?;
            if !still_stands(&transaction, &checked)? {
                return Ok(LookedUp::AccessChanged);
            }
            run(&transaction).map(LookedUp::Seen)
        })
        .await
    }
}

/// What is found, and the calls that it may be when there are several.
fn look_up_call(
    connection: &Connection,
    look: &CallLookup,
) -> Result<(Found<Box<CallReport>>, Vec<i64>), StoreError> {
    let status = look.selection.selector.status.as_deref();
    let mut candidates = Vec::new();
    let found = find(status, look.sees_candidates, |word| {
        let matches = resolve::matching(connection, &look.selection, word)?;
        candidates = matches.calls.iter().map(|one| one.row).collect();
        Ok::<_, StoreError>(matches)
    })?;
    Ok(match found {
        Found::None => (Found::None, Vec::new()),
        Found::One(one) => (Found::One(Box::new(report(connection, one.row)?)), Vec::new()),
        Found::Several(ambiguity) => (Found::Several(ambiguity), candidates),
    })
}

fn report(connection: &Connection, call: i64) -> Result<CallReport, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.call_id, c.graph_id, c.state, c.direction, c.chain_id, c.thread_id, \
         c.join_meeting_id, c.platform_call_id, c.native_id, c.meeting_id, c.started_at, \
         c.answered_at, d.deletion_id FROM calls AS c \
         LEFT JOIN deletions AS d ON d.deletion = c.deleted_by WHERE c.call = ?1",
    )?;
    let mut report = statement.query_row([call], |row| Ok(read_report(row)))??;
    report.end = end(connection, call)?;
    report.parties = parties(connection, call)?;
    Ok(report)
}

fn read_report(row: &Row<'_>) -> Result<CallReport, StoreError> {
    let call_id: String = row.get(0)?;
    let state: String = row.get(2)?;
    let deletion_id: Option<String> = row.get(12)?;
    Ok(CallReport {
        call_id: CallId::new(&call_id),
        graph_id: GraphCallId(row.get(1)?),
        state: state.parse().map_err(StoreError::unexpected)?,
        direction: row.get(3)?,
        chain_id: row.get(4)?,
        thread_id: row.get(5)?,
        join_meeting_id: row.get(6)?,
        platform_call_id: row.get(7)?,
        native_id: row.get(8)?,
        meeting_id: row.get(9)?,
        started_at: time(row, 10)?,
        answered_at: time(row, 11)?,
        end: None,
        parties: Vec::new(),
        deletion_id: deletion_id
            .map(|id| id.parse().map_err(StoreError::unexpected))
            .transpose()?,
    })
}

fn parties(connection: &Connection, call: i64) -> Result<Vec<PartyReport>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT role, raw, display_name FROM parties WHERE call = ?1 ORDER BY position",
    )?;
    let parties = statement.query_map([call], |row| {
        Ok(PartyReport { role: row.get(0)?, raw: row.get(1)?, display_name: row.get(2)? })
    })?;
    Ok(parties.collect::<Result<_, _>>()?)
}

/// The end of a call, when it is known, and what our deletions have to do with it.
pub(super) fn end(connection: &Connection, call: i64) -> Result<Option<CallEnd>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT ended_at, end_code, end_subcode, end_message, end_reason FROM calls \
         WHERE call = ?1",
    )?;
    let (at, reason) = statement.query_row([call], |row| {
        let reason = EndReason {
            code: row.get(1)?,
            subcode: row.get(2)?,
            message: row.get(3)?,
            word: row.get(4)?,
        };
        Ok((row.get::<_, Option<i64>>(0)?, reason))
    })?;
    let Some(at) = at else { return Ok(None) };
    Ok(Some(CallEnd { at: Timestamp(at), reason, ours: our_part(connection, call)? }))
}

/// What our deletions have to do with the end of a call. One that began after the end has nothing
/// to do with it, whatever Graph answered.
pub(super) fn our_part(connection: &Connection, call: i64) -> Result<OurPart, StoreError> {
    // 'gone' is no answer that Graph took it. An attempt counts until its answer says otherwise.
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM deletions WHERE call = ?1 AND kind IN ('DeleteCall', 'RejectCall') \
         AND ended_before = 0 AND state IN ('sent', 'confirmed')), \
         EXISTS (SELECT 1 FROM deletions AS d WHERE d.call = ?1 AND d.kind IN ('DeleteCall', 'RejectCall') \
         AND d.ended_before = 0 AND (d.state = 'gone' OR EXISTS (SELECT 1 FROM attempts AS a \
         JOIN steps AS s ON s.deletion = a.deletion AND s.position = a.position \
         WHERE a.deletion = d.deletion AND a.effect_possible = 1 \
         AND s.operation <> 'read-roster')))",
    )?;
    Ok(match statement.query_row([call], |row| Ok((row.get(0)?, row.get(1)?)))? {
        (true, _) => OurPart::Taken,
        (false, true) => OurPart::Possible,
        (false, false) => OurPart::None,
    })
}

#[cfg(test)]
mod tests;
