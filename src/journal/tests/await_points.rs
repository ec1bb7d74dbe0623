//! Whatever becomes known while a step is sent, nothing is sent to another call, to another participant,
//! or by an operation that the registry did not allow.
//!
//! The sender's attempts are polled by hand. Between two polls of one, that is at every point where it
//! waits, anything may happen: the call is answered, ends, is told of as policy recording or as another
//! app's; the roster changes, somebody else calls from the same number, another deletion of the call is
//! asked for, settled or withdrawn, a hold is set or lifted, the clock jumps. Several attempts are under
//! way at once. Graph looks into the database when a request arrives.
//!
//! Of every request it is checked
//! - that an open step on disk is this request, for this call and target, with its attempt begun; or one
//!   whose answer nobody waits for any more, because what was sent may arrive late,
//! - that the deletion was admitted for this call, and for this kind and target,
//! - that each attempt sends one request at most, and the same invitation is not sent again once Graph may
//!   have taken it,
//! - that at the lease no hold stood, also not on the call that an invitation drops, no deadline was over,
//!   no other deletion of our leg was taken or being sent, and the call was not another app's,
//! - that what was rejected still rang when its attempt went on, and a `RejectCall` hangs nothing up,
//! - that nobody removes ourselves, and that our leg goes only when every removal is over and none failed.
//!
//! What happens while the request is on the wire cannot count for it any more. What counts is what was on
//! disk at the lease and when the request arrived, and not how far an attempt has come since: the store and
//! Graph have threads of their own. A stop in the midst of an attempt is not in here: the store's own
//! simulations have it.
//!
//! It was seen to fail, within the first 20 seeds, without each of these: that a call still rings is asked
//! before it is rejected; the hold, the hold on the call that is dropped, the deadline, the turns and the
//! end of our leg at the lease; the refusal of another app's call; and, both at once, the two reasons not
//! to repeat an invitation, by its verdict and at the lease.
//!
//! `AWAIT_POINTS=1000 cargo test --lib await_points` tries more seeds.

mod changes;
mod rules;

use std::pin::Pin;
use std::task::Poll;

use tokio::sync::Semaphore;

use self::changes::participant;
use super::super::attempt::Attempt;
use super::witness::{Dice, Witness, invited, named};
use super::*;
use crate::graph::GraphClient;
use crate::id::GraphCallId;
use crate::model::call::CallState;
use crate::model::change::{CallChange, Participant, RosterChange};
use crate::model::deletion::DeletionState;
use crate::model::number::Number;
use crate::model::participant::{Invitation, ParticipantSelector};
use crate::model::plan::{Order, RejectReason};
use crate::store::admission::{Leased, StepRef};
use crate::store::fixture::asked_for;
use crate::store::records::CallNews;

/// How many seeds are tried, when the environment does not say.
const SEEDS: u64 = 40;
/// What happens for one seed: requests, leases, polls and changes.
const TURNS: usize = 120;
/// Our app.
pub(super) const CLIENT: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
/// A group call, another one of the same number, and one that rings.
const CALLS: [&str; 3] = ["a", "b", "c"];
const PEOPLE: [&str; 3] = ["p1", "p2", "p3"];

/// An attempt under way.
struct Flight {
    step: StepRef,
    future: Pin<Box<dyn Future<Output = ()>>>,
    /// Where its request stands among all that may be seen.
    permit: usize,
}

/// What an attempt may send.
struct Permit {
    what: String,
    step: StepRef,
    /// Which attempt of the step it is.
    number: i64,
    /// Why it may not be sent.
    problems: Vec<String>,
    is_polled: bool,
    /// The request that was seen of it.
    request: Option<usize>,
}

struct World {
    there: Fixture,
    witness: Witness,
    journal: Journal,
    graph: GraphClient,
    actor: Actor,
    clock: Clock,
    dice: Dice,
    flights: Vec<Flight>,
    permits: Vec<Permit>,
    /// Deletions, each with Graph's id of the call that it was admitted for.
    admitted: Vec<(i64, String)>,
    /// Requests that were seen.
    sent: Vec<String>,
    /// The permits that each of them may be of.
    may_be: Vec<Vec<usize>>,
    /// Steps that Graph may have done.
    may_be_done: Vec<StepRef>,
    calls: usize,
}

