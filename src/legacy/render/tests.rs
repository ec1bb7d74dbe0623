//! Every kind of answer, in every format.

use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::super::codes::tests::{USUAL, all, refuse};
use super::markup::legal;
use super::*;
use crate::clock::Timestamp;
use crate::id::CallId;
use crate::model::call::CallState;
use crate::model::plan::{Ambiguity, Candidate, Operation, ParticipantCandidate, Refusal};

const CALL: &str = "57DAB8B1894C409AB240BD8BEAE78896";
const DELETION: &str = "0190a0e0-0000-7000-8000-000000000001";

pub(super) type End = Result<Outcome, GatewayError>;

fn ids() -> Facts {
    Facts {
        call_id: Some(CallId::new(CALL)),
        deletion_id: Some(DELETION.parse().unwrap()),
        ..Facts::default()
    }
}

pub(super) fn invited() -> Outcome {
    let facts = Facts {
        operation: Some(Operation::Invite),
        operation_id: Some("op-<1>".to_owned()),
        participant_id: Some("p-1".to_owned()),
        ..ids()
    };
    Outcome { kind: OutcomeKind::Sent, facts, notes: Vec::new() }
}

pub(super) fn partly() -> End {
    let progress = Progress { removed: 1, of: 3 };
    let facts = Box::new(Facts { progress: Some(progress), ..ids() });
    Err(GatewayError::Refused { refusal: Refusal::Partly(progress), facts })
}

pub(super) fn several_participants() -> End {
    let first = ParticipantCandidate {
        participant_id: "p-1".to_owned(),
        is_invited: false,
        party: Some("***856".to_owned()),
    };
    let second =
        ParticipantCandidate { participant_id: "p\"<2>".to_owned(), is_invited: true, party: None };
    Err(refuse(Refusal::AmbiguousParticipant { count: 2, candidates: vec![first, second] }))
}

pub(super) fn sent() -> Outcome {
    Outcome {
        kind: OutcomeKind::Sent,
        facts: Facts { operation: Some(Operation::HangUp), ..ids() },
        notes: vec!["Bells & <whistles>.".to_owned()],
    }
}

pub(super) fn refused() -> End {
    Err(refuse(Refusal::NotFound))
}

pub(super) fn unknown() -> End {
    Err(GatewayError::Refused { refusal: Refusal::UnknownOutcome, facts: Box::new(ids()) })
}

pub(super) fn ambiguous() -> End {
    let first = Candidate {
        call_id: CallId::new(CALL),
        state: CallState::Established,
        started_at: Some(Timestamp::parse("2026-11-22T05:32:55.123Z").unwrap()),
        other_party: Some("***856".to_owned()),
    };
    let second = Candidate {
        call_id: CallId::new("Rec\"<1>"),
        state: CallState::Incoming,
        started_at: None,
        other_party: None,
    };
    Err(refuse(Refusal::Ambiguous(Ambiguity {
        count: 2,
        decided_by: "status",
        candidates: vec![first, second],
    })))
}

/// The body of an answer without any fact beside the outcome.
pub(super) fn bare(style: &Style) -> String {
    let kind = OutcomeKind::Accepted;
    let end = Outcome { kind, facts: Facts::default(), notes: Vec::new() };
    String::from_utf8(reply(&Ok(end), style).body.to_vec()).unwrap()
}

pub(super) fn body(end: &End, format: Format, detail: bool) -> String {
    let style = Style { format, echo: "DeleteCall".to_owned(), detail };
    String::from_utf8(reply(end, &style).body.to_vec()).unwrap()
}

fn reply(end: &End, style: &Style) -> Reply {
    match end {
        Ok(done) => outcome(done, style),
        Err(failed) => error(failed, style, USUAL),
    }
}

