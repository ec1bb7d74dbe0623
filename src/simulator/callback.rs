//! The callback: who is told of changes, what waits to be sent, and what came of it.
//!
//! Here it is decided, under the lock and at the time of the change, which notifications there are
//! and when each is due; `deliver` sends them. Without a callback nothing is kept.

mod queue;
mod settings;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::queue::{Head, Queue, Waiting};
pub(super) use self::settings::Settings;
use self::told::{Summary, Told};
use super::calls::Call;
use super::notification::News;
use super::state::random_fraction;

/// Who is told, what waits, and what was counted.
#[derive(Debug)]
pub(super) struct Callback {
    settings: Option<Arc<Settings>>,
    /// How many more are lost, with a limit.
    lose_times: Option<u64>,
    queue: Queue,
    /// POSTs, of one or more notifications, that are not over.
    under_way: usize,
    /// Notifications in them.
    sending: usize,
    counts: Counts,
    told: Told,
    /// Goes up when everything is forgotten: what is under way belongs to an earlier one.
    epoch: u64,
    /// The times of batches are counted from here.
    start: Instant,
    /// Rings when there may be something to send.
    bell: Arc<Notify>,
}

/// What came of the notifications since the callback was first set.
#[derive(Debug, Default)]
struct Counts {
    /// POSTs, repetitions included.
    sent: u64,
    /// POSTs by the status that answered them.
    answered: BTreeMap<u16, u64>,
    /// POSTs without an answer.
    unanswered: u64,
    /// Notifications that were answered with 2xx.
    delivered: u64,
    /// Notifications that were not sent because of `lose`.
    lost: u64,
    /// Notifications that were sent a second time because of `double`.
    doubled: u64,
    /// Notifications that were given up, or dropped because too many waited.
    failed: u64,
}

/// One POST to be made.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) settings: Arc<Settings>,
    pub(super) tenant_id: String,
    /// The app of the calls in it, when it was said.
    pub(super) app_id: Option<String>,
    pub(super) chain_id: String,
    /// None for the first news of a call.
    pub(super) scenario_id: Option<String>,
    pub(super) body: Value,
    /// Those that it carries, as they are listed.
    summaries: Vec<Summary>,
    lanes: Vec<usize>,
    epoch: u64,
}

/// What the sender is to do.
#[derive(Debug)]
pub(super) enum Next {
    Send(Box<Job>),
    /// Nothing before this, unless the bell rings.
    Wait(Option<Instant>),
    /// Give up what is under way: all of it was forgotten.
    Stop,
}

impl Default for Callback {
    fn default() -> Self {
        Self {
            settings: None,
            lose_times: None,
            queue: Queue::default(),
            under_way: 0,
            sending: 0,
            counts: Counts::default(),
            told: Told::default(),
            epoch: 0,
            start: Instant::now(),
            bell: Arc::new(Notify::new()),
        }
    }
}

impl Callback {
    /// Sets how what happens from now on is sent. What waits stays as it was decided.
    pub(super) fn set(&mut self, settings: Settings) {
        self.lose_times = settings.lose_times;
        self.settings = Some(Arc::new(settings));
        self.bell.notify_one();
    }

    /// Forgets the callback, what waits and what was counted, and gives up what is under way.
    pub(super) fn forget(&mut self) {
        let (epoch, bell) = (self.epoch + 1, Arc::clone(&self.bell));
        *self = Self { epoch, bell, ..Self::default() };
        self.bell.notify_one();
    }

    /// What is set and what was counted, as the control API shows it.
    pub(super) fn listing(&self) -> Value {
        let Counts { sent, answered, unanswered, delivered, lost, doubled, failed } = &self.counts;
        let answered: BTreeMap<String, u64> =
            answered.iter().map(|(status, count)| (status.to_string(), *count)).collect();
        json!({
            "callback": self.settings.as_ref().map(|settings| settings.listing()),
            "waiting": self.queue.len() + self.sending,
            "sent": sent,
            "answered": answered,
            "unanswered": unanswered,
            "delivered": delivered,
            "lost": lost,
            "doubled": doubled,
            "failed": failed,
        })
    }

    /// The latest notifications that were posted, each as often as it was.
    pub(super) fn told(&self) -> Value {
        self.told.listing()
    }

