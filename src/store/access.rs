//! What goes into the store and comes out of it about keys, users and sessions.

mod operations;

use std::collections::HashMap;
use std::sync::Arc;

use super::pepper::Digest;
use crate::clock::Timestamp;
use crate::id::{KeyId, SessionId, TenantId};
use crate::model::chain::{AuditEvent, Personal};
use crate::model::key::{ApiKey, Peer, Session};
use crate::model::number::pattern::NumberPattern;
use crate::model::rights::Right;
use crate::model::selector::IdentifierKind;
use crate::model::user::{Role, User};

/// One record for the audit chain, with how many alike it stands for.
#[derive(Clone, Debug)]
pub(crate) struct AuditEntry {
    pub(crate) at: Timestamp,
    pub(crate) count: u64,
    pub(crate) event: AuditEvent,
    pub(crate) personal: Personal,
}

/// All keys at one generation.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessSnapshot {
    pub(crate) generation: i64,
    pub(crate) keys: HashMap<Digest, Arc<ApiKey>>,
}

/// Who was checked, as key and session stood then. A transaction that acts for them looks whether
/// they still stand so.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// While this is the generation of keys, users and sessions, they do.
    pub(crate) generation: i64,
    pub(crate) key: Arc<ApiKey>,
    pub(crate) session: Option<Arc<Session>>,
}

/// The hash of a secret, and the fingerprint of the pepper that it was made with.
#[derive(Clone, Debug)]
pub(crate) struct HashedSecret {
    pub(crate) pepper: String,
    pub(crate) hash: Digest,
}

/// A key to be written; its secret is not in here.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct NewKey {
    pub(crate) id: KeyId,
    pub(crate) tenant: TenantId,
    pub(crate) name: String,
    pub(crate) owner: Option<String>,
    pub(crate) secret: HashedSecret,
    pub(crate) requires_token: bool,
    pub(crate) rights: Vec<Right>,
    pub(crate) identifiers: Vec<IdentifierKind>,
    pub(crate) numbers: Vec<NumberPattern>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) post_only: bool,
    pub(crate) reason_required: bool,
    pub(crate) query_passwords: bool,
    pub(crate) weak: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

/// What came of revoking a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// It is revoked, and so many of its sessions with it.
    Now { sessions: usize },
    /// It was, since then.
    Before(Timestamp),
    /// No key has this id.
    Unknown,
}

/// What came of rotating a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotated {
    /// The new key counts; the old one until then.
    Now { old_expires_at: Timestamp },
    /// It has a successor already.
    Before(KeyId),
    /// It is revoked or expired.
    NotValid,
    /// No key has this id.
    Unknown,
}

/// How a key was used from one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyUse {
    /// The store's own number of the key.
    pub(crate) key_row: i64,
    pub(crate) peer: String,
    /// Empty where nobody logged in.
    pub(crate) login: String,
    pub(crate) first_used_at: Timestamp,
    pub(crate) last_used_at: Timestamp,
}

/// A key as it is listed: with its latest uses, at most twenty, the latest first.
#[derive(Clone, Debug)]
pub(crate) struct KeyReport {
    pub(crate) key: Arc<ApiKey>,
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) query_password_uses: u64,
    pub(crate) uses: Vec<KeyUse>,
}

/// Somebody to be written; the password is not in here.
#[derive(Clone, Debug)]
pub(crate) struct NewUser {
    pub(crate) tenant: TenantId,
    pub(crate) login: String,
    pub(crate) role: Role,
    /// As the PHC string that says how to verify it.
    pub(crate) password_hash: String,
    pub(crate) created_at: Timestamp,
}

/// Somebody with what their password is verified by.
#[derive(Clone, Debug)]
pub(crate) struct UserWithPassword {
    pub(crate) user: User,
    pub(crate) password_hash: String,
}

/// What came of a change to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserChanged {
    /// It is so now; so many sessions ended with it.
    Now { sessions: usize },
    /// It was so before.
    Before,
    /// Nobody has this login.
    Unknown,
}

/// A session to be written; its token is not in here.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) id: SessionId,
    pub(crate) key: KeyId,
    /// The user, and the password hash that was verified: when it has changed since, there is no
    /// session.
    pub(crate) user: Option<UserWithPassword>,
    pub(crate) secret: HashedSecret,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// A running session in a list.
#[derive(Clone, Debug)]
pub(crate) struct SessionRow {
    pub(crate) id: SessionId,
    pub(crate) key_id: KeyId,
    pub(crate) key_name: String,
    pub(crate) login: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}
