//! What the simulator knows, and how it decides about one request.
//!
//! A request is recorded, matched with the faults and carried out under one lock, so that
//! `/sim/requests` tells the order in which things happened. Nothing here waits.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, StatusCode};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::answer::{Answer, Exchange};
use super::callback::Job;
use super::communications;
use super::directory::{Directory, USUAL_APP, USUAL_TENANT, same};
use super::faults::{Act, Faults};
use super::login::{self, App, Login};
use super::openid::Document;
use super::requests::{Requests, Ticket};
use super::signing::Signing;
use super::switchboard::Switchboard;
use crate::clock::Clock;

/// Everything that outlives a request.
#[derive(Debug)]
pub(super) struct State {
    pub(super) clock: Clock,
    pub(super) switchboard: Switchboard,
    pub(super) requests: Requests,
    pub(super) faults: Faults,
    pub(super) signing: Signing,
    pub(super) directory: Directory,
    /// Of each tenant the app that logged in last, in the order of these logins.
    apps: Vec<App>,
}

/// What happens to one request of the Graph or login side.
#[derive(Debug)]
pub(super) struct Decision {
    /// The record to complete once the answer is given.
    pub(super) ticket: Ticket,
    /// How long the answer is held back.
    pub(super) delay: Duration,
    pub(super) answer: Result<Answer, Reset>,
}

/// The connection is to be reset instead of answered.
#[derive(Debug)]
pub(super) struct Reset;

impl State {
    /// No calls, no faults, nothing received.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            switchboard: Switchboard::default(),
            requests: Requests::default(),
            faults: Faults::default(),
            signing: Signing::default(),
            directory: Directory::default(),
            apps: Vec::new(),
        }
    }

    /// The token that goes with a job: for its tenant, and unless the callback says for whom, for the
    /// call's app, or the one that logged in to the tenant last, or else to any.
    pub(super) fn token(&mut self, job: &Job) -> String {
        let of_tenant = self.apps.iter().find(|app| same(&app.tenant, &job.tenant_id));
        let logged_in = of_tenant.or(self.apps.last()).map(|app| app.client_id.as_str());
        let said = job.settings.audience.as_deref().or(job.app_id.as_deref());
        let audience = said.or(logged_in).unwrap_or(USUAL_APP);
        self.signing.token(&job.tenant_id, audience, self.clock.now())
    }

    /// The tenant of a call that is made without one: that of the last login, which is the one that
    /// the gateway can log in to.
    pub(super) fn usual_tenant(&self) -> String {
        self.apps.last().map_or(USUAL_TENANT, |app| app.tenant.as_str()).to_owned()
    }

    /// Notes that this app logged in.
    fn note(&mut self, app: App) {
        self.apps.retain(|other| !same(&other.tenant, &app.tenant));
        self.apps.push(app);
    }

    /// Decides the invitations whose time has come, and says how long the next one has.
    pub(super) fn settle(&mut self) -> Option<Duration> {
        let now = self.clock.now();
        self.switchboard.settle(now).map(|due| due.since(now))
    }

    /// Records `request`, lets a fault strike, and otherwise carries it out.
    pub(super) fn receive(&mut self, request: &Request<Bytes>) -> Decision {
        let exchange = Exchange::new(request, self.clock.now());
        let ticket = self.requests.record(request, exchange.at);
        let path = request.uri().path();
        let side = Side::of(path);
        let Some(strike) = self.faults.strike(request.method(), path, random_fraction) else {
            let answer = Ok(self.carry_out(&side, request, &exchange));
            return Decision { ticket, delay: Duration::ZERO, answer };
        };
        let answer = match strike.act {
            Act::Pass => Ok(self.carry_out(&side, request, &exchange)),
            Act::Answer(fault) => {
                let usual = side.usual(fault.status, &exchange);
                Ok(fault.put_on(usual))
            }
            Act::ResetBefore => Err(Reset),
            Act::ResetAfter => {
                self.carry_out(&side, request, &exchange);
                Err(Reset)
            }
        };
        Decision { ticket, delay: strike.delay, answer }
    }

    /// Records a request whose body was too large to be read, and refuses it.
    pub(super) fn refuse_too_large(&mut self, head: &Request<Bytes>) -> Answer {
        let exchange = Exchange::new(head, self.clock.now());
        let ticket = self.requests.record(head, exchange.at);
        self.requests.answered(ticket, StatusCode::PAYLOAD_TOO_LARGE);
        Side::of(head.uri().path()).usual(StatusCode::PAYLOAD_TOO_LARGE, &exchange)
    }

    fn carry_out(&mut self, side: &Side, request: &Request<Bytes>, exchange: &Exchange) -> Answer {
        match side {
            Side::Login(login) => {
                let mut app = None;
                let answer = login::answer(login, request, exchange, &self.directory, &mut app);
                if let Some(app) = app {
                    self.note(app);
                }
                answer
            }
            Side::Issuer(document) => {
                document.answer(&self.signing, request.method(), &exchange.base)
            }
            Side::Graph(path) => {
                self.settle();
                let (switchboard, directory) = (&mut self.switchboard, &self.directory);
                communications::answer(switchboard, directory, path, request, exchange)
            }
        }
    }
}

