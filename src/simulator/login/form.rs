//! What a request for a token brings along: its form, and `Authorization: Basic`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};

use crate::simulator::answer::text_of;

/// The form of a token request; a body of another media type is none.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Takes the fields out of the body.
    pub(super) fn read(request: &Request<Bytes>) -> Self {
        let media_type = request.headers().get(CONTENT_TYPE).map(text_of).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Self(Vec::new());
        }
        Self(serde_urlencoded::from_bytes(request.body()).unwrap_or_default())
    }

    /// The value of a field; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(given, value)| given == name && !value.is_empty());
        field.map(|(_, value)| value.as_str())
    }
}

/// Client id and secret in `Authorization: Basic`, which Entra ID takes as well.
pub(super) fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let header = text_of(headers.get(AUTHORIZATION)?);
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (client_id, secret) = decoded.split_once(':')?;
    let complete = !client_id.is_empty() && !secret.is_empty();
    complete.then(|| (client_id.to_owned(), secret.to_owned()))
}
