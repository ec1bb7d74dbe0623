//! A token in its three parts, as far as it can be read before anything in it is believed.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::notifications::keys::public_key::PublicKey;
use crate::notifications::token::NotProven;
use crate::notifications::token::claims::Claims;

/// Of a token. Microsoft's have about 1.5 KiB.
const LONGEST: usize = 16 * 1024;
/// Of what a log line shows of a name.
const LONGEST_SHOWN: usize = 64;
/// The one algorithm that is taken.
const ALGORITHM: &str = "RS256";

/// A token whose signature was not checked yet.
#[derive(Debug)]
pub(super) struct Token<'a> {
    key_id: String,
    /// What the signature is of: the first two parts as they arrived.
    signed: &'a [u8],
    payload: &'a [u8],
    signature: Vec<u8>,
}

/// Of the header, what decides. Keys and addresses of keys in it are a sender's wish and nothing
/// else, so they are not read.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl<'a> Token<'a> {
    /// Takes the token out of the value of an `Authorization` header.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be one that holds, whichever keys there are.
    pub(super) fn read(authorization: &'a [u8]) -> Result<Self, NotProven> {
        let token = bearer(authorization).ok_or(NotProven::NoToken)?;
        if token.len() > LONGEST {
            return Err(NotProven::TooLong);
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotProven::NotAJwt);
        };
        let decoded = decode(header)?;
        let read: Header = read_object(&decoded).ok_or(NotProven::NotAJwt)?;
        if read.alg != ALGORITHM {
            return Err(NotProven::Algorithm(shown(&read.alg)));
        }
        if read.crit.is_some() {
            return Err(NotProven::Extension);
        }
        Ok(Self {
            key_id: read.kid.ok_or(NotProven::NoKeyId)?,
            signed: &token[..header.len() + 1 + payload.len()],
            payload,
            signature: decode(signature)?,
        })
    }

    /// The `kid`, which may be any text.
    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The claims, after their signature.
    ///
    /// # Errors
    ///
    /// When `key` did not sign them, or they cannot be read.
    pub(super) fn claims(&self, key: &PublicKey) -> Result<Claims, NotProven> {
        if !key.has_signed(self.signed, &self.signature) {
            return Err(NotProven::Signature);
        }
        Claims::read(&decode(self.payload)?)
    }
}

/// The one JSON object that `json` is. An array is none, although serde would fill a struct from one.
pub(super) fn read_object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    let is_object = json.trim_ascii_start().first() == Some(&b'{');
    is_object.then(|| serde_json::from_slice(json).ok()).flatten()
}

/// `text` as it may be logged: short, and nothing but visible ASCII.
pub(super) fn shown(text: &str) -> String {
    let visible = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    let mut shown: String = text.chars().take(LONGEST_SHOWN).map(visible).collect();
    if shown.len() < text.chars().count() {
        shown.push('…');
    }
    if shown.is_empty() { "(empty)".to_owned() } else { shown }
}

fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked("bearer".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && token.first() == Some(&b' ');
    let token = token.trim_ascii();
    (is_bearer && !token.is_empty()).then_some(token)
}

