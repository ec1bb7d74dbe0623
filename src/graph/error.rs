//! Why Graph did not do what was asked, and what its operator can do about it.
//!
//! A variant exists because somebody branches on it. Only status and code decide; messages are kept
//! for people, cut short and without line breaks, because they go to the journal and to the log.
//! Never in here: a token, a secret, a URL.

use std::error::Error;
use std::time::Duration;

pub(crate) use self::login::LoginError;
use super::model::ErrorBody;
use crate::model::deletion::TOO_MANY;
use crate::model::plan::Operation;

mod login;
mod permission;

/// Why a request to Graph was not carried out, or may not have been.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GraphError {
    /// 404 with 8522.
    #[error("Graph has no such call")]
    NotFound,
    /// Graph's own 404 to a request for a participant, with its word for one who is not there; 8522 says
    /// also then that there is no call.
    #[error("Graph has no such participant in the call")]
    NoParticipant,
    /// Any other 404, whatever its code: it says nothing about the call.
    #[error("a 404 that says nothing about the call{}", detail(code.as_ref(), None))]
    ForeignNotFound {
        code: Option<String>,
        /// It is in Graph's shape to its inner error.
        has_inner: bool,
    },
    /// 429.
    #[error("Graph throttled the request")]
    Throttled { retry_after: Option<Duration> },
    /// 503; without a readable `Retry-After` it is a server error like any other.
    #[error("Graph is unavailable")]
    Unavailable { retry_after: Option<Duration> },
    /// There is no token to send the request with; it was not sent.
    #[error("no token for Graph")]
    Login(#[from] LoginError),
    /// 401, and again 401 with a token made for the occasion.
    #[error("Graph accepts neither the token nor a new one")]
    Unauthorized,
    /// 403 that holds for every call of the tenant until its operator acts.
    #[error("Graph refuses this app in this tenant (code {code})")]
    TenantFault { code: String, hint: &'static str },
    /// The call was told of to an app that we are not in its tenant; nothing was sent.
    #[error("the call belongs to another app than the one that is configured for its tenant")]
    OtherApp,
    /// 403 with 7505.
    #[error("Graph says that the call belongs to another tenant (code 7505)")]
    OtherTenant,
    /// Any other 4xx but 408.
    #[error("Graph refused the request with status {status}{}", detail(code.as_ref(), message.as_ref()))]
    Refused { status: u16, code: Option<String>, message: Option<String> },
    /// 408, a 5xx but 503, or a status that HTTP does not have.
    #[error("Graph failed with status {status}{}", detail(code.as_ref(), None))]
    ServerError { status: u16, code: Option<String> },
    /// A success whose body is not what was asked for: something else answers for Graph.
    #[error("an answer with status {status} that is not what was asked for")]
    Unreadable { status: u16 },
    /// A roster is longer than any that is read.
    #[error("{TOO_MANY}")]
    TooMany,
    /// The next page of a roster is at an address that the token must not be sent to.
    #[error("the roster goes on at an address that is not within this tenant's calls")]
    ForeignPage,
    /// 3xx; redirects are not followed.
    #[error("redirected with status {status}, which is not followed")]
    Redirected { status: u16 },
    /// The call's id is empty, `.`, `..` or of absurd length, and would change the path that is
    /// asked for; the request was not sent.
    #[error("the call's id cannot stand in a path")]
    UnusableId,
    /// No connection came about; the request was not sent.
    #[error("Graph could not be reached")]
    Connect(#[source] reqwest::Error),
    /// The TLS handshake failed; the request was not sent.
    #[error("no secure connection to Graph")]
    Tls(#[source] reqwest::Error),
    /// A 403 or 404 whose body broke off: nobody knows what is meant.
    #[error("the answer broke off after its status {status}")]
    Torn { status: u16, source: reqwest::Error },
    /// The request was or may have been sent, and no status came back in time.
    #[error("the answer was lost")]
    Lost(#[source] reqwest::Error),
}

impl GraphError {
    /// What an answer that is no success means. `status` is not 401, which takes a new token and a
    /// second try, unless that try has been made.
    pub(super) fn from_answer(status: u16, retry_after: Option<Duration>, body: &str) -> Self {
        let error = ErrorBody::read(body);
        let code = error.as_ref().map(|error| short(&error.code));
        let message = || error.as_ref()?.message.as_deref().map(short);
        match status {
            300..=399 => Self::Redirected { status },
            401 => Self::Unauthorized,
            403 => match code.as_deref() {
                Some("7505") => Self::OtherTenant,
                Some(fault) => match tenant_fault(fault) {
                    Some(hint) => Self::TenantFault { code: fault.to_owned(), hint },
                    None => Self::Refused { status, message: message(), code },
                },
                None => Self::Refused { status, code, message: None },
            },
            404 if code.as_deref() == Some("8522") => Self::NotFound,
            404 => {
                let has_inner = error.as_ref().is_some_and(|error| error.has_inner);
                Self::ForeignNotFound { code, has_inner }
            }
            429 => Self::Throttled { retry_after },
            503 => Self::Unavailable { retry_after },
            400..=499 if status != 408 => Self::Refused { status, message: message(), code },
            _ => Self::ServerError { status, code },
        }
    }

    /// The same about a participant of a call: Graph has its own words for one who is not there. They
    /// count with an inner error, or when the answer was given a `request-id`: others use these words.
    pub(super) fn of_participant(self, is_identified: bool) -> Self {
        let is_word = |code: &str| {
            ["NotFound", "ItemNotFound"].iter().any(|word| code.eq_ignore_ascii_case(word))
        };
        match self {
            Self::ForeignNotFound { code: Some(code), has_inner }
                if is_word(&code) && (has_inner || is_identified) =>
            {
                Self::NoParticipant
            }
            other => other,
        }
    }

    /// A request that got no answer.
    pub(super) fn from_transport(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if !error.is_connect() {
            Self::Lost(error)
        } else if is_tls(&error) {
            Self::Tls(error)
        } else {
            Self::Connect(error)
        }
    }

    /// What an operator can do about it, where anything can be done, when Graph was asked to carry out
    /// `operation`.
    pub(crate) fn hint_for(&self, operation: Operation) -> Option<&'static str> {
        match self {
            Self::TenantFault { code, .. } if code == "7504" => Some(permission::needed(operation)),
            Self::Refused { status: 403, .. } => Some(permission::needed(operation)),
            Self::ServerError { code: Some(code), .. }
                if code == "9999" && operation == Operation::RemoveParticipant =>
            {
                Some(permission::REMOVAL)
            }
            _ => self.hint(),
        }
    }

    /// The same when a call was read.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Login(error) => error.hint(),
            Self::TenantFault { hint, .. } => Some(hint),
            Self::Unauthorized => Some(
                "Graph rejects tokens that the login grants: check that graph.base_url and \
                 graph.login_url are of the same cloud, and that the app is not blocked",
            ),
            Self::OtherApp => Some("configure the app that Graph tells of the call for its tenant"),
            Self::OtherTenant => Some(
                "the call is not of the tenant that we log in to: its tenant must be the one that \
                 is configured with this app",
            ),
            Self::ForeignNotFound { .. }
            | Self::Unreadable { .. }
            | Self::ForeignPage
            | Self::Redirected { .. } => {
                Some("check graph.base_url, and what stands between here and Graph")
            }
            Self::Tls(_) => Some(
                "check the system's CA certificates and whether a proxy replaces Graph's \
                 certificate",
            ),
            Self::Refused { status: 403, .. } => Some(permission::needed(Operation::HangUp)),
            Self::NotFound
            | Self::NoParticipant
            | Self::TooMany
            | Self::Throttled { .. }
            | Self::Unavailable { .. }
            | Self::Refused { .. }
            | Self::ServerError { .. }
            | Self::UnusableId
            | Self::Connect(_)
            | Self::Torn { .. }
            | Self::Lost(_) => None,
        }
    }

    /// The error with its causes in one line of bounded length, for the journal.
    pub(crate) fn explanation(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        short(&text)
    }

    /// The same for the log, which must not hold what Graph's own text may repeat of a call.
    pub(crate) fn for_log(&self) -> String {
        match self {
            Self::Refused { status, code, message: Some(_) } => {
                Self::Refused { status: *status, code: code.clone(), message: None }.explanation()
            }
            other => other.explanation(),
        }
    }
}

/// Text of others as it may be kept: one line of at most 300 characters.
pub(super) fn short(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(300)
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The operator's hint for the codes that hold for a whole tenant.
fn tenant_fault(code: &str) -> Option<&'static str> {
    match code {
        "7503" => Some(
            "the app is not known to the calling service: enable calling on the Teams channel of \
             its bot registration",
        ),
        "7504" => Some(permission::needed(Operation::HangUp)),
        _ => None,
    }
}

/// Whether a connection failed in its TLS handshake, after TCP had connected: the handshake's error
/// arrives as an I/O error within an I/O error, which `source` skips.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let mut layer = error.downcast_ref::<std::io::Error>();
        while let Some(error) = layer {
            if matches!(
                error.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) {
                return true;
            }
            layer = error.get_ref().and_then(|inner| inner.downcast_ref());
        }
        cause = error.source();
    }
    false
}

