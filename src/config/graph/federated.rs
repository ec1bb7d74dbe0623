//! What can be said of a federated token before the login judges it.
//!
//! Its signature is not checked and nothing of it is repeated but its end. Whatever is found is a
//! warning: whoever renews the file may do so in the next moment.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::read_assertion;
use crate::clock::Timestamp;

/// What the login will have against the token in `file` at `now`, if it is that easy to see.
pub(super) fn problem(file: &Path, now: Timestamp) -> Option<String> {
    match read_assertion(file) {
        Ok(token) => problem_of(token.expose(), now),
        Err(fault) => Some(format!("is not there: the file {fault}")),
    }
}

fn problem_of(token: &str, now: Timestamp) -> Option<String> {
    let Some(claims) = claims(token) else {
        return Some("is no JWT: the login will refuse it".to_owned());
    };
    // A number with a fraction counts as well.
    match claims.get("exp").and_then(Value::as_f64) {
        None => Some("has no end (`exp`): the login will refuse it".to_owned()),
        Some(end) if end <= seconds(now) => {
            Some("has expired: whoever renews its file does not".to_owned())
        }
        Some(_) => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time in milliseconds is far below 2^53")]
fn seconds(time: Timestamp) -> f64 {
    time.0 as f64 / 1000.0
}

/// The object in the second of three parts, when the first one is an object as well.
fn claims(token: &str) -> Option<Value> {
    let object = |part: &str| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
        serde_json::from_slice(&bytes).ok().filter(Value::is_object)
    };
    let mut parts = token.trim().split('.');
    let (head, claims) = (object(parts.next()?)?, object(parts.next()?)?);
    let is_signed = parts.next().is_some_and(|signature| !signature.is_empty());
    (head.is_object() && is_signed && parts.next().is_none()).then_some(claims)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn token(claims: &Value) -> String {
        let [head, claims] = [&json!({"alg": "RS256"}), claims]
            .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        format!("{head}.{claims}.c2ln")
    }

    #[track_caller]
    fn check(token: &str, expected: Option<&str>) {
        let found = problem_of(token, NOW);
        assert_eq!(found.is_some(), expected.is_some(), "{token}: {found:?}");
        assert!(found.is_none_or(|text| text.contains(expected.unwrap_or_default())), "{token}");
    }

    #[test]
    fn a_token_that_the_login_will_refuse_is_told_from_one_that_it_may_take() {
        check(&token(&json!({"exp": 1_800_000_001})), None);
        check(&token(&json!({"exp": 1_800_000_000.5})), None);
        check(&token(&json!({"exp": 1_800_000_000})), Some("expired"));
        check(&token(&json!({"exp": 1000})), Some("expired"));
        check(&token(&json!({"sub": "a"})), Some("`exp`"));
        check(&token(&json!({"exp": "later"})), Some("`exp`"));
        for other in ["nonsense", "a.b.c", "..", "", &token(&json!([1])), "e30.e30", "e30.e30."] {
            check(other, Some("no JWT"));
        }
    }

    #[test]
    fn a_file_that_is_gone_meanwhile_is_told() {
        let problem = problem(Path::new("/nonexistent/token"), NOW);
        assert_eq!(
            problem.as_deref(),
            Some("is not there: the file cannot be read: there is no such file")
        );
    }

    proptest! {
        #[test]
        fn nothing_of_a_token_is_repeated(text in "[a-zA-Z0-9._=-]{0,80}", claims in "\\PC{0,40}") {
            let odd = BASE64_URL_SAFE_NO_PAD.encode(&claims);
            for token in [text.clone(), format!("e30.{odd}.x"), token(&json!({"exp": claims}))] {
                let problem = problem_of(&token, NOW);
                let known = ["is no JWT", "has no end", "has expired"];
                let is_known = |text: String| known.iter().any(|start| text.starts_with(start));
                prop_assert!(problem.is_none_or(is_known));
            }
        }
    }
}
