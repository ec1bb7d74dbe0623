//! Whether anything can be sent for a tenant, as its answers tell.
//!
//! Pure: what came of attempts and the time go in. A tenant whose app is refused, or that cannot be
//! reached, is stopped: one attempt at a time probes it, at growing distances, and everything else waits
//! without an attempt. One whose requests arrive and fail is stopped as well, but gets a probe every second,
//! while those before it may still be under way: they may fail for reasons of their own, and then others must
//! not wait for long. It is known in memory only; after a start the first attempts find it out again.

use std::collections::HashSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::graph::Answer;
use crate::graph::error::{GraphError, LoginError};
use crate::graph::pacing::lengthened;
use crate::id::DeletionId;
use crate::model::plan::Operation;
use crate::store::admission::First;
use crate::telemetry::metrics::Stop;

/// The wait before the first probe.
const FIRST_PROBE: Duration = Duration::from_secs(1);
/// The longest wait of our own.
const RARE_PROBE: Duration = Duration::from_mins(1);
/// One call's `Retry-After` keeps the calls of a whole tenant back for no longer than this.
const LONGEST_ASKED: Duration = Duration::from_mins(5);
/// The distance of probes that arrive, whether or not they are answered: what fails may be about single
/// calls, and a slow one keeps none back.
const FAILING_PROBE: Duration = Duration::from_secs(1);
/// For the same reason, what one of those asks for keeps others back for no longer than this.
const LONGEST_FAILING: Duration = Duration::from_secs(5);
/// So many attempts in a row that reached nobody stop a tenant.
const UNREACHABLE: u32 = 3;
/// So many in a row that were throttled, failed or lost stop it as well, when they are of several
/// deletions: what Graph says of one call is no reason to keep the others back.
const FAILING: u32 = 10;
const SEVERAL: usize = 3;

/// What an attempt says about its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Graph took it, or decided it.
    Works,
    /// Nothing, whichever way.
    None,
    /// Nothing, because nothing was sent.
    NotSent,
    /// The call belongs to another app than the one that is configured: its other calls do not.
    OtherApp,
    /// The app is refused until its operator acts.
    Refused,
    /// The tenant is not configured.
    NotConfigured,
    /// Nobody was reached, or there was no token.
    Unreachable(Where, Option<Duration>),
    /// Throttled, failed, or lost on the way.
    Failing(Option<Duration>),
}

/// Who was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    Graph,
    Login,
}

impl Sign {
    /// Reads it from an answer to this operation.
    pub(super) fn of(operation: Operation, answer: &Answer) -> Self {
        let Err(error) = &answer.result else { return Self::Works };
        match error {
            GraphError::NotFound
            | GraphError::NoParticipant
            | GraphError::OtherTenant
            | GraphError::TooMany
            | GraphError::Refused { .. } => Self::Works,
            // These are about one call, or about what it is asked through.
            GraphError::Redirected { .. } | GraphError::ForeignPage => Self::None,
            GraphError::UnusableId => Self::NotSent,
            GraphError::OtherApp => Self::OtherApp,
            GraphError::Login(LoginError::NotConfigured) => Self::NotConfigured,
            GraphError::Unauthorized
            | GraphError::TenantFault { .. }
            | GraphError::Login(LoginError::Refused { .. }) => Self::Refused,
            GraphError::Login(LoginError::Unavailable { retry_after, .. }) => {
                // With a status Graph was reached: the token that it refused may be good for other requests,
                // and a probe tells something although the login is not asked.
                let is_without_token = answer.status.is_none();
                Self::Unreachable(Where::Login, retry_after.filter(|_| is_without_token))
            }
            GraphError::Login(_) => Self::Unreachable(Where::Login, None),
            GraphError::Connect(_) | GraphError::Tls(_) => Self::Unreachable(Where::Graph, None),
            GraphError::Throttled { retry_after } | GraphError::Unavailable { retry_after } => {
                Self::Failing(*retry_after)
            }
            // What a removal gets that the tenant does not allow: hang-ups go on.
            GraphError::ServerError { code: Some(code), .. }
                if code == "9999" && operation == Operation::RemoveParticipant =>
            {
                Self::None
            }
            GraphError::ForeignNotFound { .. }
            | GraphError::ServerError { .. }
            | GraphError::Unreadable { .. }
            | GraphError::Torn { .. }
            | GraphError::Lost(_) => Self::Failing(None),
        }
    }

