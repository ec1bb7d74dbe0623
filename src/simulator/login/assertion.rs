//! Client assertions: JWTs by which an app proves itself with a certificate, or by somebody else's
//! word. Read and verified by hand, because our own client makes them.

use std::time::Duration;

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::refusal::Refusal;
use crate::clock::Timestamp;
use crate::simulator::directory::{Certificate, Credentials, same};

/// How far clocks may differ.
const LEEWAY: Duration = Duration::from_mins(5);

/// A JWT whose structure is right.
pub(super) struct Assertion {
    header: Value,
    claims: Value,
    /// Header and claims as they were sent, which is what is signed.
    signed: String,
    signature: Vec<u8>,
}

/// What Entra ID says of an assertion that is no JWT.
pub(super) fn malformed() -> Refusal {
    Refusal::client("invalid_client", 50_027, "JWT token is invalid or malformed.")
}

impl Assertion {
    /// Reads the three parts; the first two are JSON objects. None when they are not.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object = |part: &str| {
            let value: Value = serde_json::from_slice(&decode(part)?).ok()?;
            value.is_object().then_some(value)
        };
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            signed: signed.to_owned(),
            signature: decode(signature)?,
        })
    }

    /// Whether it is from the app with `client_id`, for the login below `endpoint`. One that names a
    /// certificate is held to it, any other to what was said of federations.
    ///
    /// # Errors
    ///
    /// What Entra ID says of one that is not.
    pub(super) fn check(
        &self,
        credentials: &Credentials,
        client_id: &str,
        endpoint: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let is_federated = self.thumbprint("x5t#S256").or(self.thumbprint("x5t")).is_none();
        if is_federated && !credentials.federations.is_empty() {
            return self.check_federation(credentials).and_then(|()| self.check_times(now));
        }
        self.check_signature(self.certificate(credentials)?)?;
        for name in ["iss", "sub"] {
            if !self.claim(name).is_some_and(|given| same(given, client_id)) {
                return Err(refused(
                    700_021,
                    format!("Client assertion application identifier doesn't match '{client_id}'."),
                ));
            }
        }
        let audiences = [format!("{endpoint}/oauth2/v2.0/token"), format!("{endpoint}/v2.0")];
        let audience = self.claim("aud").unwrap_or_default();
        if !audiences.iter().any(|right| same(right, audience)) {
            return Err(refused(
                700_023,
                format!("Client assertion audience claim does not match Realm issuer: {audience}"),
            ));
        }
        self.check_times(now)
    }

    fn certificate<'a>(&self, credentials: &'a Credentials) -> Result<&'a Certificate, Refusal> {
        let of = |thumbprint: &str, own: fn(&Certificate) -> &str| {
            credentials.certificates.iter().find(|certificate| own(certificate) == thumbprint)
        };
        let found = match (self.thumbprint("x5t#S256"), self.thumbprint("x5t")) {
            (Some(sha256), _) => of(sha256, |certificate| &certificate.sha256),
            (None, Some(sha1)) => of(sha1, |certificate| &certificate.sha1),
            (None, None) => None,
        };
        match found {
            None => Err(refused(
                700_027,
                "The certificate with identifier used to sign the client assertion is not \
                 registered on application.",
            )),
            Some(certificate) if certificate.expired => Err(refused(
                700_027,
                "The certificate with identifier used to sign the client assertion is expired on \
                 application.",
            )),
            Some(certificate) => Ok(certificate),
        }
    }

    fn check_signature(&self, certificate: &Certificate) -> Result<(), Refusal> {
        let algorithm: Option<&RsaParameters> = match self.header["alg"].as_str() {
            Some("PS256") => Some(&RSA_PSS_2048_8192_SHA256),
            Some("RS256") => Some(&RSA_PKCS1_2048_8192_SHA256),
            _ => None,
        };
        let good = algorithm.is_some_and(|algorithm| {
            let key = UnparsedPublicKey::new(algorithm, &certificate.public_key);
            key.verify(self.signed.as_bytes(), &self.signature).is_ok()
        });
        if good {
            return Ok(());
        }
        Err(refused(700_027, "Client assertion failed signature validation."))
    }

    fn check_federation(&self, credentials: &Credentials) -> Result<(), Refusal> {
        let claim = |name| self.claim(name).unwrap_or_default();
        let found = credentials.federations.iter().any(|one| {
            // To the letter: a federation is looked up by exactly what was entered.
            one.issuer == claim("iss")
                && one.subject == claim("sub")
                && one.audience == claim("aud")
        });
        if found {
            return Ok(());
        }
        Err(Refusal::client(
            "invalid_client",
            700_213,
            "No matching federated identity record found for presented assertion.",
        ))
    }

    /// `exp` must be there and ahead, `nbf` must have come if it is there.
    fn check_times(&self, now: Timestamp) -> Result<(), Refusal> {
        // Some libraries send fractions of a second.
        let seconds = |name: &str| self.claims[name].as_f64();
        let after = |timestamp: Timestamp| Duration::from_millis(timestamp.0.unsigned_abs());
        let ends = seconds("exp").is_some_and(|end| end > after(now - LEEWAY).as_secs_f64());
        let begun = seconds("nbf").is_none_or(|begin| begin <= after(now + LEEWAY).as_secs_f64());
        if ends && begun {
            return Ok(());
        }
        Err(refused(700_024, "Client assertion is not within its valid time range."))
    }

    fn claim(&self, name: &str) -> Option<&str> {
        self.claims[name].as_str()
    }

    fn thumbprint(&self, name: &str) -> Option<&str> {
        self.header[name].as_str().map(|text| text.trim_end_matches('='))
    }
}

fn refused(number: u32, text: impl Into<String>) -> Refusal {
    Refusal::client("invalid_client", number, text)
}

/// Some libraries keep the padding, which a JWT must not have.
fn decode(part: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_assertion_has_three_parts_and_two_are_objects() {
        for good in ["e30.e30.c2ln", "e30=.e30=.c2ln", "e30.e30."] {
            assert!(Assertion::read(good).is_some(), "{good}");
        }
        for bad in ["", "e30.e30", "e30.W10.c2ln", "e30.e30.c2ln.c2ln", "e30.e3.c", "e30.e30.?"] {
            assert!(Assertion::read(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_refused(text in "[a-zA-Z0-9_=.-]{0,60}") {
            if let Some(assertion) = Assertion::read(&text) {
                let checked =
                    assertion.check(&Credentials::default(), "a", "http://h/t", Timestamp(0));
                prop_assert!(checked.is_err());
            }
        }
    }
}
