//! The audit chain: what a record's canonical bytes are, and how each holds on to the one before.
//!
//! Pure. Personal values are in the canonical bytes as a salted digest only, so that salt and value
//! can be destroyed later and the chain still verifies.

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use crate::clock::Timestamp;

/// One decision, as it is recorded. What was added to it later is left out where there is none, so
/// that records are spelt as they were before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct AuditEvent {
    /// What was asked, in the legacy API's words, such as `DeleteCall`.
    pub(crate) action: String,
    /// `allowed` or `refused`.
    pub(crate) decision: &'static str,
    /// The outcome's or the reason's word.
    pub(crate) result: &'static str,
    pub(crate) tenant: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) call_id: Option<String>,
    pub(crate) deletion_id: Option<String>,
    /// The session that was opened, ended or used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<String>,
    /// The key that was made in the place of this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) successor_id: Option<String>,
    /// The key in whose place this one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) predecessor_id: Option<String>,
    /// Why, where the result does not say it, and the caller is not told: `expired`. Of a new user
    /// the role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<&'static str>,
    /// Of a loss that was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commits: Option<Commits>,
    /// The names of the known parameters that were sent; of a command, of the options that said how.
    pub(crate) parameters: Vec<&'static str>,
}

/// Commits of the database that were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Commits {
    /// So many there had been at least.
    pub(crate) marked: i64,
    /// So many were found; none when there was no database.
    pub(crate) found: Option<i64>,
}

/// What of a decision says something about a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Personal {
    pub(crate) peer: Option<String>,
    /// The login, or at the command line the operating system's user.
    pub(crate) user: Option<String>,
    pub(crate) selector: Option<String>,
    pub(crate) reason: Option<String>,
    /// The machine of a command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    /// The login that a command changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
}

/// A record ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct ChainedRecord {
    pub(crate) canonical: Vec<u8>,
    pub(crate) personal: String,
    pub(crate) digest: Vec<u8>,
    pub(crate) link: Vec<u8>,
}

#[derive(Serialize)]
struct Canonical<'a> {
    position: i64,
    at: String,
    count: u64,
    #[serde(flatten)]
    event: &'a AuditEvent,
    personal: String,
}

/// The record at `position`, bound to `previous`, the link of the record before it (empty for the
/// first).
///
/// The digest is SHA-256 of the canonical bytes; the link is SHA-256 of the previous link and the
/// digest.
pub(crate) fn chained(
    position: i64,
    at: Timestamp,
    count: u64,
    event: &AuditEvent,
    personal: &Personal,
    salt: &[u8],
    previous: &[u8],
) -> ChainedRecord {
    let personal = json(personal);
    let hidden = digest(&SHA256, &[salt, personal.as_bytes()].concat());
    let canonical = json(&Canonical {
        position,
        at: at.to_string(),
        count,
        event,
        personal: hex(hidden.as_ref()),
    })
    .into_bytes();
    let own = digest(&SHA256, &canonical);
    let link = digest(&SHA256, &[previous, own.as_ref()].concat());
    ChainedRecord {
        canonical,
        personal,
        digest: own.as_ref().to_vec(),
        link: link.as_ref().to_vec(),
    }
}

/// A record as it is kept. Salt and personal values may have been destroyed.
#[derive(Clone, Debug)]
pub(crate) struct KeptRecord {
    pub(crate) position: i64,
    pub(crate) canonical: Vec<u8>,
    pub(crate) salt: Option<Vec<u8>>,
    pub(crate) personal: Option<String>,
    pub(crate) digest: Vec<u8>,
    pub(crate) link: Vec<u8>,
}