    fn stop(self) -> Stop {
        match self {
            Self::Refused | Self::NotConfigured => Stop::TenantFault,
            _ => Stop::BreakerOpen,
        }
    }

    /// For how long its login, when that is longer than our own probes are apart, is not to be asked.
    pub(super) fn patience(self) -> Option<Duration> {
        match self {
            Self::Unreachable(Where::Login, Some(wait)) if wait > RARE_PROBE => Some(wait),
            _ => None,
        }
    }

    fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Unreachable(_, retry_after) | Self::Failing(retry_after) => retry_after,
            _ => None,
        }
    }
}

/// What may be sent for a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Whatever there is room for.
    Open,
    /// One attempt, which shows whether it works again.
    Probe,
    /// Nothing before then.
    Closed(Timestamp),
}

/// An attempt that shows whether it works again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// What goes first in the choice of what is sent.
    pub(super) first: First,
    /// The period in which it began.
    period: u64,
}

/// What has changed for a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Stopped,
    /// It stays stopped for as long as its login has asked for, and is not probed.
    Patience,
    /// After so long, when so many steps waited.
    Over {
        after: Duration,
        waited: usize,
    },
}

/// The breaker of one tenant.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    streak: Streak,
    stopped: Option<Stopped>,
    /// Each stop begins one, and each change of how often a stopped tenant is probed. The answer to a probe
    /// counts only in its own: of what is under way together, the first tells the change, and all others tell
    /// the same.
    period: u64,
}

/// What has failed in a row.
#[derive(Debug, Default)]
struct Streak {
    unreachable: u32,
    failing: u32,
    of: HashSet<DeletionId>,
}

#[derive(Debug)]
struct Stopped {
    since: Timestamp,
    /// Requests arrive.
    is_failing: bool,
    /// The distance to the next probe, without what was asked for.
    distance: Duration,
    asked_at: Timestamp,
    probe_at: Timestamp,
    is_probing: bool,
    /// In the next probe.
    first: First,
    waiting: usize,
    why: Stop,
}

impl Breaker {
    /// What may be sent now.
    pub(super) fn gate(&self, now: Timestamp) -> Gate {
        match &self.stopped {
            None => Gate::Open,
            // Whoever probes tells when there is more to know.
            Some(stopped) if stopped.is_probing => Gate::Closed(now + RARE_PROBE),
            // Both ends, so that a clock that was set back does not prolong it.
            Some(stopped) if stopped.asked_at <= now && now < stopped.probe_at => {
                Gate::Closed(stopped.probe_at)
            }
            Some(_) => Gate::Probe,
        }
    }

    /// Whether it is stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Why it is stopped, by the last that was told.
    pub(super) fn stop(&self) -> Option<Stop> {
        self.stopped.as_ref().map(|stopped| stopped.why)
    }

    /// Begins a probe, if one is due.
    pub(super) fn probe(&mut self, now: Timestamp) -> Option<Probe> {
        let is_due = self.gate(now) == Gate::Probe;
        let stopped = self.stopped.as_mut().filter(|_| is_due)?;
        if stopped.is_failing {
            (stopped.asked_at, stopped.probe_at) = (now, now + FAILING_PROBE);
        } else {
            stopped.is_probing = true;
        }
        let first = stopped.first;
        stopped.first = first.other();
        Some(Probe { first, period: self.period })
    }

    /// This probe was not sent: it is due as before.
    pub(super) fn no_probe(&mut self, probe: Probe) {
        if let Some(stopped) = self.stopped.as_mut().filter(|_| probe.period == self.period) {
            stopped.is_probing = false;
            if stopped.is_failing {
                stopped.probe_at = stopped.asked_at;
            }
        }
    }

    /// So many steps wait while it is stopped.
    pub(super) fn note_waiting(&mut self, waiting: usize) {
        if let Some(stopped) = &mut self.stopped {
            stopped.waiting = waiting;
        }
    }

