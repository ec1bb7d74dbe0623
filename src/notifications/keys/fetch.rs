//! Asks for one OpenID document and the keys that it names.
//!
//! Answers are bounded in time and size, redirects are not followed, and the address of the keys is
//! held to the same rules as the configured ones: whoever names it decides what is believed.

use std::error::Error;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode, Url};

use crate::config::notifications::{NotificationsConfig, is_key_host, parse_key_url};
use crate::graph::{ClientError, client_builder};
use crate::notifications::keys::{Keys, document};

/// Of an answer. The whole key set of Microsoft's bot service has about 50 KiB.
const LONGEST_BODY: usize = 1024 * 1024;

/// The client that asks.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    http: Client,
    allow_other_host: bool,
}

/// Why a document and its keys could not be loaded, in words for the log; no address is in them.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadFault {
    #[error("{asked} did not answer in time")]
    TimedOut { asked: Asked },
    #[error("{asked} could not be reached: {reason}")]
    Unreachable { asked: Asked, reason: String },
    #[error("{asked} answered with status {status}")]
    Status { asked: Asked, status: StatusCode },
    #[error("{asked} answered with more than 1 MiB")]
    TooLong { asked: Asked },
    #[error("what came is no OpenID document with the address of keys")]
    NoDocument,
    #[error("the document's address of keys is not an https address")]
    KeysUrl,
    #[error(
        "the document says that the keys are at a host that is not Microsoft's; set \
         graph.allow_other_host = true if that is meant"
    )]
    KeysHost,
    #[error("no key that came can be used")]
    NoKeys,
}

/// Which of the two was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Document,
    Keys,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Document => "the host of the OpenID document",
            Self::Keys => "the host of the keys",
        })
    }
}

impl Fetcher {
    /// One answer may take `limit`. The system's CA certificates are read only if a document is at
    /// an `https` address.
    ///
    /// # Errors
    ///
    /// When there are no CA certificates and they are needed.
    pub(super) fn new(config: &NotificationsConfig, limit: Duration) -> Result<Self, ClientError> {
        let secure = config.openid_urls.iter().any(|url| url.scheme() == "https");
        let http = client_builder(secure, &config.outbound)
            .and_then(|client| client.timeout(limit).connect_timeout(limit).build());
        Ok(Self {
            http: http.map_err(ClientError::Build)?,
            allow_other_host: config.allow_other_host,
        })
    }

    /// The keys of the document at `url`; at least one.
    ///
    /// # Errors
    ///
    /// When they could not be loaded, all of them or none.
    pub(super) async fn load(&self, url: &Url) -> Result<Keys, LoadFault> {
        let body = self.get(url, Asked::Document).await?;
        let named = document::keys_url(&body).ok_or(LoadFault::NoDocument)?;
        let url = parse_key_url(&named).or(Err(LoadFault::KeysUrl))?;
        if !self.allow_other_host && !url.host_str().is_some_and(is_key_host) {
            return Err(LoadFault::KeysHost);
        }
        let body = self.get(&url, Asked::Keys).await?;
        document::keys(&body).ok_or(LoadFault::NoKeys)
    }

    async fn get(&self, url: &Url, asked: Asked) -> Result<Vec<u8>, LoadFault> {
        let fault = |error: reqwest::Error| {
            if error.is_timeout() {
                LoadFault::TimedOut { asked }
            } else {
                LoadFault::Unreachable { asked, reason: causes(&error.without_url()) }
            }
        };
        let request = self.http.get(url.clone()).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(fault)?;
        if response.status() != StatusCode::OK {
            return Err(LoadFault::Status { asked, status: response.status() });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(fault)? {
            if body.len() + chunk.len() > LONGEST_BODY {
                return Err(LoadFault::TooLong { asked });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// An error and what caused it, on one line.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
