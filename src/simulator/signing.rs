//! The keys and tokens that prove a notification, made by hand.
//!
//! Shares no code with our verifier, because one mistake must not hide the other. A key is made when
//! it is first needed, because that takes a while and most simulators send nothing.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::der;
use crate::clock::Timestamp;

/// Who says that a notification is genuine.
pub(super) const ISSUER: &str = "https://api.botframework.com";

/// As in Microsoft's sample.
const LIFETIME: Duration = Duration::from_mins(65);

/// A token with less left than this is not used again.
const SPARE: Duration = Duration::from_mins(10);

/// The keys and the tokens that are in use.
#[derive(Debug, Default)]
pub(super) struct Signing {
    current: Slot,
    /// Those that are still published.
    old: Vec<Slot>,
    /// By tenant and audience.
    tokens: HashMap<(String, String), Token>,
}

/// A key, or the place for one that was not needed yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot(Arc<OnceLock<Key>>);

#[derive(Debug)]
struct Key {
    pair: KeyPair,
    id: String,
}

#[derive(Debug)]
struct Token {
    text: String,
    expires: Timestamp,
}

impl Signing {
    /// The key in use, so that it can be made without holding up others.
    pub(super) fn current(&self) -> Slot {
        self.current.clone()
    }

    /// Signs with a new key from now on. The old one leaves the document at once, unless it is kept.
    pub(super) fn rotate(&mut self, keep_old: bool) {
        let old = std::mem::take(&mut self.current);
        self.tokens.clear();
        if !keep_old {
            self.old.clear();
        } else if old.is_made() {
            self.old.push(old);
        }
    }

    /// A token for this tenant and audience: the one before, unless it is near its end.
    pub(super) fn token(&mut self, tenant_id: &str, audience: &str, now: Timestamp) -> String {
        let place = (tenant_id.to_owned(), audience.to_owned());
        match self.tokens.get(&place) {
            Some(token) if token.expires > now + SPARE => token.text.clone(),
            _ => {
                let token = self.current.key().token(tenant_id, audience, now);
                let text = token.text.clone();
                self.tokens.insert(place, token);
                text
            }
        }
    }

    /// The document of the published keys, the current one first.
    pub(super) fn document(&self) -> Value {
        let slots = std::iter::once(&self.current).chain(&self.old);
        json!({"keys": slots.map(|slot| slot.key().document()).collect::<Vec<_>>()})
    }
}

impl Slot {
    /// Whether the key is there, so that nobody waits for it.
    pub(super) fn is_made(&self) -> bool {
        self.0.get().is_some()
    }

    /// Makes the key if it is not there; takes tens of milliseconds.
    pub(super) fn make(&self) {
        self.key();
    }

    fn key(&self) -> &Key {
        self.0.get_or_init(Key::make)
    }
}

impl Key {
    fn make() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048)
            .expect("an RSA key of a usual size fails only where there is no randomness");
        let thumbprint = digest(&SHA256, pair.public_key().as_ref());
        // The length of a SHA-1 thumbprint, which the real ones are.
        let id = encode(&thumbprint.as_ref()[..20]);
        Self { pair, id }
    }

    fn token(&self, tenant_id: &str, audience: &str, now: Timestamp) -> Token {
        let expires = now + LIFETIME;
        let header = json!({"alg": "RS256", "kid": self.id, "x5t": self.id, "typ": "JWT"});
        let claims = json!({
            "aud": audience,
            "iss": ISSUER,
            "tid": tenant_id,
            "iat": now.0 / 1000,
            "nbf": now.0 / 1000,
            "exp": expires.0 / 1000,
        });
        let signed = [header, claims].map(|part| encode(part.to_string().as_bytes())).join(".");
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("the signature has the length of the key, which is long enough for SHA-256");
        Token { text: format!("{signed}.{}", encode(&signature)), expires }
    }

    fn document(&self) -> Value {
        let [modulus, exponent] = components(self.pair.public_key().as_ref());
        json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.id,
            "x5t": self.id,
            "n": encode(modulus),
            "e": encode(exponent),
            "endorsements": ["msteams", "skype", "skypeforbusiness"],
        })
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Modulus and exponent of a PKCS #1 public key: a sequence of two integers.
fn components(der: &[u8]) -> [&[u8]; 2] {
    let element = |der| der::element(der).expect("aws-lc-rs encodes its keys well");
    let (_, sequence, _) = element(der);
    let (_, modulus, rest) = element(sequence);
    let (_, exponent, _) = element(rest);
    // A number whose first bit is set has a zero before it, which is its sign.
    [modulus, exponent].map(|number| number.strip_prefix(&[0]).unwrap_or(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp(1_700_000_000_000);

    #[test]
    fn a_token_is_used_until_it_is_near_its_end() {
        let mut signing = Signing::default();
        let first = signing.token("t", "app", T0);
        let end = T0 + LIFETIME;
        assert_eq!(signing.token("t", "app", end - SPARE - Duration::from_millis(1)), first);
        assert_ne!(signing.token("t", "app", end - SPARE), first);
        assert_ne!(signing.token("u", "app", T0), signing.token("t", "app", T0));
        assert_ne!(signing.token("u", "app", T0), signing.token("u", "other", T0));
    }

    #[test]
    fn an_old_key_leaves_the_document_unless_it_is_kept() {
        let ids = |signing: &Signing| {
            let document = signing.document();
            let keys = document["keys"].as_array().unwrap();
            keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let mut signing = Signing::default();
        let first = ids(&signing);
        signing.rotate(true);
        let second = ids(&signing);
        assert_eq!((second.len(), &second[1]), (2, &first[0]));
        assert_ne!(second[0], first[0]);
        signing.rotate(false);
        let third = ids(&signing);
        assert_eq!(third.len(), 1);
        assert!(!second.contains(&third[0]));
    }

    #[test]
    fn a_key_that_nobody_saw_is_not_kept() {
        let mut signing = Signing::default();
        signing.rotate(true);
        assert!(signing.old.is_empty());
        assert!(!signing.current().is_made());
    }

    #[test]
    fn the_numbers_of_a_key_are_taken_from_its_encoding() {
        let der = [0x30, 0x09, 0x02, 0x02, 0x00, 0x85, 0x02, 0x03, 0x01, 0x00, 0x01];
        assert_eq!(components(&der), [&[0x85][..], &[1, 0, 1][..]]);
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let [modulus, exponent] = components(pair.public_key().as_ref());
        assert_eq!((modulus.len(), exponent), (256, &[1, 0, 1][..]));
    }
}
