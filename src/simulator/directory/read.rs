//! Reads what a tester says of tenants, apps and their credentials.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::{KnownApp, KnownTenant, ManagedIdentity};
use crate::simulator::der;
use crate::simulator::fields::{BadField, Fields};
use crate::simulator::trouble::Trouble;

/// Everything that an app may log in with.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Credentials {
    pub(in crate::simulator) secrets: Vec<Secret>,
    pub(in crate::simulator) certificates: Vec<Certificate>,
    pub(in crate::simulator) federations: Vec<Federation>,
}

/// A client secret.
#[derive(Debug)]
pub(in crate::simulator) struct Secret {
    pub(in crate::simulator) value: String,
    pub(in crate::simulator) expired: bool,
}

/// A certificate whose key signs assertions.
#[derive(Debug)]
pub(in crate::simulator) struct Certificate {
    /// Base64url without padding, as assertions name it.
    pub(in crate::simulator) sha256: String,
    pub(in crate::simulator) sha1: String,
    /// `SubjectPublicKeyInfo` in DER.
    pub(in crate::simulator) public_key: Vec<u8>,
    pub(in crate::simulator) expired: bool,
}

/// Whose assertions are trusted without a certificate of ours.
#[derive(Debug)]
pub(in crate::simulator) struct Federation {
    pub(in crate::simulator) issuer: String,
    pub(in crate::simulator) subject: String,
    pub(in crate::simulator) audience: String,
}

impl KnownApp {
    /// Takes the fields of `POST /sim/apps`.
    ///
    /// # Errors
    ///
    /// When a field is missing or malformed.
    pub(in crate::simulator) fn read(mut fields: Fields) -> Result<Self, BadField> {
        let client_id = fields.text("clientId")?;
        let app = Self {
            client_id: client_id.ok_or_else(|| BadField::new("clientId", "is required"))?,
            tenant_id: fields.text("tenantId")?,
            credentials: Credentials::take(&mut fields)?,
            exists: fields.flag("exists")?.unwrap_or(true),
            enabled: fields.flag("enabled")?.unwrap_or(true),
            registered: fields.flag("registered")?.unwrap_or(true),
            consent: fields.flag("consent")?.unwrap_or(true),
            error: Trouble::take(&mut fields)?,
        };
        fields.finish()?;
        Ok(app)
    }
}

impl KnownTenant {
    /// Takes the fields of `POST /sim/tenants`.
    ///
    /// # Errors
    ///
    /// When a field is missing or malformed.
    pub(in crate::simulator) fn read(mut fields: Fields) -> Result<Self, BadField> {
        let tenant_id = fields.text("tenantId")?;
        let tenant = Self {
            tenant_id: tenant_id.ok_or_else(|| BadField::new("tenantId", "is required"))?,
            domains: texts(&mut fields, "domains")?.unwrap_or_default(),
            exists: fields.flag("exists")?.unwrap_or(true),
            removers: texts(&mut fields, "allowRemoveParticipantAppIds")?,
            error: Trouble::take(&mut fields)?,
        };
        fields.finish()?;
        Ok(tenant)
    }
}

impl ManagedIdentity {
    /// Takes the fields of `POST /sim/identity`.
    ///
    /// # Errors
    ///
    /// When a field is malformed.
    pub(in crate::simulator) fn read(mut fields: Fields) -> Result<Self, BadField> {
        let identity = Self {
            tenant_id: fields.text("tenantId")?,
            client_id: fields.text("clientId")?,
            header: fields.text("header")?,
        };
        fields.finish()?;
        Ok(identity)
    }
}

impl Credentials {
    /// None when no kind of credential is spoken of: then any will do. One kind that is spoken of
    /// closes the others.
    fn take(fields: &mut Fields) -> Result<Option<Self>, BadField> {
        let secrets = objects(fields, "secrets", "value", Secret::read)?;
        let certificates = objects(fields, "certificates", "pem", Certificate::read)?;
        let federations = objects(fields, "federations", "issuer", Federation::read)?;
        if secrets.is_none() && certificates.is_none() && federations.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            secrets: secrets.unwrap_or_default(),
            certificates: certificates.unwrap_or_default(),
            federations: federations.unwrap_or_default(),
        }))
    }

    /// What they are, without what proves them.
    pub(super) fn listing(&self) -> Value {
        let secrets = self.secrets.iter().map(|secret| json!({"expired": secret.expired}));
        let certificates = self.certificates.iter().map(|certificate| {
            json!({
                "x5t": certificate.sha1,
                "x5t#S256": certificate.sha256,
                "expired": certificate.expired,
            })
        });
        let federations = self.federations.iter().map(
            |one| json!({"issuer": one.issuer, "subject": one.subject, "audience": one.audience}),
        );
        json!({
            "secrets": secrets.collect::<Value>(),
            "certificates": certificates.collect::<Value>(),
            "federations": federations.collect::<Value>(),
        })
    }
}