/// Reads a document to its end, and gives the attribute `type` of its `Response`.
pub(crate) fn read_back(document: &str) -> String {
    let mut reader = Reader::from_str(document);
    let mut echo = None;
    loop {
        match reader.read_event().expect(document) {
            Event::Eof => return echo.expect(document),
            Event::Start(tag) | Event::Empty(tag) => {
                for attribute in tag.attributes() {
                    let attribute = attribute.expect(document);
                    let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
                    let value = value.expect(document).into_owned();
                    if attribute.key.as_ref() == "type" {
                        echo = Some(value);
                    }
                }
            }
            _ => {}
        }
    }
}

#[test]
fn formats_are_read_in_any_case() {
    for (format, word) in Format::ALL {
        assert_eq!(Format::parse(word), Some(format));
        assert_eq!(Format::parse(&word.to_lowercase()), Some(format));
    }
    assert_eq!(Format::parse("YAML"), None);
}

#[test]
fn an_answer_has_the_media_type_of_its_format_and_the_header_of_its_status() {
    let style = Style { format: Format::Text, ..Style::default() };
    let reply = error(&GatewayError::Unavailable, &style, USUAL);
    assert_eq!((reply.status, reply.content_type), (503, Some(ContentType::Text)));
    assert_eq!(reply.headers, [("Retry-After", "1".to_owned())]);
    assert_eq!(reply.body, "ERROR:-1:The service is unavailable: try again.\n");
    let reply = error(&GatewayError::UnknownPath, &Style::default(), USUAL);
    assert_eq!((reply.status, reply.content_type), (404, Some(ContentType::Xml)));
    assert_eq!(read_back(std::str::from_utf8(&reply.body).unwrap()), "");
}

fn any_end() -> impl Strategy<Value = End> {
    let texts = (any::<String>(), any::<String>());
    let end = prop_oneof![
        Just(Ok(sent())),
        Just(refused()),
        Just(unknown()),
        Just(ambiguous()),
        Just(Ok(invited())),
        Just(partly()),
        Just(several_participants()),
        (0..all().len()).prop_map(|at| Err(all().swap_remove(at).0)),
    ];
    (end, texts).prop_map(|(mut end, (id, text))| {
        match &mut end {
            Ok(done) => {
                done.facts.call_id = Some(CallId::new(&id));
                done.facts.operation_id = done.facts.operation_id.is_some().then(|| id.clone());
                done.facts.participant_id = Some(id);
                done.notes = vec![text];
            }
            Err(GatewayError::Refused { refusal: Refusal::Ambiguous(found), .. }) => {
                if let Some(first) = found.candidates.first_mut() {
                    first.call_id = CallId::new(&id);
                    first.other_party = Some(text);
                }
            }
            Err(GatewayError::Refused {
                refusal: Refusal::AmbiguousParticipant { candidates, .. },
                ..
            }) => {
                if let Some(first) = candidates.first_mut() {
                    first.participant_id = id;
                    first.party = Some(text);
                }
            }
            Err(GatewayError::Parameter(error)) => error.0 = text,
            Err(_) => {}
        }
        end
    })
}

proptest! {
    #[test]
    fn whatever_is_in_an_answer_it_is_well_formed(
        end in any_end(),
        echo in "(\\PC|[\\x00-\\x1f]|[<>&\"'\u{85}\u{2028}\u{fffe}\u{ffff}]){0,64}",
        detail in any::<bool>(),
    ) {
        let body = |format| {
            let reply = reply(&end, &Style { format, echo: echo.clone(), detail });
            String::from_utf8(reply.body.to_vec()).unwrap()
        };
        let xml = body(Format::Xml);
        prop_assert_eq!(&legal(&xml), &xml);
        prop_assert_eq!(read_back(&xml), legal(&echo));
        let json: serde_json::Value = serde_json::from_str(&body(Format::Json)).unwrap();
        prop_assert_eq!(&json["type"], &echo);
        let text = body(Format::Text);
        prop_assert!(text.ends_with('\n') && !text[..text.len() - 1].contains(char::is_control));
        let html = body(Format::Html);
        prop_assert!(html.starts_with("<!DOCTYPE html>\n") && html.ends_with("</html>\n"));
        let mut reader = Reader::from_str(&html);
        while reader.read_event().unwrap() != Event::Eof {}
    }
}
