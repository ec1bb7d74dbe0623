//! The calls that are known: merged in from news and imports, and looked at.

pub(crate) mod reconcile;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub(crate) mod lookup;

use crate::clock::Clock;
use crate::id::{CallId, TenantId};
use crate::model::change::{CallChange, RosterChange};
use crate::operator::Operator;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::records::{Applied, CallDetails, CallNews, CallRow, ImportReport, ImportedCall};

/// The weight of the news that are on their way into the store at most: about as much as the store
/// merges in a quarter of a second.
const TURNS: u32 = 10_000;
/// What the heaviest news take of it, so that they find a turn beside light ones.
const HEAVIEST: u32 = TURNS / 2;
/// What one change weighs; who is named in it comes on top.
const CHANGE: usize = 4;

/// The registry of calls.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    store: Store,
    clock: Clock,
    turns: Arc<Semaphore>,
}

impl Registry {
    /// The calls in `store`.
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, turns: Arc::new(Semaphore::new(TURNS as usize)) }
    }

    /// Merges what became known of calls, all or nothing. It is on disk when this gives
    /// [`Applied::Merged`]. The same news may come twice, late and in any order.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] at once when too many are on their way, whose sender is to try again;
    /// nothing was changed, as after every other error.
    pub(crate) async fn apply(&self, news: CallNews) -> Result<Applied, StoreError> {
        let turns = Arc::clone(&self.turns).try_acquire_many_owned(weight(&news));
        let turn = turns.map_err(|_none| StoreError::Busy)?;
        self.store.apply(news, turn).await
    }

    /// The store's number of a tenant, made when it is new.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    pub(crate) async fn tenant(&self, id: TenantId) -> Result<i64, StoreError> {
        self.store.tenant(id, self.clock.now()).await
    }

    /// The store's number of a tenant that is known.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn find_tenant(&self, id: TenantId) -> Result<Option<i64>, StoreError> {
        self.store.find_tenant(id).await
    }

    /// Merges calls in one transaction: unknown ones are added, known ones only move forward.
    ///
    /// # Errors
    ///
    /// None of them was merged.
    pub(crate) async fn import(
        &self,
        operator: &Operator,
        calls: Vec<ImportedCall>,
    ) -> Result<ImportReport, StoreError> {
        let entry = operator.entry("calls import", self.clock.now());
        self.store.import_calls(calls, entry).await
    }

    /// The positions of those whose call id belongs to another Graph call already.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn conflicts(
        &self,
        calls: Vec<ImportedCall>,
    ) -> Result<Vec<usize>, StoreError> {
        self.store.import_conflicts(calls).await
    }

    /// Up to `limit` calls, the newest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn list(
        &self,
        limit: usize,
        ongoing: bool,
    ) -> Result<Vec<CallRow>, StoreError> {
        self.store.calls(limit, ongoing).await
    }

    /// The calls of this id, ours or Graph's; several only when tenants share it.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn show(&self, id: CallId) -> Result<Vec<CallDetails>, StoreError> {
        self.store.call(id).await
    }
}

/// How much of the store's time news take: they may be one word, or a thousand calls.
fn weight(news: &CallNews) -> u32 {
    let of = |change: &CallChange| CHANGE + change.parties.len() + named(change.roster.as_ref());
    let all: usize = news.changes.iter().map(of).sum();
    u32::try_from(all.max(CHANGE)).unwrap_or(u32::MAX).min(HEAVIEST)
}

