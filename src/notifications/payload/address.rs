//! Which call a resource is, or belongs to, by its path.
//!
//! A path is read and never followed: whatever host an absolute one names, it yields an id.

use percent_encoding::percent_decode_str;

use crate::id::{GraphCallId, canonical_guid};
use crate::model::graph_call::json::is_identifier;

/// What a notification is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// None for the calls as a collection.
    pub(super) call: Option<GraphCallId>,
    pub(super) part: Part,
}

/// Which part of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The call itself.
    Call,
    /// `/participants`.
    Roster,
    /// `/participants/{id}`.
    Participant(String),
    /// `/operations/{id}`.
    Operation(String),
    /// What says nothing about the call but that there is one.
    Other,
}

/// What there is below a call.
const PARTS: [&str; 4] =
    ["operations", "participants", "audioRoutingGroups", "contentSharingSessions"];

impl Address {
    /// Reads `/app/calls/…`, `/applications/{app}/calls/…` and `/communications/calls/…`, with or
    /// without host and version. The names count without case, the ids with it.
    ///
    /// `None` for the path of anything else, and for an id that cannot be one.
    pub(super) fn read(resource: &str) -> Option<Self> {
        let path = resource.trim().split(['?', '#']).next().unwrap_or_default();
        let path = match path.split_once("://") {
            Some((_, after)) => after.split_once('/')?.1,
            None => path.trim_start_matches('/'),
        };
        let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let calls = (1..segments.len().min(4)).find(|at| is_calls(&segments, *at))?;
        let (id, inside) = match &segments[calls + 1..] {
            [] => return Some(Self { call: None, part: Part::Call }),
            [id, inside @ ..] => (id, inside),
        };
        let part = match inside {
            [] => Part::Call,
            [name] if name.eq_ignore_ascii_case("participants") => Part::Roster,
            [name, id] if name.eq_ignore_ascii_case("participants") => {
                Part::Participant(decoded(id)?)
            }
            [name, id] if name.eq_ignore_ascii_case("operations") => Part::Operation(decoded(id)?),
            [name, ..] if PARTS.iter().any(|part| name.eq_ignore_ascii_case(part)) => Part::Other,
            // Rather an id that was not encoded than something new.
            _ => return None,
        };
        Some(Self { call: Some(GraphCallId(decoded(id)?)), part })
    }

    /// What two paths of one notification say together, in the first one's spelling. `None` when
    /// they name two calls, because nobody can tell which is meant.
    pub(super) fn and(self, other: Self) -> Option<Self> {
        let (own, others) = match (&self.call, &other.call) {
            (None, _) => return Some(other),
            (_, None) => return Some(self),
            (Some(own), Some(others)) => (own, others),
        };
        // Only the path of the call itself can end the call, so the longer one is the safer one.
        let part = match (self.part, other.part) {
            (Part::Operation(one), Part::Operation(another)) if one != another => Part::Other,
            (Part::Call, part) | (part, _) => part,
        };
        is_same_call(own, others).then_some(Self { call: self.call, part })
    }
}

/// The id that a segment of a path is, decoded once.
fn decoded(segment: &str) -> Option<String> {
    let id = percent_decode_str(segment).decode_utf8().ok()?;
    is_call_id(&id).then(|| id.into_owned())
}

/// Whether Graph can be asked for a call of this id: it becomes a part of a path, where dots mean
/// another place.
pub(super) fn is_call_id(id: &str) -> bool {
    is_identifier(id) && !matches!(id, "." | "..")
}

/// Whether two ids are one: to the letter, or as spellings of one GUID.
pub(super) fn is_same_call(one: &GraphCallId, other: &GraphCallId) -> bool {
    let guid = canonical_guid(&one.0);
    one == other || guid.is_some() && guid == canonical_guid(&other.0)
}

