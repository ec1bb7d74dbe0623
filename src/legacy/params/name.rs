//! The names of parameters: what we know, and what only resembles it.
//!
//! A name that differs from one of ours in a separator is told apart from one that is unknown,
//! because ignoring `native_id` would widen a deletion.

use std::fmt;

/// A parameter that we know.
///
/// A new action's parameters begin here, each with its spelling in `SPELLINGS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Action,
    ApiKey,
    Token,
    ResponseType,
    CallId,
    PlatformCallId,
    NativeId,
    MeetingId,
    Extension,
    Status,
    Scope,
    DryRun,
    Detail,
    Reason,
}

/// Every spelling, without case; the first of a parameter is the documented one.
const SPELLINGS: [(&str, Name); 16] = [
    ("action", Name::Action),
    ("apiKey", Name::ApiKey),
    ("token", Name::Token),
    ("responseType", Name::ResponseType),
    ("callID", Name::CallId),
    // Siblings of this API name the same identifier so, and clients pass it on as they got it.
    ("cid", Name::CallId),
    ("ccdr_id", Name::CallId),
    ("platformCallID", Name::PlatformCallId),
    ("nativeID", Name::NativeId),
    ("meetingID", Name::MeetingId),
    ("extension", Name::Extension),
    ("status", Name::Status),
    ("scope", Name::Scope),
    ("dryRun", Name::DryRun),
    ("detail", Name::Detail),
    ("reason", Name::Reason),
];

impl Name {
    /// Its documented spelling.
    pub(crate) fn as_str(self) -> &'static str {
        SPELLINGS.iter().find(|(_, name)| *name == self).map_or("", |(spelling, _)| spelling)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The parameter that `text` names, and whether by a spelling of ours or by one that differs from
/// it in `_`, `-` and `.` only.
pub(super) fn recognise(text: &str) -> Option<(Name, bool)> {
    let find = |matches: &dyn Fn(&str) -> bool| {
        SPELLINGS.iter().find(|(spelling, _)| matches(spelling)).map(|(_, name)| *name)
    };
    if let Some(name) = find(&|spelling| spelling.eq_ignore_ascii_case(text)) {
        return Some((name, true));
    }
    find(&|spelling| letters(spelling).eq(letters(text))).map(|name| (name, false))
}

fn letters(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().filter(|byte| !b"_-.".contains(byte)).map(|byte| byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_recognised_in_any_case() {
        for (spelling, name) in SPELLINGS {
            assert_eq!(recognise(&spelling.to_uppercase()), Some((name, true)));
        }
        assert_eq!(Name::CallId.as_str(), "callID");
    }

    #[test]
    fn only_separators_make_a_near_miss() {
        for text in ["call_id", "Call-ID", "c.i.d", "ccdrid", "ccdr-id", "callID_"] {
            assert_eq!(recognise(text), Some((Name::CallId, false)), "{text}");
        }
        for text in ["", "_", "call id", "calls", "xcallID"] {
            assert_eq!(recognise(text), None, "{text}");
        }
    }
}
