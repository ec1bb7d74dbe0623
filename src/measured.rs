//! What benchmarks reach of the pure parts: reading a request and rendering its answer, reading a
//! notification.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use hyper::Uri;

use crate::config::Config;
use crate::config::limits::LimitsConfig;
use crate::id::{CallId, DeletionId, RequestId};
use crate::legacy::action::Action;
use crate::legacy::codes::Table;
use crate::legacy::error::GatewayError;
use crate::legacy::outcome::{Outcome, OutcomeKind};
use crate::legacy::params::Params;
use crate::legacy::{LegacyRequest, render};
use crate::model::plan::Operation;
use crate::notifications::payload::{self, Delivery};
use crate::secret::SafeUri;

/// Everything of a request that needs neither a store nor Graph.
#[derive(Debug)]
pub struct Measured {
    limits: LimitsConfig,
    table: Table,
    sent: Outcome,
}

impl Default for Measured {
    fn default() -> Self {
        let config = Config::defaults();
        Self {
            table: Table::new(&config.legacy),
            limits: config.limits,
            sent: Outcome {
                kind: OutcomeKind::Sent,
                call_id: Some(CallId::sortable()),
                deletion_id: Some(DeletionId::sortable()),
                operation: Some(Operation::HangUp),
                notes: Vec::new(),
            },
        }
    }
}

impl Measured {
    /// Reads the request to `uri` as the legacy API does and renders its answer: success when it is
    /// well-formed, else the error.
    ///
    /// # Panics
    ///
    /// When `uri` is none.
    pub fn answer(&self, uri: &str) -> Bytes {
        let request = LegacyRequest {
            id: RequestId::random(),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            post: false,
            uri: SafeUri::new(uri.parse::<Uri>().expect("a benchmark's URI is written by hand")),
            form: None,
            api_key_header: None,
            bearer: None,
            prefetch: false,
        };
        let params = Params::read(&request, &self.limits);
        let style = params.style();
        let reply = match read(&params, &request) {
            Ok(_action) => render::outcome(&self.sent, &style),
            Err(error) => render::error(&error, &style, self.table),
        };
        reply.body
    }
}

/// Reads the body of a notification and counts the calls of which it says something.
pub fn notified(body: &[u8]) -> usize {
    match payload::read(body) {
        Ok(Delivery::Notifications(said)) => said.changes.len(),
        Ok(Delivery::PreGraph | Delivery::TooMuch) | Err(_) => 0,
    }
}

fn read(params: &Params, request: &LegacyRequest) -> Result<Action, GatewayError> {
    params.format()?;
    let name = params.action_name()?;
    let _credentials = params.credentials(request);
    Ok(Action::read(name, params)?)
}
