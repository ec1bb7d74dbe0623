//! What a `call` of Graph's says, whole or in part, told or asked for: members that are not there
//! say nothing.

pub(crate) mod identity;
pub(crate) mod invitation;
pub(crate) mod json;
pub(crate) mod participant;

use std::collections::HashSet;

use serde_json::Value;

use self::identity::{Identities, Identity};
use self::json::{Object, elements, identifier, integer, line, member, object, text};
use super::call::{CallState, Direction, Party};
use super::change::{CallChange, EndReason};

/// The longest subject or message in characters.
const LONGEST_TEXT: usize = 1024;
/// The longest word of Graph's in characters.
const LONGEST_WORD: usize = 64;

/// Adds to `change`, which says whether the call was deleted, what `data` says of the call itself;
/// who is in it is read elsewhere.
pub(crate) fn read(data: &Object, change: &mut CallChange) {
    change.state = state(data);
    change.direction = direction(data);
    change.chain_id = identifier(data, "callChainId");
    change.thread_id = object(data, "chatInfo").and_then(|chat| identifier(chat, "threadId"));
    change.join_meeting_id =
        object(data, "meetingInfo").and_then(|meeting| identifier(meeting, "joinMeetingId"));
    change.subject = line(data, "subject", LONGEST_TEXT);
    change.observed = object(data, "incomingContext")
        .and_then(|context| identifier(context, "observedParticipantId"));
    change.my_participant_id = identifier(data, "myParticipantId");
    change.parties = parties(data);
    // The result of a call that goes on is the result of something else.
    if change.tells_of_the_end() {
        change.end = end(data);
    }
}

/// The first betas called it `callState`. A word that is not known says nothing.
fn state(data: &Object) -> Option<CallState> {
    ["state", "callState"].into_iter().find_map(|name| text(member(data, name)?)?.parse().ok())
}

fn direction(data: &Object) -> Option<Direction> {
    let word = text(member(data, "direction")?)?;
    [Direction::Incoming, Direction::Outgoing]
        .into_iter()
        .find(|direction| direction.as_str().eq_ignore_ascii_case(&word))
}

fn end(data: &Object) -> Option<EndReason> {
    let word = line(data, "terminationReason", LONGEST_WORD);
    let end = EndReason { word, ..result(data) };
    (end != EndReason::default()).then_some(end)
}

/// What the `resultInfo` of a call or an operation says.
fn result(data: &Object) -> EndReason {
    let result = object(data, "resultInfo");
    let number = |name| integer(result?, name);
    EndReason {
        code: number("code"),
        subcode: number("subcode"),
        message: result.and_then(|result| line(result, "message", LONGEST_TEXT)),
        word: None,
    }
}

/// Who called whom, and what was dialled before it was routed.
fn parties(data: &Object) -> Vec<Party> {
    let sources = elements(data, "source").iter().map(|value| ("source", value));
    let targets = elements(data, "targets").iter().map(|value| ("target", value));
    let routes = elements(data, "callRoutes").iter().filter_map(Value::as_object);
    let dialled = routes
        .flat_map(|route| ["original", "final"].map(|name| member(route, name)))
        .flatten()
        .map(|value| ("dialled", value));
    let mut known = HashSet::new();
    let mut parties = Vec::new();
    for (role, value) in sources.chain(targets).chain(dialled) {
        let Identities { all, display_name } = Identities::read(value);
        for Identity { kind, raw, normalised } in all {
            if known.insert((role, normalised.clone())) {
                let display_name = display_name.clone();
                parties.push(Party { role, kind, raw, normalised, display_name });
            }
        }
    }
    parties
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::GraphCallId;

    fn said(json: &str, deleted: bool) -> CallChange {
        let mut change = CallChange::of(GraphCallId("c".to_owned()));
        change.deleted = deleted;
        let data: Value = serde_json::from_str(json).unwrap();
        read(data.as_object().unwrap(), &mut change);
        change
    }

    #[test]
    fn a_result_is_the_reason_of_an_end_and_of_nothing_else() {
        let code = |state: &str, deleted| {
            let json = format!(r#"{{{state}"resultInfo":{{"code":"200","subcode":7000}}}}"#);
            said(&json, deleted).end.map(|end| (end.code, end.subcode))
        };
        let reason = Some((Some(200), Some(7000)));
        for state in ["incoming", "established", "redirecting", "terminating", "not yet invented"] {
            let state = format!(r#""state":"{state}","#);
            assert_eq!(code(&state, false), None, "{state}");
            assert_eq!(code(&state, true), reason, "{state}");
        }
        assert_eq!(code("", false), None);
        assert_eq!(code(r#""callState":"Terminated","#, false), reason);
    }

    #[test]
    fn a_result_that_says_nothing_is_no_reason() {
        for json in [r#"{"resultInfo":{}}"#, r#"{"resultInfo":{"code":"none"}}"#, "{}"] {
            assert_eq!(said(json, true).end, None, "{json}");
        }
        let word = said(r#"{"terminationReason":"AppInitiated"}"#, true).end.unwrap().word;
        assert_eq!(word.as_deref(), Some("AppInitiated"));
    }

    #[test]
    fn somebody_in_one_role_is_named_once() {
        let json = r#"{"source":[{"phone":{"id":"+49 301"}},{"phone":{"id":"+49301"}}],
            "targets":{"phone":{"id":"+49301"}},
            "callRoutes":[{"original":{"phone":{"id":"8856"}}},{"final":{"phone":{"id":"8856"}}}]}"#;
        let parties = said(json, false).parties;
        let parties: Vec<_> =
            parties.iter().map(|party| (party.role, party.normalised.as_str())).collect();
        assert_eq!(parties, [("source", "+49301"), ("target", "+49301"), ("dialled", "8856")]);
    }
}
