//! The single table from what happened to what the wire says: legacy code, reason word, text for
//! the caller and HTTP status.
//!
//! No match here has a catch-all arm: a new outcome or error must be given its answer. Texts name
//! parameters and rights, never a value that was sent, and never read as if a recording had been
//! erased.

use std::time::Duration;

use Status::{Always, Mapped};

use super::error::{GatewayError, Reason};
use super::outcome::OutcomeKind;
use crate::config::legacy::{Codes, HttpStatus, LegacyConfig};
use crate::model::plan::Refusal;

mod text;

/// Which of the configured tables the answers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    codes: Codes,
    http_status: HttpStatus,
}

/// What the wire says about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `Response/@code`.
    pub(crate) code: i32,
    /// HTTP status.
    pub(crate) status: u16,
    /// `Reason`.
    pub(crate) reason: Reason,
    /// `ErrorMessage`, one plain sentence.
    pub(crate) message: String,
    /// The header that this status calls for.
    pub(crate) header: Option<(&'static str, String)>,
}

impl Table {
    /// The table that `config` asks for.
    pub(crate) fn new(config: &LegacyConfig) -> Self {
        Self { codes: config.codes, http_status: config.http_status }
    }

    /// The answer to a request that was not carried out.
    pub(crate) fn failure(self, error: &GatewayError) -> Failure {
        let (code, reason, status) = row(error);
        Failure {
            code: match self.codes {
                Codes::Verba => code,
                Codes::Documented => PROCESSING_FAILED,
            },
            status: match (status, self.http_status) {
                (Always(status), _) | (Mapped(status), HttpStatus::Mapped) => status,
                (Mapped(_), HttpStatus::Ok) => 200,
            },
            reason,
            message: text::of(error),
            header: header(error),
        }
    }
}

/// Code and HTTP status of a request that was carried out.
pub(crate) fn success(kind: OutcomeKind) -> (i32, u16) {
    match kind {
        OutcomeKind::Sent
        | OutcomeKind::Accepted
        | OutcomeKind::Armed
        | OutcomeKind::Joined
        | OutcomeKind::Gone
        | OutcomeKind::AlreadyDeleted
        | OutcomeKind::AlreadyEnded
        | OutcomeKind::WouldSend => (0, 200),
    }
}

/// Code and HTTP status of a look-up that found something, whatever that is.
pub(crate) const FOUND: (i32, u16) = (0, 200);

/// Which HTTP status an error has.
#[derive(Clone, Copy)]
enum Status {
    /// This one: no client of the original API can cause it.
    Always(u16),
    /// This one with `legacy.http_status = "mapped"`, else 200: public clients read the body, and
    /// log in again, only when they see 200.
    Mapped(u16),
}
// The documented codes.
const PROCESSING_FAILED: i32 = 2;
// The codes of a public client, which are said to come from the vendor.
const UNEXPECTED: i32 = -1;
const INVALID_PARAMETERS: i32 = -20;
const INVALID_ACTION: i32 = -30;
const INVALID_CREDENTIALS: i32 = -40;
const INVALID_API_KEY: i32 = -41;
const LOGIN_REQUIRED: i32 = -42;
/// That client logs in again on this code only, and else fails once an hour.
const TOKEN_EXPIRED: i32 = -43;

fn row(error: &GatewayError) -> (i32, Reason, Status) {
    match error {
        GatewayError::UnknownPath => (INVALID_ACTION, Reason::UnknownAction, Always(404)),
        GatewayError::Method => (INVALID_PARAMETERS, Reason::BadParameter, Always(405)),
        GatewayError::BodyTooLarge => (INVALID_PARAMETERS, Reason::BadParameter, Always(413)),
        GatewayError::RequestLineTooLong => (INVALID_PARAMETERS, Reason::BadParameter, Always(414)),
        GatewayError::HeadersTooLarge => (INVALID_PARAMETERS, Reason::BadParameter, Always(431)),
        GatewayError::BodyIncomplete => (INVALID_PARAMETERS, Reason::BadParameter, Always(408)),
        GatewayError::UnknownAction => (INVALID_ACTION, Reason::UnknownAction, Mapped(400)),
        GatewayError::Parameter(_) => (INVALID_PARAMETERS, Reason::BadParameter, Mapped(400)),
        GatewayError::Key => (INVALID_API_KEY, Reason::BadKey, Mapped(401)),
        GatewayError::Login | GatewayError::LoginNeeded { challenge: false } => {
            (INVALID_CREDENTIALS, Reason::BadLogin, Mapped(401))
        }
        // Without this status nobody would send what the header asks for.
        GatewayError::LoginNeeded { challenge: true } => {
            (INVALID_CREDENTIALS, Reason::BadLogin, Always(401))
        }
        GatewayError::TokenNeeded => (LOGIN_REQUIRED, Reason::TokenNeeded, Mapped(401)),
        GatewayError::Token => (TOKEN_EXPIRED, Reason::TokenExpired, Mapped(401)),
        GatewayError::Refused { refusal, .. } => {
            let (reason, status) = refused(refusal);
            (PROCESSING_FAILED, reason, Mapped(status))
        }
        GatewayError::Unavailable | GatewayError::Braked { .. } => {
            (UNEXPECTED, Reason::Unavailable, Always(503))
        }
        GatewayError::Internal => (UNEXPECTED, Reason::Internal, Mapped(500)),
    }
}

