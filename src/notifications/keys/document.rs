//! What OpenID documents and key sets say, as far as it is needed; pure.
//!
//! A key that cannot be used is left out, and no reason to leave the others out.

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;

use crate::notifications::keys::Keys;
use crate::notifications::keys::public_key::PublicKey;

/// Some write the padding that others leave out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The address of the keys that an OpenID document names.
pub(super) fn keys_url(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Document {
        jwks_uri: String,
    }
    serde_json::from_slice::<Document>(body).ok().map(|document| document.jwks_uri)
}

/// The keys in a key set that sign tokens with RS256; of two with one `kid`, the first. `None` when
/// `body` is no key set or has no such key.
pub(super) fn keys(body: &[u8]) -> Option<Keys> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set = serde_json::from_slice::<Set>(body).ok()?;
    let mut keys = Keys::new();
    for (key_id, key) in set.keys.into_iter().filter_map(signing_key) {
        keys.entry(key_id).or_insert_with(|| Arc::new(key));
    }
    (!keys.is_empty()).then_some(keys)
}

fn signing_key(entry: Value) -> Option<(String, PublicKey)> {
    #[derive(Deserialize)]
    struct Entry {
        kty: String,
        #[serde(rename = "use")]
        purpose: Option<String>,
        alg: Option<String>,
        kid: String,
        n: String,
        e: String,
    }
    let entry: Entry = serde_json::from_value(entry).ok()?;
    let signs = entry.kty == "RSA"
        && entry.purpose.is_none_or(|purpose| purpose == "sig")
        && entry.alg.is_none_or(|algorithm| algorithm == "RS256");
    if !signs {
        return None;
    }
    let number = |text: &str| BASE64.decode(text).ok();
    let key = PublicKey::new(&number(&entry.n)?, &number(&entry.e)?)?;
    Some((entry.kid, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifications::keys::fixture::Signer;
    use proptest::prelude::*;
    use serde_json::json;

    /// The ids of the keys in a set of `entries`.
    fn ids(entries: &Value) -> Vec<String> {
        let body = json!({ "keys": entries }).to_string();
        let mut ids: Vec<_> = keys(body.as_bytes()).unwrap_or_default().into_keys().collect();
        ids.sort();
        ids
    }

    #[test]
    fn a_document_names_where_its_keys_are() {
        let body = br#"{"issuer":"a","jwks_uri":"https://a.example/keys","x":{}}"#;
        assert_eq!(keys_url(body).as_deref(), Some("https://a.example/keys"));
        for wrong in ["", "{}", "[]", r#"{"jwks_uri":1}"#, "<html>", r#"{"jwks_uri":"a""#] {
            assert_eq!(keys_url(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn only_rsa_keys_that_sign_are_taken() {
        let good = Signer::one().entry("a");
        assert_eq!(ids(&json!([good])), ["a"]);
        for (member, value, is_taken) in [
            ("use", json!("sig"), true),
            ("use", json!("enc"), false),
            ("use", Value::Null, true),
            ("alg", json!("RS256"), true),
            ("alg", json!("RS512"), false),
            ("kty", json!("EC"), false),
            ("kty", json!("oct"), false),
            ("kid", Value::Null, false),
            ("kid", json!(1), false),
            ("n", json!("!"), false),
            ("n", json!("AQAB"), false),
            ("e", json!(""), false),
            ("e", json!("AQAB="), false),
            ("e", json!("AAEAAQ=="), true),
            ("x5c", json!([[1]]), true),
            ("endorsements", json!(["msteams"]), true),
        ] {
            let mut entry = good.clone();
            entry[member] = value.clone();
            assert_eq!(ids(&json!([entry])).len(), usize::from(is_taken), "{member} {value}");
        }
    }

    #[test]
    fn what_cannot_be_used_keeps_no_other_key_out() {
        let (one, other) = (Signer::one().entry("a"), Signer::other().entry("b"));
        let set = json!([null, 1, "a", [], {}, one, { "kty": "EC", "kid": "c" }, other]);
        assert_eq!(ids(&set), ["a", "b"]);
    }

    #[test]
    fn of_two_keys_with_one_name_the_first_counts() {
        let body = json!({ "keys": [Signer::one().entry("a"), Signer::other().entry("a")] });
        let keys = keys(body.to_string().as_bytes()).unwrap();
        assert!(keys["a"].has_signed(b"message", &Signer::one().sign(b"message")));
    }

    #[test]
    fn what_is_no_set_of_keys_is_none() {
        for wrong in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[]}x"#] {
            assert!(keys(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert!(keys("[".repeat(1 << 20).as_bytes()).is_none());
        let deep = format!("{{\"keys\":[{}", "[".repeat(1 << 20));
        assert!(keys(deep.as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(
            bytes in any::<Vec<u8>>(),
            member in "kty|kid|use|alg|n|e",
            text in "\\PC{0,20}",
        ) {
            let _ = (keys_url(&bytes), keys(&bytes));
            let mut entry = Signer::one().entry("a");
            entry[member] = json!(text);
            let _ = ids(&json!([entry]));
        }
    }
}
