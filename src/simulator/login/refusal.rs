//! Entra ID's refusals, in the shape of its token endpoint.

use hyper::{Method, StatusCode};
use serde_json::json;

use crate::simulator::answer::{Answer, Exchange, text_of};

/// A refused request, in the shape of Entra ID's token endpoint.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) error: &'static str,
    pub(super) number: u32,
    pub(super) text: String,
}

impl Refusal {
    /// A credential or an app that is not accepted.
    pub(super) fn client(error: &'static str, number: u32, text: impl Into<String>) -> Self {
        let status = match error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, error, number, text: text.into() }
    }

    pub(super) fn answer(&self, exchange: &Exchange) -> Answer {
        let Self { error, number, text, .. } = self;
        let trace_id = text_of(&exchange.request_id);
        let correlation_id = text_of(&exchange.client_request_id);
        let timestamp = format!("{}Z", exchange.date().replace('T', " "));
        let description = format!(
            "AADSTS{number}: {text}\r\nTrace ID: {trace_id}\r\nCorrelation ID: \
             {correlation_id}\r\nTimestamp: {timestamp}"
        );
        let body = json!({
            "error": error,
            "error_description": description,
            "error_codes": [number],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        });
        Answer::json(self.status, &body)
    }
}

/// A parameter that a request lacks.
pub(super) fn missing(parameter: &str) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        error: "invalid_request",
        number: 900_144,
        text: format!("The request body must contain the following parameter: '{parameter}'."),
    }
}

/// A method that the path does not know.
pub(super) fn wrong_method(right: &str, sent: &Method) -> Refusal {
    Refusal {
        status: StatusCode::METHOD_NOT_ALLOWED,
        error: "invalid_request",
        number: 900_561,
        text: format!("The endpoint only accepts {right} requests. Received a {sent} request."),
    }
}