impl World {
    async fn start(seed: u64) -> Self {
        let there = Fixture::new().await;
        let witness = Witness::start(&there.path(), Dice::new(!seed));
        let clock = Clock::manual(NOW);
        let config = GraphConfig {
            tenant: Some(TenantConfig::at(&witness.url, TenantId::new(TENANT), CLIENT, "secret")),
            further: Vec::new(),
            outbound: Outbound::default(),
            concurrency: 256,
            rate: None,
            request_timeout: Duration::from_secs(30),
            deadline: DEADLINE,
            other_host: true,
        };
        let graph = GraphClient::new(&config, clock.clone()).unwrap();
        let rules = JournalRules {
            apps: vec![Asking { tenant: TenantId::new(TENANT), client_id: CLIENT.to_owned() }],
            selection: selection_rules(),
            on_ended: OnEnded::Forward,
            deadline: DEADLINE,
            concurrency: 256,
            rate: None,
            request_timeout: config.request_timeout,
        };
        let store = there.store.clone();
        // Its sender is gone: the attempts are in our hands.
        let (journal, _) =
            Journal::new(store, graph.clone(), clock.clone(), rules, Health::default());
        let actor = access::tests::actor(&there).await;
        let mut world = Self {
            there,
            witness,
            journal,
            graph,
            actor,
            clock,
            dice: Dice::new(seed),
            flights: Vec::new(),
            permits: Vec::new(),
            admitted: Vec::new(),
            sent: Vec::new(),
            may_be: Vec::new(),
            may_be_done: Vec::new(),
            calls: 0,
        };
        for id in ["a", "b"] {
            world.there.call(id, "100").await;
            let everybody = RosterChange::Whole(PEOPLE.map(participant).to_vec());
            world.tell(id, |change| change.roster = Some(everybody)).await;
        }
        world.there.call("c", "300").await;
        world.there.by_hand(&format!(
            "UPDATE calls SET state = 'incoming', rings_since = {} WHERE graph_id = 'c'",
            NOW.0
        ));
        world
    }

    /// Somebody asks for something; sometimes its first attempt begins with that.
    async fn ask(&mut self) {
        let id = *self.dice.pick(&CALLS);
        let who = |dice: &mut Dice| (*dice.pick(&PEOPLE)).to_owned();
        let kind = match self.dice.roll(11) {
            0 | 1 => DeletionKind::DeleteCall(Scope::Leg),
            2 => DeletionKind::RejectCall(RejectReason::Busy),
            3 | 4 => DeletionKind::DeleteCall(Scope::All { most: 50 }),
            5 => DeletionKind::DeleteParticipant(ParticipantSelector::Id("p9".to_owned())),
            6 => DeletionKind::DeleteParticipant(ParticipantSelector::Id(who(&mut self.dice))),
            7 => {
                let user = Number::parse(&who(&mut self.dice)).unwrap();
                DeletionKind::DeleteParticipant(ParticipantSelector::Known(user))
            }
            _ => DeletionKind::InviteParticipant(Invitation {
                user_id: format!("user-{}", self.dice.roll(3)),
                user_tenant: None,
                replaces: (self.dice.roll(2) == 0).then(|| (*self.dice.pick(&CALLS)).to_owned()),
                context: None,
            }),
        };
        // Of a number there may be another call by the time that it is sent.
        let selector = match self.dice.roll(3) {
            0 => by_number(if id == "c" { "300" } else { "100" }, "ongoing"),
            _ => by_call_id(id),
        };
        let request = DeletionRequest { kind, ..Running::request(selector) };
        let now = self.clock.moment();
        let lease = (self.dice.roll(2) == 0).then(|| self.lease());
        let ask = self.journal.ask(&self.actor, request, now, lease);
        let decided = self.there.admit(ask).await;
        if let Some(recorded) = decided.recorded {
            let found: (i64, String) = self.row(&format!(
                "SELECT d.deletion, c.graph_id FROM deletions AS d JOIN calls AS c \
                 ON c.call = d.call WHERE d.deletion_id = '{recorded}'"
            ));
            self.admitted.push(found);
        }
        if let Some(leased) = decided.leased {
            self.take_off(leased);
        }
    }

    fn row<T: rusqlite::types::FromSql, U: rusqlite::types::FromSql>(&self, sql: &str) -> (T, U) {
        let hand = self.there.other_hand();
        hand.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    }

    fn lease(&self) -> Lease {
        let journal = &self.journal;
        Lease::starting(journal.process, self.clock.now(), journal.rules.lease())
    }

