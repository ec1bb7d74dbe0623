//! What a request's headers say to the legacy API, found in one pass over them.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};

use crate::id::canonical_guid;
use crate::secret::Secret;

/// What the headers say.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Their size as they were sent, each with its colon, blank and line break.
    pub(super) bytes: usize,
    /// A browser or a scanner asks ahead of its user.
    pub(super) prefetch: bool,
    /// The body is `application/x-www-form-urlencoded`.
    pub(super) form: bool,
    /// `X-Api-Key`.
    pub(super) api_key: Option<Secret<String>>,
    /// The token of `Authorization: Bearer`.
    pub(super) bearer: Option<Secret<String>>,
    /// What stands behind `Authorization: Basic`, still encoded.
    pub(super) basic: Option<Secret<Bytes>>,
}

impl Head {
    /// Reads `headers`. An empty credential is none, and one that is no text is none of ours. Equal
    /// ones are one; different ones make one that is malformed, because whatever stands before us
    /// may have looked at another than we would.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut head = Self::default();
        for (name, value) in headers {
            head.bytes += name.as_str().len() + value.len() + ": \r\n".len();
            match name.as_str() {
                "sec-purpose" | "purpose" | "x-purpose" | "x-moz" => {
                    head.prefetch |= asks_ahead(value.as_bytes());
                }
                "content-type" => head.form = is_form(value.as_bytes()),
                "x-api-key" => keep(&mut head.api_key, text(value)),
                "authorization" => {
                    keep(&mut head.bearer, bearer(text(value)));
                    keep_basic(&mut head.basic, basic(value.as_bytes()));
                }
                _ => {}
            }
        }
        head
    }
}

fn asks_ahead(value: &[u8]) -> bool {
    ["prefetch", "prerender", "preview", "instant"].iter().any(|word| {
        value.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    })
}

fn is_form(value: &[u8]) -> bool {
    let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

fn bearer(value: &str) -> &str {
    match value.trim_start().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
        _ => "",
    }
}

/// In bytes, because one that is no text was sent all the same.
fn basic(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    if scheme.eq_ignore_ascii_case(b"basic") { rest.trim_ascii() } else { b"" }
}

fn keep_basic(kept: &mut Option<Secret<Bytes>>, value: &[u8]) {
    if value.is_empty() {
        return;
    }
    *kept = Some(Secret::new(match kept.as_ref().map(Secret::expose) {
        None => Bytes::copy_from_slice(value),
        Some(first) if first == value => first.clone(),
        Some(first) => Bytes::from([first, &b", "[..], value].concat()),
    }));
}

