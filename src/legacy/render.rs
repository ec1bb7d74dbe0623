//! One answer, four formats.
//!
//! Rendering is pure and comes last: the same answer gives the same bytes, without clock, store or
//! randomness. All renderers get the same [`Answer`]; none knows a fact that the others lack.

use super::codes::{self, Table};
use super::error::{GatewayError, Reason};
use super::outcome::{Done, Outcome, OutcomeKind};
use crate::id::{CallId, DeletionId};
use crate::model::plan::{Candidate, Operation, Refusal};
use crate::reply::{ContentType, Reply};

mod found;
mod html;
mod json;
mod markup;
mod text;
mod xml;

use found::Sheet;
pub(super) use markup::legal;

/// How the caller wants to be answered, as far as it could be understood.
///
/// The default is what an answer has to which nothing of the request could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) format: Format,
    /// What `type` echoes: the action in its documented spelling, the beginning of what was sent
    /// instead of one, or nothing.
    pub(crate) echo: String,
    /// The answer carries what the plain one leaves out.
    pub(crate) detail: bool,
}

/// The values of `responseType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Xml,
    Json,
    Html,
    Text,
}

impl Format {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Xml, "XML"), (Self::Json, "JSON"), (Self::Html, "HTML"), (Self::Text, "TEXT")];

    /// Reads `responseType`, without case; none when it is unknown.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let known = Self::ALL.iter().find(|(_, known)| known.eq_ignore_ascii_case(word));
        known.map(|(format, _)| *format)
    }

    fn content_type(self) -> ContentType {
        match self {
            Self::Xml => ContentType::Xml,
            Self::Json => ContentType::Json,
            Self::Html => ContentType::Html,
            Self::Text => ContentType::Text,
        }
    }
}

/// Answers a request that was carried out.
pub(crate) fn done(done: &Done, style: &Style) -> Reply {
    match done {
        Done::Deletion(deletion) => outcome(deletion, style),
        Done::Found { what, notes } => {
            let (code, status) = codes::FOUND;
            let answer = Answer {
                code,
                echo: &style.echo,
                detail: style.detail,
                end: End::Found(Sheet::new(what, notes)),
                call_id: None,
                deletion_id: None,
            };
            Reply::new(status, style.format.content_type(), answer.render(style.format))
        }
    }
}

/// Answers a `DeleteCall` or a `RejectCall` that was carried out.
pub(crate) fn outcome(outcome: &Outcome, style: &Style) -> Reply {
    let (code, status) = codes::success(outcome.kind);
    let answer = Answer {
        code,
        echo: &style.echo,
        detail: style.detail,
        end: End::Done {
            outcome: outcome.kind,
            operation: outcome.operation,
            notes: &outcome.notes,
        },
        call_id: outcome.call_id.as_ref(),
        deletion_id: outcome.deletion_id,
    };
    Reply::new(status, style.format.content_type(), answer.render(style.format))
}

/// Answers a request that was not carried out.
pub(crate) fn error(error: &GatewayError, style: &Style, table: Table) -> Reply {
    let failure = table.failure(error);
    let (call_id, deletion_id, candidates) = match error {
        GatewayError::Refused { refusal, call_id, deletion_id } => {
            let candidates = match refusal {
                Refusal::Ambiguous(ambiguity) => &ambiguity.candidates[..],
                _ => &[],
            };
            (call_id.as_ref(), *deletion_id, candidates)
        }
        _ => (None, None, &[][..]),
    };
    let answer = Answer {
        code: failure.code,
        echo: &style.echo,
        detail: style.detail,
        end: End::Failed { reason: failure.reason, message: &failure.message, candidates },
        call_id,
        deletion_id,
    };
    let body = answer.render(style.format);
    let reply = Reply::new(failure.status, style.format.content_type(), body);
    match failure.header {
        Some((name, value)) => reply.with_header(name, value),
        None => reply,
    }
}

