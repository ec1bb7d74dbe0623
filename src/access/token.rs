//! What came as a token, and why it was not accepted.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::model::key::{ApiKey, Session};
use crate::secret::Secret;

/// What came as a token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token<'a> {
    /// None came.
    Absent,
    /// Something that can be no token.
    Malformed,
    /// This one, canonical.
    Sent(&'a Secret<String>),
}

/// A token that was not accepted. There is one answer for all of them; the rest is for log and record.
#[derive(Clone, Debug)]
pub(crate) struct TokenRefusal {
    /// `malformed`, `unknown`, `foreign`, `disabled`, `released` or `expired`.
    pub(crate) cause: &'static str,
    /// The session it once opened, where there is one.
    pub(crate) session: Option<Arc<Session>>,
}

impl TokenRefusal {
    /// Nobody knows a session of it.
    pub(super) const fn unknown(cause: &'static str) -> Self {
        Self { cause, session: None }
    }
}

/// The session, when somebody with `key` may act in it at `now`.
///
/// # Errors
///
/// Why not.
pub(super) fn judge(
    session: Arc<Session>,
    key: &ApiKey,
    now: Timestamp,
) -> Result<Arc<Session>, TokenRefusal> {
    let cause = if session.key_row != key.row {
        "foreign"
    } else if session.user_disabled {
        "disabled"
    } else if session.released_at.is_some() {
        "released"
    } else if session.is_valid_for(key, now) {
        return Ok(session);
    } else {
        "expired"
    };
    Err(TokenRefusal { cause, session: Some(session) })
}
