//! The bodies that Graph and the login answer with, read tolerantly.
//!
//! Wire types: they never leave `graph`. Whatever arrives, reading it gives a value: HTML, nothing
//! at all and half a document are bodies that say nothing, not errors.

pub(super) mod call;
pub(super) mod roster;

use std::time::Duration;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use serde_json::{Map, Value};

use crate::clock::Timestamp;

/// What the body of a refused request to Graph says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ErrorBody {
    /// The one thing that decides; often digits, such as `8522`.
    pub(super) code: String,
    /// For people, as it came.
    pub(super) message: Option<String>,
    /// It holds an inner error, as Graph's own do.
    pub(super) has_inner: bool,
}

impl ErrorBody {
    /// Reads `{"error":{"code":…,"message":…,"innerError":{…}}}`, names in any case; `None` when
    /// the body has another shape. Some of Graph's front ends wrap the answer of the service behind
    /// them as JSON in `message`: then its `errorCode` is the code.
    pub(super) fn read(body: &str) -> Option<Self> {
        let document = object(body)?;
        let error = member(&document, "error")?.as_object()?;
        let outer = text(member(error, "code")?)?;
        let message = member(error, "message").and_then(text);
        let wrapped = message.as_deref().and_then(object);
        let inner = wrapped.as_ref().and_then(|inner| text(member(inner, "errorCode")?));
        let inner_message = wrapped.as_ref().and_then(|inner| text(member(inner, "message")?));
        let has_inner = member(error, "innerError").is_some_and(Value::is_object);
        Some(Self { code: inner.unwrap_or(outer), message: inner_message.or(message), has_inner })
    }
}

/// A token, as the login grants it.
pub(super) struct Grant {
    pub(super) access_token: String,
    pub(super) expires_in: Duration,
    /// When the login wishes to be asked again, before the token expires.
    pub(super) refresh_in: Option<Duration>,
}

impl Grant {
    /// `None` when the body is no grant of a bearer token with a lifetime. The identity of an App
    /// Service names only the end of it, in seconds since 1970.
    pub(super) fn read(body: &str, now: Timestamp) -> Option<Self> {
        let document = object(body)?;
        let token_type = member(&document, "token_type").and_then(text);
        if token_type.is_some_and(|word| !word.eq_ignore_ascii_case("Bearer")) {
            return None;
        }
        let lifetime = |name| seconds(member(&document, name)?);
        let until = || {
            let end = i64::try_from(lifetime("expires_on")?.as_millis()).ok()?;
            Some(Timestamp(end).since(now))
        };
        Some(Self {
            access_token: text(member(&document, "access_token")?)?,
            expires_in: match member(&document, "expires_in") {
                Some(lifetime) => seconds(lifetime)?,
                None => until()?,
            },
            refresh_in: lifetime("refresh_in"),
        })
    }
}

/// Why the login grants no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    /// OAuth's word, such as `invalid_client`.
    pub(super) error: String,
    /// The number of the first `AADSTS…` error.
    pub(super) number: Option<u32>,
}

impl Denial {
    /// `None` when the body is no OAuth error.
    pub(super) fn read(body: &str) -> Option<Self> {
        let document = object(body)?;
        let error = text(member(&document, "error")?)?;
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if error.len() > 64 || !error.bytes().all(word) {
            return None;
        }
        let listed = member(&document, "error_codes")
            .and_then(|codes| text(codes.as_array()?.first()?)?.parse().ok());
        let described = || described_number(member(&document, "error_description")?.as_str()?);
        Some(Self { error, number: listed.or_else(described) })
    }
}

/// The claims that Graph wants a token to be made for, from the challenge of its 401.
pub(super) fn challenge(headers: &HeaderMap) -> Option<String> {
    headers.get_all(WWW_AUTHENTICATE).iter().find_map(|header| claims(header.to_str().ok()?))
}

/// The JSON object in `Bearer …, error="insufficient_claims", claims="<base64>"`.
fn claims(header: &str) -> Option<String> {
    const EITHER: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let start = header.to_ascii_lowercase().find("claims=\"")? + "claims=\"".len();
    let (encoded, _) = header.get(start..)?.split_once('"')?;
    let decoded = EITHER.decode(encoded.replace('-', "+").replace('_', "/")).ok()?;
    let claims = String::from_utf8(decoded).ok()?;
    object(&claims).map(|_| claims)
}

/// The number in `AADSTS7000215: Invalid client secret…`.
fn described_number(description: &str) -> Option<u32> {
    let (_, after) = description.split_once("AADSTS")?;
    let end = after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len());
    after.get(..end)?.parse().ok()
}

fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()
}

/// A member by its name in any case; the exact spelling is preferred.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

