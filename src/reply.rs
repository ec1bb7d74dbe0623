//! What a feature answers: plain data, turned into an HTTP response in `http/respond.rs` only.

use std::fmt;

use bytes::Bytes;

/// An answer before it is an HTTP response. `Debug` hides the body, because a token may be in it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// HTTP status.
    pub(crate) status: u16,
    /// What the body is; none when there is none, or when a header says it.
    pub(crate) content_type: Option<ContentType>,
    /// The body, whole.
    pub(crate) body: Bytes,
    /// Headers beyond those every answer carries.
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// The media types that we answer in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentType {
    /// `text/xml; charset=UTF-8`
    Xml,
    /// `application/json; charset=UTF-8`
    Json,
    /// `text/html; charset=UTF-8`
    Html,
    /// `text/plain; charset=UTF-8`
    Text,
    /// `application/openmetrics-text; version=1.0.0; charset=utf-8`
    OpenMetrics,
}

impl ContentType {
    /// The header's value.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Xml => "text/xml; charset=UTF-8",
            Self::Json => "application/json; charset=UTF-8",
            Self::Html => "text/html; charset=UTF-8",
            Self::Text => "text/plain; charset=UTF-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Reply {
    /// An answer with the usual headers.
    pub(crate) fn new(status: u16, content_type: ContentType, body: impl Into<Bytes>) -> Self {
        Self { content_type: Some(content_type), ..Self::bare(status, body) }
    }

    /// An answer whose headers say what its body is, or that has none.
    pub(crate) fn bare(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: None, body: body.into(), headers: Vec::new() }
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
