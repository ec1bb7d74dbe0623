//! The deletions that were promised, and the only bridge to effects on Graph.
//!
//! A deletion is on disk before its caller is answered and before Graph is called. If the process
//! stops before it is settled, the next start finishes it. Asking twice for the same call gives the
//! same deletion. A request never calls Graph: it admits a deletion here and waits a while.

mod attempt;
mod breaker;
mod bucket;
mod budget;
pub(crate) mod dispatch;
mod figures;
pub(crate) mod operators;
mod report;
#[cfg(test)]
mod tests;
mod verdict;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use self::budget::{Budget, Place};
use self::dispatch::{Dispatch, Ready};
pub(crate) use self::waiting::Wait;
use self::waiting::Waiting;
use crate::access::Actor;
use crate::clock::{Clock, Moment, Timestamp};
use crate::config::graph::Rate;
use crate::config::legacy::OnEnded;
use crate::graph::GraphClient;
use crate::health::Health;
use crate::id::{DeletionId, ProcessId, TenantId};
use crate::model::chain::{AuditEvent, Personal};
use crate::model::deletion::{DeletionKind, DeletionState};
use crate::model::plan::{Decision, Earlier, Operation, Question};
use crate::model::rights::Right;
use crate::model::selector::Selector;
use crate::store::admission::{Admission, Ask, Claim, Decided, Lease, SelectionRules, Settled};
use crate::store::error::StoreError;
use crate::store::reconcile::Asking;
use crate::store::{Standing, Store};
use crate::telemetry::metrics::count::Counts;
use crate::telemetry::metrics::label::Judged;

/// The journal. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    store: Store,
    clock: Clock,
    process: ProcessId,
    rules: Arc<JournalRules>,
    waiting: Waiting,
    budget: Budget,
    ready: mpsc::UnboundedSender<Ready>,
    wake: Arc<Notify>,
    /// Something was due when there was no room for it.
    backlog: Arc<AtomicBool>,
    attempts: Counts<(Operation, Judged)>,
}

/// How deletions are decided and sent.
#[derive(Clone, Debug)]
pub(crate) struct JournalRules {
    /// The tenants that we can log in to, each with the app that we are there.
    pub(crate) apps: Vec<Asking>,
    pub(crate) selection: SelectionRules,
    pub(crate) on_ended: OnEnded,
    /// How long a deletion is tried.
    pub(crate) deadline: Duration,
    /// Requests to Graph at the same time, of all tenants.
    pub(crate) concurrency: usize,
    /// How many operations are sent for each tenant.
    pub(crate) rate: Option<Rate>,
    /// How long one request to Graph may take.
    pub(crate) request_timeout: Duration,
}

impl JournalRules {
    /// Room for one attempt, which ends within the request timeout, and for a wait before it.
    fn lease(&self) -> Duration {
        self.request_timeout * 2 + Duration::from_secs(10)
    }
}

/// What a caller asks for.
#[derive(Clone, Debug)]
pub(crate) struct DeletionRequest {
    pub(crate) kind: DeletionKind,
    pub(crate) selector: Selector,
    pub(crate) dry_run: bool,
    pub(crate) reason: Option<String>,
    pub(crate) audit: AuditEvent,
    pub(crate) personal: Personal,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// Key, session or user changed since the actor was checked: check again.
    AccessChanged,
    /// Decided, and with a wait when a deletion is under way.
    Decided(Box<Decided>, Option<Wait>),
}

