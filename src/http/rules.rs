//! What a request must look like before anyone reads what it asks for: sizes, path, method, body.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Uri};
use ipnet::IpNet;

use crate::config::limits::LimitsConfig;
use crate::http::body::{self, BodyError};
use crate::http::route::Route;
use crate::legacy::LegacyRequest;
use crate::legacy::error::GatewayError;
use crate::secret::Secret;

/// What a request may look like before anyone reads it.
#[derive(Clone, Debug)]
pub(crate) struct RequestRules {
    /// The paths of the legacy API.
    pub(crate) paths: Vec<String>,
    pub(crate) limits: LimitsConfig,
    /// How long a body may take after its head.
    pub(crate) body_timeout: Duration,
    /// Who is believed when they say whom a request is from.
    pub(crate) trusted_proxies: Vec<IpNet>,
}

/// How much of a head the server must buffer, so that everything hyper would parse is refused by
/// us, with a body that says why, and not by hyper, without one.
pub(crate) fn head_bytes(limits: &LimitsConfig) -> usize {
    /// hyper's own limit for a URI.
    const LONGEST_URI: usize = 64 * 1024;
    LONGEST_URI.max(limits.request_line) + limits.headers + 1024
}

impl RequestRules {
    /// Refuses what can be refused without reading any further, the size first.
    ///
    /// # Errors
    ///
    /// The reason: size, path or method.
    pub(super) fn check(
        &self,
        route: Route,
        method: &Method,
        uri: &Uri,
        header_bytes: usize,
    ) -> Result<(), GatewayError> {
        if request_line(method, uri) > self.limits.request_line {
            return Err(GatewayError::RequestLineTooLong);
        }
        if header_bytes > self.limits.headers {
            return Err(GatewayError::HeadersTooLarge);
        }
        match route {
            Route::Legacy => Ok(()),
            Route::MethodNotAllowed => Err(GatewayError::Method),
            Route::NotFound => Err(GatewayError::UnknownPath),
        }
    }

    /// Reads the body into `request` when it is a form; any other is read for the connection's
    /// sake only. True when it was too large for that and was left unread: then the connection
    /// ends with the answer.
    ///
    /// # Errors
    ///
    /// When it is a form and too large, or has not arrived in time.
    pub(super) async fn take_body(
        &self,
        body: Incoming,
        form: bool,
        request: &mut LegacyRequest,
    ) -> Result<bool, GatewayError> {
        let (limit, within) = (self.limits.body, self.body_timeout);
        if form && request.post {
            request.form = Some(Secret::new(body::read(body, limit, within).await?));
            return Ok(false);
        }
        Ok(!body::skip(body, limit, within).await?)
    }
}

impl From<BodyError> for GatewayError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::BodyTooLarge,
            BodyError::Incomplete => Self::BodyIncomplete,
        }
    }
}

/// The length of the request line, as it was sent but for a fragment.
fn request_line(method: &Method, uri: &Uri) -> usize {
    let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    method.as_str().len() + scheme + authority + path + "  HTTP/1.1".len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_request_line_is_that_of_its_bytes() {
        for line in [
            "GET /verba/api?a=b HTTP/1.1",
            "POST http://gateway:8080/verba/api HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "CONNECT gateway:443 HTTP/1.1",
        ] {
            let mut words = line.split(' ');
            let method = words.next().unwrap().parse().unwrap();
            let uri = words.next().unwrap().parse().unwrap();
            assert_eq!(request_line(&method, &uri), line.len(), "{line}");
        }
    }

    #[test]
    fn the_size_is_refused_before_the_path_and_the_path_before_the_method() {
        let rules = RequestRules {
            paths: Vec::new(),
            limits: LimitsConfig { request_line: 30, headers: 10, body: 0, value: 0 },
            body_timeout: Duration::ZERO,
            trusted_proxies: Vec::new(),
        };
        let long = Uri::from_static("/a-rather-long-path");
        let short = Uri::from_static("/");
        for (route, uri, headers, expected) in [
            (Route::NotFound, &long, 11, Err(GatewayError::RequestLineTooLong)),
            (Route::NotFound, &short, 11, Err(GatewayError::HeadersTooLarge)),
            (Route::NotFound, &short, 10, Err(GatewayError::UnknownPath)),
            (Route::MethodNotAllowed, &short, 10, Err(GatewayError::Method)),
            (Route::Legacy, &short, 10, Ok(())),
        ] {
            assert_eq!(rules.check(route, &Method::DELETE, uri, headers), expected);
        }
    }
}
