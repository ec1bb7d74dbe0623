//! Users in SQLite.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::deletions::time;
use super::{Sqlite, access, audit, sessions};
use crate::clock::Timestamp;
use crate::id::TenantId;
use crate::model::user::{User, folded};
use crate::store::access::{AuditEntry, NewUser, UserChanged, UserWithPassword};
use crate::store::error::StoreError;

const USER: &str = "SELECT u.user, t.tenant_id, u.login, u.role, u.created_at, u.disabled_at, \
                    u.password_hash FROM users AS u JOIN tenants AS t ON t.tenant = u.tenant";

impl Sqlite {
    /// See [`crate::store::Store::create_user`].
    pub(crate) async fn create_user(
        &self,
        user: NewUser,
        entry: AuditEntry,
    ) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let tenant = access::tenant(connection, &user.tenant, user.created_at)?;
            let made = connection
                .prepare_cached(
                    "INSERT INTO users (tenant, login, folded, role, password_hash, created_at) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    tenant,
                    user.login,
                    folded(&user.login),
                    user.role.as_str(),
                    user.password_hash,
                    user.created_at.0
                ])?;
            if made > 0 {
                audit::append_entry(connection, &entry)?;
            }
            Ok(made > 0)
        })
        .await
    }

    /// See [`crate::store::Store::users`].
    pub(crate) async fn users(&self) -> Result<Vec<User>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("{USER} ORDER BY t.tenant_id, u.login"))?;
            let mut rows = statement.query(())?;
            let mut users = Vec::new();
            while let Some(row) = rows.next()? {
                users.push(read(row)?);
            }
            Ok(users)
        })
        .await
    }

    /// See [`crate::store::Store::user`].
    pub(crate) async fn user(
        &self,
        tenant_row: i64,
        login: String,
    ) -> Result<Option<UserWithPassword>, StoreError> {
        self.read(move |connection| find(connection, tenant_row, &login)).await
    }

    /// See [`crate::store::Store::set_user_disabled`].
    pub(crate) async fn set_user_disabled(
        &self,
        tenant: TenantId,
        login: String,
        disabled: bool,
        entry: AuditEntry,
    ) -> Result<UserChanged, StoreError> {
        self.write(move |connection| {
            let Some(found) = find_in(connection, &tenant, &login)? else {
                return Ok(UserChanged::Unknown);
            };
            if found.user.disabled_at.is_some() == disabled {
                return Ok(UserChanged::Before);
            }
            let disabled_at = disabled.then_some(entry.at.0);
            let sql = "UPDATE users SET disabled_at = ?2 WHERE user = ?1";
            let sessions = change(connection, &found.user, &entry, sql, &disabled_at)?;
            Ok(UserChanged::Now { sessions })
        })
        .await
    }

    /// See [`crate::store::Store::set_password`].
    pub(crate) async fn set_password(
        &self,
        tenant: TenantId,
        login: String,
        password_hash: String,
        entry: AuditEntry,
    ) -> Result<Option<usize>, StoreError> {
        self.write(move |connection| {
            let Some(found) = find_in(connection, &tenant, &login)? else { return Ok(None) };
            let sql = "UPDATE users SET password_hash = ?2 WHERE user = ?1";
            change(connection, &found.user, &entry, sql, &password_hash).map(Some)
        })
        .await
    }
}

/// Ends the sessions of a user, changes them, and appends the record; gives how many sessions. They
/// come first: a trigger ends what is left of them, and counts nothing.
fn change(
    connection: &Connection,
    user: &User,
    entry: &AuditEntry,
    sql: &str,
    value: &dyn rusqlite::ToSql,
) -> Result<usize, StoreError> {
    let sessions = sessions::end_all(connection, "user", user.row, entry.at)?;
    connection.prepare_cached(sql)?.execute(params![user.row, value])?;
    audit::append_entry(connection, entry)?;
    Ok(sessions)
}

fn find_in(
    connection: &Connection,
    tenant: &TenantId,
    login: &str,
) -> Result<Option<UserWithPassword>, StoreError> {
    match access::find_tenant(connection, tenant)? {
        Some(tenant_row) => find(connection, tenant_row, login),
        None => Ok(None),
    }
}

fn find(
    connection: &Connection,
    tenant_row: i64,
    login: &str,
) -> Result<Option<UserWithPassword>, StoreError> {
    connection
        .prepare_cached(&format!("{USER} WHERE u.tenant = ?1 AND u.folded = ?2"))?
        .query_row(params![tenant_row, folded(login)], |row| {
            let password_hash = row.get(6)?;
            Ok(read(row).map(|user| UserWithPassword { user, password_hash }))
        })
        .optional()?
        .transpose()
}

fn read(row: &Row<'_>) -> Result<User, StoreError> {
    let role: String = row.get(3)?;
    Ok(User {
        row: row.get(0)?,
        tenant: row.get(1)?,
        login: row.get(2)?,
        role: role.parse().map_err(StoreError::unexpected)?,
        created_at: Timestamp(row.get(4)?),
        disabled_at: time(row, 5)?,
    })
}
