//! For tests: keys that sign, and a host that serves documents over real connections.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::public_key::PublicKey;
use super::{KeySet, Pace};
use crate::config::Config;
use crate::config::notifications::NotificationsConfig;
use crate::health::Health;

/// The private half of a key. Making one takes a while, so the process has two.
pub(crate) struct Signer(KeyPair);

impl Signer {
    pub(crate) fn one() -> &'static Self {
        static ONE: OnceLock<Signer> = OnceLock::new();
        ONE.get_or_init(Self::make)
    }

    pub(crate) fn other() -> &'static Self {
        static OTHER: OnceLock<Signer> = OnceLock::new();
        OTHER.get_or_init(Self::make)
    }

    fn make() -> Self {
        Self(KeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_with(&RSA_PKCS1_SHA256, message)
    }

    pub(crate) fn sign_rs512(&self, message: &[u8]) -> Vec<u8> {
        self.sign_with(&RSA_PKCS1_SHA512, message)
    }

    fn sign_with(
        &self,
        encoding: &'static dyn aws_lc_rs::signature::RsaEncoding,
        message: &[u8],
    ) -> Vec<u8> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    /// Modulus and exponent.
    pub(crate) fn components(&self) -> (Vec<u8>, Vec<u8>) {
        let components = PublicKeyComponents::<Vec<u8>>::from(self.0.public_key());
        (components.n, components.e)
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        let (modulus, exponent) = self.components();
        PublicKey::new(&modulus, &exponent).unwrap()
    }

    /// The public half as anybody can have it: what a forger would sign with as a shared secret.
    pub(crate) fn public_der(&self) -> Vec<u8> {
        self.0.public_key().as_der().unwrap().as_ref().to_vec()
    }

    /// This key in a key set.
    pub(crate) fn entry(&self, key_id: &str) -> Value {
        let (modulus, exponent) = self.components();
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "RSA", "use": "sig", "kid": key_id, "x5t": key_id,
            "n": text(&modulus), "e": text(&exponent), "endorsements": ["msteams"],
        })
    }
}

/// What is answered to every request for keys or documents.
#[derive(Clone)]
pub(crate) enum Serves {
    /// This key set, and a document that names its address.
    Keys(Value),
    /// A document that names this address.
    NamesKeysAt(String),
    /// These bytes, whatever is asked for.
    Bytes(String),
    /// Nothing.
    Silence,
}

/// A host of one document.
pub(crate) struct Host {
    pub(crate) url: String,
    state: Arc<Mutex<(Serves, usize)>>,
}

impl Host {
    pub(crate) fn start(serves: Serves) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new((serves, 0)));
        let url = format!("{origin}/openid");
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (state, origin) = (Arc::clone(&shared), origin.clone());
                thread::spawn(move || serve(stream.unwrap(), &state, &origin));
            }
        });
        Self { url, state }
    }

    /// From now on something else.
    pub(crate) fn serve(&self, serves: Serves) {
        self.state.lock().unwrap().0 = serves;
    }

    /// How often its document was asked for.
    pub(crate) fn looks(&self) -> usize {
        self.state.lock().unwrap().1
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<(Serves, usize)>, origin: &str) -> Option<()> {
    loop {
        let request = read_request(&mut stream)?;
        let is_document = request.starts_with("GET /openid ");
        let serves = {
            let mut state = state.lock().unwrap();
            state.1 += usize::from(is_document);
            state.0.clone()
        };
        let answer = match serves {
            Serves::Keys(_) if is_document => {
                ok(&json!({ "issuer": "a", "jwks_uri": format!("{origin}/keys") }).to_string())
            }
            Serves::Keys(set) => ok(&set.to_string()),
            Serves::NamesKeysAt(url) => ok(&json!({ "jwks_uri": url }).to_string()),
            Serves::Bytes(bytes) => bytes,
            Serves::Silence => return stream.read(&mut [0]).map(|_| ()).ok(),
        };
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !read.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
    Some(String::from_utf8_lossy(&read).into_owned())
}

/// A good answer with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A pace at which nothing happens by itself, and everything that is waited for has time enough.
pub(crate) const PATIENT: Pace = Pace {
    refresh: Duration::from_hours(24),
    retry: Duration::from_hours(24),
    longest_retry: Duration::from_hours(24),
    wish: Duration::from_hours(24),
    patience: Duration::from_secs(30),
    fetch: Duration::from_secs(30),
};

/// The configuration with documents at these addresses.
pub(crate) fn config(urls: &[&str]) -> NotificationsConfig {
    let urls = urls.iter().map(|url| url.parse().unwrap()).collect();
    NotificationsConfig {
        openid_urls: urls,
        allow_other_host: true,
        ..Config::defaults().notifications
    }
}

/// A key set that runs until the sender is dropped.
pub(crate) fn running(urls: &[&str], pace: Pace) -> (KeySet, Health, watch::Sender<bool>) {
    let health = Health::default();
    let keys = KeySet::with(&config(urls), health.clone(), pace).unwrap();
    let (stop, stopped) = watch::channel(false);
    let worker = keys.clone();
    #[expect(clippy::disallowed_methods, reason = "a test has no workers")]
    tokio::spawn(async move { worker.run(stopped).await });
    (keys, health, stop)
}
