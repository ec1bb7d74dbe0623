//! The rows of a call's roster, and what is told of it. Only those rows are read that can change.

use std::collections::BTreeMap;

use rusqlite::{Row, params};

use super::Call;
use crate::clock::Timestamp;
use crate::model::change::RosterChange;
use crate::model::merge::roster::{Member, Roster};
use crate::store::error::StoreError;
use crate::store::sqlite::deletions::time;

const MEMBERS: &str = "SELECT participant_id, raw, normalised, user_id, display_name, joined_at, \
                       left_at, sequence, app_id FROM roster WHERE call = ?1";

/// Merges what was told of the roster of `call`; gives whether that was news.
pub(super) fn merge(
    call: &Call<'_>,
    change: &RosterChange,
    whole: Option<i64>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut roster = Roster { members: BTreeMap::new(), whole };
    match change {
        RosterChange::Whole(_) => read_all(call, &mut roster)?,
        RosterChange::Delta { participants, .. } => {
            for one in participants {
                read_one(call, &mut roster, &one.participant_id)?;
            }
        }
        RosterChange::Left(id) => read_one(call, &mut roster, id)?,
    }
    let changed = roster.merge(change, now);
    for id in &changed {
        if let Some(member) = roster.members.get(id) {
            write(call, id, member)?;
        }
    }
    if roster.whole != whole {
        call.connection
            .prepare_cached("UPDATE calls SET roster_sequence = ?2 WHERE call = ?1")?
            .execute(params![call.row, roster.whole])?;
    }
    Ok(!changed.is_empty() || roster.whole != whole)
}

fn read_all(call: &Call<'_>, roster: &mut Roster) -> Result<(), StoreError> {
    let mut statement = call.connection.prepare_cached(MEMBERS)?;
    let mut rows = statement.query([call.row])?;
    while let Some(row) = rows.next()? {
        roster.members.insert(row.get(0)?, read(row)?);
    }
    Ok(())
}

fn read_one(call: &Call<'_>, roster: &mut Roster, id: &str) -> Result<(), StoreError> {
    let sql = format!("{MEMBERS} AND participant_id = ?2");
    let mut statement = call.connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![call.row, id])?;
    if let Some(row) = rows.next()? {
        roster.members.insert(row.get(0)?, read(row)?);
    }
    Ok(())
}

fn read(row: &Row<'_>) -> Result<Member, StoreError> {
    Ok(Member {
        raw: row.get(1)?,
        normalised: row.get(2)?,
        user_id: row.get(3)?,
        display_name: row.get(4)?,
        joined_at: time(row, 5)?,
        left_at: time(row, 6)?,
        sequence: row.get(7)?,
        app_id: row.get(8)?,
    })
}

fn write(call: &Call<'_>, id: &str, member: &Member) -> Result<(), StoreError> {
    call.connection
        .prepare_cached(
            "INSERT INTO roster (call, participant_id, tenant, raw, normalised, user_id, \
             display_name, joined_at, left_at, sequence, ended_at, app_id) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
             ON CONFLICT (call, participant_id) DO UPDATE SET raw = excluded.raw, \
             normalised = excluded.normalised, user_id = excluded.user_id, \
             display_name = excluded.display_name, joined_at = excluded.joined_at, \
             left_at = excluded.left_at, sequence = excluded.sequence, \
             app_id = excluded.app_id",
        )?
        .execute(params![
            call.row,
            id,
            call.tenant,
            member.raw,
            member.normalised,
            member.user_id,
            member.display_name,
            member.joined_at.map(|at| at.0),
            member.left_at.map(|at| at.0),
            member.sequence,
            call.ended_at.map(|at| at.0),
            member.app_id
        ])?;
    Ok(())
}
