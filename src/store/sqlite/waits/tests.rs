use std::time::Duration;

use super::*;
use crate::id::TenantId;
use crate::model::reconcile::CONFIRMATION;
use crate::store::Store;
use crate::store::admission::{Ask, AttemptEnd, Lease, Leased, Next};
use crate::store::fixture::{Fixture, LEASE, NOW, TENANT, answered, by_call_id};
use crate::store::reconcile::{Asking, LookEnd};
use crate::store::sqlite::model_test::Dice;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// A gateway, the time that really passes, and the clock of its machine.
struct World {
    there: Fixture,
    process: ProcessId,
    dice: Dice,
    /// The real time.
    now: i64,
    /// By how much the wall clock is off.
    off: i64,
    /// When the process began.
    began: i64,
    calls: usize,
    waiting: Option<Waiting>,
}

/// The one deletion, and what Graph asked for.
#[derive(Clone, Copy)]
struct Waiting {
    /// The real time at which it may be sent again.
    due: i64,
    /// The process is still the same.
    is_known: bool,
}

impl World {
    async fn new(seed: u64) -> Self {
        let (there, process) = (Fixture::new().await, ProcessId::random());
        let dice = Dice::new(seed);
        let (now, off, began, calls) = (NOW.0, 0, NOW.0, 0);
        let world = Self { there, process, dice, now, off, began, calls, waiting: None };
        world.there.store.take_over(process, world.moment()).await.unwrap();
        world
    }

    fn moment(&self) -> Moment {
        Moment { wall: Timestamp(self.now + self.off), steady: Timestamp(self.now - self.began) }
    }

    fn up_to(&mut self, most: i64) -> i64 {
        let hundredth = self.dice.roll(100) + 1;
        most * i64::try_from(hundredth).unwrap() / 100
    }

    fn pass(&mut self, most: i64) {
        self.now += self.up_to(most);
    }

    fn set_clock(&mut self) {
        let by = match self.dice.roll(3) {
            0 => self.up_to(400),
            1 => self.up_to(60_000),
            _ => self.up_to(40 * HOUR),
        };
        self.off += if self.dice.roll(2) == 0 { by } else { -by };
    }

    /// Answers what was sent, some time after that, whatever the clock has done meanwhile.
    async fn answer(&mut self, leased: Leased) {
        self.pass(3_000);
        if self.dice.roll(3) == 0 {
            self.set_clock();
        }
        let asked = self.up_to(300_000);
        let moment = self.moment();
        let again = Next::At(moment.wall.moved(asked));
        let end = AttemptEnd { steady: moment.steady, ..answered(moment.wall, 429, again) };
        // The store may be busy, and the clock set, before it is written.
        self.pass(3_000);
        self.there.store.settle(leased, end).await.unwrap();
        let due = moment.steady.0 + self.began + asked;
        self.waiting = Some(Waiting { due, is_known: true });
    }

    async fn admit(&mut self) {
        self.calls += 1;
        let name = format!("call-{}", self.calls);
        self.there.call(&name, "100").await;
        let moment = self.moment();
        let ask = self.there.ask(by_call_id(&name), moment.wall).await;
        let lease = Some(Lease::starting(self.process, moment.wall, LEASE));
        let deadline = moment.wall + Duration::from_hours(720);
        let ask = Ask { steady: moment.steady, lease, deadline, ..ask };
        let leased = self.there.admit(ask).await.leased.unwrap();
        self.answer(leased).await;
    }

    async fn look(&mut self) {
        let moment = self.moment();
        let lease = Lease::starting(self.process, moment.wall, LEASE);
        let due = self.there.store.lease_due(moment, lease, 9, Vec::new()).await.unwrap();
        if !due.over.is_empty() {
            self.waiting = None;
        }
        let Some(waiting) = self.waiting else { return };
        match due.leased.into_iter().next() {
            Some(leased) => {
                let early = waiting.due - self.now;
                let unseen = if waiting.is_known { 0 } else { LEAST };
                assert!(early <= unseen, "sent {early} ms too early");
                self.answer(leased).await;
            }
            // What passed while nobody served is not known for sure.
            None if waiting.is_known => {
                let late = self.now - waiting.due;
                assert!(late < 0, "not sent for {late} ms");
            }
            None => {}
        }
    }

