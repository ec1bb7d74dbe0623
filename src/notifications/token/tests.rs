//! Whole tokens against a running key set: what proves, and every way in which one must not.

use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::notifications::keys::fixture::{Host, PATIENT, Serves, Signer, config, running};

const NOW: i64 = 1_795_329_000;
const APP: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const KEY: &str = "key-one";

/// A verifier whose one key is [`KEY`], and a clock that stands at [`NOW`].
struct Bench {
    verifier: Verifier,
    clock: Clock,
    host: Host,
    _stop: watch::Sender<bool>,
}

impl Bench {
    fn start() -> Self {
        let host = Host::start(Serves::Keys(json!({ "keys": [Signer::one().entry(KEY)] })));
        let (keys, _, stop) = running(&[&host.url], PATIENT);
        let config =
            NotificationsConfig { audiences: vec![APP.to_owned()], ..config(&[&host.url]) };
        let clock = Clock::manual(Timestamp(NOW * 1000));
        let expectations = Arc::new(Expectations::of(&config));
        let verifier = Verifier { keys, expectations, clock: clock.clone() };
        Self { verifier, clock, host, _stop: stop }
    }

    async fn check(&self, token: &str, expected: Option<NotProven>) {
        let found = self.verifier.verify(format!("Bearer {token}").as_bytes()).await;
        assert_eq!(found.err(), expected, "{token}");
    }
}

fn header() -> Value {
    json!({ "alg": "RS256", "kid": KEY, "typ": "JWT", "x5t": KEY })
}

fn claims() -> Value {
    json!({
        "iss": "https://api.botframework.com", "aud": APP, "tid": TENANT,
        "iat": NOW, "nbf": NOW, "exp": NOW + 3900,
    })
}

fn changed(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Header and claims, and what `sign` makes of them.
fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn rs256(header: &Value, claims: &Value) -> String {
    token(header, claims, |signed| Signer::one().sign(signed))
}

fn good() -> &'static str {
    static GOOD: OnceLock<String> = OnceLock::new();
    GOOD.get_or_init(|| rs256(&header(), &claims()))
}

#[tokio::test]
async fn a_good_token_proves_its_tenant_and_app() {
    let bench = Bench::start();
    let proof = bench.verifier.verify(format!("Bearer {}", good()).as_bytes()).await.unwrap();
    assert_eq!(proof, Proof { tenant: TenantId::new(TENANT), app_id: APP.to_owned() });
}

#[tokio::test]
async fn no_other_algorithm_is_taken_however_it_was_signed() {
    let bench = Bench::start();
    let refused = |name: &str| Some(NotProven::Algorithm(name.to_owned()));
    let with = |name: &str| changed(header(), "alg", json!(name));
    let unsigned = token(&with("none"), &claims(), |_| Vec::new());
    bench.check(&unsigned, refused("none")).await;
    // The public key as a shared secret, which a library that asks the token would take.
    let hs256 = token(&with("HS256"), &claims(), |signed| {
        let key = EncodingKey::from_secret(&Signer::one().public_der());
        let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::HS256, &key).unwrap();
        signer.sign(signed)
    });
    bench.check(&hs256, refused("HS256")).await;
    let rs512 = token(&with("RS512"), &claims(), |signed| Signer::one().sign_rs512(signed));
    bench.check(&rs512, refused("RS512")).await;
    let renamed = token(&header(), &claims(), |signed| Signer::one().sign_rs512(signed));
    bench.check(&renamed, Some(NotProven::Signature)).await;
}

#[tokio::test]
async fn no_key_counts_but_the_documents() {
    let bench = Bench::start();
    let forged = |header: &Value| token(header, &claims(), |signed| Signer::other().sign(signed));
    bench.check(&forged(&header()), Some(NotProven::Signature)).await;
    // A key or an address of keys that the token brings along changes nothing.
    let jwk = changed(header(), "jwk", Signer::other().entry(KEY));
    bench.check(&forged(&jwk), Some(NotProven::Signature)).await;
    let other = Host::start(Serves::Keys(json!({ "keys": [Signer::other().entry(KEY)] })));
    let jku = changed(header(), "jku", json!(other.url));
    bench.check(&forged(&jku), Some(NotProven::Signature)).await;
    assert_eq!(other.looks(), 0);
    bench.check(&rs256(&jku, &claims()), None).await;
    // One that no document has causes one look.
    let unknown = changed(header(), "kid", json!("key\n-two"));
    let expected = NotProven::UnknownKey("key?-two".to_owned());
    for _ in 0..3 {
        bench.check(&forged(&unknown), Some(expected.clone())).await;
    }
    assert_eq!(bench.host.looks(), 2);
}

#[tokio::test]
async fn a_rotated_key_is_taken_when_it_is_first_used() {
    let bench = Bench::start();
    bench.check(good(), None).await;
    let keys = json!({ "keys": [Signer::one().entry(KEY), Signer::other().entry("key-two")] });
    bench.host.serve(Serves::Keys(keys));
    let rotated = token(&changed(header(), "kid", json!("key-two")), &claims(), |signed| {
        Signer::other().sign(signed)
    });
    bench.check(&rotated, None).await;
    bench.check(good(), None).await;
    assert_eq!(bench.host.looks(), 2);
}