    /// As the sender does it.
    async fn lease_due(&mut self) {
        let sending = self.flights.iter().map(|flight| flight.step).collect();
        let (now, lease) = (self.clock.now(), self.lease());
        let due = self.there.store.lease_due(now, lease, 3, sending).await.unwrap();
        for leased in due.leased {
            self.take_off(leased);
        }
    }

    fn take_off(&mut self, leased: Leased) {
        let step = leased.step;
        let target = match &leased.order {
            Order::HangUp | Order::ReadRoster => String::new(),
            Order::Reject(reason) => reason.as_str().to_owned(),
            Order::RemoveParticipant(id) => id.clone(),
            Order::Invite(Invitation { user_id, replaces, .. }) => {
                invited(user_id, replaces.as_deref())
            }
        };
        let what = named(leased.order.operation().as_str(), &leased.graph_id.0, &target);
        let problems = self.problems_at_the_lease(&leased);
        let permit = self.permits.len();
        self.permits.push(Permit {
            what,
            step,
            number: leased.attempt,
            problems,
            is_polled: false,
            request: None,
        });
        let attempt = Attempt {
            journal: self.journal.clone(),
            graph: self.graph.clone(),
            health: Health::default(),
        };
        let place = self.journal.budget.take(&leased.tenant).unwrap();
        let future = Box::pin(attempt.run(Ready { leased, began: Instant::now(), place }));
        self.flights.push(Flight { step, future, permit });
    }

    /// Lets an attempt go on to the next point where it waits.
    async fn poll(&mut self, index: usize) {
        let (permit, step) = (self.flights[index].permit, self.flights[index].step);
        if !self.permits[permit].is_polled {
            self.permits[permit].is_polled = true;
            if self.permits[permit].what.starts_with("reject ") && !self.rings(step) {
                self.permits[permit].problems.push("it rang no more".to_owned());
            }
        }
        let future = &mut self.flights[index].future;
        let is_over =
            std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready()));
        if is_over.await {
            self.flights.swap_remove(index);
        }
        // Connections have tasks of their own.
        tokio::task::yield_now().await;
    }

    /// All that is under way comes to its end, and things go on happening.
    async fn land(&mut self, seed: u64) {
        let late = Instant::now() + Duration::from_mins(5);
        while !self.flights.is_empty() {
            let index = self.dice.roll(self.flights.len());
            self.poll(index).await;
            if self.dice.roll(8) == 0 {
                self.change().await;
            }
            self.check(seed);
            tokio::time::sleep(Duration::from_micros(200)).await;
            assert!(Instant::now() < late, "seed {seed}: an attempt never ends");
        }
    }
}

/// Runs one seed, and gives what was sent.
async fn run(seed: u64) -> Vec<String> {
    let mut world = World::start(seed).await;
    for _ in 0..TURNS {
        match world.dice.roll(10) {
            0 | 1 => world.ask().await,
            2 | 3 => world.lease_due().await,
            4..=7 if !world.flights.is_empty() => {
                let index = world.dice.roll(world.flights.len());
                world.poll(index).await;
            }
            _ => world.change().await,
        }
        world.check(seed);
    }
    world.land(seed).await;
    // Past every deadline nothing is left open, and nothing more is begun.
    world.clock.advance(DEADLINE * 2);
    let leased = world.permits.len();
    for _ in 0..100 {
        world.lease_due().await;
        world.land(seed).await;
        world.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(world.permits.len(), leased, "seed {seed}: begun past its deadline");
    let open = format!("SELECT count(*) FROM deletions WHERE state = '{}'", DeletionState::Open);
    assert_eq!(world.there.look::<i64>(&open), 0, "seed {seed}: open for ever");
    world.sent
}

#[tokio::test]
async fn whatever_becomes_known_meanwhile_nothing_goes_to_the_wrong_call() {
    let seeds = asked_for("AWAIT_POINTS").unwrap_or(SEEDS);
    let mut sent = Vec::new();
    for seed in 0..seeds {
        sent.extend(Box::pin(run(seed)).await);
    }
    // Every operation was met often enough to mean something.
    for operation in ["hang-up", "reject", "read-roster", "remove-participant", "invite"] {
        let count = sent.iter().filter(|what| what.starts_with(operation)).count();
        assert!(count as u64 > seeds / 10, "{operation}: {count} of {}", sent.len());
    }
}
