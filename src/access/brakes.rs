//! Brakes on failures, for each address and each login, in bounded memory.
//!
//! A failure is paid for before anything is verified, and given back when it was none: so whoever
//! guesses many passwords at once gets no more of them looked at than whoever guesses one after the
//! other. Whoever might find room when those before him are through waits for them, so that many
//! right passwords at once brake nobody. A place that somebody has logged in from before pays for
//! its own failures only, so that strangers can lock nobody out.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::model::user::{FAMILIAR, folded};

/// So many wait at most until others are through.
const WAITING: usize = 64;

/// Counts failures. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Brakes {
    policy: Policy,
    /// Keyed anew in each process: nobody can make two names one.
    names: RandomState,
    state: Arc<Mutex<State>>,
    /// Told when an attempt is through.
    through: Arc<Notify>,
    waiting: Arc<Semaphore>,
    /// Apart, so that strangers leave room for whoever is known.
    familiar_waiting: Arc<Semaphore>,
}

/// What is let through of each kind of failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Logins that fail from one address.
    pub(crate) address: Limit,
    /// Logins that fail with one key and login, from wherever.
    pub(crate) login: Limit,
    /// Logins that fail from one address with one key and login.
    pub(crate) pair: Limit,
    /// Keys from one address that are not accepted; past it they are not logged one by one.
    pub(crate) bad_keys: Limit,
    /// So much is remembered at most.
    pub(crate) most: usize,
}

/// So many at once, and one more each time this long has passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) burst: u32,
    pub(crate) every: Duration,
}

/// Somebody who wants to log in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) peer: IpAddr,
    /// Two tenants may both have a user of the same login; a key is of one.
    pub(crate) key_row: i64,
    /// As it was sent; compared as [`folded`].
    pub(crate) login: &'a str,
}

/// What an attempt has paid that is under way; it is through when this is dropped.
#[derive(Debug)]
#[must_use = "an attempt that did not fail gets it back"]
pub(crate) struct Charge {
    brakes: Brakes,
    paid: Vec<(u64, Limit)>,
}

/// An attempt that is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Braked {
    /// Not zero.
    pub(crate) retry_after: Duration,
    /// Failures of its own place did not do it: it would be let through if it were known.
    pub(crate) by_others: bool,
    /// There may be room when those that are under way are through.
    under_way: bool,
}

#[derive(Debug, Default)]
struct State {
    buckets: HashMap<u64, Bucket>,
    /// Where which login has succeeded with which key, and when.
    familiar: HashMap<u64, Instant>,
    /// How many attempts are under way that have paid there.
    under_way: HashMap<u64, usize>,
}

/// What has been paid and has not run out yet: a bucket that leaks at a steady rate.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    empty_at: Instant,
    /// The time that a full one takes to run out.
    whole: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        let limit = |burst, seconds| Limit { burst, every: Duration::from_secs(seconds) };
        Self {
            address: limit(20, 3),
            login: limit(20, 3),
            pair: limit(10, 6),
            bad_keys: limit(20, 1),
            most: 50_000,
        }
    }
}