    /// Takes in what an attempt of `deletion` told. While it is stopped only a probe of this period counts,
    /// because what began before says nothing about now; but whatever works shows that not everything fails.
    pub(super) fn tell(
        &mut self,
        sign: Sign,
        deletion: DeletionId,
        probe: Option<Probe>,
        now: Timestamp,
        jitter: f64,
    ) -> Option<Change> {
        match &mut self.stopped {
            None => {
                let trips = self.streak.trips(sign, deletion);
                trips.then(|| {
                    self.streak = Streak::default();
                    self.stopped = Some(Stopped::new(sign, now, jitter));
                    self.period += 1;
                    Change::Stopped
                })
            }
            Some(stopped) => {
                let probe = probe.filter(|probe| probe.period == self.period);
                if sign == Sign::Works && (probe.is_some() || stopped.is_failing) {
                    let (after, waited) = (now.since(stopped.since), stopped.waiting);
                    self.stopped = None;
                    return Some(Change::Over { after, waited });
                }
                match (sign, probe?) {
                    (Sign::OtherApp | Sign::NotSent, probe) => self.no_probe(probe),
                    (Sign::None, _) => stopped.wait_again(now),
                    _ => self.period += u64::from(stopped.go_on(sign, now, jitter)),
                }
                sign.patience().map(|_wait| Change::Patience)
            }
        }
    }
}

impl Streak {
    /// Whether this was one too many.
    fn trips(&mut self, sign: Sign, deletion: DeletionId) -> bool {
        match sign {
            Sign::Works => *self = Self::default(),
            Sign::None | Sign::OtherApp | Sign::NotSent => {}
            // The login is not asked before it said so.
            Sign::Refused | Sign::NotConfigured | Sign::Unreachable(Where::Login, Some(_)) => {
                return true;
            }
            Sign::Unreachable(..) => self.unreachable += 1,
            Sign::Failing(_) => {
                (self.unreachable, self.failing) = (0, self.failing + 1);
                if self.of.len() < SEVERAL {
                    self.of.insert(deletion);
                }
            }
        }
        self.unreachable >= UNREACHABLE || self.failing >= FAILING && self.of.len() >= SEVERAL
    }
}

impl Stopped {
    fn new(sign: Sign, now: Timestamp, jitter: f64) -> Self {
        let mut stopped = Self {
            since: now,
            is_failing: false,
            distance: FIRST_PROBE,
            asked_at: now,
            probe_at: now,
            is_probing: false,
            first: First::EndsSoon,
            waiting: 0,
            why: Stop::BreakerOpen,
        };
        stopped.wait(sign, now, jitter);
        stopped
    }

    /// The probe told nothing: the next one comes after the same distance.
    fn wait_again(&mut self, now: Timestamp) {
        if !self.is_failing {
            (self.is_probing, self.asked_at) = (false, now);
            self.probe_at = now + self.distance;
        }
    }

    /// The probe failed, in this way; whether that changes how often there is one.
    fn go_on(&mut self, sign: Sign, now: Timestamp, jitter: f64) -> bool {
        let was_failing = self.is_failing;
        let doubled = (self.distance * 2).min(RARE_PROBE);
        self.distance = if was_failing { FIRST_PROBE } else { doubled };
        self.wait(sign, now, jitter);
        self.is_failing != was_failing
    }

    fn wait(&mut self, sign: Sign, now: Timestamp, jitter: f64) {
        let was_failing = self.is_failing;
        self.is_failing = matches!(sign, Sign::Failing(_));
        self.why = sign.stop();
        let asked = sign.retry_after().unwrap_or_default();
        let wait = if self.is_failing {
            let asked = asked.min(LONGEST_FAILING);
            // The next one is a second behind this one, and may be under way by now.
            if was_failing && asked <= FAILING_PROBE {
                return;
            }
            asked.max(FAILING_PROBE)
        } else {
            // Until then the login is not asked, so that no probe can tell anything.
            let is_of_login = matches!(sign, Sign::Unreachable(Where::Login, _));
            self.distance.max(if is_of_login { asked } else { asked.min(LONGEST_ASKED) })
        };
        (self.is_probing, self.asked_at) = (false, now);
        self.probe_at = now + lengthened(wait, jitter);
    }
}

#[cfg(test)]
mod tests;
