//! Faults on demand, on the Graph and login side.
//!
//! Faults are tried in the order in which they were set; the first that matches wins. What is
//! random comes in as an argument.

use std::time::Duration;

use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode};
use serde_json::Value;

use super::answer::Answer;
use super::fields::{BadField, Fields};

/// Longer than any client waits.
const LONGEST_DELAY: u64 = 600_000;

/// The faults that are set, in order.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

/// One fault: which requests it strikes, how often, and what it does.
#[derive(Debug)]
pub(super) struct Fault {
    method: Option<String>,
    /// A prefix of the path as it is sent, compared to the letter.
    path: Option<String>,
    /// How many more times; none is without end.
    times: Option<u64>,
    /// The share of matching requests that it strikes.
    rate: f64,
    strike: Strike,
}

/// What a fault does to one request.
#[derive(Clone, Debug)]
pub(super) struct Strike {
    /// How long the answer, or the reset, is held back.
    pub(super) delay: Duration,
    pub(super) act: Act,
}

/// What happens instead of the plain answer.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Nothing else: the request is carried out.
    Pass,
    /// The request is not carried out and gets this answer.
    Answer(FaultAnswer),
    /// The connection is reset and the request not carried out.
    ResetBefore,
    /// The request is carried out, then the connection is reset.
    ResetAfter,
}

/// An answer that a fault asked for.
#[derive(Clone, Debug)]
pub(super) struct FaultAnswer {
    pub(super) status: StatusCode,
    retry_after: Option<HeaderValue>,
    body: Option<Value>,
}

impl Faults {
    /// Sets a fault behind those that are there.
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Removes all of them.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that strikes this request, counted down; `random` gives numbers from 0 to 1.
    pub(super) fn strike(
        &mut self,
        method: &Method,
        path: &str,
        mut random: impl FnMut() -> f64,
    ) -> Option<Strike> {
        let index =
            self.0.iter().position(|fault| fault.matches(method, path) && random() < fault.rate)?;
        let fault = &mut self.0[index];
        let strike = fault.strike.clone();
        fault.times = fault.times.map(|times| times - 1);
        if fault.times == Some(0) {
            self.0.remove(index);
        }
        Some(strike)
    }
}

impl Fault {
    /// Takes the fields of `POST /sim/faults`.
    ///
    /// # Errors
    ///
    /// When a field is malformed, or the fields together do nothing or contradict each other.
    pub(super) fn read(mut fields: Fields) -> Result<Self, BadField> {
        let fault = Self {
            method: fields.text("method")?,
            path: read_path(&mut fields)?,
            times: fields.number("times", 1..=u64::MAX)?,
            rate: fields.share("rate")?.unwrap_or(1.0),
            strike: Strike::read(&mut fields)?,
        };
        fields.finish()?;
        Ok(fault)
    }

    fn matches(&self, method: &Method, path: &str) -> bool {
        self.method.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(method.as_str()))
            && self.path.as_ref().is_none_or(|prefix| path.starts_with(prefix))
    }
}

impl Strike {
    fn read(fields: &mut Fields) -> Result<Self, BadField> {
        let delay = fields.number("delayMs", 0..=LONGEST_DELAY)?;
        let status = fields.number("status", 200..=599)?;
        let reset = fields.text("reset")?;
        let retry_after = read_retry_after(fields)?;
        let body = fields.take("body");
        if status.is_none() && retry_after.is_some() {
            return Err(BadField::new("retryAfter", "needs a status"));
        }
        if status.is_none() && body.is_some() {
            return Err(BadField::new("body", "needs a status"));
        }
        let act = match (status, reset.as_deref()) {
            (Some(status), None) => Act::Answer(FaultAnswer {
                status: u16::try_from(status)
                    .ok()
                    .and_then(|status| StatusCode::from_u16(status).ok())
                    .expect("the range was checked"),
                retry_after,
                body,
            }),
            (Some(_), Some(_)) => {
                return Err(BadField::new("reset", "and status exclude each other"));
            }
            (None, Some("before")) => Act::ResetBefore,
            (None, Some("after")) => Act::ResetAfter,
            (None, Some(_)) => return Err(BadField::new("reset", "must be before or after")),
            (None, None) if delay.is_some() => Act::Pass,
            (None, None) => return Err(BadField::new("status", "or delayMs or reset is required")),
        };
        Ok(Self { delay: Duration::from_millis(delay.unwrap_or(0)), act })
    }
}

