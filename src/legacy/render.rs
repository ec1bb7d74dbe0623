//! One answer, four formats.
//!
//! Rendering is pure and comes last: the same answer gives the same bytes, without clock, store or
//! randomness. All renderers get the same [`Answer`]; none knows a fact that the others lack.

use super::codes::{self, Table};
use super::error::{GatewayError, Reason};
use super::outcome::{Done, Facts, Outcome, OutcomeKind};
use crate::model::plan::Progress;
use crate::reply::{ContentType, Reply};

mod candidates;
mod found;
mod html;
mod json;
mod markup;
#[cfg(test)]
pub(super) mod tests;
mod text;
mod xml;

use candidates::Candidates;
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
                facts: None,
            };
            Reply::new(status, style.format.content_type(), answer.render(style.format))
        }
    }
}

/// Answers what was done to a call.
pub(crate) fn outcome(outcome: &Outcome, style: &Style) -> Reply {
    let (code, status) = codes::success(outcome.kind);
    let answer = Answer {
        code,
        echo: &style.echo,
        detail: style.detail,
        end: End::Done { outcome: outcome.kind, notes: &outcome.notes },
        facts: Some(&outcome.facts),
    };
    Reply::new(status, style.format.content_type(), answer.render(style.format))
}

/// Answers a request that was not carried out.
pub(crate) fn error(error: &GatewayError, style: &Style, table: Table) -> Reply {
    let failure = table.failure(error);
    let (facts, candidates) = match error {
        GatewayError::Refused { refusal, facts } => (Some(&**facts), Candidates::of(refusal)),
        _ => (None, None),
    };
    let answer = Answer {
        code: failure.code,
        echo: &style.echo,
        detail: style.detail,
        end: End::Failed { reason: failure.reason, message: &failure.message, candidates },
        facts,
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
    /// Of what was done to a call, or was not.
    facts: Option<&'a Facts>,
}

enum End<'a> {
    Done { outcome: OutcomeKind, notes: &'a [String] },
    Failed { reason: Reason, message: &'a str, candidates: Option<Candidates> },
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
            facts.extend(self.operation_id().map(|id| (OPERATION_ID, id.to_owned())));
            return facts;
        }
        if let End::Failed { reason, .. } = &self.end {
            facts.push((REASON, reason.to_string()));
        }
        let Some(known) = self.facts else { return facts };
        facts.extend(known.call_id.as_ref().map(|id| ("CallID", id.to_string())));
        facts.extend(known.deletion_id.map(|id| ("DeletionID", id.to_string())));
        if let End::Done { outcome, .. } = &self.end {
            facts.push(("Outcome", outcome.to_string()));
            facts.extend(known.operation.map(|it| ("Operation", it.as_str().to_owned())));
        }
        facts.extend(self.operation_id().map(|id| (OPERATION_ID, id.to_owned())));
        facts.extend(known.participant_id.clone().map(|id| (PARTICIPANT_ID, id)));
        let counts = known.progress.iter().flat_map(|progress| counts(*progress));
        facts.extend(counts.map(|(name, count)| (name, count.to_string())));
        if let End::Done { notes, .. } = &self.end {
            facts.extend(notes.iter().map(|note| ("Note", note.clone())));
        }
        facts
    }

    /// Of an invitation that Graph took: what its caller asked for, so that the plain answer has it.
    fn operation_id(&self) -> Option<&str> {
        self.facts.and_then(|facts| facts.operation_id.as_deref())
    }
}

/// How far a deletion of everybody's leg got.
fn counts(progress: Progress) -> [(&'static str, u32); 2] {
    [("Removed", progress.removed), ("Participants", progress.of)]
}

const OPERATION_ID: &str = "OperationID";
const PARTICIPANT_ID: &str = "ParticipantID";

/// The one fact that belongs to the error itself and not beside it.
const REASON: &str = "Reason";

/// The one fact that XML has as an attribute and not beside the response.
const TOKEN: &str = "Token";

/// The name of a fact where names begin with a small letter.
fn member(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    format!("{}{rest}", first.to_ascii_lowercase())
}