/// What a renderer gets.
struct Answer<'a> {
    code: i32,
    echo: &'a str,
    detail: bool,
    end: End<'a>,
    call_id: Option<&'a CallId>,
    deletion_id: Option<DeletionId>,
}

enum End<'a> {
    Done { outcome: OutcomeKind, operation: Option<Operation>, notes: &'a [String] },
    Failed { reason: Reason, message: &'a str, candidates: &'a [Candidate] },
    Found(Sheet<'a>),
}

impl Answer<'_> {
    fn render(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Xml => xml::render(self),
            Format::Json => json::render(self),
            Format::Html => html::render(self),
            Format::Text => text::render(self),
        }
    }

    /// What the answer carries beside code and action, in the order it is written: what was found,
    /// and what `detail` adds besides the candidates.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let End::Found(sheet) = &self.end {
            return sheet.facts(self.detail);
        }
        if !self.detail {
            return facts;
        }
        if let End::Failed { reason, .. } = &self.end {
            facts.push((REASON, reason.to_string()));
        }
        facts.extend(self.call_id.map(|id| ("CallID", id.to_string())));
        facts.extend(self.deletion_id.map(|id| ("DeletionID", id.to_string())));
        if let End::Done { outcome, operation, notes } = &self.end {
            facts.push(("Outcome", outcome.to_string()));
            facts.extend(operation.map(|it| ("Operation", it.as_str().to_owned())));
            facts.extend(notes.iter().map(|note| ("Note", note.clone())));
        }
        facts
    }
}

/// The one fact that belongs to the error itself and not beside it.
const REASON: &str = "Reason";

/// The one fact that XML has as an attribute and not beside the response.
const TOKEN: &str = "Token";

/// The name of a fact where names begin with a small letter.
fn member(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    format!("{}{rest}", first.to_ascii_lowercase())
}

/// The attributes of a candidate, in the order they are written.
fn candidate_facts(candidate: &Candidate) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("callID", candidate.call_id.to_string()),
        ("state", candidate.state.as_str().to_owned()),
    ];
    facts.extend(candidate.started_at.map(|at| ("startedAt", at.to_string())));
    facts.extend(candidate.other_party.clone().map(|party| ("otherParty", party)));
    facts
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::super::codes::tests::{USUAL, all, refuse};
    use super::markup::legal;
    use super::*;
    use crate::clock::Timestamp;
    use crate::model::call::CallState;
    use crate::model::plan::Ambiguity;

    const CALL: &str = "57DAB8B1894C409AB240BD8BEAE78896";
    const DELETION: &str = "0190a0e0-0000-7000-8000-000000000001";

    pub(super) type End = Result<Outcome, GatewayError>;

    pub(super) fn sent() -> Outcome {
        Outcome {
            kind: OutcomeKind::Sent,
            call_id: Some(CallId::new(CALL)),
            deletion_id: Some(DELETION.parse().unwrap()),
            operation: Some(Operation::HangUp),
            notes: vec!["Bells & <whistles>.".to_owned()],
        }
    }

    pub(super) fn refused() -> End {
        Err(refuse(Refusal::NotFound))
    }

    pub(super) fn unknown() -> End {
        Err(GatewayError::Refused {
            refusal: Refusal::UnknownOutcome,
            call_id: Some(CallId::new(CALL)),
            deletion_id: Some(DELETION.parse().unwrap()),
        })
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
        let end = Outcome {
            kind: OutcomeKind::Accepted,
            call_id: None,
            deletion_id: None,
            operation: None,
            notes: Vec::new(),
        };
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
            (0..all().len()).prop_map(|at| Err(all().swap_remove(at).0)),
        ];
        (end, texts).prop_map(|(mut end, (id, text))| {
            match &mut end {
                Ok(done) => {
                    done.call_id = Some(CallId::new(&id));
                    done.notes = vec![text];
                }
                Err(GatewayError::Refused { refusal: Refusal::Ambiguous(found), .. }) => {
                    if let Some(first) = found.candidates.first_mut() {
                        first.call_id = CallId::new(&id);
                        first.other_party = Some(text);
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
}
