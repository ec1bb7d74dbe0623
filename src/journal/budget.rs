//! Who may send now: the places for requests to Graph, the rate of each tenant, and whether anything can be
//! sent for it at all.
//!
//! The places are shared. A tenant may have more than its part while the others need theirs for less, but a
//! part of each is kept free, so that no tenant waits for the requests of another that is slow. Nothing here
//! waits: whoever finds no room looks again when a place is given back, or at the time that is named here.

mod figures;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::breaker::{Breaker, Change, Gate, Probe, Sign};
use super::bucket::Bucket;
use crate::clock::{Clock, Timestamp};
use crate::config::graph::Rate;
use crate::id::{DeletionId, TenantId};
use crate::store::admission::{Room, Share};

/// So long it is shown that a call of another app waits. Each is tried again within less.
const SHOWN: Duration = Duration::from_mins(5);

/// The budget of one process. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    /// Places in all.
    all: usize,
    /// Of so many each tenant that is configured keeps some.
    kept: usize,
    rate: Option<Rate>,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Places that are taken or drawn.
    busy: usize,
    tenants: HashMap<TenantId, Tenant>,
}

#[derive(Debug, Default)]
struct Tenant {
    busy: usize,
    /// Kept for it when it has fewer.
    kept: usize,
    bucket: Option<Bucket>,
    breaker: Breaker,
    other_app_at: Option<Timestamp>,
}

/// A place for one request of a tenant, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    budget: Budget,
    tenant: TenantId,
    probe: Option<Probe>,
    has_told: bool,
}

/// Places that were taken out before it is known for whom; what is not used goes back.
#[derive(Debug)]
pub(super) struct Draw {
    budget: Budget,
    left: usize,
    /// How many of each tenant's requests may still be made of it, and the probe that one of them is.
    shares: HashMap<TenantId, (usize, Option<Probe>)>,
    pub(super) room: Room,
}

impl Budget {
    /// With `all` places, for these tenants and whoever else has something to send.
    pub(super) fn new(
        all: usize,
        rate: Option<Rate>,
        tenants: impl IntoIterator<Item = TenantId>,
        clock: Clock,
    ) -> Self {
        let mut budget = Self { all, kept: 0, rate, clock, state: Arc::default() };
        let mut tenants: HashMap<_, _> =
            tenants.into_iter().map(|tenant| (tenant, budget.tenant())).collect();
        budget.kept = match tenants.len() {
            0 | 1 => 0,
            // Half of what would be its own, and one where there are enough.
            count => (all / (2 * count)).max(usize::from(all >= count)),
        };
        for tenant in tenants.values_mut() {
            tenant.kept = budget.kept;
        }
        budget.state().tenants = tenants;
        budget
    }

    /// A place for a request of this tenant, if it may be made now. It is no probe: what is sent as one is
    /// chosen among all that is due, or whatever came in last would always be it.
    pub(super) fn take(&self, tenant: &TenantId) -> Option<Place> {
        let now = self.clock.now();
        let mut state = self.state();
        state.tenants.entry(tenant.clone()).or_insert_with(|| self.tenant());
        let room = state.room_of(tenant, self.all, now);
        let known = state.tenants.get_mut(tenant).expect("it was put there");
        if room == 0 || known.breaker.is_stopped() {
            return None;
        }
        let probe = known.begin(1, now);
        known.busy += 1;
        state.busy += 1;
        Some(Place { budget: self.clone(), tenant: tenant.clone(), probe, has_told: false })
    }

    /// Half of the free places, so that what is admitted meanwhile finds one, too; with room for nothing
    /// when none is free.
    pub(super) fn draw(&self) -> Draw {
        let now = self.clock.now();
        let mut state = self.state();
        let all = self.all.saturating_sub(state.busy).div_ceil(2);
        let ids: Vec<_> = state.tenants.keys().cloned().collect();
        let rooms: Vec<_> =
            ids.iter().map(|id| state.room_of(id, self.all, now).min(all)).collect();
        let (mut shares, mut room) = (HashMap::new(), Room::from(all));
        for (id, share) in ids.into_iter().zip(rooms) {
            let tenant = state.tenants.get_mut(&id).expect("it is there");
            let probe = if share > 0 { tenant.begin(share, now) } else { None };
            let first = probe.map(|probe| probe.first);
            let share_of_it = Share { room: share, busy: tenant.busy, probe: first };
            room.tenants.insert(id.clone(), share_of_it);
            shares.insert(id, (share, probe));
        }
        state.busy += all;
        Draw { budget: self.clone(), left: all, shares, room }
    }

    /// When there may be room for this tenant again; none when that is as soon as a place is free.
    pub(super) fn room_at(&self, tenant: &TenantId) -> Option<Timestamp> {
        let now = self.clock.now();
        let mut state = self.state();
        let known = state.tenants.get_mut(tenant)?;
        match known.breaker.gate(now) {
            Gate::Closed(until) => Some(until),
            Gate::Open | Gate::Probe => known.bucket.as_mut()?.next(now),
        }
    }

