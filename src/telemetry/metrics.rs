//! `/metrics`: every metric is declared here, once, with its name, its labels and its explanation.
//!
//! Counters are in memory ([`count`]) and belong to the part that counts; everything else is a [`Scrape`],
//! made of what is so at one moment. Labels are words of ours ([`label`]) and the tenants that are
//! configured: no key, address, number, URI or id of a call is ever in one.

pub(crate) mod count;
pub(crate) mod label;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use self::count::{Counts, Durations, Requests};
use self::label::{
    Action, Commit, Condition, Judged, Label, Labels, Login, Notified, Outcome, Part, Queued,
    Sending, Standing, StoreFile,
};
use crate::clock::Timestamp;
use crate::health::HealthReport;
use crate::id::TenantId;
use crate::model::plan::Operation;

/// All that is exposed, as it is at one moment.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) now: Timestamp,
    pub(crate) started: Timestamp,
    pub(crate) health: HealthReport,
    pub(crate) requests: Requests,
    pub(crate) notifications: Counts<Notified>,
    pub(crate) journal: JournalFigures,
    pub(crate) logins: Vec<(TenantId, Counts<Login>)>,
    pub(crate) store: StoreFigures,
}

/// What the sender does.
#[derive(Debug)]
pub(crate) struct JournalFigures {
    pub(crate) attempts: Counts<(Operation, Judged)>,
    /// Places for requests to Graph, and how many of them are taken.
    pub(crate) places: usize,
    pub(crate) taken: usize,
    /// Of each tenant that is configured.
    pub(crate) tenants: Vec<TenantFigures>,
}

/// What the sender does for one tenant.
#[derive(Debug)]
pub(crate) struct TenantFigures {
    pub(crate) tenant: TenantId,
    pub(crate) in_flight: usize,
    /// Places that are kept free for it.
    pub(crate) kept: usize,
    /// Nothing but probes is sent for it.
    pub(crate) stop: Option<Stop>,
}

/// Why a tenant is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its app is refused until its operator acts.
    TenantFault,
    /// It cannot be reached, throttles, or fails.
    BreakerOpen,
}

/// What the store does.
#[derive(Debug)]
pub(crate) struct StoreFigures {
    pub(crate) commits: Counts<Commit>,
    /// What waits, by its rank.
    pub(crate) queued: Vec<(Queued, usize)>,
    pub(crate) condition: Condition,
    /// In bytes. A file that is not there has none.
    pub(crate) files: Vec<(StoreFile, u64)>,
    /// None while it cannot be read.
    pub(crate) read: Option<StoreRead>,
}

/// What is read of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreRead {
    pub(crate) deletions: Vec<(Standing, u64)>,
    /// When the oldest deletion was asked for that is open.
    pub(crate) oldest_open: Option<Timestamp>,
    /// A pause of all tenants stands.
    pub(crate) all_paused: bool,
    pub(crate) paused: BTreeSet<String>,
}

impl Scrape {
    /// The exposition, as `OpenMetrics` text.
    pub(crate) fn text(self) -> String {
        let (mut registry, mut text) = (Registry::default(), String::with_capacity(16 << 10));
        registry.register_collector(Box::new(self));
        text::encode(&mut text, &registry).expect("a String takes everything");
        text
    }

    fn encode_requests(&self, out: &mut Out<'_>) -> fmt::Result {
        out.answers(
            "callgate_requests",
            "Requests to the legacy API, by action and the outcome or reason of the answer",
            &self.requests.answers,
        )?;
        out.durations(
            "callgate_answer_duration",
            "Time from the head of a request to the legacy API to its answer",
            &self.requests.durations,
        )?;
        out.counts(
            "callgate_notifications",
            "Requests to the listener for notifications, by what became of them",
            &self.notifications,
        )
    }