/// This record follows the one at the position and with the link of `previous` (zero and empty before the
/// first), and is as it was written.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn follows(previous: (i64, &[u8]), record: &KeptRecord) -> Result<(), &'static str> {
    if record.position != previous.0 + 1 {
        return Err("does not come next: records are missing before it");
    }
    let own = digest(&SHA256, &record.canonical);
    if own.as_ref() != record.digest {
        return Err("is not what its digest says");
    }
    let link = digest(&SHA256, &[previous.1, own.as_ref()].concat());
    if link.as_ref() != record.link {
        return Err("does not hold on to the one before");
    }
    let canonical: serde_json::Value =
        serde_json::from_slice(&record.canonical).map_err(|_syntax| "is no JSON")?;
    if canonical["position"] != record.position {
        return Err("stands in another place than it was written in");
    }
    if let (Some(salt), Some(personal)) = (&record.salt, &record.personal) {
        let hidden = digest(&SHA256, &[salt, personal.as_bytes()].concat());
        if canonical["personal"] != hex(hidden.as_ref()) {
            return Err("has other personal values than were written");
        }
    }
    Ok(())
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain structs of text and numbers are valid JSON")
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> AuditEvent {
        AuditEvent {
            action: "DeleteCall".to_owned(),
            decision: "refused",
            result: "not_found",
            parameters: vec!["extension", "status"],
            ..AuditEvent::default()
        }
    }

    #[test]
    fn the_canonical_bytes_hold_no_personal_value() {
        let personal = Personal { peer: Some("192.0.2.7".to_owned()), ..Personal::default() };
        let record = chained(1, Timestamp(0), 1, &event(), &personal, b"salt", b"");
        let canonical = String::from_utf8(record.canonical).unwrap();
        assert!(!canonical.contains("192.0.2.7"), "{canonical}");
        assert!(record.personal.contains("192.0.2.7"));
    }

    #[test]
    fn a_link_changes_with_the_record_and_with_all_before_it() {
        let personal = Personal::default();
        let link = |count, previous: &[u8]| {
            chained(1, Timestamp(0), count, &event(), &personal, b"salt", previous).link
        };
        assert_eq!(link(1, b""), link(1, b""));
        assert_ne!(link(1, b""), link(2, b""));
        assert_ne!(link(1, b""), link(1, b"other"));
    }

    #[test]
    fn a_kept_record_follows_only_what_it_was_written_after_and_only_as_it_was_written() {
        let personal = Personal { peer: Some("192.0.2.7".to_owned()), ..Personal::default() };
        let kept = |position, previous: &[u8]| {
            let record = chained(position, Timestamp(0), 1, &event(), &personal, b"salt", previous);
            KeptRecord {
                position,
                canonical: record.canonical,
                salt: Some(b"salt".to_vec()),
                personal: Some(record.personal),
                digest: record.digest,
                link: record.link,
            }
        };
        let first = kept(1, b"");
        let second = kept(2, &first.link);
        assert_eq!(follows((0, b""), &first), Ok(()));
        assert_eq!(follows((1, &first.link), &second), Ok(()));
        assert!(follows((1, b"other"), &second).is_err());
        assert!(follows((0, b""), &second).is_err(), "the first one is missing");
        let changed = |change: fn(&mut KeptRecord)| {
            let mut record = second.clone();
            change(&mut record);
            follows((1, &first.link), &record)
        };
        assert!(changed(|record| record.canonical[5] ^= 1).is_err());
        assert!(changed(|record| record.personal = Some("{}".to_owned())).is_err());
        assert!(changed(|record| record.digest[0] ^= 1).is_err());
        assert!(changed(|record| record.link[0] ^= 1).is_err());
        let forgotten = |record: &mut KeptRecord| (record.salt, record.personal) = (None, None);
        assert_eq!(changed(forgotten), Ok(()));
    }

    #[test]
    fn what_was_added_later_is_in_a_record_only_where_there_is_something() {
        let text = |event: &AuditEvent, personal: &Personal| {
            let record = chained(1, Timestamp(0), 1, event, personal, b"salt", b"");
            String::from_utf8(record.canonical).unwrap() + &record.personal
        };
        let names = ["session_id", "successor_id", "predecessor_id", "cause", "host", "subject"]
            .map(|name| format!("\"{name}\""));
        let before = text(&event(), &Personal::default());
        assert!(names.iter().all(|name| !before.contains(name)), "{before}");
        let some = Some("x".to_owned());
        let event = AuditEvent {
            session_id: some.clone(),
            successor_id: some.clone(),
            predecessor_id: some.clone(),
            cause: Some("expired"),
            ..event()
        };
        let personal = Personal { host: some.clone(), subject: some, ..Personal::default() };
        let now = text(&event, &personal);
        assert!(names.iter().all(|name| now.contains(name)), "{now}");
    }
}
