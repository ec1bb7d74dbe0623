//! Asks Graph about calls whose end may have got lost. It only reads: nothing keeps a call alive.
//!
//! When a call is asked about is a row of the store. Here is only the pace: a few requests at a
//! time and so many in a second, whatever a clock or an import makes due at once, and fewer while
//! Graph or its login does not answer, because deletions go before. What is under way when the
//! process stops is asked again by the next one.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;

use super::Registry;
use crate::clock::{Clock, Timestamp};
use crate::graph::GraphClient;
use crate::graph::error::{GraphError, LoginError};
use crate::graph::pacing::next_attempt;
use crate::health::Health;
use crate::id::TenantId;
use crate::model::reconcile::{CONFIRMATION, SILENCE};
use crate::store::error::StoreError;
use crate::store::reconcile::{Asking, Look, LookEnd, Looked};
use crate::store::records::CallNews;

/// Its part of the health report.
const PART: &str = "reconciler";

/// How Graph is asked about calls.
#[derive(Clone, Debug)]
pub(crate) struct ReconcileRules {
    /// Who asks, one for each tenant; the calls of other tenants and apps are never asked about.
    pub(crate) apps: Vec<Asking>,
    /// Requests at the same time, for each app.
    pub(crate) concurrency: usize,
    /// Requests begun within one second, for each app.
    pub(crate) per_second: usize,
    /// The store is asked for what is due this often, whatever a clock says.
    pub(crate) rest: Duration,
}

impl ReconcileRules {
    /// What suits Graph's limits: a fraction of what deletions may use.
    pub(crate) fn new(apps: Vec<Asking>) -> Self {
        Self { apps, concurrency: 8, per_second: 20, rest: Duration::from_secs(1) }
    }
}

/// The worker; it asks while [`Reconciler::run`] runs.
#[derive(Debug)]
pub(crate) struct Reconciler {
    asker: Asker,
    rules: ReconcileRules,
    health: Health,
    asking: JoinSet<Result<(), Failure>>,
    /// The calls that the tasks in `asking` ask about, and for which app, counted in the rules.
    under_way: HashMap<task::Id, (usize, i64)>,
    /// One for each app, so that one that Graph refuses does not slow down the others.
    paces: Vec<Pace>,
    /// When the store is asked again.
    look_at: Instant,
}

impl Reconciler {
    /// Asks `graph` about the calls in `registry`.
    pub(crate) fn new(
        registry: Registry,
        graph: GraphClient,
        clock: Clock,
        rules: ReconcileRules,
        health: Health,
    ) -> Self {
        Self {
            asker: Asker { registry, graph, clock },
            paces: rules.apps.iter().map(|_| Pace::new(&rules)).collect(),
            rules,
            health,
            asking: JoinSet::new(),
            under_way: HashMap::new(),
            look_at: Instant::now(),
        }
    }

