//! One answer of the simulator, and what ties it to its request.
//!
//! Plain data until the connection sends it, so that the sides are tested without one.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Scheme;
use hyper::{Request, Response, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::clock::Timestamp;

/// What is sent back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// A status without a body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A body of the given media type.
    pub(super) fn text(
        status: StatusCode,
        media_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        Self { body: body.into(), ..Self::empty(status) }
            .with(CONTENT_TYPE, HeaderValue::from_static(media_type))
    }

    /// A JSON body.
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self::text(status, "application/json; charset=utf-8", body.to_string())
    }

    /// Sets a header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Names the methods that the path knows, for a 405.
    pub(super) fn allowing(self, methods: &'static str) -> Self {
        self.with(ALLOW, HeaderValue::from_static(methods))
    }

    /// The form that the connection sends.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// The ids and the time that a request and its answer share.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) at: Timestamp,
    /// Scheme and host by which the client reached us, without a slash at the end.
    pub(super) base: String,
    pub(super) request_id: HeaderValue,
    /// As the client sent it; without one, the same as `request_id`.
    pub(super) client_request_id: HeaderValue,
}

impl Exchange {
    /// Makes a fresh request id and takes over the client's.
    pub(super) fn new(request: &Request<Bytes>, at: Timestamp) -> Self {
        let request_id = HeaderValue::from_str(&Uuid::new_v4().to_string())
            .expect("a UUID consists of visible ASCII");
        let sent = request.headers().get("client-request-id").cloned();
        let base = base(request);
        Self { at, base, client_request_id: sent.unwrap_or_else(|| request_id.clone()), request_id }
    }

    /// Date and time without fraction and zone, as in `2020-09-17T11:34:41`.
    pub(super) fn date(&self) -> String {
        self.at.to_string().chars().take("2020-09-17T11:34:41".len()).collect()
    }
}

/// The connection says which scheme it is; HTTP/2 names the host in the target, not in a header.
fn base(request: &Request<Bytes>) -> String {
    let scheme = request.extensions().get::<Scheme>().unwrap_or(&Scheme::HTTP);
    let authority = request.uri().authority().map(ToString::to_string);
    let host = authority.or_else(|| request.headers().get(HOST).map(text_of));
    format!("{scheme}://{}", host.unwrap_or_default())
}

/// A header's value as text, for a JSON body.
pub(super) fn text_of(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