impl Journal {
    /// The journal in `store`, and the sender that has to run beside it.
    pub(crate) fn new(
        store: Store,
        graph: GraphClient,
        clock: Clock,
        rules: JournalRules,
        health: Health,
    ) -> (Self, Dispatch) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let tenants = rules.apps.iter().map(|app| app.tenant.clone());
        let budget = Budget::new(rules.concurrency, rules.rate, tenants, clock.clone());
        let journal = Self {
            waiting: Waiting::new(store.clone()),
            store,
            clock,
            process: ProcessId::random(),
            budget,
            rules: Arc::new(rules),
            ready: sender,
            wake: Arc::new(Notify::new()),
            backlog: Arc::default(),
            attempts: Counts::default(),
        };
        let dispatch = Dispatch::new(journal.clone(), graph, receiver, health);
        (journal, dispatch)
    }

    /// Makes this process the one that sends: what an earlier one left is due at once.
    ///
    /// # Errors
    ///
    /// Nothing was taken over, and nothing may be sent.
    pub(crate) async fn take_over(&self) -> Result<usize, StoreError> {
        self.store.take_over(self.process, self.clock.moment()).await
    }

    /// Whether calls of this tenant can be sent at all.
    pub(crate) fn serves(&self, tenant: &TenantId) -> bool {
        self.client_of(tenant).is_some()
    }

    /// The app that we are in this tenant.
    fn client_of(&self, tenant: &TenantId) -> Option<String> {
        let app = self.rules.apps.iter().find(|app| app.tenant == *tenant);
        app.map(|app| app.client_id.clone())
    }

    /// Finds the one call, checks the holds and records the deletion, or says why not; what was
    /// recorded is sent whether or not the caller still waits.
    ///
    /// # Errors
    ///
    /// Nothing was recorded and nothing will be sent.
    pub(crate) async fn admit(
        &self,
        actor: &Actor,
        request: DeletionRequest,
    ) -> Result<Admitted, StoreError> {
        let moment = self.clock.moment();
        let now = moment.wall;
        // The lease is counted from before the transaction, so that it never seems longer than it is.
        let began = Instant::now();
        let dry_run = request.dry_run;
        // Without a sender nothing begins: an attempt on disk would look as if it had been sent.
        let begins = !dry_run && !self.ready.is_closed();
        let place = begins.then(|| self.budget.take(&actor.key().tenant)).flatten();
        let lease = place.as_ref().map(|_| Lease::starting(self.process, now, self.rules.lease()));
        let ask = self.ask(actor, request, moment, lease);
        let (caller, seat) = waiting::caller(&self.waiting, &self.clock);
        let journal = self.clone();
        let committed = move |admission: &Admission| {
            if let Admission::Decided(decided) = admission {
                if let Some(superseded) = &decided.superseded {
                    journal.waiting.settled(superseded);
                }
                if let Some((deletion, over)) = waited_for(decided, dry_run) {
                    seat.take(deletion, claim_of(decided, deletion), over);
                }
                journal.start(decided, began, place);
            }
        };
        match self.store.admit(ask, committed).await? {
            Admission::AccessChanged => Ok(Admitted::AccessChanged),
            Admission::Decided(decided) => {
                let kept_back = decided.kept_back;
                let wait = waited_for(&decided, dry_run)
                    .map(|(id, _)| Wait::new(id, claim_of(&decided, id), caller, kept_back));
                Ok(Admitted::Decided(decided, wait))
            }
        }
    }

    /// Hands what was recorded to the sender, on the store's thread.
    fn start(&self, decided: &Decided, began: Instant, place: Option<Place>) {
        match (&decided.leased, place) {
            (Some(leased), Some(place)) => {
                // When the sender has stopped, the next start finishes it.
                let _ = self.ready.send(Ready { leased: leased.clone(), began, place });
            }
            (_, place) => {
                drop(place);
                let is_armed = matches!(decided.decision, Decision::Arm);
                if decided.recorded.is_some() && !is_armed {
                    self.backlog.store(true, Ordering::Relaxed);
                }
                self.look_at_backlog();
            }
        }
    }

    /// Wakes the sender when something waits for a place. Called after a place was given back, and
    /// after something was put on the backlog: the last place may have been given back before that.
    fn look_at_backlog(&self) {
        if self.backlog.load(Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }

    fn ask(
        &self,
        actor: &Actor,
        request: DeletionRequest,
        Moment { wall: now, steady }: Moment,
        lease: Option<Lease>,
    ) -> Ask {
        let key = actor.key();
        let deadline = now + request.kind.tried_for(self.rules.deadline);
        let selection =
            self.rules.selection.select_for(key, request.selector.clone(), &request.kind);
        Ask {
            checked: actor.checked(),
            question: Question {
                may_arm: may_arm(actor, &request),
                kind: request.kind,
                now,
                status: request.selector.status.clone(),
                dry_run: request.dry_run,
                ended_is_success: self.rules.on_ended == OnEnded::Success,
                client_id: self.client_of(&key.tenant),
                sees_candidates: actor.may(Right::SeeCandidates),
            },
            selection,
            peer: actor.peer().to_string(),
            reason: request.reason,
            now,
            steady,
            deadline,
            lease,
            audit: request.audit,
            personal: request.personal,
        }
    }

    /// When Graph took this deletion, if its caller was told so and it is not on disk yet. To be asked
    /// before the store: what is on disk by then is no longer said here.
    pub(crate) fn taken_ahead(&self, deletion: DeletionId) -> Option<Timestamp> {
        self.waiting.ahead(deletion)
    }

    /// Cancels a deletion of which no attempt has begun; says where it stands otherwise.
    ///
    /// # Errors
    ///
    /// It is as it was.
    pub(crate) async fn withdraw(&self, deletion: DeletionId) -> Result<Standing, StoreError> {
        let waiting = self.waiting.clone();
        // Others may have joined it, and are told even when this caller is gone by then.
        let committed = move |standing: &Standing| {
            if let Standing::Withdrawn(settled) = standing {
                waiting.settled(settled);
            }
        };
        self.store.withdraw(deletion, self.clock.now(), committed).await
    }

    /// Where a deletion stands by what is on disk, also when another process has changed it. One that a
    /// hold covers by now, or whose deadline has passed, is over, unless an attempt is under way.
    ///
    /// # Errors
    ///
    /// It is not known.
    pub(crate) async fn standing(&self, deletion: DeletionId) -> Result<Settled, StoreError> {
        // Others who wait look for themselves: by the time they heard of it, it might be tried again.
        self.store.standing(deletion, self.clock.now()).await
    }
}

