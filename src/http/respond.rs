//! Makes a reply an HTTP response. No other place builds one, so no answer lacks a header.

use std::io::Write;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use crate::id::RequestId;
use crate::reply::Reply;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The response to the request `id`.
///
/// Its length is known, so that hyper writes `Content-Length` and never chunks. `spent` is a
/// header map whose memory may be used again; nothing of its content survives. `close` ends the
/// connection after this answer, because its request was not read whole, or nobody proved anything.
pub(super) fn response(
    reply: Reply,
    id: RequestId,
    spent: HeaderMap,
    close: bool,
) -> Response<Full<Bytes>> {
    let mut headers = spent;
    headers.clear();
    if let Some(content_type) = reply.content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type.as_str()));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_REQUEST_ID, printed(id));
    for (name, value) in reply.headers {
        let (Ok(known), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::try_from(value))
        else {
            // The value may hold what a caller sent, so it is not shown.
            tracing::error!(request.id = %id, header = name, "left out a malformed header");
            continue;
        };
        headers.insert(known, value);
    }
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response
}

fn printed(id: RequestId) -> HeaderValue {
    let mut text = [0; 36];
    write!(&mut text[..], "{id}").expect("a UUID is 36 characters long");
    HeaderValue::from_bytes(&text).expect("a UUID is hexadecimal digits and dashes")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::reply::ContentType;

    fn shown(response: &Response<Full<Bytes>>) -> String {
        let mut lines: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines.join("\n")
    }

    #[tokio::test]
    async fn every_answer_carries_the_same_headers_and_its_own() {
        let id: RequestId = "57dab8b1-894c-409a-b240-bd8beae78896".parse().unwrap();
        let reply = Reply::new(503, ContentType::Xml, "<x/>").with_header("Retry-After", "5");
        let spent = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/evil"))]);
        let response = response(reply, id, spent, false);
        assert_eq!(response.status(), 503);
        assert_eq!(
            shown(&response),
            "cache-control: no-store\n\
             content-type: text/xml; charset=UTF-8\n\
             referrer-policy: no-referrer\n\
             retry-after: 5\n\
             x-content-type-options: nosniff\n\
             x-request-id: 57dab8b1-894c-409a-b240-bd8beae78896"
        );
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "<x/>");
    }

    #[test]
    fn nothing_can_be_smuggled_in_by_a_header_value() {
        let reply =
            Reply::new(200, ContentType::Text, "").with_header("Note", "a\r\nSet-Cookie: b");
        let response = response(reply, RequestId::random(), HeaderMap::new(), true);
        assert!(!response.headers().contains_key("note"));
        assert_eq!(response.headers()[CONNECTION], "close");
    }
}