    /// Stops, in order or not, and starts again; meanwhile the clock may be set back.
    async fn restart(&mut self) {
        self.pass(10_000);
        if self.dice.roll(2) == 0 {
            self.off -= self.up_to(40 * HOUR);
        }
        self.process = ProcessId::random();
        self.began = self.now - self.up_to(HOUR);
        self.there.store.take_over(self.process, self.moment()).await.unwrap();
        if let Some(waiting) = &mut self.waiting {
            waiting.is_known = false;
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_before_its_time_whatever_is_done_to_the_clock() {
    for seed in 0..40 {
        let mut world = World::new(seed).await;
        for _ in 0..60 {
            match world.dice.roll(8) {
                0 | 1 => world.set_clock(),
                2 => {
                    // A clock that was set forward a moment ago is one of time that passed.
                    world.look().await;
                    world.restart().await;
                }
                3 if world.waiting.is_none() => world.admit().await,
                4 => world.pass(1_000),
                _ => {
                    world.pass(60_000);
                    world.look().await;
                }
            }
        }
    }
}

/// A gateway that began at [`NOW`] with calls that deletions want looked at a minute after that, and whose
/// clock is then set.
struct Looks {
    there: Fixture,
    process: ProcessId,
    off: i64,
}

impl Looks {
    async fn new(off: i64) -> Self {
        let (there, process) = (Fixture::new().await, ProcessId::random());
        for call in ["a", "b", "c"] {
            there.call(call, "100").await;
        }
        let look_at = NOW.0 + MINUTE;
        there.by_hand(&format!("UPDATE calls SET look_at = {look_at}, look_wanted = 2"));
        let started = Moment { wall: NOW, steady: Timestamp(0) };
        there.store.take_over(process, started).await.unwrap();
        Self { there, process, off }
    }

    /// So long after the start, by the clock that was set.
    fn after(&self, passed: i64) -> Moment {
        Moment { wall: NOW.moved(passed + self.off), steady: Timestamp(passed) }
    }

    async fn due_after(&self, passed: i64) -> Vec<i64> {
        let app = Asking { tenant: TenantId::new(TENANT), client_id: "app".to_owned() };
        let moment = self.after(passed);
        let due = self.there.store.calls_to_look_at(app, moment, 9, Vec::new()).await.unwrap();
        due.into_iter().map(|look| look.call).collect()
    }

    async fn failed_after(&self, passed: i64, call: i64) {
        let moment = self.after(passed);
        let end = LookEnd::Failed { again_at: moment.wall + CONFIRMATION };
        self.there.store.looked(call, end, moment).await.unwrap();
    }

    /// The sender looks for what is due, and so moves the waits.
    async fn follow_after(&self, passed: i64) {
        let moment = self.after(passed);
        let lease = Lease::starting(self.process, moment.wall, LEASE);
        self.there.store.lease_due(moment, lease, 9, Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_look_at_a_call_keeps_its_time_however_the_clock_is_set_and_whoever_notices_first() {
    for off in [-20 * HOUR, -HOUR, HOUR, 20 * HOUR] {
        let looks = Looks::new(off).await;
        assert!(looks.due_after(1_000).await.is_empty(), "{off}");
        looks.follow_after(1_000).await;
        assert!(looks.due_after(MINUTE - 1).await.is_empty(), "{off}");
        assert_eq!(looks.due_after(MINUTE).await.len(), 3, "{off}");
    }
}

#[tokio::test]
async fn a_look_that_graph_put_off_keeps_its_time_however_the_clock_is_set() {
    for off in [-20 * HOUR, -HOUR, HOUR, 20 * HOUR] {
        let looks = Looks::new(off).await;
        for call in looks.due_after(MINUTE).await {
            looks.failed_after(MINUTE, call).await;
        }
        looks.follow_after(MINUTE).await;
        assert!(looks.due_after(2 * MINUTE - 1).await.is_empty(), "{off}");
        assert_eq!(looks.due_after(2 * MINUTE).await.len(), 3, "{off}");
    }
}

#[tokio::test]
async fn the_candidates_of_an_ambiguous_answer_are_looked_at_at_once_however_the_clock_is_set() {
    for off in [-HOUR, HOUR] {
        let looks = Looks::new(off).await;
        looks.there.by_hand("UPDATE calls SET look_wanted = 0");
        let call = looks.there.look("SELECT min(call) FROM calls");
        let Store::Sqlite(sqlite) = &looks.there.store;
        sqlite.look_at_candidates(vec![call], looks.after(1_000));
        looks.there.flush().await;
        looks.follow_after(1_000).await;
        assert_eq!(looks.due_after(1_000).await, [call], "{off}");
    }
}