    /// Tells of `news` of `call`, as it is now.
    pub(super) fn tell(&mut self, call: &Call, news: News) {
        let Some(settings) = self.settings.clone() else { return };
        // All of an end but the first step, which has been told already, takes its time.
        let later = if news == News::Ended { settings.end } else { Duration::ZERO };
        for entry in settings.form.entries(call, news, settings.url.as_str()) {
            if self.loses(&settings, &entry) {
                self.counts.lost += 1;
                continue;
            }
            let one = Waiting {
                settings: Arc::clone(&settings),
                call_id: call.id.clone(),
                tenant_id: settings.tenant_id.clone().unwrap_or_else(|| call.tenant_id.clone()),
                app_id: call.app_id.clone(),
                chain_id: call.chain_id.clone(),
                scenario_id: (news != News::Made).then(|| call.scenario_id.clone()),
                entry,
            };
            if random_fraction() < settings.double {
                self.counts.doubled += 1;
                self.push(later, one.clone());
            }
            self.push(later, one);
        }
        self.bell.notify_one();
    }

    /// What is to be done at `now` by a sender that knows of `epoch`.
    pub(super) fn next(&mut self, epoch: &mut u64, now: Instant) -> Next {
        if *epoch != self.epoch {
            *epoch = self.epoch;
            return Next::Stop;
        }
        let connections = self.settings.as_ref().map_or(1, |settings| settings.connections);
        if self.under_way >= connections {
            return Next::Wait(None);
        }
        let taken = match self.queue.take(now) {
            Head::Due(taken) => taken,
            Head::At(due) => return Next::Wait(Some(due)),
            Head::Nothing => return Next::Wait(None),
        };
        self.under_way += 1;
        self.sending += taken.entries.len();
        let entries: Vec<&Value> = taken.entries.iter().map(|one| &one.entry).collect();
        let first = &taken.entries[0];
        Next::Send(Box::new(Job {
            settings: Arc::clone(&first.settings),
            tenant_id: first.tenant_id.clone(),
            app_id: first.app_id.clone(),
            chain_id: first.chain_id.clone(),
            scenario_id: first.scenario_id.clone(),
            body: first.settings.form.body(&entries),
            summaries: taken.entries.iter().map(Summary::of).collect(),
            lanes: taken.lanes,
            epoch: self.epoch,
        }))
    }

    /// Counts one POST of a job; `status` is none without an answer.
    pub(super) fn sent(&mut self, job: &Job, status: Option<u16>) {
        if job.epoch == self.epoch {
            self.counts.sent += 1;
            match status {
                Some(status) => *self.counts.answered.entry(status).or_default() += 1,
                None => self.counts.unanswered += 1,
            }
            self.told.keep(&job.summaries, status);
        }
    }

    /// A job is over: what waited for it may go.
    pub(super) fn finished(&mut self, job: &Job, delivered: bool) {
        if job.epoch == self.epoch {
            self.queue.free(&job.lanes);
            self.under_way -= 1;
            self.sending -= job.summaries.len();
            let count =
                if delivered { &mut self.counts.delivered } else { &mut self.counts.failed };
            *count += job.summaries.len() as u64;
        }
    }

    /// What the sender waits for.
    pub(super) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    fn loses(&mut self, settings: &Settings, entry: &Value) -> bool {
        let meant =
            settings.lose_only.as_ref().is_none_or(|change| entry["changeType"] == **change);
        let loses = meant && self.lose_times != Some(0) && random_fraction() < settings.lose;
        if loses {
            self.lose_times = self.lose_times.map(|times| times - 1);
        }
        loses
    }

    fn push(&mut self, later: Duration, one: Waiting) {
        let due = self.due(&one.settings, Instant::now() + later);
        if !self.queue.push(due, one) {
            self.counts.failed += 1;
        }
    }

    /// When a notification of `now` is due: later by the delay; anywhere in the window when they are
    /// shuffled, at the end of the window when they are collected.
    fn due(&self, settings: &Settings, now: Instant) -> Instant {
        let due = now + settings.delay;
        if settings.shuffle {
            due + settings.window.mul_f64(random_fraction())
        } else if settings.batch > 1 {
            let window = settings.window.as_nanos();
            let passed = due.saturating_duration_since(self.start).as_nanos() % window;
            due + Duration::from_nanos(u64::try_from(window - passed).unwrap_or(0))
        } else {
            due
        }
    }
}
