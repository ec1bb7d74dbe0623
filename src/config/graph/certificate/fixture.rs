//! Certificates with their keys, made on the spot. Nobody has signed them, and nobody asks.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::KeyPair as _;

use super::*;

/// A certificate and its key in PEM.
pub(crate) struct Made {
    pub(crate) certificate: String,
    pub(crate) key: String,
    /// The public key, as a verifier takes it.
    pub(crate) public_key: Vec<u8>,
    pub(crate) thumbprint: String,
}

impl Made {
    /// As the configuration reads it.
    pub(crate) fn read(&self) -> ClientCertificate {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("both");
        std::fs::write(&file, format!("{}{}", self.certificate, self.key)).unwrap();
        ClientCertificate::read(&file, &file).unwrap()
    }
}

/// One that ends at `not_after`, such as `270101000000Z`.
pub(crate) fn make(not_after: &str) -> Made {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public_key = key.public_key().as_ref().to_vec();
    let der = certificate(&public_key, not_after);
    let pkcs8: Pkcs8V1Der<'_> = key.as_der().unwrap();
    Made {
        thumbprint: BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &der)),
        certificate: pem("CERTIFICATE", &der),
        key: pem("PRIVATE KEY", pkcs8.as_ref()),
        public_key,
    }
}

/// What a file in PEM has of `der`.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn certificate(public_key: &[u8], not_after: &str) -> Vec<u8> {
    let algorithm = der(SEQUENCE, &[&der(0x06, &[&[42, 134, 72, 134, 247, 13, 1, 1, 1]])]);
    let name = der(SEQUENCE, &[]);
    let is_short = not_after.len() == 13;
    let end = der(if is_short { UTC_TIME } else { GENERALIZED_TIME }, &[not_after.as_bytes()]);
    let validity = der(SEQUENCE, &[&der(UTC_TIME, &[b"200101000000Z"]), &end]);
    let key_info = der(SEQUENCE, &[&algorithm, &der(BIT_STRING, &[&[0], public_key])]);
    let version = der(VERSION, &[&der(INTEGER, &[&[2]])]);
    let serial = der(INTEGER, &[&[7]]);
    let parts = [&version[..], &serial, &algorithm, &name, &validity, &name, &key_info];
    let signed = der(SEQUENCE, &parts);
    der(SEQUENCE, &[&signed, &algorithm, &der(BIT_STRING, &[&[0; 257]])])
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [.., high, low] = content.len().to_be_bytes();
    let head = match content.len() {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, content].concat()
}
