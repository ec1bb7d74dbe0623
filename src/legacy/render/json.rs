//! The answer as JSON, which always carries the detail.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::found::Record;
use super::{Answer, End, Sheet, member};
use crate::model::plan::{Candidate, Operation};

pub(super) fn render(answer: &Answer<'_>) -> Vec<u8> {
    if let End::Found(sheet) = &answer.end {
        let found = FoundDocument { code: answer.code, kind: answer.echo, sheet: Members(sheet) };
        return serde_json::to_vec(&found).expect(SERIALIZABLE);
    }
    let mut document = Document {
        code: answer.code,
        kind: answer.echo,
        outcome: None,
        reason: None,
        error_message: None,
        candidates: Vec::new(),
        call_id: answer.call_id.map(ToString::to_string),
        deletion_id: answer.deletion_id.map(|id| id.to_string()),
        operation: None,
        notes: &[],
    };
    match &answer.end {
        End::Done { outcome, operation, notes } => {
            document.outcome = Some(outcome.as_str());
            document.operation = operation.map(Operation::as_str);
            document.notes = notes;
        }
        End::Failed { reason, message, candidates } => {
            document.reason = Some(reason.as_str());
            document.error_message = Some(message);
            document.candidates = candidates.iter().map(Match::new).collect();
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
    call_id: Option<String>,
    #[serde(rename = "deletionID", skip_serializing_if = "Option::is_none")]
    deletion_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
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

/// One of several calls that match.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Match<'a> {
    #[serde(rename = "callID")]
    call_id: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_party: Option<&'a str>,
}

impl<'a> Match<'a> {
    fn new(candidate: &'a Candidate) -> Self {
        Self {
            call_id: candidate.call_id.as_str(),
            state: candidate.state.as_str(),
            started_at: candidate.started_at.map(|at| at.to_string()),
            other_party: candidate.other_party.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ambiguous, body, sent};
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
}