    fn encode_deletions(&self, out: &mut Out<'_>) -> fmt::Result {
        let read = self.store.read.as_ref();
        out.gauges(
            "callgate_deletions",
            "Deletions that wait, or that ended without success, as the database has them now",
            None,
            read.iter()
                .flat_map(|read| &read.deletions)
                .map(|(state, count)| (state.pairs(), *count)),
        )?;
        let age = |read: &StoreRead| read.oldest_open.map_or(0, |at| self.now.since(at).as_secs());
        out.gauges(
            "callgate_oldest_open_deletion_age",
            "Time since the oldest deletion was asked for that is open, 0 when none is",
            Some(&Unit::Seconds),
            read.map(|read| (Vec::new(), age(read))),
        )?;
        out.counts(
            "callgate_attempts",
            "Attempts at Graph's operations, by what the answer meant",
            &self.journal.attempts,
        )
    }

    fn encode_sending(&self, out: &mut Out<'_>) -> fmt::Result {
        let tenants = &self.journal.tenants;
        let each = |figure: fn(&TenantFigures) -> usize| {
            tenants.iter().map(move |of| (vec![tenant(&of.tenant)], as_count(figure(of))))
        };
        out.gauges(
            "callgate_sending_state",
            "Whether anything is sent for a tenant, and what keeps it back: 1 is what is so",
            None,
            tenants.iter().flat_map(|of| self.sending(of)),
        )?;
        out.gauges(
            "callgate_sending_in_flight",
            "Requests to Graph that are under way for a tenant",
            None,
            each(|of| of.in_flight),
        )?;
        out.gauges(
            "callgate_sending_kept_places",
            "Places for requests to Graph that are kept for a tenant",
            None,
            each(|of| of.kept),
        )?;
        let (places, taken) = (as_count(self.journal.places), as_count(self.journal.taken));
        out.gauge(
            "callgate_sending_places",
            "Places for requests to Graph, graph.concurrency",
            places,
        )?;
        out.gauge(
            "callgate_sending_taken_places",
            "Places for requests to Graph that are taken",
            taken,
        )?;
        out.tenant_counts(
            "callgate_logins",
            "Requests for a token, by what the login answered",
            &self.logins,
        )
    }

    /// What is known of a tenant; whether it is paused is not while the database cannot be read.
    fn sending<'a>(&'a self, of: &'a TenantFigures) -> impl Iterator<Item = (Pairs<'a>, u64)> {
        let read = self.store.read.as_ref();
        let is_stopped =
            self.store.condition != Condition::Well || self.health.unready.contains_key("sender");
        let is_paused =
            read.map(|read| read.all_paused || read.paused.contains(of.tenant.as_str()));
        Sending::ALL.iter().filter_map(move |state| {
            let is_so = match state {
                Sending::Flowing => !is_stopped && of.stop.is_none() && !is_paused?,
                Sending::Paused => is_paused?,
                Sending::TenantFault => of.stop == Some(Stop::TenantFault),
                Sending::BreakerOpen => of.stop == Some(Stop::BreakerOpen),
                Sending::SenderStopped => is_stopped,
            };
            Some((vec![tenant(&of.tenant), (Sending::NAME, state.word())], u64::from(is_so)))
        })
    }

    fn encode_store(&self, out: &mut Out<'_>) -> fmt::Result {
        let StoreFigures { commits, queued, condition, files, .. } = &self.store;
        out.counts(
            "callgate_store_commits",
            "Transactions of the writer, each of all that was queued together",
            commits,
        )?;
        out.gauges(
            "callgate_store_queue_length",
            "Operations that wait for the writer; at 4096 of a rank more are refused",
            None,
            queued.iter().map(|(rank, count)| (rank.pairs(), as_count(*count))),
        )?;
        out.gauges(
            "callgate_store_state",
            "The condition of the disk and the database: 1 is what is so",
            None,
            Condition::ALL.iter().map(|one| (one.pairs(), u64::from(one == condition))),
        )?;
        out.gauges(
            "callgate_store_size",
            "Length of a file of the database",
            Some(&Unit::Bytes),
            files.iter().map(|(file, length)| (file.pairs(), *length)),
        )
    }

    fn encode_process(&self, out: &mut Out<'_>) -> fmt::Result {
        let HealthReport { unready, degraded } = &self.health;
        let wrong: Vec<_> = (unready.keys().copied())
            .chain(degraded.keys().map(|part| &**part))
            .map(Part::named)
            .collect();
        out.gauge("callgate_ready", "1 when /readyz is 200", u64::from(unready.is_empty()))?;
        out.gauges(
            "callgate_health",
            "The parts of /readyz: 1 is well, 0 is named there",
            None,
            Part::ALL.iter().map(|part| (part.pairs(), u64::from(!wrong.contains(part)))),
        )?;
        out.gauges(
            "callgate_start_time",
            "When the process began, in Unix time",
            Some(&Unit::Seconds),
            [(Vec::new(), seconds(self.started))],
        )?;
        out.info("callgate_build", "The program", &[("version", env!("CARGO_PKG_VERSION"))])
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        self.encode_requests(&mut out)?;
        self.encode_deletions(&mut out)?;
        self.encode_sending(&mut out)?;
        self.encode_store(&mut out)?;
        self.encode_process(&mut out)
    }
}