impl FaultAnswer {
    /// Puts what the fault says over the usual answer with its status: a body (a string as it is,
    /// anything else as JSON), and `Retry-After` as it was given.
    pub(super) fn put_on(self, usual: Answer) -> Answer {
        let mut answer = match self.body {
            None => usual,
            Some(body) => {
                let new = match body {
                    Value::String(text) if text.is_empty() => Answer::empty(self.status),
                    Value::String(text) if text.trim_start().starts_with('<') => {
                        Answer::text(self.status, "text/html; charset=utf-8", text)
                    }
                    Value::String(text) => {
                        Answer::text(self.status, "text/plain; charset=utf-8", text)
                    }
                    json => Answer::json(self.status, &json),
                };
                let mut headers = usual.headers;
                headers.remove(hyper::header::CONTENT_TYPE);
                headers.extend(new.headers);
                Answer { headers, ..new }
            }
        };
        if let Some(value) = self.retry_after {
            answer = answer.with(RETRY_AFTER, value);
        }
        answer
    }
}

fn read_path(fields: &mut Fields) -> Result<Option<String>, BadField> {
    let path = fields.text("path")?;
    match path.as_deref() {
        Some(text) if !text.starts_with('/') => Err(BadField::new("path", "must begin with /")),
        Some(text) if super::control::is_for(text) => {
            Err(BadField::new("path", "names the control API, which has no faults"))
        }
        _ => Ok(path),
    }
}

fn read_retry_after(fields: &mut Fields) -> Result<Option<HeaderValue>, BadField> {
    let text = match fields.take("retryAfter") {
        None => return Ok(None),
        Some(Value::String(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        Some(_) => return Err(BadField::new("retryAfter", "must be a string or a number")),
    };
    match HeaderValue::from_str(&text) {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(BadField::new("retryAfter", "cannot be sent in a header")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(fields: &Value) -> Result<Fault, String> {
        let fields = Fields::read(fields.to_string().as_bytes()).unwrap();
        Fault::read(fields).map_err(|error| error.to_string())
    }

    fn status(strike: Option<Strike>) -> Option<u16> {
        match strike?.act {
            Act::Answer(answer) => Some(answer.status.as_u16()),
            _ => None,
        }
    }

    #[test]
    fn the_first_match_wins_and_counts_down() {
        let mut faults = Faults::default();
        faults.add(fault(&json!({"method": "delete", "status": 429, "times": 2})).unwrap());
        faults.add(fault(&json!({"path": "/v1.0/", "status": 503})).unwrap());
        let mut strike = |method, path| status(faults.strike(method, path, || 0.5));
        assert_eq!(strike(&Method::GET, "/v1.0/a"), Some(503));
        assert_eq!(strike(&Method::DELETE, "/v1.0/a"), Some(429));
        assert_eq!(strike(&Method::DELETE, "/beta/a"), Some(429));
        assert_eq!(strike(&Method::DELETE, "/v1.0/a"), Some(503));
        assert_eq!(strike(&Method::DELETE, "/beta/a"), None);
    }

    #[test]
    fn a_fault_that_its_rate_spares_leaves_the_request_to_the_next() {
        let mut faults = Faults::default();
        faults.add(fault(&json!({"rate": 0.25, "status": 500})).unwrap());
        faults.add(fault(&json!({"rate": 0, "status": 501})).unwrap());
        faults.add(fault(&json!({"rate": 1, "status": 502})).unwrap());
        let mut strike = |random| status(faults.strike(&Method::GET, "/", || random));
        assert_eq!(strike(0.0), Some(500));
        assert_eq!(strike(0.25), Some(502));
        assert_eq!(strike(0.999), Some(502));
    }

    #[test]
    fn a_bad_field_is_named() {
        for (fields, name) in [
            (json!({}), "status"),
            (json!({"method": "GET"}), "status"),
            (json!({"status": 99}), "status"),
            (json!({"status": "503"}), "status"),
            (json!({"status": 503, "retryAfter": true}), "retryAfter"),
            (json!({"status": 503, "retryAfter": "1\n"}), "retryAfter"),
            (json!({"retryAfter": 1}), "retryAfter"),
            (json!({"body": "x", "delayMs": 5}), "body"),
            (json!({"delayMs": -1}), "delayMs"),
            (json!({"reset": "sometimes"}), "reset"),
            (json!({"reset": "after", "status": 503}), "reset"),
            (json!({"status": 503, "times": 0}), "times"),
            (json!({"status": 503, "rate": 1.5}), "rate"),
            (json!({"status": 503, "path": "v1.0"}), "path"),
            (json!({"status": 503, "path": "/sim/calls"}), "path"),
            (json!({"status": 503, "code": 1}), "code"),
        ] {
            let error = fault(&fields).unwrap_err();
            assert!(error.starts_with(&format!("{name}: ")), "{fields}: {error}");
        }
    }
}
