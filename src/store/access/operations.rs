//! What the store does with keys, users and sessions.

use super::{
    AccessSnapshot, AuditEntry, HashedSecret, KeyReport, KeyUse, NewKey, NewSession, NewUser,
    Revoked, Rotated, SessionRow, UserChanged, UserWithPassword,
};
use crate::clock::Timestamp;
use crate::id::{KeyId, SessionId, TenantId};
use crate::model::key::Session;
use crate::model::user::User;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::pepper::Digest;

impl Store {
    /// All keys, and the generation they are valid with.
    pub(crate) async fn access_snapshot(&self) -> Result<AccessSnapshot, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.access_snapshot().await,
        }
    }

    /// The generation of keys, users and sessions.
    pub(crate) async fn access_generation(&self) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.access_generation().await,
        }
    }

    /// The session that was opened with the token of this hash.
    pub(crate) async fn session(&self, hash: Digest) -> Result<Option<Session>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.session(hash).await,
        }
    }

    /// Writes keys, and their tenants when these are new: all of them, each with its record, or none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when there is a key with the same secret.
    pub(crate) async fn create_keys(
        &self,
        keys: Vec<(NewKey, AuditEntry)>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.create_keys(keys).await,
        }
    }

    /// The positions of those hashes that a key has already.
    pub(crate) async fn known_secrets(
        &self,
        hashes: Vec<Digest>,
    ) -> Result<Vec<usize>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.known_secrets(hashes).await,
        }
    }

    /// All keys with when and from where they were last used, in the order they were made.
    pub(crate) async fn keys(&self) -> Result<Vec<KeyReport>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.keys().await,
        }
    }

    /// Revokes a key for good, and ends its sessions.
    pub(crate) async fn revoke_key(
        &self,
        id: KeyId,
        entry: AuditEntry,
    ) -> Result<Revoked, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.revoke_key(id, entry).await,
        }
    }

    /// Writes a successor that is as the key `old` is, but for its id and secret, and lets `old` end
    /// at `old_until` unless it ends before.
    pub(crate) async fn rotate_key(
        &self,
        old: KeyId,
        old_until: Timestamp,
        successor: (KeyId, HashedSecret),
        entry: AuditEntry,
    ) -> Result<Rotated, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.rotate_key(old, old_until, successor, entry).await,
        }
    }

    /// Writes down from where keys were used. Of the places where nobody logged in the latest twenty
    /// of each key are kept; of those where somebody did, which are kept apart, the latest twenty of
    /// each key and login and 1,000 of each key, for thirty days.
    pub(crate) async fn note_uses(&self, uses: Vec<KeyUse>) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.note_uses(uses).await,
        }
    }

    /// Counts passwords that came in query strings, by key.
    pub(crate) async fn note_query_passwords(
        &self,
        counts: Vec<(i64, u64)>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.note_query_passwords(counts).await,
        }
    }

    /// Whether somebody has used the key from this address with this login since then.
    pub(crate) async fn has_used(
        &self,
        key_row: i64,
        peer: String,
        login: String,
        since: Timestamp,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.has_used(key_row, peer, login, since).await,
        }
    }

    /// Writes a user, and their tenant when that is new; gives false when the login is taken there.
    pub(crate) async fn create_user(
        &self,
        user: NewUser,
        entry: AuditEntry,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.create_user(user, entry).await,
        }
    }

    /// All users, by tenant and login.
    pub(crate) async fn users(&self) -> Result<Vec<User>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.users().await,
        }
    }

    /// The user of this login, compared folded, among those of a tenant.
    pub(crate) async fn user(
        &self,
        tenant_row: i64,
        login: String,
    ) -> Result<Option<UserWithPassword>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.user(tenant_row, login).await,
        }
    }

    /// Disables a user, which ends their sessions, or enables them again.
    pub(crate) async fn set_user_disabled(
        &self,
        tenant: TenantId,
        login: String,
        disabled: bool,
        entry: AuditEntry,
    ) -> Result<UserChanged, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.set_user_disabled(tenant, login, disabled, entry).await,
        }
    }

    /// Gives a user another password, which ends their sessions.
    pub(crate) async fn set_password(
        &self,
        tenant: TenantId,
        login: String,
        password_hash: String,
        entry: AuditEntry,
    ) -> Result<Option<usize>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.set_password(tenant, login, password_hash, entry).await,
        }
    }

    /// Writes a session of a key, with its record; gives none when the key is not valid, or the user
    /// is disabled or has another password by now.
    pub(crate) async fn create_session(
        &self,
        session: NewSession,
        entry: AuditEntry,
    ) -> Result<Option<SessionId>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.create_session(session, entry).await,
        }
    }

    /// Ends a session, with its record; gives false when none of this id was running at the time of
    /// the record.
    pub(crate) async fn end_session(
        &self,
        id: SessionId,
        entry: AuditEntry,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.end_session(id, entry).await,
        }
    }

    /// The sessions that are running at `now`, the newest first.
    pub(crate) async fn sessions(&self, now: Timestamp) -> Result<Vec<SessionRow>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.sessions(now).await,
        }
    }
}
