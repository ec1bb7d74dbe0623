//! What a look-up found, or a login gave, as the facts that every format shows.
//!
//! `verbacdr` has the original's names and forms, and of its members those that can be filled
//! truthfully: what is not known is left out, never empty and never made up.

use std::fmt;

use serde::Serialize;

use super::{OPERATION_ID, PARTICIPANT_ID, counts};
use crate::clock::Timestamp;
use crate::legacy::outcome::{CallInformation, DeletionStanding, Found};
use crate::model::end_reason::{CallEnd, meaning};
use crate::model::plan::Operation;
use crate::sessions::NewToken;
use crate::store::lookup::CallReport;

/// A number or a truth stays one where the format knows such.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Truth(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Truth(truth) => truth.fmt(f),
        }
    }
}

/// What was found, ready to be written.
pub(super) struct Sheet<'a> {
    /// What the plain text answer says besides `OK`.
    pub(super) value: Option<String>,
    /// Of `Response`, besides `code` and `type`.
    pub(super) attribute: Option<(&'static str, String)>,
    pub(super) record: Option<Record>,
    /// Those of every answer.
    pub(super) plain: Vec<(&'static str, Value)>,
    /// Those that `detail` adds.
    pub(super) detail: Vec<(&'static str, Value)>,
    pub(super) notes: &'a [String],
}

/// `verbacdr`.
pub(super) struct Record {
    /// 1 for a call that has ended.
    pub(super) state: &'static str,
    pub(super) fields: Vec<(&'static str, String)>,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(what: &Found, notes: &'a [String]) -> Self {
        match what {
            Found::CallId(id) => Self {
                value: Some(id.to_string()),
                attribute: Some(("callID", id.to_string())),
                record: None,
                plain: vec![("CallID", Value::Text(id.to_string()))],
                detail: Vec::new(),
                notes,
            },
            Found::Call(information) => Self {
                value: Some(information.call.call_id.to_string()),
                attribute: None,
                record: Some(record(information)),
                plain: Vec::new(),
                detail: call(&information.call),
                notes,
            },
            Found::Deletion(standing) => Self {
                value: Some(standing.state.to_owned()),
                attribute: None,
                record: None,
                plain: deletion(standing),
                detail: Vec::new(),
                notes,
            },
            Found::Token(token) => Self {
                value: Some(token.token.expose().clone()),
                attribute: Some(("token", token.token.expose().clone())),
                record: None,
                plain: session(token),
                detail: vec![("ExpiresAt", Value::Text(token.expires_at.to_string()))],
                notes,
            },
            Found::Released => Self {
                value: None,
                attribute: None,
                record: None,
                plain: Vec::new(),
                detail: Vec::new(),
                notes,
            },
        }
    }

    /// The facts as text, in the order they are written.
    pub(super) fn facts(&self, detail: bool) -> Vec<(&'static str, String)> {
        let mut facts: Vec<_> =
            self.plain.iter().map(|(name, value)| (*name, value.to_string())).collect();
        if detail {
            facts.extend(self.detail.iter().map(|(name, value)| (*name, value.to_string())));
            facts.extend(self.notes.iter().map(|note| ("Note", note.clone())));
        }
        facts
    }
}

/// The members that a public client reads. The original's server kept a session by a cookie; here the
/// id authenticates nothing.
fn session(token: &NewToken) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::Text(text.to_owned());
    vec![
        (super::TOKEN, text(token.token.expose())),
        ("SessionId", Value::Text(token.id.to_string().replace('-', ""))),
        ("SessionParameterName", text("jsessionid")),
        ("SessionCookieName", text("JSESSIONID")),
        // Whether another server of a cluster has to be asked from now on.
        ("Remote", Value::Truth(false)),
    ]
}

/// The members of `verbacdr`, in the order of the original.
fn record(information: &CallInformation) -> Record {
    let CallInformation { call, platform_call_id, native_id, meeting_id } = information;
    let one = |role: &str| call.parties.iter().find(|party| party.role == role);
    let source = one("source");
    let destination = one("target").or_else(|| one("dialled"));
    let end = call.end.as_ref();
    // 0 is the one value of the original that is known, and means a normal end.
    let is_normal = end.is_some_and(|end| matches!(end.reason.code, Some(200..=299)));
    let fields = [
        ("ccdr_id", Some(call.call_id.to_string())),
        ("native_id", native_id.clone()),
        ("source_caller_id", source.map(|party| party.raw.clone())),
        ("source_name", source.and_then(|party| party.display_name.clone())),
        ("destination_caller_id", destination.map(|party| party.raw.clone())),
        ("destination_name", destination.and_then(|party| party.display_name.clone())),
        ("start_time", call.started_at.map(legacy_time)),
        ("end_time", end.map(|end| legacy_time(end.at))),
        ("cause_id", is_normal.then(|| "0".to_owned())),
        ("platform_call_id", platform_call_id.clone()),
        ("meeting_id", meeting_id.clone()),
    ];
    Record {
        state: if end.is_some() { "1" } else { "0" },
        fields: fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
    }
}

/// `YYYY-MM-DD hh:mm:ss.SSS` in GMT, as the original writes it for those who have no time zone.
fn legacy_time(at: Timestamp) -> String {
    at.to_string().trim_end_matches('Z').replace('T', " ")
}

fn call(call: &CallReport) -> Vec<(&'static str, Value)> {
    let mut facts = vec![("CallID", Value::Text(call.call_id.to_string()))];
    add(&mut facts, "DeletionID", call.deletion_id);
    add(&mut facts, "GraphCallID", Some(&call.graph_id));
    add(&mut facts, "State", Some(call.state));
    add(&mut facts, "Direction", call.direction.as_ref());
    add(&mut facts, "AnsweredAt", call.answered_at);
    facts.extend(call.end.iter().flat_map(end));
    facts
}

fn deletion(standing: &DeletionStanding) -> Vec<(&'static str, Value)> {
    let mut facts = Vec::new();
    add(&mut facts, "CallID", standing.call_id.as_ref());
    add(&mut facts, "DeletionID", Some(standing.deletion_id));
    add(&mut facts, "State", Some(standing.state));
    match standing.word {
        Some(Ok(outcome)) => add(&mut facts, "Outcome", Some(outcome)),
        Some(Err(reason)) => add(&mut facts, super::REASON, Some(reason)),
        None => {}
    }
    add(&mut facts, "Operation", standing.operation.map(Operation::as_str));
    add(&mut facts, OPERATION_ID, standing.operation_id.as_ref());
    add(&mut facts, PARTICIPANT_ID, standing.participant_id.as_ref());
    let counts = standing.progress.iter().flat_map(|progress| counts(*progress));
    facts.extend(counts.map(|(name, count)| (name, Value::Number(count.into()))));
    add(&mut facts, "CreatedAt", Some(standing.created_at));
    add(&mut facts, "DeadlineAt", Some(standing.deadline_at));
    add(&mut facts, "SettledAt", standing.settled_at);
    add(&mut facts, "ConfirmedAt", standing.confirmed_at);
    let attempts = i64::try_from(standing.attempts).unwrap_or(i64::MAX);
    facts.push(("Attempts", Value::Number(attempts)));
    add(&mut facts, "LastAttemptAt", standing.last_attempt_at);
    add(&mut facts, "NextAttemptAt", standing.next_attempt_at);
    add(&mut facts, "Failure", standing.failure.as_ref());
    facts.extend(standing.end.iter().flat_map(end));
    facts
}

/// Graph's words as they came, what they mean in ours, and who ended the call.
fn end(end: &CallEnd) -> Vec<(&'static str, Value)> {
    let reason = &end.reason;
    let mut facts = vec![("EndedAt", Value::Text(end.at.to_string()))];
    facts.extend(reason.code.map(|code| ("EndCode", Value::Number(code))));
    facts.extend(reason.subcode.map(|subcode| ("EndSubcode", Value::Number(subcode))));
    add(&mut facts, "EndMessage", reason.message.as_ref());
    add(&mut facts, "EndReason", reason.word.as_ref());
    add(&mut facts, "EndMeaning", meaning(reason).map(|meaning| meaning.text));
    add(&mut facts, "EndVerdict", Some(end.verdict()));
    facts
}

fn add(facts: &mut Vec<(&'static str, Value)>, name: &'static str, value: Option<impl ToString>) {
    facts.extend(value.map(|value| (name, Value::Text(value.to_string()))));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::*;
    use crate::id::{CallId, GraphCallId};
    use crate::legacy::outcome::Done;
    use crate::legacy::render::{Format, Style, done, legal};
    use crate::model::call::CallState;
    use crate::model::change::EndReason;
    use crate::model::end_reason::OurPart;
    use crate::secret::Secret;
    use crate::store::lookup::PartyReport;

    fn information(text: &str) -> CallInformation {
        let some = || Some(text.to_owned());
        let party = |role: &str| PartyReport {
            role: role.to_owned(),
            raw: text.to_owned(),
            display_name: some(),
        };
        let reason =
            EndReason { code: Some(-1), subcode: Some(i64::MAX), message: some(), word: some() };
        CallInformation {
            platform_call_id: some(),
            native_id: some(),
            meeting_id: some(),
            call: CallReport {
                call_id: CallId::new(text),
                graph_id: GraphCallId(text.to_owned()),
                state: CallState::Terminated,
                direction: Some("incoming".to_owned()),
                chain_id: None,
                thread_id: None,
                join_meeting_id: None,
                platform_call_id: None,
                native_id: None,
                meeting_id: None,
                started_at: Some(Timestamp(0)),
                answered_at: Some(Timestamp(1)),
                end: Some(CallEnd { at: Timestamp(1), reason, ours: OurPart::None }),
                parties: vec![party("target"), party("dialled"), party("source"), party("target")],
                deletion_id: None,
            },
        }
    }

    fn body(found: Found, format: Format, detail: bool) -> String {
        let style = Style { format, echo: "GetCallInformation".to_owned(), detail };
        let done_with = Done::Found { what: Box::new(found), notes: vec!["Note.".to_owned()] };
        String::from_utf8(done(&done_with, &style).body.to_vec()).unwrap()
    }

    #[test]
    fn a_token_stands_where_a_public_client_reads_it_and_in_no_debug_output() {
        let found = || {
            Found::Token(NewToken {
                id: "57dab8b1-894c-409a-b240-bd8beae78896".parse().unwrap(),
                token: Secret::new("74c8eea0-50c6-40b2-9f3e-252ed501c3c8".to_owned()),
                expires_at: Timestamp::parse("2026-11-22T05:32:55.123Z").unwrap(),
            })
        };
        assert_eq!(
            body(found(), Format::Xml, false),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <VerbaApi>\n\
             <Response code=\"0\" type=\"GetCallInformation\" \
             token=\"74c8eea0-50c6-40b2-9f3e-252ed501c3c8\"/>\n\
             <SessionId>57dab8b1894c409ab240bd8beae78896</SessionId>\n\
             <SessionParameterName>jsessionid</SessionParameterName>\n\
             <SessionCookieName>JSESSIONID</SessionCookieName>\n\
             <Remote>false</Remote>\n\
             </VerbaApi>\n"
        );
        let line = body(found(), Format::Text, false);
        assert_eq!(line, "OK:74c8eea0-50c6-40b2-9f3e-252ed501c3c8\n");
        assert_eq!(body(Found::Released, Format::Text, false), "OK\n");
        let json = body(found(), Format::Json, false);
        for part in [
            "\"token\":\"74c8eea0-50c6-40b2-9f3e-252ed501c3c8\"",
            "\"remote\":false",
            "\"sessionId\":\"57dab8b1894c409ab240bd8beae78896\"",
            "\"expiresAt\":\"2026-11-22T05:32:55.123Z\"",
        ] {
            assert!(json.contains(part), "{part} in {json}");
        }
        let done_with = Done::Found { what: Box::new(found()), notes: Vec::new() };
        let reply = done(&done_with, &Style::default());
        assert!(!format!("{done_with:?} {reply:?}").contains("74c8eea0"));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut known = information("x");
        (known.platform_call_id, known.native_id, known.meeting_id) = (None, None, None);
        (known.call.started_at, known.call.end) = (None, None);
        known.call.parties.clear();
        let found = record(&known);
        assert_eq!((found.state, found.fields), ("0", vec![("ccdr_id", "x".to_owned())]));
    }

    #[test]
    fn the_first_target_is_the_destination_and_else_what_was_dialled() {
        let mut known = information("x");
        for (role, raw) in [("dialled", "0"), ("target", "1"), ("target", "2")] {
            known.call.parties.push(PartyReport {
                role: role.to_owned(),
                raw: raw.to_owned(),
                display_name: None,
            });
        }
        let to = |known: &CallInformation| {
            let fields = record(known).fields;
            fields.into_iter().find(|(name, _)| *name == "destination_caller_id").unwrap().1
        };
        known.call.parties.drain(..4);
        assert_eq!(to(&known), "1");
        known.call.parties.truncate(1);
        assert_eq!(to(&known), "0");
    }

    #[test]
    fn only_a_success_of_graphs_is_a_normal_end() {
        let mut known = information("x");
        for (code, normal) in
            [(Some(200), true), (Some(299), true), (Some(480), false), (None, false)]
        {
            known.call.end.as_mut().unwrap().reason.code = code;
            let fields = record(&known).fields;
            assert_eq!(fields.contains(&("cause_id", "0".to_owned())), normal, "{code:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_known_of_a_call_the_answer_is_well_formed(
            text in "(\\PC|[\\x00-\\x1f]|[<>&\"'\u{85}\u{2028}\u{fffe}\u{ffff}]){0,64}",
            detail in any::<bool>(),
        ) {
            let body = |format| body(Found::Call(information(&text)), format, detail);
            for format in [Format::Xml, Format::Html] {
                let document = body(format);
                prop_assert_eq!(&legal(&document), &document);
                let mut reader = Reader::from_str(&document);
                while reader.read_event().unwrap() != Event::Eof {}
            }
            let json: serde_json::Value = serde_json::from_str(&body(Format::Json)).unwrap();
            prop_assert_eq!(&json["graphCallID"], &text);
            prop_assert_eq!(&json["verbacdr"]["source_name"], &text);
            let line = body(Format::Text);
            prop_assert!(line.ends_with('\n') && !line[..line.len() - 1].contains(char::is_control));
        }
    }
}
