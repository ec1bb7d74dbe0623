//! What the tests share: a gateway with everything real around it, and the means to look at it.
//!
//! A [`Site`] is a database, a configuration file and a Graph of its own; a [`Gateway`] serves it
//! in this process, a [`Process`] with the real binary. Whatever was started ends with the test,
//! and nothing waits by sleeping: [`until`] asks again until a deadline.

#![expect(clippy::panic, reason = "a helper that panics fails its test")]

mod bot;
mod gateway;
mod graph;
mod http;
mod process;
mod room;
mod schema;
mod seeded;
mod site;
mod snapshot;

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use bot::Bot;
pub(crate) use gateway::{Gateway, post};
pub(crate) use graph::Graph;
pub(crate) use http::{Answer, Client, send};
pub(crate) use process::Process;
pub(crate) use seeded::Seeded;
pub(crate) use site::{CLIENT_ID, CLIENT_SECRET, Call, Key, Site, TENANT, call};
pub(crate) use snapshot::{Known, assert_golden, shown};

/// Far beyond what anything here takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// What `probe` finds as soon as it finds something.
///
/// It panics with `what` when that takes too long.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The result of `future`, which must not take long.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(LONG, future).await;
    result.unwrap_or_else(|_| panic!("it took too long: {what}"))
}

/// Runs all of them at once, to the end of the last one.
pub(crate) async fn all_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    poll_fn(|context| {
        for (future, result) in all.iter_mut().filter(|(_, result)| result.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(context) {
                *result = Some(ready);
            }
        }
        let waits = all.iter().any(|(_, result)| result.is_none());
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all.into_iter().filter_map(|(_, result)| result).collect()
}