/// The word for why nothing is done.
pub(crate) fn reason(refusal: &Refusal) -> Reason {
    refused(refusal).0
}

fn refused(refusal: &Refusal) -> (Reason, u16) {
    match refusal {
        Refusal::NotFound
        | Refusal::NoSuchDeletion
        | Refusal::NoParticipant(_)
        | Refusal::OurOwnPlace
        | Refusal::Unnamed => (Reason::NotFound, 404),
        // The ringing has ended, or nothing is left that could be done; the text says which.
        Refusal::Ended
        | Refusal::RingsNoMore
        | Refusal::ParticipantLeft
        | Refusal::LegOver
        | Refusal::LegEnding => (Reason::Ended, 409),
        // Which of those in the call we are cannot be decided either.
        Refusal::Ambiguous(_) | Refusal::AmbiguousParticipant { .. } | Refusal::PlaceUnknown => {
            (Reason::Ambiguous, 409)
        }
        Refusal::NotPermitted(_) | Refusal::TooMany { .. } | Refusal::OtherApp => {
            (Reason::NotPermitted, 403)
        }
        Refusal::ReplacesItself => (Reason::BadParameter, 400),
        Refusal::Policy => (Reason::Policy, 403),
        Refusal::Partly(_) | Refusal::RefusedByGraph => (Reason::RefusedByGraph, 502),
        Refusal::UnknownOutcome => (Reason::UnknownOutcome, 502),
        // It is certain that nothing was done, so this is not `unknown_outcome`.
        Refusal::Withdrawn => (Reason::Unavailable, 502),
        Refusal::Prefetch => (Reason::Prefetch, 403),
    }
}

fn header(error: &GatewayError) -> Option<(&'static str, String)> {
    let (name, value) = match error {
        GatewayError::Method => ("Allow", "GET, POST"),
        GatewayError::Unavailable => ("Retry-After", "1"),
        GatewayError::Braked { retry_after } => {
            return Some(("Retry-After", whole_seconds(*retry_after).to_string()));
        }
        GatewayError::LoginNeeded { challenge: true } => ("WWW-Authenticate", CHALLENGE),
        GatewayError::UnknownPath
        | GatewayError::BodyTooLarge
        | GatewayError::RequestLineTooLong
        | GatewayError::HeadersTooLarge
        | GatewayError::BodyIncomplete
        | GatewayError::UnknownAction
        | GatewayError::Parameter(_)
        | GatewayError::Key
        | GatewayError::Login
        | GatewayError::LoginNeeded { challenge: false }
        | GatewayError::TokenNeeded
        | GatewayError::Token
        | GatewayError::Refused { .. }
        | GatewayError::Internal => return None,
    };
    Some((name, value.to_owned()))
}

/// Whoever can choose sends UTF-8.
const CHALLENGE: &str = "Basic realm=\"callgate\", charset=\"UTF-8\"";