impl Brakes {
    /// Nothing has failed yet.
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            names: RandomState::new(),
            state: Arc::default(),
            through: Arc::default(),
            waiting: Arc::new(Semaphore::new(WAITING)),
            familiar_waiting: Arc::new(Semaphore::new(WAITING)),
        }
    }

    /// Lets an attempt through, for what it costs if it fails; where that depends on others that are
    /// under way, when they are through.
    ///
    /// # Errors
    ///
    /// It is one too many, and paid nothing.
    pub(crate) async fn begin(&self, attempt: &Attempt<'_>) -> Result<Charge, Braked> {
        let mut place = None;
        loop {
            let mut through = pin!(self.through.notified());
            through.as_mut().enable();
            match self.begin_now(attempt) {
                Err(braked) if braked.under_way => {
                    if place.is_none() {
                        let is_familiar = self.is_familiar(attempt);
                        let waiting =
                            if is_familiar { &self.familiar_waiting } else { &self.waiting };
                        place = Some(waiting.try_acquire().map_err(|_full| braked)?);
                    }
                    through.await;
                }
                begun => return begun,
            }
        }
    }

    fn begin_now(&self, attempt: &Attempt<'_>) -> Result<Charge, Braked> {
        let now = Instant::now();
        let (own, nearby) =
            (self.pair(attempt.peer, attempt), self.pair(network(attempt.peer), attempt));
        let others = [
            (nearby, self.policy.pair),
            (self.name(("address", network(attempt.peer))), self.policy.address),
            (self.name(("login", attempt.key_row, folded(attempt.login))), self.policy.login),
        ];
        let place = self.place(attempt);
        let mut state = self.state();
        let mut paid = vec![(own, self.policy.pair)];
        if !state.is_familiar(place, now) {
            // With IPv4 the address is all of its network.
            paid.extend(others.into_iter().filter(|(name, _)| *name != own));
        }
        state.room(&paid, now)?;
        for bucket in &paid {
            state.charge(*bucket, now, self.policy.most);
            *state.under_way.entry(bucket.0).or_default() += 1;
        }
        Ok(Charge { brakes: self.clone(), paid })
    }

    /// Gives back what an attempt has paid that did not fail.
    pub(crate) fn refund(&self, charge: Charge) {
        let now = Instant::now();
        let mut state = self.state();
        for (name, limit) in &charge.paid {
            state.give_back(*name, *limit, now);
        }
        drop(state);
        drop(charge);
    }

    /// Takes note that an attempt succeeded, now or within [`FAMILIAR`]: strangers' failures do not
    /// brake its place any more.
    pub(crate) fn remember(&self, attempt: &Attempt<'_>) {
        let place = self.place(attempt);
        let mut state = self.state();
        if state.familiar.len() >= self.policy.most {
            // The store knows them too.
            state.familiar.clear();
        }
        state.familiar.insert(place, Instant::now());
    }

    /// Whether it is remembered that this login has succeeded there.
    pub(crate) fn is_familiar(&self, attempt: &Attempt<'_>) -> bool {
        self.state().is_familiar(self.place(attempt), Instant::now())
    }

    /// Takes note of a key that was not accepted; gives true when there were too many from there.
    pub(crate) fn bad_key(&self, peer: IpAddr) -> bool {
        let now = Instant::now();
        let bucket = (self.name(("bad key", network(peer))), self.policy.bad_keys);
        let mut state = self.state();
        let is_braked = !state.wait(bucket, now).is_zero();
        if !is_braked {
            state.charge(bucket, now, self.policy.most);
        }
        is_braked
    }

    fn pair(&self, peer: IpAddr, attempt: &Attempt<'_>) -> u64 {
        let Attempt { key_row, login, .. } = *attempt;
        self.name(("pair", peer.to_canonical(), key_row, folded(login)))
    }

    fn place(&self, attempt: &Attempt<'_>) -> u64 {
        let Attempt { peer, key_row, login, .. } = *attempt;
        self.name(("place", peer.to_canonical(), key_row, folded(login)))
    }

    fn name(&self, of: impl std::hash::Hash) -> u64 {
        self.names.hash_one(of)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_familiar(&self, place: u64, now: Instant) -> bool {
        self.familiar.get(&place).is_some_and(|since| now < *since + FAMILIAR)
    }

    /// How long it takes until there is room for one more.
    fn wait(&self, (name, limit): (u64, Limit), now: Instant) -> Duration {
        let empty_at = self.buckets.get(&name).map_or(now, |bucket| bucket.empty_at.max(now));
        (empty_at + limit.every).duration_since(now).saturating_sub(limit.whole())
    }

    /// Says how long it takes until there is room in all of them, of which the first is the attempt's
    /// own.
    fn room(&self, buckets: &[(u64, Limit)], now: Instant) -> Result<(), Braked> {
        let wait = |bucket: &(u64, Limit)| self.wait(*bucket, now);
        let longest = buckets.iter().map(wait).max().unwrap_or_default();
        if longest.is_zero() {
            return Ok(());
        }
        let mut full = buckets.iter().filter(|bucket| !wait(bucket).is_zero());
        Err(Braked {
            retry_after: longest,
            by_others: buckets.first().is_some_and(|own| wait(own).is_zero()),
            under_way: full.all(|(name, _)| self.under_way.contains_key(name)),
        })
    }

    fn charge(&mut self, (name, limit): (u64, Limit), now: Instant, most: usize) {
        if !self.buckets.contains_key(&name) && self.buckets.len() >= most {
            self.make_room(most, now);
        }
        let empty = Bucket { empty_at: now, whole: limit.whole() };
        let bucket = self.buckets.entry(name).or_insert(empty);
        bucket.empty_at = bucket.empty_at.max(now) + limit.every;
    }

    fn give_back(&mut self, name: u64, limit: Limit, now: Instant) {
        let Some(bucket) = self.buckets.get_mut(&name) else { return };
        match bucket.empty_at.checked_sub(limit.every) {
            Some(empty_at) if empty_at > now => bucket.empty_at = empty_at,
            _ => drop(self.buckets.remove(&name)),
        }
    }

    /// The empty ones go, and the emptiest after them until a quarter is free: a scan pays for many
    /// newcomers, and the fullest, which brake somebody, stay.
    fn make_room(&mut self, most: usize, now: Instant) {
        self.buckets.retain(|_, bucket| bucket.empty_at > now);
        let surplus = self.buckets.len().saturating_sub(most - most.div_ceil(4));
        if surplus == 0 {
            return;
        }
        let mut fullness: Vec<_> =
            self.buckets.iter().map(|(name, bucket)| (bucket.per_mille(now), *name)).collect();
        fullness.select_nth_unstable(surplus - 1);
        for (_, name) in &fullness[..surplus] {
            self.buckets.remove(name);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut state = self.brakes.state();
        for (name, _) in &self.paid {
            if let Some(count) = state.under_way.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    state.under_way.remove(name);
                }
            }
        }
        drop(state);
        self.brakes.through.notify_waiters();
    }
}

impl Bucket {
    fn per_mille(&self, now: Instant) -> u128 {
        let left = self.empty_at.saturating_duration_since(now).as_nanos();
        (left * 1000).checked_div(self.whole.as_nanos()).unwrap_or_default()
    }
}

impl Limit {
    fn whole(self) -> Duration {
        self.every * self.burst
    }
}

/// What counts as one address: whoever has one of IPv6 has the 64 bits after its network too.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6((six.to_bits() >> 64 << 64).into()),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests;