#[tokio::test]
async fn claims_count_after_their_signature_and_as_configured() {
    let bench = Bench::start();
    let not_ours = format!("audience {TENANT} in tenant {TENANT}");
    for (name, value, expected) in [
        ("iss", json!("https://api.botframework.com/"), None),
        ("iss", json!("https://sts.windows.net/"), Some(NotProven::Issuer)),
        ("aud", json!(["x", APP]), None),
        ("aud", json!(TENANT), Some(NotProven::Audience(not_ours))),
        ("exp", Value::Null, Some(NotProven::NoExpiry)),
        ("nbf", json!(NOW + 301), Some(NotProven::NotYetValid)),
        ("nbf", Value::Null, None),
        ("tid", Value::Null, Some(NotProven::NoTenant)),
        ("tid", json!("contoso.example"), Some(NotProven::Tenant)),
    ] {
        let token = rs256(&header(), &changed(claims(), name, value));
        bench.check(&token, expected.clone()).await;
        // Nobody learns what is configured without a signature.
        let unsigned = format!("{}.{}", token.rsplit_once('.').unwrap().0, encode([0; 256]));
        bench.check(&unsigned, Some(NotProven::Signature)).await;
    }
    bench.check(&rs256(&header(), &json!([])), Some(NotProven::Claims)).await;
}

#[tokio::test]
async fn a_token_ends_by_our_clock() {
    let bench = Bench::start();
    bench.clock.advance(Duration::from_secs(3900 + 299));
    bench.check(good(), None).await;
    bench.clock.advance(Duration::from_secs(1));
    bench.check(good(), Some(NotProven::Expired)).await;
}

#[tokio::test]
async fn what_is_cut_off_proves_nothing() {
    let bench = Bench::start();
    for length in [0, 1, good().len() / 3, good().len() - 300, good().len() - 1] {
        let header = format!("Bearer {}", &good()[..length]);
        assert!(bench.verifier.verify(header.as_bytes()).await.is_err(), "{length}");
    }
    // A signature that is short by whole bytes is still base64.
    let (signed, signature) = good().rsplit_once('.').unwrap();
    let short = format!("{signed}.{}", &signature[..4 * 85 - 4]);
    bench.check(&short, Some(NotProven::Signature)).await;
}

#[tokio::test]
async fn a_token_of_a_jwt_library_proves_and_no_reason_repeats_a_token() {
    let bench = Bench::start();
    // Its reader of headers, signatures and claims is somebody else's, and takes what ours does.
    let (modulus, exponent) = Signer::one().components();
    let key = jsonwebtoken::DecodingKey::from_rsa_raw_components(&modulus, &exponent);
    let mut validation = jsonwebtoken::Validation::new(Algorithm::RS256);
    validation.set_audience(&[APP]);
    validation.validate_exp = false;
    assert!(jsonwebtoken::decode::<Value>(good(), &key, &validation).is_ok());
    bench.check(good(), None).await;

    let kid = changed(header(), "kid", json!("hunter2".repeat(20)));
    let token = format!("Bearer {}", rs256(&kid, &claims()));
    let reason = bench.verifier.verify(token.as_bytes()).await.unwrap_err().to_string();
    assert!(reason.len() < 150, "{reason}");
}

/// One for all cases: each has a thread of its own to wait on.
fn verify_blocking(authorization: &[u8]) -> Result<Proof, NotProven> {
    static RUNTIME: OnceLock<(tokio::runtime::Runtime, Bench)> = OnceLock::new();
    let (runtime, bench) = RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let entered = runtime.enter();
        let bench = Bench::start();
        drop(entered);
        (runtime, bench)
    });
    runtime.block_on(bench.verifier.verify(authorization))
}

#[test]
fn a_token_holds_to_the_bit() {
    let good = format!("Bearer {}", good()).into_bytes();
    assert!(verify_blocking(&good).is_ok());
    // The scheme's case is its own affair.
    for at in "Bearer ".len()..good.len() {
        for bit in 0..8 {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << bit;
            assert!(verify_blocking(&flipped).is_err(), "byte {at}, bit {bit}");
        }
    }
}

proptest! {
    #[test]
    fn nothing_made_up_proves_anything(
        bytes in any::<Vec<u8>>(),
        header in "\\PC{0,30}",
        payload in "\\PC{0,30}",
    ) {
        let parts = format!("Bearer {}.{}.{}", encode(header), encode(&payload), encode(&bytes));
        let unsigned = token(&self::header(), &json!(payload), |_| bytes.clone());
        let unsigned = format!("Bearer {unsigned}").into_bytes();
        let bare = [b"Bearer ", &bytes[..]].concat();
        for given in [&bytes[..], &bare, parts.as_bytes(), &unsigned] {
            let proven = verify_blocking(given);
            prop_assert!(proven.is_err(), "{:?}", proven);
        }
    }
}