/// Never less than that, because who comes back too early is braked again.
fn whole_seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::error::ParamError;
    use super::super::outcome::{Facts, Found, Subject};
    use super::*;
    use crate::id::CallId;
    use crate::model::plan::{Ambiguity, Progress};
    use crate::telemetry::metrics::label::{self as metrics, Label as _};

    pub(crate) const USUAL: Table = Table { codes: Codes::Verba, http_status: HttpStatus::Ok };

    pub(crate) fn refuse(refusal: Refusal) -> GatewayError {
        GatewayError::Refused { refusal, facts: Box::default() }
    }

    fn braked(milliseconds: u64) -> GatewayError {
        GatewayError::Braked { retry_after: Duration::from_millis(milliseconds) }
    }

    fn ambiguity(count: usize) -> Refusal {
        Refusal::Ambiguous(Ambiguity { count, decided_by: "status", candidates: Vec::new() })
    }

    const PROGRESS: Progress = Progress { removed: 2, of: 3 };

    fn several() -> Refusal {
        Refusal::AmbiguousParticipant { count: 2, candidates: Vec::new() }
    }

    /// Every error, each with its code, its status, its mapped status and its reason.
    pub(crate) fn all() -> Vec<(GatewayError, i32, u16, u16, &'static str)> {
        vec![
            (GatewayError::UnknownPath, -30, 404, 404, "unknown_action"),
            (GatewayError::Method, -20, 405, 405, "bad_parameter"),
            (GatewayError::BodyTooLarge, -20, 413, 413, "bad_parameter"),
            (GatewayError::RequestLineTooLong, -20, 414, 414, "bad_parameter"),
            (GatewayError::HeadersTooLarge, -20, 431, 431, "bad_parameter"),
            (GatewayError::BodyIncomplete, -20, 408, 408, "bad_parameter"),
            (GatewayError::UnknownAction, -30, 200, 400, "unknown_action"),
            (ParamError("Parameter x.".into()).into(), -20, 200, 400, "bad_parameter"),
            (GatewayError::Key, -41, 200, 401, "bad_key"),
            (GatewayError::Login, -40, 200, 401, "bad_login"),
            (GatewayError::LoginNeeded { challenge: false }, -40, 200, 401, "bad_login"),
            (GatewayError::LoginNeeded { challenge: true }, -40, 401, 401, "bad_login"),
            (braked(1), -1, 503, 503, "unavailable"),
            (GatewayError::TokenNeeded, -42, 200, 401, "token_needed"),
            (GatewayError::Token, -43, 200, 401, "token_expired"),
            (refuse(Refusal::NotFound), 2, 200, 404, "not_found"),
            (refuse(Refusal::NoSuchDeletion), 2, 200, 404, "not_found"),
            (refuse(Refusal::Ended), 2, 200, 409, "ended"),
            (refuse(Refusal::RingsNoMore), 2, 200, 409, "ended"),
            (refuse(ambiguity(2)), 2, 200, 409, "ambiguous"),
            (refuse(Refusal::NoParticipant(Vec::new())), 2, 200, 404, "not_found"),
            (refuse(several()), 2, 200, 409, "ambiguous"),
            (refuse(Refusal::OurOwnPlace), 2, 200, 404, "not_found"),
            (refuse(Refusal::Unnamed), 2, 200, 404, "not_found"),
            (refuse(Refusal::ParticipantLeft), 2, 200, 409, "ended"),
            (refuse(Refusal::LegEnding), 2, 200, 409, "ended"),
            (refuse(Refusal::LegOver), 2, 200, 409, "ended"),
            (refuse(Refusal::TooMany { most: Some(50) }), 2, 200, 403, "not_permitted"),
            (refuse(Refusal::TooMany { most: None }), 2, 200, 403, "not_permitted"),
            (refuse(Refusal::Partly(PROGRESS)), 2, 200, 502, "refused_by_graph"),
            (refuse(Refusal::PlaceUnknown), 2, 200, 409, "ambiguous"),
            (refuse(Refusal::OtherApp), 2, 200, 403, "not_permitted"),
            (refuse(Refusal::ReplacesItself), 2, 200, 400, "bad_parameter"),
            (refuse(Refusal::Policy), 2, 200, 403, "policy"),
            (refuse(Refusal::NotPermitted("DeleteCall")), 2, 200, 403, "not_permitted"),
            (refuse(Refusal::RefusedByGraph), 2, 200, 502, "refused_by_graph"),
            (refuse(Refusal::UnknownOutcome), 2, 200, 502, "unknown_outcome"),
            (refuse(Refusal::Withdrawn), 2, 200, 502, "unavailable"),
            (refuse(Refusal::Prefetch), 2, 200, 403, "prefetch"),
            (GatewayError::Unavailable, -1, 503, 503, "unavailable"),
            (GatewayError::Internal, -1, 200, 500, "internal"),
        ]
    }

    #[test]
    fn every_error_has_its_code_its_reason_and_its_status() {
        let mapped = Table { http_status: HttpStatus::Mapped, ..USUAL };
        for (error, code, status, mapped_status, reason) in all() {
            let failure = USUAL.failure(&error);
            let found = (failure.code, failure.status, failure.reason.as_str());
            assert_eq!(found, (code, status, reason), "{error:?}");
            assert_eq!(mapped.failure(&error).status, mapped_status, "{error:?}");
            assert_eq!(mapped.failure(&error).code, code, "{error:?}");
        }
    }

    #[test]
    fn the_documented_table_knows_one_code_for_every_error() {
        let documented = Table { codes: Codes::Documented, ..USUAL };
        for (error, _, status, ..) in all() {
            let failure = documented.failure(&error);
            assert_eq!((failure.code, failure.status), (2, status), "{error:?}");
        }
    }

    #[test]
    fn every_reason_and_every_outcome_has_a_word_in_metrics() {
        let done = [
            OutcomeKind::Sent,
            OutcomeKind::Accepted,
            OutcomeKind::Armed,
            OutcomeKind::Joined,
            OutcomeKind::Gone,
            OutcomeKind::AlreadyDeleted,
            OutcomeKind::AlreadyEnded,
            OutcomeKind::WouldSend,
        ];
        let found = Found::CallId(CallId::sortable());
        let words =
            done.map(OutcomeKind::as_str).into_iter().chain(all().into_iter().map(|row| row.4));
        for word in words.chain([found.as_str(), Found::Released.as_str(), "logged_in"]) {
            assert!(metrics::Outcome::of(word).is_some(), "{word}");
        }
    }

    #[test]
    fn every_message_is_one_line_and_a_sentence() {
        for (error, ..) in all() {
            let message = USUAL.failure(&error).message;
            assert!(message.ends_with('.') && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn an_ambiguous_selector_is_told_how_many_match_and_what_would_decide() {
        let text = |count| USUAL.failure(&refuse(ambiguity(count))).message;
        assert_eq!(text(2), "2 calls match: parameter status would decide which one is meant.");
        assert!(text(100).starts_with("100 calls match"));
        assert!(text(101).starts_with("More than 100 calls match"));
    }

    #[test]
    fn the_documented_texts_are_kept() {
        let text = |refusal| USUAL.failure(&refuse(refusal)).message;
        assert_eq!(text(Refusal::NotFound), "Call cannot be found.");
        assert_eq!(text(Refusal::Ended), "Call has already ended.");
        assert_eq!(text(Refusal::Policy), "Deletion refused by policy.");
    }

    #[test]
    fn a_text_speaks_of_what_was_asked_for_and_never_of_a_recording() {
        let text = |refusal, subject| {
            let facts = Box::new(Facts { subject, ..Facts::default() });
            USUAL.failure(&GatewayError::Refused { refusal, facts }).message
        };
        for (subject, word) in [
            (Subject::Call, "call"),
            (Subject::Rejection, "reject"),
            (Subject::Participant, "participant"),
            (Subject::Invitation, "invit"),
        ] {
            assert!(text(Refusal::RefusedByGraph, subject).contains(word), "{subject:?}");
            assert!(text(Refusal::UnknownOutcome, subject).contains(word), "{subject:?}");
            assert!(text(Refusal::Withdrawn, subject).contains("nothing more will be sent"));
        }
        for (error, ..) in all() {
            let message = USUAL.failure(&error).message;
            assert!(!message.contains("record") && !message.contains("erase"), "{message}");
        }
    }

    #[test]
    fn three_statuses_bring_a_header() {
        let header = |error: &GatewayError| {
            let header = USUAL.failure(error).header;
            header.map_or(String::new(), |(name, value)| format!("{name}: {value}"))
        };
        assert_eq!(header(&GatewayError::Method), "Allow: GET, POST");
        assert_eq!(header(&GatewayError::Unavailable), "Retry-After: 1");
        assert_eq!(header(&GatewayError::Internal), "");
        assert_eq!(
            header(&GatewayError::LoginNeeded { challenge: true }),
            "WWW-Authenticate: Basic realm=\"callgate\", charset=\"UTF-8\""
        );
        assert_eq!(header(&GatewayError::LoginNeeded { challenge: false }), "");
        for (milliseconds, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(header(&braked(milliseconds)), format!("Retry-After: {seconds}"));
        }
    }
}
