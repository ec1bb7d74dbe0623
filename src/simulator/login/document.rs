//! The documents that Microsoft's libraries ask for before they log in.

use bytes::Bytes;
use hyper::{Request, StatusCode};
use serde_json::{Value, json};

use crate::simulator::answer::{Answer, Exchange};

/// Names endpoints below `base`, by which the client reached us. There are no user logins, so the
/// authorization endpoint is a name that is not served.
pub(super) fn configuration(tenant: &str, base: &str) -> Answer {
    let base = format!("{base}/{tenant}");
    Answer::json(
        StatusCode::OK,
        &json!({
            "issuer": format!("{base}/v2.0"),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"],
        }),
    )
}

/// The keys of the login. Our tokens are opaque, so there are none.
pub(super) fn keys() -> Answer {
    Answer::json(StatusCode::OK, &json!({"keys": []}))
}

/// Which hosts are one login: this one, alone.
pub(super) fn instances(request: &Request<Bytes>, exchange: &Exchange) -> Answer {
    let query = request.uri().query().unwrap_or_default();
    let query: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let asked = query.iter().find(|(name, _)| name == "authorization_endpoint");
    let Some((_, endpoint)) = asked else {
        let body = json!({
            "error": "invalid_request",
            "error_description": "AADSTS900144: The request must contain the following parameter: \
                                  'authorization_endpoint'.",
            "error_codes": [900_144],
        });
        return Answer::json(StatusCode::BAD_REQUEST, &body);
    };
    Answer::json(StatusCode::OK, &metadata(endpoint, &exchange.base))
}

fn metadata(endpoint: &str, base: &str) -> Value {
    let path = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let tenant = path.split('/').nth(1).filter(|tenant| !tenant.is_empty()).unwrap_or("common");
    let host = base.split_once("://").map_or(base, |(_, host)| host);
    json!({
        "tenant_discovery_endpoint": format!("{base}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    })
}
