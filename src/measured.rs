//! What benchmarks and tests reach and nobody else needs: reading a request and rendering its answer,
//! reading a notification, and a gateway whose time can be moved.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;

use crate::cli::serve::{Listeners, ServeError, serve_by};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::limits::LimitsConfig;
use crate::id::{CallId, DeletionId, RequestId};
use crate::legacy::action::{self, Steps};
use crate::legacy::codes::Table;
use crate::legacy::error::GatewayError;
use crate::legacy::outcome::{Facts, Outcome, OutcomeKind};
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
                facts: Facts {
                    call_id: Some(CallId::sortable()),
                    deletion_id: Some(DeletionId::sortable()),
                    operation: Some(Operation::HangUp),
                    ..Facts::default()
                },
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
            at_our_path: true,
            post: false,
            uri: SafeUri::new(uri.parse::<Uri>().expect("a benchmark's URI is written by hand")),
            form: None,
            api_key_header: None,
            bearer: None,
            basic: None,
            prefetch: false,
        };
        let params = Params::read(&request, &self.limits);
        let style = params.style();
        let reply = match read(&params, &request) {
            Ok(()) => render::outcome(&self.sent, &style),
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

/// A clock that goes as the system's does, and can be moved. All copies are one clock.
#[derive(Clone, Debug)]
pub struct TestClock(Clock);

impl Default for TestClock {
    fn default() -> Self {
        Self(Clock::movable())
    }
}

impl TestClock {
    /// Lets time pass, for everybody who reads it.
    pub fn advance(&self, by: Duration) {
        self.0.advance(by);
    }

    /// Sets it forward, or back, by so many milliseconds, as somebody may set a machine's clock: no time
    /// has passed.
    pub fn set(&self, by: i64) {
        self.0.set(by);
    }
}

/// As [`crate::serve`], with the time of `clock` for everything but the log. The commands of the
/// command line keep the system's.
///
/// # Errors
///
/// As [`crate::serve`].
pub async fn serve_at(
    clock: TestClock,
    listeners: Listeners,
    config: Config,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    serve_by(clock.0, listeners, config, stop).await
}

fn read(params: &Params, request: &LegacyRequest) -> Result<(), GatewayError> {
    params.format()?;
    let name = params.action_name()?;
    let _credentials = params.credentials(request);
    match name.steps() {
        Steps::LogIn => drop(black_box(action::token_request(request, params)?)),
        Steps::Act { read, .. } => drop(black_box(read(params)?)),
    }
    Ok(())
}
