//! Certificates and keys in PEM, and the few facts that are needed of an X.509 certificate.
//!
//! No signature is checked here: the certificate is our own, and the login is who judges it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

use crate::clock::Timestamp;
use crate::config::error::CertificateFault;
use crate::secret::Secret;

/// A certificate that is registered with the app, and its key.
#[derive(Clone)]
pub(crate) struct ClientCertificate {
    pub(crate) key: Secret<Arc<RsaKeyPair>>,
    /// `x5t#S256`: the certificate's SHA-256 in URL-safe base64.
    pub(crate) thumbprint: String,
    pub(crate) not_after: Timestamp,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("thumbprint", &self.thumbprint)
            .field("not_after", &self.not_after.to_string())
            .finish_non_exhaustive()
    }
}

impl ClientCertificate {
    /// The first certificate in `file` with the key in `key_file`, which may be the same one.
    ///
    /// # Errors
    ///
    /// `true` when it is the key that is at fault.
    pub(super) fn read(file: &Path, key_file: &Path) -> Result<Self, (bool, CertificateFault)> {
        let text = |path: &Path| match std::fs::read(path) {
            Ok(bytes) => Ok(Secret::new(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) => Err(CertificateFault::Unreadable(error.kind())),
        };
        let certificate = text(file).map_err(|fault| (false, fault))?;
        let certificate = all(certificate.expose()).into_iter().next();
        let der = certificate.ok_or((false, CertificateFault::NoCertificate))?;
        let facts = Facts::read(&der).ok_or((false, CertificateFault::NotX509))?;
        let pem = text(key_file).map_err(|fault| (true, fault))?;
        let key = private_key(pem.expose()).map_err(|fault| (true, fault))?;
        if key.public_key().as_ref() != facts.public_key {
            return Err((true, CertificateFault::OtherKey));
        }
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &der));
        let not_after = facts.not_after;
        Ok(Self { key: Secret::new(Arc::new(key)), thumbprint, not_after })
    }
}

/// What is needed of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts<'a> {
    not_after: Timestamp,
    /// The content of the public key's bit string; of an RSA key, its modulus and exponent in DER.
    public_key: &'a [u8],
}

impl<'a> Facts<'a> {
    /// None when `der` is no X.509 certificate.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let (certificate, rest) = element(der, SEQUENCE)?;
        if !rest.is_empty() {
            return None;
        }
        let (to_be_signed, _) = element(certificate, SEQUENCE)?;
        let versioned = element(to_be_signed, VERSION).map(|(_, rest)| rest);
        let (_serial, rest) = element(versioned.unwrap_or(to_be_signed), INTEGER)?;
        let (_algorithm, rest) = element(rest, SEQUENCE)?;
        let (_issuer, rest) = element(rest, SEQUENCE)?;
        let (validity, rest) = element(rest, SEQUENCE)?;
        let (_subject, rest) = element(rest, SEQUENCE)?;
        let (key_info, _) = element(rest, SEQUENCE)?;
        let end = Element::first(validity)?.rest;
        let (_algorithm, key) = element(key_info, SEQUENCE)?;
        let (bits, _) = element(key, BIT_STRING)?;
        let public_key = bits.strip_prefix(&[0])?;
        Some(Self { not_after: time(end)?, public_key })
    }
}

/// The certificates in `pem`, in DER; what is none is left out.
pub(super) fn all(pem: &str) -> Vec<Vec<u8>> {
    sections(pem).filter(|(label, _)| *label == "CERTIFICATE").filter_map(|(_, der)| der).collect()
}

fn private_key(pem: &str) -> Result<RsaKeyPair, CertificateFault> {
    for (label, der) in sections(pem) {
        let read = match label {
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8,
            "RSA PRIVATE KEY" => RsaKeyPair::from_der,
            "EC PRIVATE KEY" => return Err(CertificateFault::KeyKind),
            "ENCRYPTED PRIVATE KEY" => return Err(CertificateFault::EncryptedKey),
            _ => continue,
        };
        return match der {
            Some(der) => read(&der).map_err(|_rejected| CertificateFault::KeyKind),
            // The older form says in headers that it is encrypted.
            None if pem.contains("Proc-Type: 4,ENCRYPTED") => Err(CertificateFault::EncryptedKey),
            None => Err(CertificateFault::NoKey),
        };
    }
    Err(CertificateFault::NoKey)
}

/// What stands between `-----BEGIN label-----` and its end, with the label; no bytes when it is not
/// base64.
fn sections(pem: &str) -> impl Iterator<Item = (&str, Option<Vec<u8>>)> {
    pem.split("-----BEGIN ").skip(1).filter_map(|part| {
        let (label, rest) = part.split_once("-----")?;
        let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
        let body: String = body.split_ascii_whitespace().collect();
        Some((label, BASE64_STANDARD.decode(body).ok()))
    })
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The content of the first element in `der`, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let first = Element::first(der).filter(|first| first.tag == tag)?;
    Some((first.content, first.rest))
}

/// A value in DER, and what follows it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    fn first(der: &'a [u8]) -> Option<Self> {
        let (&[tag, length], rest) = der.split_first_chunk()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x0f))?;
                (bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        Some(Self { tag, content, rest })
    }
}

/// A `UTCTime` of 1950 to 2049, or a `GeneralizedTime`, both to the second and in UTC.
fn time(der: &[u8]) -> Option<Timestamp> {
    let time = Element::first(der)?;
    let text = str::from_utf8(time.content).ok()?;
    let digits = match time.tag {
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if digits.len() != 15 || !digits.strip_suffix('Z').is_some_and(is_digits) {
        return None;
    }
    let part = |from: usize| &digits[from..from + 2];
    // "No end" is written as the last second of all, which is not a time in every zone.
    let day = if digits.starts_with("99991231") { "30" } else { part(6) };
    let (year, month) = (&digits[..4], part(4));
    let (hour, minute, second) = (part(8), part(10), part(12));
    Timestamp::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