/// Strictly: one text for each value, so that no token can be written in two ways.
fn decode(part: &[u8]) -> Result<Vec<u8>, NotProven> {
    match BASE64_URL_SAFE_NO_PAD.decode(part) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(NotProven::NotAJwt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(header: &str) -> String {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("Bearer {}.{}.{}", part(header), part("{}"), part("signature"))
    }

    #[track_caller]
    fn check_header(header: &str, expected: Result<&str, NotProven>) {
        let token = token(header);
        let read = Token::read(token.as_bytes()).map(|token| token.key_id().to_owned());
        assert_eq!(read, expected.map(str::to_owned), "{header}");
    }

    #[test]
    fn a_token_names_rs256_and_its_key() {
        let algorithm = |name: &str| Err(NotProven::Algorithm(name.to_owned()));
        check_header(r#"{"alg":"RS256","kid":"a","typ":"JWT","x5t":"b"}"#, Ok("a"));
        check_header(r#"{"alg":"RS256"}"#, Err(NotProven::NoKeyId));
        check_header(r#"{"alg":"RS256","kid":null}"#, Err(NotProven::NoKeyId));
        for name in ["none", "None", "HS256", "RS512", "PS256", "ES256", "rs256", "RS256 "] {
            let shown = name.replace(' ', "?");
            check_header(&format!(r#"{{"alg":"{name}","kid":"a"}}"#), algorithm(&shown));
        }
        check_header(r#"{"alg":"","kid":"a"}"#, algorithm("(empty)"));
        let extension = r#"{"alg":"RS256","kid":"a","crit":["b64"],"b64":false}"#;
        check_header(extension, Err(NotProven::Extension));
    }

    #[test]
    fn a_header_that_is_not_one_object_with_an_algorithm_is_none() {
        for header in [
            "{}",
            "[]",
            r#"["RS256","a"]"#,
            r#" ["RS256","a",null]"#,
            "null",
            "RS256",
            r#"{"alg":"RS256","kid":"a"} "#.trim_end_matches("} "),
            r#"{"alg":"RS256","kid":"a"}{}"#,
            r#"{"alg":"RS256","kid":"a","alg":"RS256"}"#,
            r#"{"alg":"RS256","kid":"a","kid":"b"}"#,
            r#"{"alg":"RS256","kid":1}"#,
            r#"{"alg":["RS256"],"kid":"a"}"#,
            r#"{"alg":"RS256","kid":"\ud800"}"#,
        ] {
            check_header(header, Err(NotProven::NotAJwt));
        }
    }

    #[test]
    fn keys_that_a_token_brings_along_are_not_read() {
        for extra in [r#""jwk":{"kty":1}"#, r#""jku":"https://a.example""#, r#""x5c":[[]]"#] {
            check_header(&format!(r#"{{"alg":"RS256","kid":"a",{extra}}}"#), Ok("a"));
        }
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        let good = token(r#"{"alg":"RS256","kid":"a"}"#);
        let bare = good.strip_prefix("Bearer ").unwrap();
        for given in [good.clone(), format!("bearer   {bare}"), format!("BEARER {bare} ")] {
            assert!(Token::read(given.as_bytes()).is_ok(), "{given}");
        }
        for given in ["", "Bearer", "Bearer ", "Basic YTpi", "Bearerx a.b.c", "\u{e4}\u{e4}\u{e4} "]
        {
            assert_eq!(Token::read(given.as_bytes()).unwrap_err(), NotProven::NoToken, "{given}");
        }
        assert_eq!(Token::read(bare.as_bytes()).unwrap_err(), NotProven::NoToken);
    }

    #[test]
    fn a_token_has_three_parts_in_strict_base64() {
        let good = token(r#"{"alg":"RS256","kid":"a"}"#);
        for wrong in [
            format!("{good}."),
            format!("{good}.YQ.YQ"),
            format!("{good}="),
            format!("{good}!"),
            good.rsplit_once('.').unwrap().0.to_owned(),
            format!("{}.", good.rsplit_once('.').unwrap().0),
            "Bearer ..".to_owned(),
            "Bearer \u{e4}.\u{e4}.\u{e4}".to_owned(),
        ] {
            assert_eq!(Token::read(wrong.as_bytes()).unwrap_err(), NotProven::NotAJwt, "{wrong}");
        }
        let huge = format!("Bearer {}", "a".repeat(LONGEST + 1));
        assert_eq!(Token::read(huge.as_bytes()).unwrap_err(), NotProven::TooLong);
    }

    #[test]
    fn what_is_shown_of_a_name_is_short_and_visible() {
        let shown = shown(&format!("a\n\u{1b}\u{e4}{}", "b".repeat(1000)));
        assert!(shown.starts_with("a???bbb") && shown.ends_with("b…"), "{shown}");
        assert_eq!(shown.chars().count(), LONGEST_SHOWN + 1);
    }

    proptest! {
        #[test]
        fn no_header_value_makes_it_panic(
            bytes in any::<Vec<u8>>(),
            header in "\\PC{0,60}",
        ) {
            let _ = Token::read(&bytes);
            let _ = Token::read(&[b"Bearer ", &bytes[..]].concat());
            let _ = Token::read(token(&header).as_bytes());
        }
    }
}