    /// Asks about what is due until `shutdown`, and drops what is under way then.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let wanted = self.asker.registry.store.look_wanted();
        while !*shutdown.borrow_and_update() {
            let next_look = self.next_look();
            tokio::select! {
                biased;
                changed = shutdown.changed() => if changed.is_err() { break },
                Some(ended) = self.asking.join_next_with_id() => self.ended(ended),
                () = wanted.notified() => self.look_at = Instant::now(),
                () = tokio::time::sleep_until(next_look) => {
                    self.begin().await;
                }
            }
        }
    }

    /// Begins to ask about what is due, as far as the pace allows.
    async fn begin(&mut self) {
        let now = Instant::now();
        self.look_at = now + self.rules.rest;
        for app in 0..self.rules.apps.len() {
            let room = self.paces[app].room(now).min(self.free(app));
            // Where there is none, what ends makes room and looks again.
            if room > 0 {
                self.begin_for(app, room, now).await;
            }
        }
    }

    async fn begin_for(&mut self, position: usize, room: usize, now: Instant) {
        let app = self.rules.apps[position].clone();
        let under_way = self.under_way.values().map(|(_, call)| *call).collect();
        let moment = self.asker.clock.moment();
        let tenant = app.tenant.clone();
        match self.asker.registry.store.calls_to_look_at(app, moment, room, under_way).await {
            Ok(due) => {
                for look in due {
                    self.paces[position].begun(now);
                    let call = look.call;
                    let task = self.asking.spawn(self.asker.clone().ask(tenant.clone(), look));
                    self.under_way.insert(task.id(), (position, call));
                }
            }
            Err(error) if error.is_shown() => {}
            Err(error) => tracing::warn!("calls to look at could not be read: {error}"),
        }
    }

    /// When the next look for what is due comes: the first at which an app may begin one.
    fn next_look(&self) -> Instant {
        let looks = self.paces.iter().map(|pace| pace.not_before(self.look_at));
        looks.min().unwrap_or(self.look_at)
    }

    /// How many more requests of this app may be under way.
    fn free(&self, app: usize) -> usize {
        // While nothing is answered, one at a time finds out when it is again.
        let limit = if self.paces[app].failures == 0 { self.rules.concurrency } else { 1 };
        limit.saturating_sub(self.under_way.values().filter(|(of, _)| *of == app).count())
    }

    /// Takes notice of the end of a look, and looks for the next one when all were in use.
    fn ended(&mut self, ended: Result<(task::Id, Result<(), Failure>), JoinError>) {
        let (id, result) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // It stays due. A pause keeps one that always fails from being all that is done.
                tracing::error!(panicked = error.is_panic(), "a look at a call failed inside");
                (error.id(), Err(Failure::new("a look failed inside".to_owned())))
            }
        };
        let Some((app, _)) = self.under_way.get(&id).copied() else { return };
        if self.free(app) == 0 {
            self.look_at = Instant::now();
        }
        self.under_way.remove(&id);
        match result {
            Ok(()) => {
                self.paces[app].failures = 0;
                if self.paces.iter().all(|pace| pace.failures == 0) {
                    self.health.restored(PART);
                }
            }
            Err(failure) => self.slow_down(app, &failure),
        }
    }

    fn slow_down(&mut self, app: usize, failure: &Failure) {
        let wall = self.asker.clock.now();
        let tenant = &self.rules.apps[app].tenant;
        if let Some(pause) = self.paces[app].failed(Instant::now(), wall, failure.retry_after) {
            self.health.degraded(PART, "it cannot be found out which calls have ended");
            tracing::warn!(
                tenant.id = %tenant,
                "it cannot be found out which calls have ended, again in {} s: {}{}",
                pause.as_secs(),
                failure.explanation,
                failure.hint.map(|hint| self.asker.graph.in_keys_of(tenant, hint)).map(|hint| format!("; {hint}")).unwrap_or_default()
            );
        }
    }
}

/// Why nobody should be asked for a while.
#[derive(Debug)]
struct Failure {
    explanation: String,
    hint: Option<&'static str>,
    retry_after: Option<Duration>,
}

impl Failure {
    fn new(explanation: String) -> Self {
        Self { explanation, hint: None, retry_after: None }
    }
}

/// How many looks may begin, by a clock that nobody sets.
#[derive(Debug)]
struct Pace {
    per_second: usize,
    second_began: Instant,
    begun: usize,
    /// Failures since the last answer that could be used.
    failures: u32,
    paused_until: Instant,
}

impl Pace {
    fn new(rules: &ReconcileRules) -> Self {
        let now = Instant::now();
        let per_second = rules.per_second;
        Self { per_second, second_began: now, begun: 0, failures: 0, paused_until: now }
    }

    /// How many may begin at `now`.
    fn room(&mut self, now: Instant) -> usize {
        if now.duration_since(self.second_began) >= Duration::from_secs(1) {
            (self.second_began, self.begun) = (now, 0);
        }
        if now < self.paused_until { 0 } else { self.per_second.saturating_sub(self.begun) }
    }

    fn begun(&mut self, now: Instant) {
        debug_assert!(now >= self.second_began);
        self.begun += 1;
    }

    /// `at`, or when there is room again.
    fn not_before(&self, at: Instant) -> Instant {
        let is_used_up = self.begun >= self.per_second;
        let next_second = self.second_began + Duration::from_secs(1);
        at.max(self.paused_until).max(if is_used_up { next_second } else { at })
    }

