//! Whether signatures can be checked at all, asked at the start and not by the first notification.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::clock::Timestamp;
use crate::id::TenantId;
use crate::notifications::keys::public_key::PublicKey;
use crate::notifications::token::claims::Expectations;
use crate::notifications::token::parts::Token;
use crate::notifications::token::{NotProven, Proof};

/// The public half of a key whose other half was thrown away.
const MODULUS: &str = "p23uY-JTfO7N6K947UFXg0q0I6c0KR-B4JrWhjpO7gkfx4kTUA_tEtK6cT5OKiSHsqac0-\
    WkksviAV975AvHlUto3NhwMFdd717QZXLb1tf5wyvLmlgv8PWM7Bn8rBDbIeJRJKaKToNpN0iVzaHdZwKTKqBy_J_w\
    prqk7AmUqpsgnf3WZxrBporD16RkhNqPANBfQLvp3g4V_n0fKesh-FxlYK2gKNJyTT9SRmoxOAovHI7IGdlF5N3DsL\
    mNGYP9Dkz23oeM3fEn0PQ78s_KrIiMm9vb_NWceh7VmHrZyh9Frj5X7zdPwsJKBmWvIWB2j6YSwbd5VW6YhQzmJfd-\
    0w";
const SIGNED: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InNlbGYtdGVzdCJ9.eyJpc3MiOiJjYWxsZ2F0ZSIsImF1ZCI6InNlbGYtdGVzd\
    CIsImV4cCI6MTc5NTMyOTAwMCwidGlkIjoiMDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDAwIn0";
const SIGNATURE: &str = "FNdEA1qREDeaKEIBXquwHeWJulMGn9ZbUnFpIpvOafX3itJUC3xUaywCOITBwtHm5LTGz443OQxNM8QkPRXVtuJ3c8\
    SXPneTOLjK3UaBjx9J-uIGNmMCMIvQBqnuYCw0ZCZ6dafSVEoz_jwCC7cxniFTvW-tSRbUTPXco5Uh59MSH36QRoXZ\
    _NKJrUj4hyKUQWuX6JZOkiW0srePhhDdRlHGxPR0-\
    s2ScO9pDe6bmbOb96S3eMrjHTjO4xXvpVkmuhzq_6fDSHgLe2TafQS250RDeVKNfCSCSdvnf3PgCSur6MotTe0mk8I\
    LKbNFyVLZFS9qqSgon3M798ZzaxCQGQ";
/// What the token says, and a time at which it holds.
const ISSUER: &str = "callgate";
const AUDIENCE: &str = "self-test";
const TENANT: &str = "00000000-0000-4000-8000-000000000000";
const WHILE_VALID: Timestamp = Timestamp(1_795_328_000_000);

/// This build cannot tell a good signature from a bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the self-test of the token check failed: this build cannot prove notifications; install \
     another build"
)]
pub(crate) struct SelfTestFailed;

/// Proves a built-in token with a built-in key, and refuses it when one bit is another.
///
/// # Errors
///
/// When either goes wrong. No notification may be taken then.
pub(crate) fn self_test() -> Result<(), SelfTestFailed> {
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).or(Err(SelfTestFailed));
    let modulus = decode(MODULUS)?;
    let key = PublicKey::new(&modulus, &[1, 0, 1]).ok_or(SelfTestFailed)?;
    let good = format!("Bearer {SIGNED}.{SIGNATURE}");
    let expected = Proof { tenant: TenantId::new(TENANT), app_id: AUDIENCE.to_owned() };
    let mut signature = decode(SIGNATURE)?;
    if let Some(last) = signature.last_mut() {
        *last ^= 1;
    }
    let bad = format!("Bearer {SIGNED}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature));
    let is_as_expected =
        prove(&good, &key) == Ok(expected) && prove(&bad, &key) == Err(NotProven::Signature);
    if is_as_expected { Ok(()) } else { Err(SelfTestFailed) }
}

fn prove(authorization: &str, key: &PublicKey) -> Result<Proof, NotProven> {
    let token = Token::read(authorization.as_bytes())?;
    let expectations = Expectations {
        issuers: vec![ISSUER.to_owned()],
        audiences: vec![AUDIENCE.to_owned()],
        apps: Vec::new(),
    };
    expectations.check(&token.claims(key)?, WHILE_VALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_build_passes() {
        assert_eq!(self_test(), Ok(()));
    }
}