fn keep(kept: &mut Option<Secret<String>>, text: &str) {
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    let spelt = |text: &str| canonical_guid(text).unwrap_or_else(|| text.to_owned());
    *kept = Some(Secret::new(match kept.as_ref().map(Secret::expose) {
        None => text.to_owned(),
        Some(first) if spelt(first) == spelt(text) => first.clone(),
        // Several values of one header are a list, and a list is neither key nor token.
        Some(first) => format!("{first}, {text}"),
    }));
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    fn head(lines: &[(&'static str, &str)]) -> Head {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        Head::read(&headers)
    }

    #[test]
    fn each_of_four_headers_can_say_that_nobody_asked_yet() {
        for (name, value, expected) in [
            ("sec-purpose", "prefetch", true),
            ("sec-purpose", "Prefetch;Prerender", true),
            ("purpose", "PREVIEW", true),
            ("x-purpose", "instant", true),
            ("x-moz", "prefetch", true),
            ("x-moz", "", false),
            ("purpose", "fetch", false),
            ("x-other", "prefetch", false),
        ] {
            assert_eq!(head(&[(name, value)]).prefetch, expected, "{name}: {value}");
        }
        assert!(head(&[("purpose", "user"), ("x-moz", "prefetch"), ("purpose", "x")]).prefetch);
    }

    #[test]
    fn the_parameters_of_a_media_type_are_passed_over() {
        for (value, expected) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-URLencoded ; charset=UTF-8", true),
            ("application/x-www-form-urlencoded;", true),
            ("application/x-www-form-urlencoded2", false),
            ("multipart/form-data; boundary=x", false),
            ("", false),
        ] {
            assert_eq!(head(&[("content-type", value)]).form, expected, "{value}");
        }
    }

    #[test]
    fn credentials_are_taken_without_blanks_and_an_empty_one_is_none() {
        let exposed = |secret: Option<Secret<String>>| secret.map(|secret| secret.expose().clone());
        let found = head(&[("x-api-key", " key "), ("x-api-key", ""), ("x-api-key", "key")]);
        assert_eq!(exposed(found.api_key).as_deref(), Some("key"));
        assert_eq!(exposed(head(&[("x-api-key", " ")]).api_key), None);
        for (value, expected) in [
            ("Bearer token", Some("token")),
            ("bEARER   token ", Some("token")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic dXNlcjpwYXNz", None),
            ("Bearertoken", None),
        ] {
            assert_eq!(exposed(head(&[("authorization", value)]).bearer).as_deref(), expected);
        }
    }

    #[test]
    fn different_credentials_in_one_header_are_none_of_ours_and_equal_ones_are_one() {
        let guid = "74c8eea0-50c6-40b2-9f3e-252ed501c3c8";
        let other = "57dab8b1-894c-409a-b240-bd8beae78896";
        let upper = guid.to_uppercase();
        for (values, expected) in [
            (vec![guid, upper.as_str(), "{74c8eea050c640b29f3e252ed501c3c8}"], guid.to_owned()),
            (vec![guid, other], format!("{guid}, {other}")),
            (vec![guid, other, guid], format!("{guid}, {other}, {guid}")),
        ] {
            let bearers: Vec<_> = values.iter().map(|value| format!("Bearer {value}")).collect();
            let mut lines: Vec<_> = values.iter().map(|value| ("x-api-key", *value)).collect();
            lines.extend(bearers.iter().map(|value| ("authorization", value.as_str())));
            // Another scheme is no credential here, beside ours as little as alone.
            lines.push(("authorization", "Basic dXNlcjpwYXNz"));
            let found = head(&lines);
            for found in [found.api_key, found.bearer] {
                assert_eq!(found.map(|secret| secret.expose().clone()), Some(expected.clone()));
            }
        }
    }

    #[test]
    fn a_basic_value_is_kept_as_it_was_sent_and_several_are_none() {
        let found = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_bytes(value).unwrap();
                headers.append(HeaderName::from_static("authorization"), value);
            }
            Head::read(&headers).basic.map(|secret| secret.expose().to_vec())
        };
        for (values, expected) in [
            (&[&b"Basic dXNlcjpwYXNz"[..]][..], Some(&b"dXNlcjpwYXNz"[..])),
            (&[b" bASIC   dXNlcjpwYXNz "], Some(b"dXNlcjpwYXNz")),
            (&[b"Basic a", b"Bearer b", b"basic a"], Some(b"a")),
            (&[b"Basic a", b"Basic b"], Some(b"a, b")),
            (&[b"Basic a", b"Basic A", b"Basic a"], Some(b"a, A, a")),
            (&[b"Basic \xfc\x80"], Some(b"\xfc\x80")),
            (&[b"Basic a b"], Some(b"a b")),
            (&[b"Basic", b"Basic "], None),
            (&[b"Basica b", b"Digest a"], None),
        ] {
            assert_eq!(found(values).as_deref(), expected);
        }
    }

    #[test]
    fn the_size_is_that_of_the_lines_as_sent() {
        assert_eq!(head(&[("host", "a"), ("x-moz", "")]).bytes, "host: a\r\nx-moz: \r\n".len());
    }
}