    /// Pauses after a failure; gives how long, unless there is a pause already: then it only becomes
    /// as long as Graph asks for, because what began together fails together.
    fn failed(
        &mut self,
        now: Instant,
        wall: Timestamp,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        if now < self.paused_until {
            self.paused_until = self.paused_until.max(now + retry_after.unwrap_or_default());
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        let pause = next_attempt(self.failures, wall, retry_after, 0.0).since(wall);
        self.paused_until = now + pause;
        Some(pause)
    }
}

/// One look.
#[derive(Clone, Debug)]
struct Asker {
    registry: Registry,
    graph: GraphClient,
    clock: Clock,
}

impl Asker {
    async fn ask(self, tenant: TenantId, look: Look) -> Result<(), Failure> {
        let answer = self.graph.read_call(&tenant, &look.graph_id).await;
        let moment = self.clock.moment();
        let now = moment.wall;
        let (end, failure) = match answer.result {
            Ok(change) => {
                // As if a notification had told it. What it says may be that the call has ended.
                let news = CallNews { tenant, app_id: None, changes: vec![change], now: moment };
                match self.registry.apply(news).await {
                    Ok(_applied) => (LookEnd::StillThere, None),
                    // Its row may be at fault: then others must have their turn.
                    Err(error) => {
                        let again_at = now + CONFIRMATION;
                        (LookEnd::Failed { again_at }, Some(store_failed(&look, &error)))
                    }
                }
            }
            Err(GraphError::NotFound) => (LookEnd::Gone, None),
            Err(error) => {
                tracing::debug!(
                    call.id = %look.call_id, status = answer.status,
                    "Graph does not say whether it has call {}: {}",
                    look.call_id, error.for_log()
                );
                let (wait, failure) = failed(&error);
                (LookEnd::Failed { again_at: now + wait }, failure)
            }
        };
        match self.registry.store.looked(look.call, end, moment).await {
            Ok(looked) => report(&look, &looked),
            Err(error) => return Err(store_failed(&look, &error)),
        }
        failure.map_or(Ok(()), Err)
    }
}

/// When a call is asked about again after an answer that says nothing about it; and the failure, when
/// others would fare no better.
fn failed(error: &GraphError) -> (Duration, Option<Failure>) {
    let retry_after = match error {
        GraphError::Throttled { retry_after }
        | GraphError::Unavailable { retry_after }
        | GraphError::Login(LoginError::Unavailable { retry_after, .. }) => *retry_after,
        // About this call there is nothing to be learned, now or in a minute.
        GraphError::OtherTenant
        | GraphError::TooMany
        | GraphError::ForeignPage
        | GraphError::Refused { .. }
        | GraphError::UnusableId => return (SILENCE, None),
        // What stands for one call only is found out by the others, which are asked meanwhile.
        GraphError::NotFound
        | GraphError::NoParticipant
        | GraphError::OtherApp
        | GraphError::ForeignNotFound { .. }
        | GraphError::Login(_)
        | GraphError::Unauthorized
        | GraphError::TenantFault { .. }
        | GraphError::ServerError { .. }
        | GraphError::Unreadable { .. }
        | GraphError::Redirected { .. }
        | GraphError::Connect(_)
        | GraphError::Tls(_)
        | GraphError::Torn { .. }
        | GraphError::Lost(_) => None,
    };
    let failure = Failure { explanation: error.for_log(), hint: error.hint(), retry_after };
    (CONFIRMATION, Some(failure))
}

fn store_failed(look: &Look, error: &StoreError) -> Failure {
    Failure::new(format!("what Graph said of call {} was not written: {error}", look.call_id))
}

fn report(look: &Look, looked: &Looked) {
    let call = &look.call_id;
    match looked {
        Looked::Again { unheeded: Some(deletion) } => tracing::warn!(
            call.id = %call, deletion.id = %deletion,
            "Graph took deletion {deletion} and still has call {call}; it is asked again"
        ),
        Looked::Ended { confirmed } => tracing::info!(
            call.id = %call, confirmed,
            "Graph no longer has call {call}: it ended, and nothing told why"
        ),
        Looked::Again { unheeded: None } | Looked::Known => {}
    }
}
