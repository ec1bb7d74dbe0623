//! The names of parameters: what we know, and what only resembles it.
//!
//! A name that differs from one of ours in a separator, or in what copying and other languages'
//! forms put around it, is told apart from one that is unknown, because ignoring `native_id` would
//! widen a deletion.

use std::fmt;

/// A parameter that we know.
///
/// A new action's parameters begin here, each with its spelling in `SPELLINGS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Action,
    ApiKey,
    Token,
    Login,
    Password,
    ResponseType,
    CallId,
    PlatformCallId,
    NativeId,
    MeetingId,
    Extension,
    Status,
    DeletionId,
    Scope,
    RejectReason,
    ParticipantId,
    Participant,
    UserId,
    TenantId,
    ReplacesCallId,
    ClientContext,
    DryRun,
    Detail,
    Reason,
}

/// Every spelling, without case; the first of a parameter is the documented one.
const SPELLINGS: [(&str, Name); 26] = [
    ("action", Name::Action),
    ("apiKey", Name::ApiKey),
    ("token", Name::Token),
    ("userName", Name::Login),
    ("password", Name::Password),
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
    ("deletionID", Name::DeletionId),
    ("scope", Name::Scope),
    ("rejectReason", Name::RejectReason),
    ("participantID", Name::ParticipantId),
    ("participant", Name::Participant),
    ("userID", Name::UserId),
    ("tenantID", Name::TenantId),
    ("replacesCallID", Name::ReplacesCallId),
    ("clientContext", Name::ClientContext),
    ("dryRun", Name::DryRun),
    ("detail", Name::Detail),
    ("reason", Name::Reason),
];

impl Name {
    /// Old clients send it as they send `Authorization: Basic`: in the code page of their Windows.
    pub(super) const fn is_text_of_old_clients(self) -> bool {
        matches!(self, Self::Login | Self::Password)
    }

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
/// it only in `_`, `-` and `.`, or in what [`bare`] takes away.
pub(super) fn recognise(text: &str) -> Option<(Name, bool)> {
    let find = |matches: &dyn Fn(&str) -> bool| {
        SPELLINGS.iter().find(|(spelling, _)| matches(spelling)).map(|(_, name)| *name)
    };
    if let Some(name) = find(&|spelling| spelling.eq_ignore_ascii_case(text)) {
        return Some((name, true));
    }
    let bare = bare(text);
    find(&|spelling| letters(spelling).eq(letters(bare))).map(|name| (name, false))
}

/// `text` without blanks and control characters around it, without `amp;` in front, which is left
/// of an address that was copied out of HTML, and without the `[]` of a list behind it.
fn bare(text: &str) -> &str {
    let is_around = |c: char| c.is_whitespace() || c.is_control() || INVISIBLE.contains(&c);
    let mut rest = text;
    loop {
        let mut inner = rest.trim_matches(is_around);
        inner = match inner.get(..4) {
            Some(start) if start.eq_ignore_ascii_case("amp;") => &inner[4..],
            _ => inner,
        };
        inner = inner.strip_suffix("[]").unwrap_or(inner);
        if inner.len() == rest.len() {
            return inner;
        }
        rest = inner;
    }
}

/// A byte order mark and the blanks without width, which no one sees in what is copied.
const INVISIBLE: [char; 4] = ['\u{feff}', '\u{200b}', '\u{200c}', '\u{200d}'];

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
        assert_eq!(Name::Login.as_str(), "userName");
    }

    #[test]
    fn what_copying_and_lists_put_around_a_name_makes_a_near_miss() {
        for text in [
            "amp;callID",
            "AMP;cid",
            "amp;amp;call_id",
            "callID[]",
            " callID",
            "callID ",
            "\u{a0}callID\t",
            "callID\r\n",
            "\0callID\u{7f}",
            "\u{feff}callID",
            "amp; callID[] []",
        ] {
            assert_eq!(recognise(text), Some((Name::CallId, false)), "{text:?}");
        }
        for text in ["amp;", "[]", "amp;[]", "\n", "ampcallID", "lt;callID", "callID[", "callID[]x"]
        {
            assert_eq!(recognise(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_separators_make_a_near_miss_inside() {
        for text in ["call_id", "Call-ID", "c.i.d", "ccdrid", "ccdr-id", "callID_"] {
            assert_eq!(recognise(text), Some((Name::CallId, false)), "{text}");
        }
        for text in ["", "_", "call id", "calls", "xcallID"] {
            assert_eq!(recognise(text), None, "{text}");
        }
    }
}