fn detail(code: Option<&String>, message: Option<&String>) -> String {
    [code, message].into_iter().flatten().fold(String::new(), |text, part| text + ": " + part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(code: &str) -> String {
        format!(r#"{{"error":{{"code":"{code}","message":"A message."}}}}"#)
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: &str) {
        let asked = Some(Duration::from_secs(3));
        assert_eq!(GraphError::from_answer(status, asked, body).to_string(), expected);
    }

    #[test]
    fn status_and_code_decide_what_an_answer_means() {
        check(404, &body("8522"), "Graph has no such call");
        let wrapped = r#"{"error":{"code":"UnknownError","message":"{\"errorCode\":\"8522\"}"}}"#;
        check(404, wrapped, "Graph has no such call");
        let foreign = "a 404 that says nothing about the call";
        check(404, "<html>", foreign);
        for code in ["ResourceNotFound", "85220", "UnknownError"] {
            check(404, &body(code), &format!("{foreign}: {code}"));
        }
        check(403, &body("7503"), "Graph refuses this app in this tenant (code 7503)");
        check(403, &body("7504"), "Graph refuses this app in this tenant (code 7504)");
        check(403, &body("7505"), "Graph says that the call belongs to another tenant (code 7505)");
        check(
            403,
            &body("Forbidden"),
            "Graph refused the request with status 403: Forbidden: A message.",
        );
        check(403, "", "Graph refused the request with status 403");
        check(400, &body("7503"), "Graph refused the request with status 400: 7503: A message.");
        check(429, "", "Graph throttled the request");
        check(503, "", "Graph is unavailable");
        check(408, "", "Graph failed with status 408");
        check(500, &body("9999"), "Graph failed with status 500: 9999");
        check(999, "", "Graph failed with status 999");
        check(307, "", "redirected with status 307, which is not followed");
        check(401, "", "Graph accepts neither the token nor a new one");
    }

    #[test]
    fn whether_a_participant_is_there_is_told_by_graph_alone() {
        let judge = |body: &str, is_identified| {
            let error = GraphError::from_answer(404, None, body).of_participant(is_identified);
            matches!(error, GraphError::NoParticipant)
        };
        let inner = |code| {
            format!(r#"{{"error":{{"code":"{code}","message":"A message.","innerError":{{}}}}}}"#)
        };
        let no_call = GraphError::from_answer(404, None, &body("8522")).of_participant(true);
        assert!(matches!(no_call, GraphError::NotFound), "{no_call:?}");
        for code in ["NotFound", "notFound", "itemnotfound", "ItemNotFound"] {
            assert!(judge(&inner(code), false) && judge(&body(code), true), "{code}");
            assert!(!judge(&body(code), false), "{code}: anybody may say so");
        }
        for other in [inner("ResourceNotFound"), inner(""), "<html>".to_owned(), String::new()] {
            assert!(!judge(&other, true), "{other}");
        }
        let refused = GraphError::from_answer(403, None, &inner("NotFound")).of_participant(true);
        assert!(matches!(refused, GraphError::Refused { .. }), "{refused:?}");
    }

    #[test]
    fn graphs_own_text_is_for_the_journal_and_not_for_the_log() {
        let error = GraphError::from_answer(403, None, &body("Forbidden"));
        assert!(error.explanation().ends_with("status 403: Forbidden: A message."), "{error}");
        assert_eq!(error.for_log(), "Graph refused the request with status 403: Forbidden");
        assert_eq!(GraphError::NotFound.for_log(), GraphError::NotFound.explanation());
    }

    #[test]
    fn a_code_wrapped_in_the_message_names_the_tenants_fault() {
        let body = r#"{"error":{"code":"UnknownError","message":"{\"errorCode\":\"7503\",\"message\":\"x\"}"}}"#;
        let error = GraphError::from_answer(403, None, body);
        assert!(error.hint().unwrap().contains("Teams channel"), "{error:?}");
    }

    proptest! {
        #[test]
        fn no_answer_panics_or_makes_a_long_or_broken_line(
            status in any::<u16>(),
            code in ".{0,400}",
            message in ".{0,900}",
        ) {
            let error = serde_json::json!({"error": {"code": code, "message": message}});
            let error = GraphError::from_answer(status, None, &error.to_string());
            let line = error.explanation();
            prop_assert!(line.chars().count() <= 301 && !line.contains(['\r', '\n']), "{line}");
        }
    }
}