/// The deletion whose end the caller waits for, and that end when it has come already. A dry run
/// waits for none, and nobody takes notice when it goes away.
fn waited_for(decided: &Decided, dry_run: bool) -> Option<(DeletionId, Option<Settled>)> {
    match &decided.decision {
        Decision::Join(_) | Decision::JoinArmed(_) if dry_run => None,
        // Its call has not begun, and nobody waits for that.
        Decision::Arm => decided.recorded.map(|deletion| (deletion, Some(armed(deletion)))),
        Decision::JoinArmed(deletion) => Some((*deletion, Some(armed(*deletion)))),
        Decision::Join(earlier) => {
            let Earlier { deletion_id, state, operation, progress, .. } = *earlier;
            let over = Settled {
                deletion_id,
                state,
                failure: None,
                operation,
                progress,
                invited: earlier.invited.clone(),
            };
            Some((deletion_id, (!state.is_open()).then_some(over)))
        }
        _ => decided.recorded.map(|deletion| (deletion, None)),
    }
}

/// Whether a deletion may be armed: it is the next call of a number that is meant, and a call as a whole.
fn may_arm(actor: &Actor, request: &DeletionRequest) -> bool {
    let is_of_call =
        matches!(request.kind, DeletionKind::DeleteCall(_) | DeletionKind::RejectCall(_));
    is_of_call && request.selector.extension.is_some() && actor.may(Right::Next)
}

/// Where a deletion stands that is armed.
fn armed(deletion_id: DeletionId) -> Settled {
    Settled {
        deletion_id,
        state: DeletionState::Armed,
        failure: None,
        operation: None,
        progress: None,
        invited: None,
    }
}

/// The caller's place at the deletion, when it is one by its own key and selector.
fn claim_of(decided: &Decided, deletion: DeletionId) -> Option<Claim> {
    decided.claim.map(|number| Claim { deletion, number })
}
