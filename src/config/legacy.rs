//! `legacy.…` and `numbering.…`: how the old API answers, and what its identifiers mean.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::source::Source;

const ON_PENDING: &[(&str, OnPending)] =
    &[("success", OnPending::Success), ("error", OnPending::Error)];
const ON_ENDED: &[(&str, OnEnded)] =
    &[("forward", OnEnded::Forward), ("success", OnEnded::Success)];
const CODES: &[(&str, Codes)] = &[("verba", Codes::Verba), ("documented", Codes::Documented)];
const HTTP_STATUS: &[(&str, HttpStatus)] =
    &[("ok", HttpStatus::Ok), ("mapped", HttpStatus::Mapped)];
/// Graph's own names.
const FIELDS: &[(&str, CallField)] = &[
    ("id", CallField::GraphCallId),
    ("callChainId", CallField::CallChainId),
    ("chatInfo.threadId", CallField::ThreadId),
    ("meetingInfo.joinMeetingId", CallField::JoinMeetingId),
];

/// How the legacy API behaves.
#[derive(Clone, Debug)]
pub(crate) struct LegacyConfig {
    /// The paths it answers at, without trailing slash.
    pub(crate) paths: Vec<String>,
    /// How long an answer waits for Graph.
    pub(crate) wait: Duration,
    pub(crate) on_pending: OnPending,
    pub(crate) on_ended: OnEnded,
    pub(crate) codes: Codes,
    pub(crate) http_status: HttpStatus,
    /// Whoever asks for a token without a login is asked for it by HTTP's own means.
    pub(crate) basic_challenge: bool,
    pub(crate) match_roster: bool,
    pub(crate) mapping: Mapping,
}

/// What is answered when Graph has not answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnPending {
    /// `success`: 0, `accepted`.
    Success,
    /// `error`: 2, and the deletion is withdrawn when no attempt has begun.
    Error,
}

/// What a deletion of a call that has ended does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnEnded {
    /// `forward`: Graph decides.
    Forward,
    /// `success`: 0, `already_ended`, nothing is sent.
    Success,
}

/// Which code table the answers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codes {
    /// `verba`: the whole table.
    Verba,
    /// `documented`: 2 for every error.
    Documented,
}

/// Which HTTP status a decided answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpStatus {
    /// `ok`: 200.
    Ok,
    /// `mapped`: 400, 401, 403, 404, 409, 502 for errors.
    Mapped,
}

/// Which field of a Graph call each legacy identifier is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the legacy API")]
pub(crate) struct Mapping {
    pub(crate) platform_call_id: Vec<CallField>,
    pub(crate) native_id: Vec<CallField>,
    pub(crate) meeting_id: Vec<CallField>,
}

/// A field of a Graph call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::enum_variant_names, reason = "Graph's names")]
pub(crate) enum CallField {
    /// `id`
    GraphCallId,
    /// `callChainId`
    CallChainId,
    /// `chatInfo.threadId`
    ThreadId,
    /// `meetingInfo.joinMeetingId`
    JoinMeetingId,
}

/// How short numbers become long ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NumberingConfig {
    /// Such as `+4930123`: then `8856` and `+49301238856` are equal.
    pub(crate) prefixes: Vec<String>,
}

impl LegacyConfig {
    pub(super) fn read(from: &mut Source) -> Self {
        let sane = Duration::from_millis(1)..=Duration::from_mins(10);
        Self {
            paths: paths(from),
            wait: from.duration("legacy.wait", sane),
            on_pending: from.word("legacy.on_pending", ON_PENDING),
            on_ended: from.word("legacy.on_ended", ON_ENDED),
            codes: from.word("legacy.codes", CODES),
            http_status: from.word("legacy.http_status", HTTP_STATUS),
            basic_challenge: from.switch("legacy.basic_challenge"),
            match_roster: from.switch("legacy.match_roster"),
            mapping: Mapping {
                platform_call_id: from.words("legacy.mapping.platform_call_id", FIELDS),
                native_id: from.words("legacy.mapping.native_id", FIELDS),
                meeting_id: from.words("legacy.mapping.meeting_id", FIELDS),
            },
        }
    }
}

impl NumberingConfig {
    pub(super) fn read(from: &mut Source) -> Self {
        let what = "a list of number beginnings such as +4930123";
        let prefix = |text: &str| {
            let digits = text.strip_prefix('+')?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            (is_number && (1..=15).contains(&digits.len())).then(|| text.to_owned())
        };
        Self { prefixes: from.list("numbering.prefixes", what, 0, prefix) }
    }
}

fn paths(from: &mut Source) -> Vec<String> {
    let what = "one or several paths such as /verba/api, without a slash at the end and \
                without ? # % ; or blanks";
    from.list("legacy.paths", what, 1, |path| is_path(path).then(|| path.to_owned()))
}

/// Whether a request can have this path when it is compared: by then it has lost its `;…` and its
/// percent-encoding.
pub(super) fn is_path(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_graphic() && !"?#%;".contains(c);
    text.starts_with('/') && !text.ends_with('/') && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, value: &str, expected: &str) {
        let mut source = Source::of(&[(key, value)]);
        let legacy = LegacyConfig::read(&mut source);
        let numbering = NumberingConfig::read(&mut source);
        let errors = source.error_text();
        let mapping = &legacy.mapping;
        let found = match key {
            _ if !errors.is_empty() => {
                let problem = errors.strip_prefix(&format!("`{key}`: expected "));
                problem.unwrap_or_else(|| panic!("{errors}")).to_owned()
            }
            "legacy.paths" => format!("{:?}", legacy.paths),
            "legacy.mapping.native_id" => format!("{:?}", mapping.native_id),
            _ => format!("{:?}", numbering.prefixes),
        };
        assert!(found.starts_with(expected), "{key} = {value}: {found}");
    }

    #[test]
    fn a_path_is_what_a_request_can_have_after_it_was_cleaned() {
        check("legacy.paths", "/verba/api, /api", r#"["/verba/api", "/api"]"#);
        for wrong in ["", "verba", "/", "/verba/", "/a?b", "/a;b", "/a%20b", "/a b", "/a,,/b"] {
            check("legacy.paths", wrong, "one or several paths such as /verba/api");
        }
        check("legacy.paths", "/a,/b,/a", "one or several paths");
    }

    #[test]
    fn an_identifier_is_compared_with_one_or_several_fields_by_graphs_names() {
        let key = "legacy.mapping.native_id";
        check(key, "callChainId", "[CallChainId]");
        check(key, "id,chatInfo.threadId", "[GraphCallId, ThreadId]");
        let error = "one or several of id, callChainId, chatInfo.threadId or \
                     meetingInfo.joinMeetingId";
        check(key, "call-id", error);
        check(key, "", error);
        check(key, "id,id", error);
    }

    #[test]
    fn a_prefix_is_the_beginning_of_a_whole_number() {
        check("numbering.prefixes", "+4930123,+4989", r#"["+4930123", "+4989"]"#);
        check("numbering.prefixes", "", "[]");
        for wrong in ["4930123", "+", "+49-30", "+1234567890123456"] {
            check("numbering.prefixes", wrong, "a list of number beginnings such as +4930123");
        }
    }
}
