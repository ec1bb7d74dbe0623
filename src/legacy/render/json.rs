//! The answer as JSON, which always carries the detail.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::found::Record;
use super::{Answer, End, Sheet, member};
use crate::id::CallId;
use crate::model::plan::Operation;

pub(super) fn render(answer: &Answer<'_>) -> Vec<u8> {
    if let End::Found(sheet) = &answer.end {
        let found = FoundDocument { code: answer.code, kind: answer.echo, sheet: Members(sheet) };
        return serde_json::to_vec(&found).expect(SERIALIZABLE);
    }
    let facts = answer.facts;
    let progress = facts.and_then(|facts| facts.progress);
    let mut document = Document {
        code: answer.code,
        kind: answer.echo,
        outcome: None,
        reason: None,
        error_message: None,
        candidates: Vec::new(),
        call_id: facts.and_then(|facts| facts.call_id.as_ref()).map(CallId::as_str),
        deletion_id: facts.and_then(|facts| facts.deletion_id).map(|id| id.to_string()),
        operation: None,
        operation_id: answer.operation_id(),
        participant_id: facts.and_then(|facts| facts.participant_id.as_deref()),
        removed: progress.map(|progress| progress.removed),
        participants: progress.map(|progress| progress.of),
        notes: &[],
    };
    match &answer.end {
        End::Done { outcome, notes } => {
            document.outcome = Some(outcome.as_str());
            document.operation = facts.and_then(|facts| facts.operation).map(Operation::as_str);
            document.notes = notes;
        }
        End::Failed { reason, message, candidates } => {
            document.reason = Some(reason.as_str());
            document.error_message = Some(message);
            let rows = candidates.iter().flat_map(|found| &found.rows);
            document.candidates = rows.map(|row| Match(row)).collect();
        }
        End::Found(_) => {}
    }
    serde_json::to_vec(&document).expect(SERIALIZABLE)
}

const SERIALIZABLE: &str = "text, numbers and maps with text keys are JSON";

/// The members in the order they are written.
#[derive(Serialize)]
struct Document<'a> {
    code: i32,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(rename = "errorMessage", skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<Match<'a>>,
    #[serde(rename = "callID", skip_serializing_if = "Option::is_none")]
    call_id: Option<&'a str>,
    #[serde(rename = "deletionID", skip_serializing_if = "Option::is_none")]
    deletion_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    #[serde(rename = "operationID", skip_serializing_if = "Option::is_none")]
    operation_id: Option<&'a str>,
    #[serde(rename = "participantID", skip_serializing_if = "Option::is_none")]
    participant_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    participants: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

/// The answer to a look-up: code and action, then what was found.
#[derive(Serialize)]
struct FoundDocument<'a> {
    code: i32,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    sheet: Members<'a>,
}

/// What was found, under the names of its facts.
struct Members<'a>(&'a Sheet<'a>);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(sheet) = self;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in sheet.plain.iter().chain(&sheet.detail) {
            map.serialize_entry(&member(name), value)?;
        }
        if let Some(record) = &sheet.record {
            map.serialize_entry("verbacdr", &Verbacdr(record))?;
        }
        if !sheet.notes.is_empty() {
            map.serialize_entry("notes", sheet.notes)?;
        }
        map.end()
    }
}

/// `verbacdr`, its attribute first.
struct Verbacdr<'a>(&'a Record);

impl Serialize for Verbacdr<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(record) = self;
        let fields = record.fields.iter().map(|(name, value)| (*name, value.as_str()));
        serializer.collect_map(std::iter::once(("state", record.state)).chain(fields))
    }
}

/// One of several that match, under the names of its attributes.
struct Match<'a>(&'a [(&'static str, String)]);

impl Serialize for Match<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (*name, value.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ambiguous, body, invited, partly, sent, several_participants};
    use super::super::{Format, Style};

    #[test]
    fn a_success_always_carries_the_detail() {
        assert_eq!(
            body(&Ok(sent()), Format::Json, false),
            r#"{"code":0,"type":"DeleteCall","outcome":"sent","callID":"57dab8b1-894c-409a-b240-bd8beae78896","deletionID":"0190a0e0-0000-7000-8000-000000000001","operation":"hang-up","notes":["Bells & <whistles>."]}"#
        );
    }

    #[test]
    fn an_error_always_carries_reason_and_candidates() {
        assert_eq!(
            body(&ambiguous(), Format::Json, false),
            r#"{"code":2,"type":"DeleteCall","reason":"ambiguous","errorMessage":"2 calls match: parameter status would decide which one is meant.","candidates":[{"callID":"57dab8b1-894c-409a-b240-bd8beae78896","state":"established","startedAt":"2026-11-22T05:32:55.123Z","otherParty":"***856"},{"callID":"Rec\"<1>","state":"incoming"}]}"#
        );
    }

    #[test]
    fn without_facts_there_are_no_members_for_them() {
        let bare = super::super::tests::bare(&Style { format: Format::Json, ..Style::default() });
        assert_eq!(bare, r#"{"code":0,"type":"","outcome":"accepted"}"#);
    }

    #[test]
    fn ids_of_graphs_counts_and_participants_have_members_of_their_own() {
        let json = body(&Ok(invited()), Format::Json, false);
        assert!(
            json.ends_with(r#""operation":"invite","operationID":"op-<1>","participantID":"p-1"}"#)
        );
        let json = body(&partly(), Format::Json, false);
        assert!(json.ends_with(r#""removed":1,"participants":3}"#), "{json}");
        let json = body(&several_participants(), Format::Json, false);
        assert!(
            json.contains(
                r#""candidates":[{"participantID":"p-1","state":"joined","party":"***856"},{"participantID":"p\"<2>","state":"invited"}]"#
            ),
            "{json}"
        );
    }
}