/// A text that says something, or a number, which some services send in its place.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Seconds as a number or as a string.
fn seconds(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(text(value)?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Option<(&str, Option<&str>)>) {
        let expected = expected.map(|(code, message)| ErrorBody {
            code: code.to_owned(),
            message: message.map(str::to_owned),
            has_inner: body.to_lowercase().contains("\"innererror\":"),
        });
        assert_eq!(ErrorBody::read(body), expected, "{body}");
    }

    #[test]
    fn an_error_is_read_with_its_names_in_any_case() {
        check(
            r#"{"error":{"code":"8522","message":"Call not found.","innerError":
                {"date":"2020-09-17T11:34:41","request-id":"r-1","client-request-id":"c-1"}}}"#,
            Some(("8522", Some("Call not found."))),
        );
        check(
            r#"{"Error":{"CODE":"8522","Message":"Gone","innererror":{"requestId":"r-2"}}}"#,
            Some(("8522", Some("Gone"))),
        );
        check("\u{feff}{\"error\":{\"code\":7505}}", Some(("7505", None)));
    }

    #[test]
    fn the_code_of_an_answer_wrapped_in_the_message_counts() {
        check(
            r#"{"error":{"code":"UnknownError","message":"{\"errorCode\":\"7503\",\"message\":\"Application is not registered in our store.\",\"instanceAnnotations\":[]}"}}"#,
            Some(("7503", Some("Application is not registered in our store."))),
        );
        check(
            r#"{"error":{"code":"UnknownError","message":"{\"other\":1}"}}"#,
            Some(("UnknownError", Some(r#"{"other":1}"#))),
        );
    }

    #[test]
    fn a_body_in_another_shape_is_no_error_of_graphs() {
        for body in [
            "",
            "null",
            "[]",
            "<html>404</html>",
            r#"{"error":"not_found"}"#,
            r#"{"error":{}}"#,
            r#"{"error":{"code":""}}"#,
            r#"{"error":{"code":null,"message":"x"}}"#,
            r#"{"code":"8522"}"#,
            r#"{"statusCode":404,"message":"Resource not found"}"#,
            r#"{"error":{"code":"8522""#,
        ] {
            check(body, None);
        }
    }

    #[test]
    fn a_grant_has_its_lifetime_as_number_or_string() {
        for (lifetime, expected) in [("3599", 3599), ("\"3599\"", 3599), ("3599.0", 3599)] {
            let body =
                format!(r#"{{"token_type":"bearer","expires_in":{lifetime},"access_token":"t"}}"#);
            let grant = Grant::read(&body, Timestamp(0)).unwrap();
            assert_eq!(grant.access_token, "t");
            assert_eq!(grant.expires_in, Duration::from_secs(expected));
        }
        for body in [
            r#"{"token_type":"Bearer","access_token":"t"}"#,
            r#"{"token_type":"Bearer","access_token":"t","expires_in":-1}"#,
            r#"{"token_type":"Bearer","access_token":"t","expires_in":"soon"}"#,
            r#"{"token_type":"Bearer","access_token":"","expires_in":1}"#,
            r#"{"token_type":"mac","access_token":"t","expires_in":1}"#,
        ] {
            assert!(Grant::read(body, Timestamp(0)).is_none(), "{body}");
        }
    }

    #[test]
    fn a_denial_keeps_the_number_from_the_list_or_the_description() {
        let check = |body: &str, error: &str, number| {
            let expected = Denial { error: error.to_owned(), number };
            assert_eq!(Denial::read(body), Some(expected), "{body}");
        };
        check(
            r#"{"error":"invalid_client","error_codes":[7000215]}"#,
            "invalid_client",
            Some(7_000_215),
        );
        check(
            r#"{"error":"invalid_client","error_codes":["7000222"]}"#,
            "invalid_client",
            Some(7_000_222),
        );
        check(
            r#"{"error":"unauthorized_client","error_description":"AADSTS700016: Application with identifier"}"#,
            "unauthorized_client",
            Some(700_016),
        );
        check(r#"{"error":"invalid_request","error_codes":[]}"#, "invalid_request", None);
        assert_eq!(Denial::read(r#"{"error":"Not Found"}"#), None);
    }

    #[test]
    fn the_claims_of_a_challenge_are_decoded_and_anything_else_is_ignored() {
        let wanted = r#"{"access_token":{"nbf":{"essential":true,"value":"1?>"}}}"#;
        let encoded =
            "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxPz4ifX19";
        let header =
            format!(r#"Bearer realm="", error="insufficient_claims", Claims="{encoded}", x="y""#);
        assert_eq!(claims(&header).as_deref(), Some(wanted));
        assert_eq!(claims(r#"Bearer claims="e30=""#).as_deref(), Some("{}"));
        assert_eq!(claims(r#"Bearer claims="e30""#).as_deref(), Some("{}"));
        for header in [
            r#"Bearer error="invalid_token""#,
            "Bearer claims=",
            r#"Bearer claims="e30"#,
            r#"Bearer claims="!!""#,
            r#"Bearer claims="W10=""#,
        ] {
            assert_eq!(claims(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let body = String::from_utf8_lossy(&bytes);
            let _ = (ErrorBody::read(&body), Denial::read(&body), Grant::read(&body, Timestamp(0)).is_some());
            let _ = claims(&format!("claims=\"{body}\""));
        }

        #[test]
        fn a_message_of_any_kind_never_hides_the_code(message in ".{0,80}") {
            let message = Value::String(message);
            let body = format!(r#"{{"error":{{"message":{message},"code":"8522"}}}}"#);
            prop_assert_eq!(ErrorBody::read(&body).unwrap().code, "8522");
        }
    }
}