type Pairs<'a> = Vec<(&'static str, &'a str)>;

fn tenant(tenant: &TenantId) -> (&'static str, &str) {
    ("tenant", tenant.as_str())
}

fn as_count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn seconds(at: Timestamp) -> f64 {
    at.since(Timestamp(0)).as_secs_f64()
}

/// Writes families. Units and `_total` are added to the names that are given here.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauges<'a, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        series: impl IntoIterator<Item = (Pairs<'a>, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in series {
            if labels.is_empty() {
                family.encode_gauge(&value)?;
            } else {
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauges(name, help, None, [(Vec::new(), value)])
    }

    fn counts<L: Labels>(&mut self, name: &str, help: &str, counts: &Counts<L>) -> fmt::Result {
        self.counters(name, help, L::all().map(|labels| (labels.pairs(), counts.of(labels))))
    }

    /// The series that have counted something, because most combinations do not exist, and of every
    /// action those that somebody is woken for: what comes first in a series is no growth of it.
    fn answers(
        &mut self,
        name: &str,
        help: &str,
        counts: &Counts<(Action, Outcome)>,
    ) -> fmt::Result {
        let is_shown = |(_, outcome): &(Action, Outcome), count| {
            count > 0 || matches!(outcome, Outcome::Unavailable | Outcome::Internal)
        };
        let all = <(Action, Outcome)>::all().map(|labels| (labels, counts.of(labels)));
        let shown = all.filter(|(labels, count)| is_shown(labels, *count));
        self.counters(name, help, shown.map(|(labels, count)| (labels.pairs(), count)))
    }

    fn tenant_counts<L: Labels>(
        &mut self,
        name: &str,
        help: &str,
        tenants: &[(TenantId, Counts<L>)],
    ) -> fmt::Result {
        let series = tenants.iter().flat_map(|(id, counts)| {
            L::all().map(move |labels| {
                let pairs = [tenant(id)].into_iter().chain(labels.pairs()).collect();
                (pairs, counts.of(labels))
            })
        });
        self.counters(name, help, series)
    }

    fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Pairs<'a>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in series {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        Ok(())
    }

    fn durations(&mut self, name: &str, help: &str, durations: &Durations) -> fmt::Result {
        let (unit, kind) = (Unit::Seconds, MetricType::Histogram);
        let mut family = self.0.encode_descriptor(name, help, Some(&unit), kind)?;
        let classes = durations.classes();
        let count = classes.iter().map(|(_, count)| count).sum();
        let sum = Duration::as_secs_f64(&durations.sum());
        family.encode_histogram::<NoLabelSet>(sum, count, &classes, None)
    }

    fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        family.encode_info(&labels)
    }
}
