//! The proof that the app has the key of its certificate: a JWT that is signed for one login.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PSS_SHA256;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::config::graph::ClientCertificate;
use crate::graph::error::LoginError;
use crate::secret::Secret;

/// How long an assertion may be used; the login takes ten minutes at most.
const LIFETIME: Duration = Duration::from_mins(10);

/// Proves to the token endpoint at `audience` that `client_id` is who asks.
///
/// # Errors
///
/// When the key cannot sign.
pub(super) fn sign(
    certificate: &ClientCertificate,
    client_id: &str,
    audience: &str,
    now: Timestamp,
) -> Result<Secret<String>, LoginError> {
    let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": certificate.thumbprint});
    let seconds = |time: Timestamp| time.0.div_euclid(1000);
    let claims = json!({
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": Uuid::new_v4().hyphenated().to_string(),
        "iat": seconds(now),
        "nbf": seconds(now),
        "exp": seconds(now + LIFETIME),
    });
    let [header, claims] =
        [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{header}.{claims}");
    let key = certificate.key.expose();
    let mut signature = vec![0; key.public_modulus_len()];
    let random = SystemRandom::new();
    key.sign(&RSA_PSS_SHA256, &random, message.as_bytes(), &mut signature)
        .map_err(|_unspecified| LoginError::Signature)?;
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    Ok(Secret::new(format!("{message}.{signature}")))
}
