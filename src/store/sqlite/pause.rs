//! Pauses in SQLite. A step that is due while its tenant is paused is parked: it gets its deadline as its
//! time, so that nobody looks at it before, and keeps its own for the resumption.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Sqlite, access, audit};
use crate::clock::Timestamp;
use crate::id::TenantId;
use crate::store::access::AuditEntry;
use crate::store::admission::StepRef;
use crate::store::error::StoreError;
use crate::store::pause::{Pause, Paused, Resumed};

const PAUSES: &str = "SELECT NULL AS tenant_id, paused_at, paused_by, reason, backup_at FROM paused \
                      UNION ALL SELECT tenant_id, paused_at, coalesce(paused_by, '?'), pause_reason, \
                      NULL FROM tenants WHERE paused_at IS NOT NULL ORDER BY 1";

/// The tenant of `steps`, or every one, is paused.
const IS_PAUSED: &str = "(EXISTS (SELECT 1 FROM paused) OR EXISTS (SELECT 1 FROM tenants AS t \
                         WHERE t.tenant = steps.tenant AND t.paused_at IS NOT NULL))";

/// Gives a step its next deadline as its time.
const PARK: &str = "UPDATE steps SET parked = coalesce(parked, next_attempt_at), next_attempt_at = \
                    iif(deadline_at > ?1, deadline_at, max(deadline_at, (SELECT d.deadline_at \
                    FROM deletions AS d WHERE d.deletion = steps.deletion)))";

impl Sqlite {
    /// See [`crate::store::Store::pause`].
    pub(crate) async fn pause(
        &self,
        tenant: Option<TenantId>,
        entry: AuditEntry,
    ) -> Result<Paused, StoreError> {
        self.write_owed(move |connection| pause(connection, tenant.as_ref(), &entry)).await
    }

    /// See [`crate::store::Store::resume`].
    pub(crate) async fn resume(
        &self,
        tenant: Option<TenantId>,
        entry: AuditEntry,
    ) -> Result<Resumed, StoreError> {
        self.write(move |connection| resume(connection, tenant.as_ref(), &entry)).await
    }

    /// See [`crate::store::Store::pauses`].
    pub(crate) async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        self.read(|connection| Ok(pauses(connection)?)).await
    }
}

pub(super) fn pause(
    connection: &Connection,
    tenant: Option<&TenantId>,
    entry: &AuditEntry,
) -> Result<Paused, StoreError> {
    if is_unknown(connection, tenant)? {
        return Ok(Paused::Unknown);
    }
    if let Some(before) = standing(connection, tenant)? {
        return Ok(Paused::Before(before));
    }
    let now = entry.at;
    let reason = entry.personal.reason.as_deref();
    match tenant {
        None => connection
            .prepare_cached("INSERT INTO paused VALUES (1, ?1, ?2, ?3, NULL)")?
            .execute(params![now.0, operator(entry), reason])?,
        Some(tenant) => connection
            .prepare_cached(
                "UPDATE tenants SET paused_at = ?1, paused_by = ?2, pause_reason = ?3 \
                 WHERE tenant_id = ?4",
            )?
            .execute(params![now.0, operator(entry), reason, tenant.as_str()])?,
    };
    // All at once: the sender would have to look at each of them otherwise.
    let sql = format!("{PARK} WHERE state = 'open' AND lease_owner IS NULL AND {IS_PAUSED}");
    connection.prepare_cached(&sql)?.execute([now.0])?;
    audit::append_entry(connection, entry)?;
    Ok(Paused::Now)
}

pub(super) fn resume(
    connection: &Connection,
    tenant: Option<&TenantId>,
    entry: &AuditEntry,
) -> Result<Resumed, StoreError> {
    if is_unknown(connection, tenant)? {
        return Ok(Resumed::Unknown);
    }
    let Some(before) = standing(connection, tenant)? else { return Ok(Resumed::Before) };
    match tenant {
        None => connection.prepare_cached("DELETE FROM paused")?.execute(())?,
        Some(tenant) => connection
            .prepare_cached(
                "UPDATE tenants SET paused_at = NULL, paused_by = NULL, pause_reason = NULL \
                 WHERE tenant_id = ?1",
            )?
            .execute([tenant.as_str()])?,
    };
    let sql = format!(
        "UPDATE steps SET next_attempt_at = parked, parked = NULL \
         WHERE parked IS NOT NULL AND state = 'open' AND NOT {IS_PAUSED}"
    );
    connection.prepare_cached(&sql)?.execute(())?;
    audit::append_entry(connection, entry)?;
    Ok(Resumed::Now(before))
}

/// The pauses that stand, the one of all tenants first.
pub(super) fn pauses(connection: &Connection) -> rusqlite::Result<Vec<Pause>> {
    connection.prepare_cached(PAUSES)?.query_map((), read)?.collect()
}

/// Parks a step whose tenant is paused; false when it may be sent.
pub(super) fn park(
    connection: &Connection,
    step: StepRef,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = format!("{PARK} WHERE deletion = ?2 AND position = ?3 AND {IS_PAUSED}");
    let parked =
        connection.prepare_cached(&sql)?.execute(params![now.0, step.deletion, step.position])?;
    Ok(parked > 0)
}

/// Nothing may be sent for this tenant.
pub(super) fn is_paused(connection: &Connection, tenant_row: i64) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM paused) OR EXISTS (SELECT 1 FROM tenants \
             WHERE tenant = ?1 AND paused_at IS NOT NULL)",
        )?
        .query_row([tenant_row], |row| row.get(0))?)
}

fn is_unknown(connection: &Connection, tenant: Option<&TenantId>) -> Result<bool, StoreError> {
    match tenant {
        None => Ok(false),
        Some(tenant) => Ok(access::find_tenant(connection, tenant)?.is_none()),
    }
}

fn standing(
    connection: &Connection,
    tenant: Option<&TenantId>,
) -> Result<Option<Pause>, StoreError> {
    let sql = format!("SELECT * FROM ({PAUSES}) WHERE tenant_id IS ?1");
    Ok(connection
        .prepare_cached(&sql)?
        .query_row([tenant.map(TenantId::as_str)], read)
        .optional()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Pause> {
    Ok(Pause {
        tenant: row.get::<_, Option<String>>(0)?.as_deref().map(TenantId::new),
        since: Timestamp(row.get(1)?),
        by: row.get(2)?,
        reason: row.get(3)?,
        backup_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
    })
}

fn operator(entry: &AuditEntry) -> String {
    let known = |what: &Option<String>| what.clone().unwrap_or_else(|| "?".to_owned());
    format!("{}@{}", known(&entry.personal.user), known(&entry.personal.host))
}
