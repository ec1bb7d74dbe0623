//! Why a request was not carried out: the errors of all steps, collected.
//!
//! What a caller is told about them, and under which code, is decided in `codes.rs` only.

use std::fmt;
use std::time::Duration;

use super::outcome::Facts;
use crate::model::plan::Refusal;

/// The end of a request that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GatewayError {
    /// Nothing is served at this path (404).
    #[error("no such path")]
    UnknownPath,
    /// The method is not `GET` or `POST` (405).
    #[error("method not allowed")]
    Method,
    /// The body is larger than it may be (413).
    #[error("body too large")]
    BodyTooLarge,
    /// The request line is longer than it may be (414).
    #[error("request line too long")]
    RequestLineTooLong,
    /// The headers are larger than they may be (431).
    #[error("headers too large")]
    HeadersTooLarge,
    /// The body did not arrive (408).
    #[error("body incomplete")]
    BodyIncomplete,
    /// `action` is missing or names none of ours.
    #[error("unknown action")]
    UnknownAction,
    /// A parameter is missing, malformed or contradictory.
    #[error(transparent)]
    Parameter(#[from] ParamError),
    /// The API key is not accepted; why is in the log only.
    #[error("API key not accepted")]
    Key,
    /// The key needs a token, and none was sent.
    #[error("token needed")]
    TokenNeeded,
    /// The token is expired, unknown, or of another key.
    #[error("token not accepted")]
    Token,
    /// Nobody is logged in with this login and password; why is in the log only.
    #[error("login not accepted")]
    Login,
    /// No login was sent; old HTTP stacks send one only when they are asked for it.
    #[error("login needed")]
    LoginNeeded { challenge: bool },
    /// So many logins failed that this one is not looked at (503).
    #[error("login braked")]
    Braked { retry_after: Duration },
    /// Decided, and not done; with what is known of it.
    #[error("refused")]
    Refused { refusal: Refusal, facts: Box<Facts> },
    /// Overload, or the store cannot be asked (503).
    #[error("unavailable")]
    Unavailable,
    /// Our own fault.
    #[error("internal error")]
    Internal,
}

/// What is wrong with a parameter; the text is shown to the caller and names no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ParamError(pub(crate) String);

/// The closed list of `Reason` words: what a program can branch on when the code is not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    NotFound,
    Ended,
    Ambiguous,
    Policy,
    NotPermitted,
    RefusedByGraph,
    UnknownOutcome,
    Prefetch,
    BadParameter,
    UnknownAction,
    BadLogin,
    BadKey,
    TokenNeeded,
    TokenExpired,
    Unavailable,
    Internal,
}

impl Reason {
    /// Its word in answers, records and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Ended => "ended",
            Self::Ambiguous => "ambiguous",
            Self::Policy => "policy",
            Self::NotPermitted => "not_permitted",
            Self::RefusedByGraph => "refused_by_graph",
            Self::UnknownOutcome => "unknown_outcome",
            Self::Prefetch => "prefetch",
            Self::BadParameter => "bad_parameter",
            Self::UnknownAction => "unknown_action",
            Self::BadLogin => "bad_login",
            Self::BadKey => "bad_key",
            Self::TokenNeeded => "token_needed",
            Self::TokenExpired => "token_expired",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
