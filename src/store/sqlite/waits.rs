//! The time by which waits on disk are counted.
//!
//! A time to come is on disk as one of the wall clock, which anybody may set. So whoever serves counts
//! waits by a clock that nobody sets: `serving.base` is by how much waits are ahead of that one. What is
//! due is asked, and what waits is written, by this time, in the transaction that does it: however far
//! the wall clock is off, and however long nobody could note that, no wait ends early. Then all waits
//! are moved to the wall clock, and `base` with them: as both are one write, it is done once.
//!
//! `seen_at` and `seen_as` are the last moment that something was written, by the wall clock and as waits
//! have it. The next process, whose steady clock begins anew, counts on from there.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::armed;
use crate::clock::{Moment, Timestamp};
use crate::id::{ProcessId, TenantId};
use crate::store::error::StoreError;

/// By less than this, in milliseconds, a clock that was set back ends nothing that is armed.
const SET_BACK: i64 = 500;

/// As long as the clock is off by less, in milliseconds, nothing is moved: as two clocks may not be read at
/// the very same time.
const LEAST: i64 = 25;

/// The time now, as waits on disk have it.
pub(super) fn now(connection: &Connection, moment: Moment) -> Result<Timestamp, StoreError> {
    let base: Option<i64> = connection
        .prepare_cached("SELECT base FROM serving")?
        .query_row((), |row| row.get(0))
        .optional()?
        .flatten();
    Ok(base.map_or(moment.wall, |base| moment.steady.moved(base)))
}

/// Notes that something is written now that a restart may have to count on from; gives what [`now`] does.
pub(super) fn note(connection: &Connection, moment: Moment) -> Result<Timestamp, StoreError> {
    let now = now(connection, moment)?;
    connection
        .prepare_cached(
            "UPDATE serving SET seen_at = ?1, seen_as = ?2 WHERE seen_as IS NULL OR seen_as < ?2",
        )?
        .execute([moment.wall.0, now.0])?;
    Ok(now)
}

/// Moves all waits when the wall clock was set; gives what [`now`] does after that.
pub(super) fn follow(connection: &Connection, moment: Moment) -> Result<Timestamp, StoreError> {
    let now = now(connection, moment)?;
    let by = moment.wall.ahead_of(now);
    if by.abs() < LEAST {
        return Ok(now);
    }
    move_all(connection, by, now)?;
    armed::move_all(connection, by)?;
    connection.execute(
        "UPDATE serving SET base = base + ?1, seen_at = ?2, seen_as = ?2",
        [by, moment.wall.0],
    )?;
    Ok(moment.wall)
}

/// Makes `process` the one that serves, and has waits go on from the last moment that was seen. By a wall
/// clock that was set back since, no time has passed. Gives the milliseconds that have, or, negative, by
/// how much it was set back.
pub(super) fn begin(
    connection: &Connection,
    process: ProcessId,
    moment: Moment,
) -> Result<i64, StoreError> {
    let now = moment.wall;
    let seen: Option<(i64, i64)> = connection
        .query_row(
            "SELECT coalesce(seen_at, started_at), coalesce(seen_as, seen_at, started_at) \
             FROM serving",
            (),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let (last, counted) = seen.unwrap_or((now.0, now.0));
    let passed = now.0.saturating_sub(last);
    move_all(connection, last.min(now.0).saturating_sub(counted), Timestamp(counted))?;
    armed::move_all(connection, last.saturating_sub(counted))?;
    if passed <= -SET_BACK {
        armed::clock_was_set_back(connection, passed.unsigned_abs(), now)?;
    }
    connection.execute(
        "INSERT INTO serving (only_row, process, started_at, seen_at, seen_as, base) \
         VALUES (1, ?1, ?2, ?2, ?2, ?3) ON CONFLICT (only_row) DO UPDATE SET \
         process = excluded.process, started_at = excluded.started_at, seen_at = excluded.seen_at, \
         seen_as = excluded.seen_as, base = excluded.base",
        params![process.to_string(), now.0, now.ahead_of(moment.steady)],
    )?;
    Ok(passed)
}

/// No wait of our own is longer: two minutes, and the jitter.
const OUR_LONGEST: Duration = Duration::from_secs(150);

/// The login of `tenant` lets us in, or may be asked anew: what waited for it is due. So is what Graph asked to
/// wait for, until it is looked at.
pub(super) fn login_is_open(
    connection: &Connection,
    tenant: &TenantId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let was_shut = connection
        .prepare_cached(
            "UPDATE tenants SET login_not_before = NULL \
             WHERE tenant_id = ?1 AND login_not_before IS NOT NULL",
        )?
        .execute([tenant.as_str()])?;
    if was_shut > 0 {
        connection.execute(
            "UPDATE steps SET next_attempt_at = iif(parked IS NULL, ?2, next_attempt_at), \
             parked = min(parked, ?2) WHERE state = 'open' AND lease_owner IS NULL \
             AND coalesce(parked, next_attempt_at) > ?3 AND tenant = \
             (SELECT tenant FROM tenants WHERE tenant_id = ?1)",
            params![tenant.as_str(), now.0, (now + OUR_LONGEST).0],
        )?;
    }
    Ok(())
}

/// The logins that asked for patience may be asked anew.
pub(super) fn logins_are_open(connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
    let mut shut = connection
        .prepare_cached("SELECT tenant_id FROM tenants WHERE login_not_before IS NOT NULL")?;
    for tenant in shut.query_map((), |row| row.get::<_, String>(0))? {
        login_is_open(connection, &TenantId::new(&tenant?), now)?;
    }
    Ok(())
}

/// Moves the waits for attempts, for the end of leases and for looks at calls; it is `now` as they have it.
fn move_all(connection: &Connection, by: i64, now: Timestamp) -> Result<(), StoreError> {
    if by == 0 {
        return Ok(());
    }
    // What is parked is looked at again at its deadline, whatever becomes of its own time.
    connection.execute(
        "UPDATE steps SET next_attempt_at = iif(parked IS NULL, next_attempt_at + ?1, \
         next_attempt_at), parked = parked + ?1, lease_until = lease_until + ?1 \
         WHERE state = 'open' AND next_attempt_at IS NOT NULL",
        [by],
    )?;
    // What has passed stays so, and there is much of it; but by a clock that was set back it is to come.
    connection.execute(
        "UPDATE attempts SET not_before = not_before + ?1 WHERE not_before > ?2",
        [by, now.moved(by.min(0)).0],
    )?;
    connection.execute("UPDATE tenants SET login_not_before = login_not_before + ?1", [by])?;
    connection
        .execute("UPDATE calls SET look_at = look_at + ?1 WHERE look_at IS NOT NULL", [by])?;
    Ok(())
}

#[cfg(test)]
mod tests;
