//! The documents by which a receiver of notifications finds the keys that sign them, where Skype
//! has them.

use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;

use super::answer::Answer;
use super::signing::{ISSUER, Signing};

/// A path of the issuer of notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Document {
    Configuration,
    Keys,
}

impl Document {
    /// The document that these segments name, if they name one.
    pub(super) fn of(path: &[String]) -> Option<Self> {
        let folded: Vec<String> = path.iter().map(|segment| segment.to_lowercase()).collect();
        match folded.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["v1", ".well-known", "openidconfiguration"] => Some(Self::Configuration),
            ["v1", "keys"] => Some(Self::Keys),
            _ => None,
        }
    }

    /// Shows it. The keys are below `base`, by which the client reached us.
    pub(super) fn answer(self, signing: &Signing, method: &Method, base: &str) -> Answer {
        if method != Method::GET {
            return Answer::empty(StatusCode::METHOD_NOT_ALLOWED)
                .with(ALLOW, HeaderValue::from_static("GET"));
        }
        match self {
            Self::Keys => Answer::json(StatusCode::OK, &signing.document()),
            Self::Configuration => Answer::json(
                StatusCode::OK,
                &json!({
                    "issuer": ISSUER,
                    // Nobody logs in there, as the real document says, too.
                    "authorization_endpoint": "https://invalid.botframework.com",
                    "jwks_uri": format!("{base}/v1/keys"),
                    "id_token_signing_alg_values_supported": ["RS256"],
                    "token_endpoint_auth_methods_supported": ["private_key_jwt"],
                }),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::segments;
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_nothing_else_is_a_document() {
        let document = |path| Document::of(&segments(path));
        let configuration = Some(Document::Configuration);
        assert_eq!(document("/v1/.well-known/OpenIdConfiguration"), configuration);
        assert_eq!(document("/V1/.Well-Known/openidconfiguration"), configuration);
        assert_eq!(document("/v1/keys"), Some(Document::Keys));
        assert_eq!(document("/v1/keys/"), None);
        assert_eq!(document("/v1.0/keys"), None);
    }
}