    /// Keeps how many steps of these tenants wait: what is said when a stopped one goes on.
    pub(super) fn note_waiting(&self, left: &[(TenantId, usize)]) {
        let mut state = self.state();
        for (tenant, waiting) in left {
            if let Some(known) = state.tenants.get_mut(tenant) {
                known.breaker.note_waiting(*waiting);
            }
        }
    }

    /// Nothing but probes is sent for this tenant.
    pub(super) fn is_stopped(&self, tenant: &TenantId) -> bool {
        self.state().tenants.get(tenant).is_some_and(|known| known.breaker.is_stopped())
    }

    /// The tenants of which no call of another app was met any more for a while; each once.
    pub(super) fn without_other_app(&self) -> Vec<TenantId> {
        let now = self.clock.now();
        let mut state = self.state();
        let is_over = |tenant: &mut Tenant| {
            tenant.other_app_at.take_if(|at| now < *at || *at + SHOWN <= now).is_some()
        };
        let over = state.tenants.iter_mut().filter_map(|(id, known)| is_over(known).then_some(id));
        over.cloned().collect()
    }

    fn tenant(&self) -> Tenant {
        let bucket = self.rate.map(|rate| Bucket::full(rate, self.clock.now()));
        Tenant { bucket, ..Tenant::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counts change by what is given back as well: nobody panics between the two.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many requests of this tenant may begin now.
    fn room_of(&mut self, id: &TenantId, all: usize, now: Timestamp) -> usize {
        let free = all.saturating_sub(self.busy);
        let of_others = self.tenants.iter().filter(|(other, _)| *other != id);
        let kept: usize = of_others.map(|(_, other)| other.lacks()).sum();
        let Some(tenant) = self.tenants.get_mut(id) else { return 0 };
        let room = free.saturating_sub(kept);
        let room = match tenant.breaker.gate(now) {
            Gate::Open => room,
            Gate::Probe => room.min(1),
            Gate::Closed(_) => 0,
        };
        tenant.bucket.as_mut().map_or(room, |bucket| room.min(bucket.whole(now)))
    }
}

impl Tenant {
    /// How many places are kept free for it; for one that is stopped, the place of a probe.
    fn lacks(&self) -> usize {
        let kept = if self.breaker.is_stopped() { self.kept.min(1) } else { self.kept };
        kept.saturating_sub(self.busy)
    }

    /// So many requests are to begin; the probe that the first of them is.
    fn begin(&mut self, count: usize, now: Timestamp) -> Option<Probe> {
        if let Some(bucket) = &mut self.bucket {
            bucket.take(count);
        }
        self.breaker.probe(now)
    }
}

impl Place {
    /// Takes in what an attempt in this place told of its tenant, and says what has changed with it.
    pub(super) fn tell(&mut self, sign: Sign, deletion: DeletionId, jitter: f64) -> Option<Change> {
        self.has_told = true;
        let now = self.budget.clock.now();
        let mut state = self.budget.state();
        let known = state.tenants.get_mut(&self.tenant)?;
        if sign == Sign::OtherApp {
            known.other_app_at = Some(now);
        }
        known.breaker.tell(sign, deletion, self.probe, now, jitter)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.busy -= 1;
        if let Some(known) = state.tenants.get_mut(&self.tenant) {
            known.busy -= 1;
            if let Some(probe) = self.probe.filter(|_| !self.has_told) {
                known.breaker.no_probe(probe);
            }
        }
    }
}

impl Draw {
    /// One of the places, for this tenant.
    pub(super) fn place(&mut self, tenant: &TenantId) -> Option<Place> {
        self.left = self.left.checked_sub(1)?;
        let budget = self.budget.clone();
        let mut state = budget.state();
        let known = state.tenants.entry(tenant.clone()).or_insert_with(|| budget.tenant());
        known.busy += 1;
        let probe = match self.shares.get_mut(tenant) {
            Some((left, probe)) => {
                *left = left.saturating_sub(1);
                probe.take()
            }
            // Nobody knew that it has something to send.
            None => known.begin(1, budget.clock.now()),
        };
        drop(state);
        Some(Place { budget, tenant: tenant.clone(), probe, has_told: false })
    }
}

impl Drop for Draw {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.busy -= self.left;
        for (id, (left, probe)) in &self.shares {
            let Some(known) = state.tenants.get_mut(id) else { continue };
            if let Some(bucket) = &mut known.bucket {
                bucket.give_back(*left);
            }
            if let Some(probe) = *probe {
                known.breaker.no_probe(probe);
            }
        }
    }
}

#[cfg(test)]
mod tests;
