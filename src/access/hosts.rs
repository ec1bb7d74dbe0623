//! The addresses of the host names that keys may be used from.
//!
//! Names are resolved in the background, so that no request waits for it, but for the first one of
//! a name. An answer counts until the next; when none comes, the last good one for an hour. After
//! that nobody knows where the name is, and "nobody knows" is no refusal.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// How often names are resolved.
pub(crate) const INTERVAL: Duration = Duration::from_mins(1);
/// How long an answer counts when no other comes.
const COUNTS: Duration = Duration::from_hours(1);
/// How long an answer may take that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a request waits for answers.
const HURRY: Duration = Duration::from_secs(2);
/// How long one may take that a request waits for: less, so that a name that never answers counts as
/// asked for before nobody waits any more.
const ANSWER: Duration = Duration::from_millis(1900);
/// So many names are asked for at once.
const AT_ONCE: usize = 8;

/// What is known of names. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    resolver: Resolver,
    names: Arc<Mutex<HashMap<String, Name>>>,
}

/// Who is asked for the addresses of a name.
#[derive(Clone, Debug)]
pub(crate) enum Resolver {
    /// The operating system, which asks DNS and reads its own list.
    System,
    /// What a test says, and how often it was asked.
    #[cfg(test)]
    Table(tests::Table),
}

/// Whether an address is one of a name's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Inside,
    Outside,
    /// Its addresses are not known.
    Unknown,
}

#[derive(Clone, Debug, Default)]
struct Name {
    /// The last good answer, and when it came.
    good: Option<(Vec<IpAddr>, Instant)>,
    /// Filled when somebody has asked; who comes meanwhile waits for the same answer.
    asked: Arc<OnceCell<()>>,
    /// The last question had no answer, and that has been told.
    is_lost: bool,
}

impl Hosts {
    /// Nothing is known yet.
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self { resolver, names: Arc::default() }
    }

    /// Whether `peer` is one of the addresses of one of `names`, as they are known.
    pub(crate) fn standing<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        peer: IpAddr,
    ) -> Standing {
        let (now, peer) = (Instant::now(), peer.to_canonical());
        let known = self.names();
        let mut standing = Standing::Outside;
        for name in names {
            match known.get(name).and_then(|name| name.addresses(now)) {
                Some(addresses) if addresses.contains(&peer) => return Standing::Inside,
                Some(_) => {}
                None => standing = Standing::Unknown,
            }
        }
        standing
    }

    /// Asks for those of `names` that nobody has asked for yet, two seconds at most.
    pub(crate) async fn ask(&self, names: impl Iterator<Item = &str>) {
        let new: Vec<_> = {
            let mut known = self.names();
            names
                .map(|name| (name, Arc::clone(&known.entry(name.to_owned()).or_default().asked)))
                .filter(|(_, asked)| !asked.initialized())
                .collect()
        };
        let (room, mut asking) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        for (name, asked) in new {
            let (hosts, room, name) = (self.clone(), Arc::clone(&room), name.to_owned());
            asking.spawn(async move {
                // It is never closed; without a permit there would only be more at once.
                let _permit = room.acquire().await;
                asked.get_or_init(|| hosts.resolve(&name, ANSWER)).await;
            });
        }
        // What has no answer by then is asked for in the background.
        drop(timeout(HURRY, async { while asking.join_next().await.is_some() {} }).await);
    }

    /// Asks for all of `names` anew, and forgets all others.
    pub(crate) async fn refresh(&self, names: HashSet<String>) {
        self.names().retain(|name, _| names.contains(name));
        let (room, mut asking) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        for name in names {
            let (hosts, room) = (self.clone(), Arc::clone(&room));
            asking.spawn(async move {
                // It is never closed; without a permit there would only be more at once.
                let _permit = room.acquire().await;
                hosts.resolve(&name, PATIENCE).await;
                let asked = Arc::clone(&hosts.names().entry(name).or_default().asked);
                asked.get_or_init(async || ()).await;
            });
        }
        while asking.join_next().await.is_some() {}
    }

    async fn resolve(&self, name: &str, within: Duration) {
        let answer = match timeout(within, self.resolver.addresses(name)).await {
            Ok(answer) => answer,
            Err(_late) => Err(io::ErrorKind::TimedOut.into()),
        };
        let mut names = self.names();
        let known = names.entry(name.to_owned()).or_default();
        match answer {
            Ok(addresses) => {
                if known.is_lost {
                    tracing::info!(host = name, "the host name has addresses again");
                }
                (known.good, known.is_lost) = (Some((addresses, Instant::now())), false);
            }
            Err(error) if !known.is_lost => {
                known.is_lost = true;
                tracing::warn!(
                    host = name,
                    "a host name that keys may be used from has no address now: {error}"
                );
            }
            Err(_still) => {}
        }
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Name {
    fn addresses(&self, now: Instant) -> Option<&[IpAddr]> {
        let (addresses, at) = self.good.as_ref()?;
        (now < *at + COUNTS).then_some(addresses)
    }
}

impl Resolver {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let addresses: Vec<_> = match self {
            Self::System => tokio::net::lookup_host((name, 0))
                .await?
                .map(|address| address.ip().to_canonical())
                .collect(),
            #[cfg(test)]
            Self::Table(table) => table.addresses(name).await?,
        };
        if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
    }
}

#[cfg(test)]
pub(crate) mod tests;