/// Who answers a path that is not the control API's.
enum Side {
    Login(Login),
    /// Who signs notifications.
    Issuer(Document),
    /// The decoded segments of the path.
    Graph(Vec<String>),
}

impl Side {
    fn of(path: &str) -> Self {
        let segments = segments(path);
        match (Login::of(&segments), Document::of(&segments)) {
            (Some(login), _) => Self::Login(login),
            (None, Some(document)) => Self::Issuer(document),
            (None, None) => Self::Graph(segments),
        }
    }

    /// What this side answers with `status` when there is nothing more to say.
    fn usual(&self, status: StatusCode, exchange: &Exchange) -> Answer {
        match self {
            Self::Login(_) => login::usual(status, exchange),
            Self::Issuer(_) => Answer::empty(status),
            Self::Graph(_) => communications::usual(status, exchange),
        }
    }
}

/// The segments of a raw path, each decoded by itself: an encoded slash separates nothing.
pub(super) fn segments(path: &str) -> Vec<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/').map(|raw| percent_decode_str(raw).decode_utf8_lossy().into_owned()).collect()
}

/// A fresh random number of at least 0 and less than 1.
pub(super) fn random_fraction() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::calls::{CallState, NewCall};
    use super::super::faults::Fault;
    use super::super::fields::Fields;
    use super::*;
    use crate::clock::Timestamp;

    fn state_with_a_call() -> State {
        let mut state = State::new(Clock::manual(Timestamp(0)));
        let call = json!({"id": "a", "source": "+4930123", "targets": ["8856"]});
        let new = NewCall::read(Fields::read(call.to_string().as_bytes()).unwrap(), "t".to_owned())
            .unwrap();
        state.switchboard.make(new, Timestamp(0)).unwrap();
        state
    }

    fn delete(state: &mut State, fault: &serde_json::Value) -> Decision {
        let fault = Fault::read(Fields::read(fault.to_string().as_bytes()).unwrap()).unwrap();
        state.faults.add(fault);
        let request = Request::delete("/v1.0/communications/calls/a")
            .header("authorization", "Bearer any")
            .body(Bytes::new())
            .unwrap();
        state.receive(&request)
    }

    #[test]
    fn a_reset_before_the_effect_leaves_the_call_and_one_after_it_ends_the_call() {
        let mut state = state_with_a_call();
        let decision = delete(&mut state, &json!({"reset": "before", "times": 1}));
        assert!(decision.answer.is_err());
        assert_eq!(state.switchboard.calls().get("a").unwrap().state, CallState::Established);

        let decision = delete(&mut state, &json!({"reset": "after", "times": 1}));
        assert!(decision.answer.is_err());
        assert_eq!(state.switchboard.calls().get("a").unwrap().state, CallState::Terminated);
    }

    #[test]
    fn a_delay_alone_holds_back_the_answer_and_not_the_effect() {
        let mut state = state_with_a_call();
        let decision = delete(&mut state, &json!({"delayMs": 1500}));
        assert_eq!(decision.delay, Duration::from_millis(1500));
        assert_eq!(decision.answer.unwrap().status, StatusCode::NO_CONTENT);
        assert_eq!(state.switchboard.calls().get("a").unwrap().state, CallState::Terminated);
    }

    #[test]
    fn a_status_takes_the_place_of_the_effect() {
        let mut state = state_with_a_call();
        let decision = delete(&mut state, &json!({"status": 204}));
        assert_eq!(decision.answer.unwrap().status, StatusCode::NO_CONTENT);
        assert_eq!(state.switchboard.calls().get("a").unwrap().state, CallState::Established);
    }

    #[test]
    fn an_encoded_slash_separates_no_segments() {
        assert_eq!(segments("/a/id%20with%2Fodd%3Fchars"), ["a", "id with/odd?chars"]);
        assert_eq!(segments("/"), [""]);
    }
}
