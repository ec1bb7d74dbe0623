//! What was received: every request of the Graph and login side, without the secrets it carried.
//!
//! A tester reads here what a client really sent, so everything else is kept as it came.

use std::collections::VecDeque;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Request, StatusCode};
use serde_json::{Map, Value, json};

use super::answer::text_of;
use crate::clock::Timestamp;

/// The oldest record is dropped beyond this, so that a long load test does not fill the memory.
const KEPT: usize = 100_000;

/// The length up to which a token is shown, if there is more of it.
const SHOWN: usize = 8;

const HIDDEN: &str = "(hidden)";

/// The records, oldest first.
#[derive(Debug, Default)]
pub(super) struct Requests {
    records: VecDeque<Record>,
    /// How many were dropped or cleared: the number of the first record.
    gone: u64,
}

/// The number of a record, counted from the start of the simulator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(u64);

#[derive(Debug)]
struct Record {
    at: Timestamp,
    method: String,
    path: String,
    query: Option<String>,
    headers: Map<String, Value>,
    body: Option<String>,
    status: Option<StatusCode>,
}

impl Requests {
    /// Keeps what was received; the status follows with [`Requests::answered`].
    pub(super) fn record(&mut self, request: &Request<Bytes>, at: Timestamp) -> Ticket {
        if self.records.len() == KEPT {
            self.records.pop_front();
            self.gone += 1;
        }
        let body = String::from_utf8_lossy(request.body());
        self.records.push_back(Record {
            at,
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().map(hide_credentials),
            headers: shown_headers(request.headers()),
            body: (!body.is_empty()).then(|| hide_credentials(&body)),
            status: None,
        });
        Ticket(self.gone + self.records.len() as u64 - 1)
    }

    /// Notes that the request was answered; nothing happens if its record is gone.
    pub(super) fn answered(&mut self, Ticket(number): Ticket, status: StatusCode) {
        let index = number.checked_sub(self.gone).and_then(|index| usize::try_from(index).ok());
        if let Some(record) = index.and_then(|index| self.records.get_mut(index)) {
            record.status = Some(status);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.gone += self.records.len() as u64;
        self.records.clear();
    }

    /// The records as the control API shows them. A `null` status: no answer was given (yet).
    pub(super) fn listing(&self) -> Value {
        self.records.iter().map(Record::listing).collect()
    }
}

impl Record {
    fn listing(&self) -> Value {
        json!({
            "time": self.at.to_string(),
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": self.headers,
            "body": self.body,
            "status": self.status.map(|status| status.as_u16()),
        })
    }
}

fn shown_headers(headers: &HeaderMap) -> Map<String, Value> {
    let shown = headers.keys().map(|name| {
        let values = headers.get_all(name).iter().map(text_of);
        let values: Vec<String> = if name == "x-identity-header" {
            vec![HIDDEN.to_owned()]
        } else if name == AUTHORIZATION {
            values.map(|value| shorten_credentials(&value)).collect()
        } else {
            values.collect()
        };
        (name.to_string(), Value::String(values.join(", ")))
    });
    shown.collect()
}

/// The scheme and, of a bearer token, its beginning.
fn shorten_credentials(value: &str) -> String {
    match value.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("Bearer") && token.chars().count() > 2 * SHOWN =>
        {
            format!("{scheme} {}...", token.chars().take(SHOWN).collect::<String>())
        }
        Some((scheme, _)) => format!("{scheme} ..."),
        None => "...".to_owned(),
    }
}

/// Replaces the credentials in form fields; every other byte stays as it came.
fn hide_credentials(form: &str) -> String {
    let fields = form.split('&').map(|field| {
        let Some((name, value)) = field.split_once('=') else { return field.to_owned() };
        let decoded = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        match decoded.to_ascii_lowercase().as_str() {
            "client_secret" => format!("{name}={HIDDEN}"),
            // Header and claims are worth reading; without the signature they open nothing.
            "client_assertion" => match value.rsplit_once('.') {
                Some((readable, _signature)) => format!("{name}={readable}.{HIDDEN}"),
                None => format!("{name}={HIDDEN}"),
            },
            _ => field.to_owned(),
        }
    });
    let shown = fields.collect::<Vec<_>>().join("&");
    // Not a form, although it speaks of a secret: nothing of it is safe to show.
    if shown == form && form.contains("client_secret") { HIDDEN.to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_kept_and_everything_else_is() {
        for (sent, shown) in [
            ("scope=a%2Fb&client_secret=s%3Dx&x=1", "scope=a%2Fb&client_secret=(hidden)&x=1"),
            ("client%5Fsecret=s", "client%5Fsecret=(hidden)"),
            ("client_assertion=h.c.s&y", "client_assertion=h.c.(hidden)&y"),
            ("client_assertion=opaque", "client_assertion=(hidden)"),
            (r#"{"client_secret": "s"}"#, "(hidden)"),
            (r#"{"reason": "busy"}"#, r#"{"reason": "busy"}"#),
        ] {
            assert_eq!(hide_credentials(sent), shown);
        }
    }

    #[test]
    fn a_bearer_token_is_shortened_and_a_short_one_is_not_shown_at_all() {
        assert_eq!(shorten_credentials("Bearer eyJ0eXAiOiJKV1QiLCJhbGci"), "Bearer eyJ0eXAi...");
        assert_eq!(shorten_credentials("Bearer any"), "Bearer ...");
        assert_eq!(shorten_credentials("Basic dXNlcjpwYXNzd29yZA=="), "Basic ...");
        assert_eq!(shorten_credentials("naked"), "...");
    }

    #[test]
    fn a_late_answer_does_not_touch_the_record_of_another_request() {
        let mut requests = Requests::default();
        let request = Request::get("/v1.0/a").body(Bytes::new()).unwrap();
        let late = requests.record(&request, Timestamp(0));
        requests.clear();
        let next = requests.record(&request, Timestamp(0));
        requests.answered(late, StatusCode::OK);
        assert_eq!(requests.listing()[0]["status"], Value::Null);
        requests.answered(next, StatusCode::NO_CONTENT);
        assert_eq!(requests.listing()[0]["status"], 204);
    }
}
