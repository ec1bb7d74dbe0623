//! Why there is no token, and what its operator can do about it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::error::SecretFileFault;
use crate::graph::model::Denial;
use crate::telemetry::metrics::label::Login;

/// Why there is no token. Shared by all who waited for it.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The tenant is none of those that are configured. It never gets another tenant's token.
    #[error("the tenant is not configured")]
    NotConfigured,
    /// The login does not accept this app: waiting does not help.
    #[error("the login refused this app: {error}{}", aadsts(*number))]
    Refused { error: String, number: Option<u32>, hint: &'static str },
    /// The login throttles or fails.
    #[error("the login is unavailable (status {status})")]
    Unavailable { status: u16, retry_after: Option<Duration> },
    /// An answer that is not a login's.
    #[error("the login answered with status {status} in a form that is not a login's")]
    Unreadable { status: u16 },
    /// The file with the assertion of another issuer; it may be there again later.
    #[error("the login was not asked: the file with the federated token {0}")]
    Assertion(SecretFileFault),
    /// Signing with the certificate's key failed.
    #[error("the login was not asked: the certificate's key does not sign")]
    Signature,
    /// No answer.
    #[error("the login could not be reached")]
    Unreachable(#[source] Arc<reqwest::Error>),
    /// The time for the whole call was over while others asked the login.
    #[error("no token in time")]
    TimedOut,
}

impl LoginError {
    /// What an answer of the login that grants nothing means.
    pub(in crate::graph) fn from_answer(
        status: u16,
        retry_after: Option<Duration>,
        body: &str,
    ) -> Self {
        let denial = Denial::read(body);
        match denial {
            _ if matches!(status, 408 | 429 | 500..=599) => {
                Self::Unavailable { status, retry_after }
            }
            Some(denial) if is_passing(&denial) => Self::Unavailable { status, retry_after },
            Some(denial) => Self::Refused {
                hint: refusal_hint(&denial),
                error: denial.error,
                number: denial.number,
            },
            None => Self::Unreadable { status },
        }
    }

    /// The same about the machine's own identity, which knows no app and no tenant.
    pub(in crate::graph) fn of_machine(self) -> Self {
        let hint = "the machine does not have the identity: check graph.managed_identity, and that \
                    graph.client_id is the client id of one that is assigned to it";
        match self {
            Self::Refused { error, number, .. } => Self::Refused { error, number, hint },
            other => other,
        }
    }

    /// Its word in metrics.
    pub(in crate::graph) fn label(&self) -> Login {
        match self {
            Self::Refused { .. } => Login::Refused,
            Self::Unavailable { .. } => Login::Unavailable,
            Self::Unreadable { .. } => Login::Unreadable,
            Self::Unreachable(_) | Self::TimedOut => Login::Unreachable,
            Self::NotConfigured | Self::Assertion(_) | Self::Signature => Login::NotAsked,
        }
    }

    /// What an operator can do about it, where anything can be done.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused { hint, .. } => Some(hint),
            Self::NotConfigured => {
                Some("configure the tenant: graph.tenant_id, or graph.tenants.<id>")
            }
            Self::Unreadable { .. } => {
                Some("check graph.login_url, and what stands between here and the login")
            }
            Self::Assertion(_) => {
                Some("check graph.federated_token_file, and who renews that file")
            }
            Self::Unavailable { .. } | Self::Signature | Self::Unreachable(_) | Self::TimedOut => {
                None
            }
        }
    }
}

/// Denials that pass by themselves, whatever status they come with.
fn is_passing(denial: &Denial) -> bool {
    matches!(denial.error.as_str(), "temporarily_unavailable" | "server_error")
        || matches!(denial.number, Some(90_006 | 90_012 | 90_024 | 90_033 | 90_055 | 50_196))
}

fn refusal_hint(denial: &Denial) -> &'static str {
    match denial.number {
        Some(7_000_215) => {
            "the client secret is wrong: graph.client_secret must be the secret's value, not its id"
        }
        Some(7_000_222) => "the client secret has expired: make a new one for the app",
        Some(700_016) => {
            "the tenant does not know the app: check graph.client_id and graph.tenant_id, and that \
             an administrator has consented"
        }
        Some(700_027) => {
            "the certificate is not registered with the app: upload the certificate of \
             graph.certificate_file there"
        }
        Some(700_211 | 700_212 | 700_213 | 700_223) => {
            "the app does not trust the issuer of graph.federated_token_file: check its federated \
             credentials"
        }
        Some(50_027) => {
            "the login cannot read the token: check graph.federated_token_file, and who renews that \
             file"
        }
        Some(7_000_112) => "the app is disabled in the tenant: enable its enterprise application",
        Some(90_002) => "there is no such tenant: check graph.tenant_id",
        Some(90_038 | 900_382 | 900_432) => {
            "the tenant is in another cloud: check graph.cloud or graph.login_url"
        }
        _ => match denial.error.as_str() {
            "invalid_client" => {
                "check graph.client_id and the credential (graph.client_secret, \
                 graph.client_secret_file, graph.certificate_file or graph.federated_token_file): \
                 is it the app's, and still valid?"
            }
            "unauthorized_client" => "check graph.client_id, and that the app is enabled",
            "invalid_scope" | "invalid_resource" => {
                "the login does not know this Graph: check graph.base_url and graph.cloud"
            }
            _ => "check graph.tenant_id, graph.client_id and the credentials",
        },
    }
}

fn aadsts(number: Option<u32>) -> String {
    number.map(|number| format!(" (AADSTS{number})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_refuses_for_good_says_what_to_do() {
        for (number, part) in [
            (7_000_215, "not its id"),
            (7_000_222, "expired"),
            (700_016, "does not know the app"),
            (50_027, "graph.federated_token_file"),
            (700_213, "graph.federated_token_file"),
            (90_002, "no such tenant"),
            (900_432, "another cloud"),
            (1, "check graph.client_id"),
        ] {
            let body = format!(r#"{{"error":"invalid_client","error_codes":[{number}]}}"#);
            let error = LoginError::from_answer(401, None, &body);
            assert!(error.hint().unwrap().contains(part), "{error:?}");
            assert!(error.to_string().ends_with(&format!("invalid_client (AADSTS{number})")));
        }
    }

    #[test]
    fn a_login_that_fails_for_a_while_is_told_from_one_that_refuses() {
        let asked = Some(Duration::from_secs(3));
        for (status, body) in [
            (429, ""),
            (500, ""),
            (503, r#"{"error":"invalid_client"}"#),
            (400, r#"{"error":"temporarily_unavailable"}"#),
            (400, r#"{"error":"invalid_request","error_codes":[90055]}"#),
        ] {
            let error = LoginError::from_answer(status, asked, body);
            assert!(
                matches!(error, LoginError::Unavailable { retry_after, .. } if retry_after == asked),
                "{status} {body}"
            );
        }
        for (status, body) in [(404, "<html>"), (302, ""), (400, r#"{"error":{"code":"x"}}"#)] {
            let error = LoginError::from_answer(status, None, body);
            assert!(matches!(error, LoginError::Unreadable { .. }), "{status} {body}");
        }
    }
}
