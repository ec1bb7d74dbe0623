//! Ids on the command line, and where to find the right one.

use crate::id::{DeletionId, Id, KeyId, SessionId};

/// A key's.
pub(super) fn key(text: &str) -> Result<KeyId, &'static str> {
    id(text, "expected an id as `keys list` shows it")
}

/// A session's.
pub(super) fn session(text: &str) -> Result<SessionId, &'static str> {
    id(text, "expected an id as `tokens list` shows it")
}

/// A deletion's.
pub(super) fn deletion(text: &str) -> Result<DeletionId, &'static str> {
    id(text, "expected an id as `deletions list` shows it")
}

fn id<Kind>(text: &str, expected: &'static str) -> Result<Id<Kind>, &'static str> {
    text.trim().parse().map_err(|_error| expected)
}