fn is_calls(segments: &[&str], at: usize) -> bool {
    let is = |at: usize, name: &str| segments[at].eq_ignore_ascii_case(name);
    let has_owner = is(at - 1, "app")
        || is(at - 1, "communications")
        || (at >= 2 && is(at - 2, "applications") && !segments[at - 1].is_empty());
    is(at, "calls") && has_owner
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(address: Option<Address>) -> String {
        address.map_or("none".to_owned(), |Address { call, part }| {
            format!("{} {part:?}", call.map_or("all".to_owned(), |id| format!("{:?}", id.0)))
        })
    }

    #[track_caller]
    fn check(resource: &str, expected: &str) {
        assert_eq!(shown(Address::read(resource)), expected, "{resource}");
    }

    #[test]
    fn every_form_of_path_yields_the_id() {
        for prefix in [
            "/app/calls/",
            "app/calls/",
            "/APP/Calls/",
            "/applications/57dab8b1-894c/calls/",
            "/applications/calls/calls/",
            "/communications/calls/",
            "//communications/calls/",
            "/v1.0/communications/calls/",
            "https://graph.microsoft.com/v1.0/communications/calls/",
            "https://graph.microsoft.com/beta/applications/57dab8b1-894c/calls/",
            "https://[::1]:8443/app/calls/",
            " /communications/calls/",
        ] {
            check(&format!("{prefix}Call-1"), r#""Call-1" Call"#);
            check(&format!("{prefix}Call-1/?x=/participants#/y"), r#""Call-1" Call"#);
            check(&format!("{prefix}Call-1/Participants"), r#""Call-1" Roster"#);
            check(&format!("{prefix}Call-1/participants/P%2f1"), r#""Call-1" Participant("P/1")"#);
            check(&format!("{prefix}Call-1/Operations/O%2f1"), r#""Call-1" Operation("O/1")"#);
            check(&format!("{prefix}Call-1/operations"), r#""Call-1" Other"#);
            check(&format!("{prefix}Call-1/operations/o/x"), r#""Call-1" Other"#);
            check(&format!("{prefix}Call-1/participants/p/mute"), r#""Call-1" Other"#);
            check(prefix, "all Call");
        }
    }

    #[test]
    fn an_id_is_decoded_once_and_never_interpreted() {
        check("/app/calls/a%2Fb%2F..", r#""a/b/.." Call"#);
        check("/app/calls/a%252Fb", r#""a%2Fb" Call"#);
        check("/app/calls/a+b%20c=%3F", r#""a+b c=?" Call"#);
        check("/app/calls/%E4%B8%AD", "\"\u{4e2d}\" Call");
        check("/app/calls/100%", r#""100%" Call"#);
        check(&format!("/app/calls/{}", "x".repeat(1024)), &format!("{:?} Call", "x".repeat(1024)));
    }

    #[test]
    fn what_cannot_be_the_id_of_a_call_is_none() {
        for resource in [
            "",
            "/",
            "/calls/x",
            "/communications/onlineMeetings/x",
            "/users/u/events/calls/x",
            "/applications//calls/x",
            "/a/b/c/communications/calls/x",
            "/app/calls/.",
            "/app/calls/..",
            "/app/calls/%2e%2E",
            "/app/calls//participants",
            "/app/calls/%00",
            "/app/calls/a%0Ab",
            "/app/calls/%ff",
            "/app/calls/a\u{fffd}",
            "/app/calls/x/participants/..",
            "/app/calls/x/operations/%00",
            "/app/calls/x/y==",
            "https://graph.microsoft.com",
            "://",
        ] {
            check(resource, "none");
        }
        check(&format!("/app/calls/{}", "x".repeat(1025)), "none");
    }

    #[test]
    fn two_paths_of_one_call_are_one_and_of_two_calls_none() {
        #[track_caller]
        fn check(one: &str, other: &str, expected: &str) {
            let read = |path| Address::read(path).unwrap();
            assert_eq!(shown(read(one).and(read(other))), expected, "{one}, {other}");
        }
        check("/communications/calls/a", "/app/calls/a", r#""a" Call"#);
        check("/communications/calls/a", "/app/calls/A", "none");
        check("/communications/calls/a", "/app/calls/a/participants", r#""a" Roster"#);
        check("/communications/calls/a/operations/o", "/app/calls/a", r#""a" Operation("o")"#);
        check("/app/calls/a/operations/o", "/app/calls/a/operations/p", r#""a" Other"#);
        check("/communications/calls", "/app/calls/a", r#""a" Call"#);
        check("/app/calls/a", "/communications/calls", r#""a" Call"#);
        check(
            "/communications/calls/57dab8b1-894c-409a-b240-bd8beae78896",
            "/app/calls/57DAB8B1894C409AB240BD8BEAE78896",
            r#""57dab8b1-894c-409a-b240-bd8beae78896" Call"#,
        );
    }

    proptest! {
        #[test]
        fn every_path_has_an_answer(path in "(/|app|calls|participants|%2[eF]|https://|[a-z.?#%]|.){0,12}") {
            if let Some(Address { call: Some(GraphCallId(id)), .. }) = Address::read(&path) {
                prop_assert!(is_call_id(&id));
            }
        }

        #[test]
        fn every_id_is_read_back_from_its_encoded_form(id in "[^\\p{C}\\x{FFFD}]{1,40}") {
            prop_assume!(is_call_id(&id));
            let encoded = percent_encoding::utf8_percent_encode(&id, percent_encoding::NON_ALPHANUMERIC);
            let address = Address::read(&format!("/communications/calls/{encoded}")).unwrap();
            prop_assert_eq!(address.call.unwrap().0, id);
        }
    }
}
