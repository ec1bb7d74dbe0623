//! Which request is for the legacy API: pure, and the only place that looks at a path.

use hyper::Method;

/// Where a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The legacy API, by a method that it answers.
    Legacy,
    /// The legacy API, by a method that it does not answer.
    MethodNotAllowed,
    /// Nothing of ours.
    NotFound,
}

impl Route {
    /// The methods of the legacy API, as `Allow` names them.
    pub(super) const ALLOW: &'static str = "GET, POST";

    /// The name that logs have for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy | Self::MethodNotAllowed => "legacy",
            Self::NotFound => "none",
        }
    }
}

/// Finds the route of a request for `path`, given the paths that the legacy API answers at.
///
/// Case matters. A `;…` suffix, then one trailing slash, are left out of the comparison, and a
/// percent-encoded unreserved character equals the plain one.
pub(super) fn route(method: &Method, path: &str, legacy: &[String]) -> Route {
    let path = path.split_once(';').map_or(path, |(before, _)| before);
    let path = without_slash(path);
    if !legacy.iter().any(|known| same(path.as_bytes(), without_slash(known).as_bytes())) {
        return Route::NotFound;
    }
    if *method == Method::GET || *method == Method::POST {
        Route::Legacy
    } else {
        Route::MethodNotAllowed
    }
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

fn same(mut path: &[u8], known: &[u8]) -> bool {
    path == known || known.iter().all(|byte| next(&mut path) == Some(*byte)) && path.is_empty()
}

/// Takes one character, decoding it if RFC 3986 calls its encoded form equivalent.
fn next(path: &mut &[u8]) -> Option<u8> {
    if let [b'%', high, low, rest @ ..] = path
        && let Some(byte) = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low)
        && (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
    {
        *path = rest;
        return Some(byte);
    }
    let (first, rest) = path.split_first()?;
    *path = rest;
    Some(*first)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str) -> Route {
        route(method, path, &["/verba/api".to_owned(), "/recorder/v1/".to_owned()])
    }

    #[test]
    fn these_paths_are_the_legacy_api() {
        for path in [
            "/verba/api",
            "/verba/api/",
            "/verba/api;jsessionid=9F",
            "/verba/api/;jsessionid=9F",
            "/verba/api;a=/;b",
            "/verba/api;",
            "/v%65rb%61/%61pi",
            "/verba/ap%69/",
            "/recorder/v1",
        ] {
            assert_eq!(found(&Method::GET, path), Route::Legacy, "{path}");
            assert_eq!(found(&Method::POST, path), Route::Legacy, "{path}");
        }
    }

    #[test]
    fn these_paths_are_nothing_of_ours() {
        for path in [
            "",
            "/",
            "*",
            "/verba",
            "/verba/ap",
            "/verba/apis",
            "/verba/api//",
            "//verba/api",
            "/Verba/api",
            "/VERBA/API",
            "/verba;x/api",
            "/verba%2Fapi",
            "/verba%2fapi",
            "/verba/api%2F",
            "/verba/api%3Bx",
            "/verba/api%",
            "/verba/ap%6",
            "/verba/ap%zz",
            "/verba/ap%2569",
            "/verba/./api",
            "/x/../verba/api",
        ] {
            assert_eq!(found(&Method::GET, path), Route::NotFound, "{path}");
        }
    }

    #[test]
    fn only_get_and_post_are_answered_on_a_known_path() {
        for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "PURGE"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(found(&method, "/verba/api"), Route::MethodNotAllowed, "{method}");
            assert_eq!(found(&method, "/other"), Route::NotFound, "{method}");
        }
    }

    proptest::proptest! {
        #[test]
        fn encoding_unreserved_characters_changes_nothing(encoded: [bool; 10]) {
            let path: String = "/verba/api"
                .chars()
                .zip(encoded)
                .map(|(c, encode)| match c {
                    'a'..='z' if encode => format!("%{:02x}", u32::from(c)),
                    _ => c.to_string(),
                })
                .collect();
            proptest::prop_assert_eq!(found(&Method::GET, &path), Route::Legacy);
        }
    }
}