fn named(roster: Option<&RosterChange>) -> usize {
    match roster {
        None => 0,
        Some(RosterChange::Left(_)) => 1,
        Some(RosterChange::Whole(all) | RosterChange::Delta { participants: all, .. }) => all.len(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::JoinSet;

    use super::*;
    use crate::id::GraphCallId;
    use crate::model::call::{CallState, Party};
    use crate::store::fixture::{Fixture, NOW, TENANT, by_call_id};

    fn news(graph_id: &str, state: CallState) -> CallNews {
        let party = |role, number: &str| Party {
            role,
            kind: "number",
            raw: number.to_owned(),
            normalised: number.to_owned(),
            display_name: None,
        };
        let change = CallChange {
            state: Some(state),
            parties: vec![party("source", "100"), party("target", "200")],
            ..CallChange::of(GraphCallId(graph_id.to_owned()))
        };
        CallNews {
            tenant: TenantId::new(TENANT),
            app_id: None,
            changes: vec![change],
            now: NOW.into(),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_senders_at_once_lose_nothing_and_double_nothing() {
        const CALLS: usize = 200;
        let there = Fixture::new().await;
        let registry = Registry::new(there.store.clone(), Clock::manual(NOW));
        let mut senders = JoinSet::new();
        let life = [CallState::Incoming, CallState::Established, CallState::Terminated];
        // Twice each, the later steps of a call beside the earlier ones of others.
        for n in 0..CALLS * life.len() * 2 {
            let registry = registry.clone();
            let news = news(&format!("call-{}", n % CALLS), life[n / CALLS % life.len()]);
            senders.spawn(async move {
                loop {
                    match registry.apply(news.clone()).await {
                        Ok(applied) => break applied,
                        Err(error) => assert!(matches!(error, StoreError::Busy), "{error}"),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        let all = senders.join_all().await;
        assert!(all.iter().all(|one| matches!(one, Applied::Merged { .. })));
        let ended =
            "SELECT count(*) FROM calls WHERE state = 'terminated' AND ended_at IS NOT NULL";
        for (sql, expected) in [
            ("SELECT count(*) FROM calls", CALLS),
            (ended, CALLS),
            ("SELECT count(*) FROM parties", CALLS * 2),
            ("SELECT count(*) FROM parties WHERE ended_at IS NOT NULL", CALLS * 2),
        ] {
            assert_eq!(there.look::<i64>(sql), i64::try_from(expected).unwrap(), "{sql}");
        }
    }

    #[tokio::test]
    async fn when_too_many_are_on_their_way_the_next_is_refused_and_a_deletion_is_not() {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        let registry = Registry::new(there.store.clone(), Clock::manual(NOW));
        let ask = there.ask(by_call_id("a"), NOW).await;
        let other = there.other_hand();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let fitting = TURNS / weight(&news("any", CallState::Incoming));
        let mut waiting: Vec<_> = (0..fitting)
            .map(|n| Box::pin(registry.apply(news(&format!("call-{n}"), CallState::Incoming))))
            .collect();
        for one in &mut waiting {
            assert!(is_pending(one).await);
        }
        let refused = || async { registry.apply(news("late", CallState::Incoming)).await };
        assert!(matches!(refused().await, Err(StoreError::Busy)));
        // Whoever goes away leaves what is queued behind, and that still counts.
        waiting.truncate(waiting.len() / 2);
        assert!(matches!(refused().await, Err(StoreError::Busy)));
        let mut deletion = Box::pin(there.admit(ask));
        assert!(is_pending(&mut deletion).await);
        other.execute_batch("COMMIT").unwrap();
        assert!(deletion.await.recorded.is_some());
        for one in waiting {
            assert_eq!(one.await.unwrap(), Applied::Merged { changed: 1 });
        }
        assert_eq!(refused().await.unwrap(), Applied::Merged { changed: 1 });
    }

    #[tokio::test]
    async fn a_deletion_waits_for_the_big_news_in_the_writers_hand_and_for_no_more() {
        const CALLS: usize = 1000;
        let there = Fixture::new().await;
        there.call("a", "100").await;
        let registry = Registry::new(there.store.clone(), Clock::manual(NOW));
        let ask = there.ask(by_call_id("a"), NOW).await;
        let big = |post: &str| {
            let mut all = news("", CallState::Incoming);
            let one = |n| news(&format!("{post}-{n}"), CallState::Incoming).changes;
            all.changes = (0..CALLS).flat_map(one).collect();
            for change in &mut all.changes {
                let target = &change.parties[1];
                let targets =
                    (0..10).map(|n| Party { normalised: n.to_string(), ..target.clone() });
                change.parties.extend(targets.collect::<Vec<_>>());
            }
            all
        };
        let other = there.other_hand();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut waiting = ["one", "two"].map(|post| Box::pin(registry.apply(big(post))));
        for one in &mut waiting {
            assert!(is_pending(one).await);
        }
        assert!(matches!(registry.apply(big("three")).await, Err(StoreError::Busy)));
        let (tell, told) = std::sync::mpsc::channel();
        let looking = there.other_hand();
        let committed = move |_: &_| {
            let calls = "SELECT count(*) FROM calls";
            let calls: u16 = looking.query_row(calls, (), |row| row.get(0)).unwrap();
            tell.send(calls).unwrap();
        };
        let mut deletion = Box::pin(there.store.admit(ask, committed));
        assert!(is_pending(&mut deletion).await);
        other.execute_batch("COMMIT").unwrap();
        deletion.await.unwrap();
        assert_eq!(usize::from(told.recv().unwrap()), 1 + CALLS, "its own call, and those of one");
        for one in waiting {
            assert_eq!(one.await.unwrap(), Applied::Merged { changed: CALLS });
        }
    }

    #[test]
    fn the_biggest_news_find_a_turn_beside_others() {
        let mut biggest = news("a", CallState::Incoming);
        assert_eq!(weight(&biggest), 6);
        biggest.changes = vec![biggest.changes[0].clone(); 1000];
        assert_eq!(weight(&biggest), HEAVIEST);
        biggest.changes.clear();
        assert_eq!(weight(&biggest), 4, "also what says nothing has to be committed");
    }

    async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
        tokio::time::timeout(Duration::ZERO, future).await.is_err()
    }
}
