//! The app that logs in: what is asked of the login with each kind of credential.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};

use super::assertion;
use crate::clock::Clock;
use crate::config::graph::{Credential, ManagedIdentity, TenantConfig, read_assertion};
use crate::graph::error::LoginError;
use crate::graph::model::Grant;
use crate::graph::{ClientError, LONGEST_BODY, body, path_segment, retry_after};
use crate::id::TenantId;
use crate::secret::Secret;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The app of one tenant, and the way to its login.
pub(in crate::graph) struct App {
    tenant: TenantId,
    client_id: String,
    credential: Credential,
    /// The login's token endpoint.
    url: Url,
    /// Graph, without a trailing slash.
    resource: String,
    http: Client,
    /// For the machine's own identity.
    direct: Client,
    /// How long one request to the login may take.
    timeout: Duration,
    clock: Clock,
}

/// A token that the login granted.
pub(super) struct Granted {
    /// The whole `Authorization` header.
    pub(super) bearer: Secret<HeaderValue>,
    pub(super) lifetime: Duration,
    pub(super) refresh_in: Option<Duration>,
}

impl App {
    /// # Errors
    ///
    /// When tenant and login URL do not make a URL.
    pub(in crate::graph) fn new(
        tenant: &TenantConfig,
        http: Client,
        direct: Client,
        timeout: Duration,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let segment = path_segment(tenant.id.as_str()).ok_or(ClientError::Tenant)?;
        let url = format!("{}/{segment}/oauth2/v2.0/token", tenant.login_url);
        Ok(Self {
            tenant: tenant.id.clone(),
            client_id: tenant.client_id.clone(),
            credential: tenant.credential.clone(),
            url: Url::parse(&url).map_err(|source| ClientError::LoginUrl { source })?,
            resource: tenant.base_url.clone(),
            http,
            direct,
            timeout,
            clock,
        })
    }

    pub(super) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Asks for a token once, or once with each client secret; made for `claims` if there are any.
    ///
    /// # Errors
    ///
    /// When none is granted.
    pub(super) async fn ask(&self, claims: Option<&str>) -> Result<Granted, LoginError> {
        match &self.credential {
            Credential::Secrets(secrets) => self.ask_with_secrets(secrets, claims).await,
            Credential::Certificate(certificate) => {
                let now = self.clock.now();
                let made = assertion::sign(certificate, &self.client_id, self.url.as_str(), now);
                self.ask_with_assertion(&made?, claims).await
            }
            Credential::Federated(file) => {
                let file = file.clone();
                let read = tokio::task::spawn_blocking(move || read_assertion(&file)).await;
                let read = read.expect("reading a file does not panic");
                self.ask_with_assertion(&read.map_err(LoginError::Assertion)?, claims).await
            }
            Credential::Managed(identity) => {
                let request = self.identity_request(identity);
                self.grant(request.header("Metadata", "true"), true).await
            }
        }
    }

    async fn ask_with_secrets(
        &self,
        secrets: &[Secret<String>],
        claims: Option<&str>,
    ) -> Result<Granted, LoginError> {
        let mut refused = Err(LoginError::NotConfigured);
        for (line, secret) in (1..).zip(secrets) {
            let secret = [("client_secret", secret.expose().as_str())];
            refused = self.ask_with(&secret, claims).await;
            match &refused {
                Err(LoginError::Refused { error, .. }) if error == "invalid_client" => {}
                _ => return refused,
            }
            if secrets.len() > 1 {
                let tenant = &self.tenant;
                tracing::warn!(
                    tenant.id = %tenant, line,
                    "the login of tenant {tenant} refused the client secret in line {line} of \
                     its two"
                );
            }
        }
        refused
    }

    async fn ask_with_assertion(
        &self,
        assertion: &Secret<String>,
        claims: Option<&str>,
    ) -> Result<Granted, LoginError> {
        let proof = [
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.expose().as_str()),
        ];
        self.ask_with(&proof, claims).await
    }

    async fn ask_with(
        &self,
        proof: &[(&str, &str)],
        claims: Option<&str>,
    ) -> Result<Granted, LoginError> {
        let scope = format!("{}/.default", self.resource);
        let mut form = vec![("client_id", self.client_id.as_str())];
        form.extend(proof);
        form.extend([("grant_type", "client_credentials"), ("scope", &scope)]);
        form.extend(claims.map(|claims| ("claims", claims)));
        self.grant(self.http.post(self.url.clone()).form(&form), false).await
    }

    /// The request but for the header that both forms have. It knows no challenge.
    fn identity_request(&self, identity: &ManagedIdentity) -> RequestBuilder {
        let query = |version| {
            [
                ("api-version", version),
                ("resource", self.resource.as_str()),
                ("client_id", &self.client_id),
            ]
        };
        match identity {
            ManagedIdentity::Imds(address) => {
                let url = format!("{address}/metadata/identity/oauth2/token");
                self.direct.get(with_query(&url, query("2018-02-01")))
            }
            ManagedIdentity::AppService(url, header) => {
                let mut header = HeaderValue::try_from(header.expose().as_str())
                    .unwrap_or_else(|_unusable| HeaderValue::from_static(""));
                header.set_sensitive(true);
                let url = with_query(url.as_str(), query("2019-08-01"));
                self.direct.get(url).header("X-IDENTITY-HEADER", header)
            }
        }
    }

    async fn grant(
        &self,
        request: RequestBuilder,
        is_machines: bool,
    ) -> Result<Granted, LoginError> {
        let unreachable =
            |error: reqwest::Error| LoginError::Unreachable(Arc::new(error.without_url()));
        let request = request.timeout(self.timeout).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), self.clock.now());
        let body = body(&mut response, LONGEST_BODY).await.map_err(unreachable);
        if (200..=299).contains(&status) {
            let grant = Grant::read(&body?, self.clock.now());
            return granted(&grant.ok_or(LoginError::Unreadable { status })?, status);
        }
        // While a machine starts or is moved, its identity is not there for a while.
        if is_machines && matches!(status, 404 | 410) {
            return Err(LoginError::Unavailable { status, retry_after });
        }
        let error = LoginError::from_answer(status, retry_after, &body.unwrap_or_default());
        Err(if is_machines { error.of_machine() } else { error })
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

fn granted(grant: &Grant, status: u16) -> Result<Granted, LoginError> {
    // Anything else could not be found again in what others send back.
    let printable = grant.access_token.bytes().all(|byte| byte.is_ascii_graphic());
    let bearer = HeaderValue::try_from(format!("Bearer {}", grant.access_token)).ok();
    let mut bearer = bearer.filter(|_| printable).ok_or(LoginError::Unreadable { status })?;
    bearer.set_sensitive(true);
    let bearer = Secret::new(bearer);
    Ok(Granted { bearer, lifetime: grant.expires_in, refresh_in: grant.refresh_in })
}

/// `url` with these parameters behind those that it has.
fn with_query(url: &str, query: [(&str, &str); 3]) -> String {
    let query = serde_urlencoded::to_string(query).expect("pairs of text can be encoded");
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{query}")
}