impl Secret {
    fn read(mut fields: Fields) -> Result<Self, BadField> {
        let value = fields.text("value")?.ok_or_else(|| BadField::new("value", "is required"))?;
        let expired = fields.flag("expired")?.unwrap_or(false);
        fields.finish()?;
        Ok(Self { value, expired })
    }
}

impl Certificate {
    fn read(mut fields: Fields) -> Result<Self, BadField> {
        let pem = fields.text("pem")?.ok_or_else(|| BadField::new("pem", "is required"))?;
        let expired = fields.flag("expired")?.unwrap_or(false);
        fields.finish()?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| BadField::new("pem", format!("is no certificate: {error}")))?;
        let public_key = der::public_key(&certificate)
            .ok_or_else(|| BadField::new("pem", "is no certificate that can be read"))?;
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        Ok(Self {
            sha256: encode(digest(&SHA256, &certificate).as_ref()),
            sha1: encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate).as_ref()),
            public_key: public_key.to_vec(),
            expired,
        })
    }
}

impl Federation {
    fn read(mut fields: Fields) -> Result<Self, BadField> {
        let mut required =
            |field: &str| fields.text(field)?.ok_or_else(|| BadField::new(field, "is required"));
        let federation = Self {
            issuer: required("issuer")?,
            subject: required("subject")?,
            audience: required("audience")?,
        };
        fields.finish()?;
        Ok(federation)
    }
}

/// Takes a list of objects; a plain string stands for an object with only the field `short`, and a
/// single one for a list of one.
fn objects<T>(
    fields: &mut Fields,
    field: &str,
    short: &str,
    read: impl Fn(Fields) -> Result<T, BadField>,
) -> Result<Option<Vec<T>>, BadField> {
    let list = match fields.take(field) {
        None => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    let inner = |error: BadField| BadField::new(field, error.to_string());
    let items = list.into_iter().map(|item| {
        let item = if item.is_string() { json!({short: item}) } else { item };
        read(Fields::read(item.to_string().as_bytes()).map_err(inner)?).map_err(inner)
    });
    items.collect::<Result<_, _>>().map(Some)
}

/// Takes a list of strings; a single one is a list of one.
fn texts(fields: &mut Fields, field: &str) -> Result<Option<Vec<String>>, BadField> {
    let list = match fields.take(field) {
        None => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    let items = list.into_iter().map(|item| match item {
        Value::String(text) if !text.is_empty() => Ok(text),
        _ => Err(BadField::new(field, "must be a list of strings")),
    });
    items.collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(body: &Value) -> Result<KnownApp, String> {
        let fields = Fields::read(body.to_string().as_bytes()).unwrap();
        KnownApp::read(fields).map_err(|error| error.to_string())
    }

    #[test]
    fn one_kind_of_credential_closes_the_others() {
        assert!(app(&json!({"clientId": "a"})).unwrap().credentials.is_none());
        let said = json!({"clientId": "a", "secrets": ["s", {"value": "t", "expired": true}]});
        let credentials = app(&said).unwrap().credentials.unwrap();
        let secrets: Vec<_> =
            credentials.secrets.iter().map(|one| (one.value.as_str(), one.expired)).collect();
        assert_eq!(secrets, [("s", false), ("t", true)]);
        assert!(credentials.certificates.is_empty() && credentials.federations.is_empty());
        let listing = credentials.listing().to_string();
        assert!(!listing.contains("\"s\"") && !listing.contains("\"t\""), "{listing}");
    }

    #[test]
    fn a_bad_field_of_an_app_is_named() {
        for (said, problem) in [
            (json!({}), "clientId: is required"),
            (json!({"clientId": "a", "secret": "s"}), "secret: "),
            (json!({"clientId": "a", "secrets": [7]}), "secrets: body: "),
            (json!({"clientId": "a", "secrets": [{"value": ""}]}), "secrets: value: "),
            (json!({"clientId": "a", "certificates": ["x"]}), "certificates: pem: "),
            (json!({"clientId": "a", "federations": ["x"]}), "federations: subject: "),
            (json!({"clientId": "a", "error": "1"}), "error: "),
        ] {
            let error = app(&said).map(|_| ()).unwrap_err();
            assert!(error.starts_with(problem), "{said}: {error}");
        }
    }
}
