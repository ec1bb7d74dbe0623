//! Calls and deletions as clients look them up.
//!
//! A client sees those of its own tenant's calls that exist for its key, and its own key's deletions,
//! and only while its key stands.
//! A look changes nothing; after an ambiguous one, Graph is asked in the background which of the
//! candidates still are.

use std::sync::Arc;

use crate::access::Actor;
use crate::clock::Clock;
use crate::id::DeletionId;
use crate::model::plan::Found;
use crate::model::rights::Right;
use crate::model::selector::Selector;
use crate::store::Store;
use crate::store::admission::SelectionRules;
use crate::store::error::StoreError;
use crate::store::lookup::{CallLookup, CallReport, DeletionLookup, LookedUp};
use crate::store::records::DeletionDetails;

/// What clients look up. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    store: Store,
    clock: Clock,
    rules: Arc<SelectionRules>,
}

impl Lookup {
    /// Looks into `store`.
    pub(crate) fn new(store: Store, clock: Clock, rules: SelectionRules) -> Self {
        Self { store, clock, rules: Arc::new(rules) }
    }

    /// The one call that exists for the actor and that `selector` means, found as a deletion would find it.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn call(
        &self,
        actor: &Actor,
        selector: Selector,
    ) -> Result<LookedUp<Found<Box<CallReport>>>, StoreError> {
        let selection = self.rules.select(actor.key(), selector);
        let sees_candidates = actor.may(Right::SeeCandidates);
        let checked = actor.checked();
        let now = self.clock.moment();
        self.store.look_up_call(CallLookup { checked, selection, sees_candidates, now }).await
    }

    /// The deletion of this id, when it was recorded for the actor's key.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn deletion(
        &self,
        actor: &Actor,
        deletion_id: DeletionId,
    ) -> Result<LookedUp<Option<DeletionDetails>>, StoreError> {
        let checked = actor.checked();
        self.store.look_up_deletion(DeletionLookup { checked, deletion_id }).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::tests::actor;
    use crate::clock::Timestamp;
    use crate::id::{GraphCallId, TenantId};
    use crate::model::call::CallState;
    use crate::model::change::{CallChange, EndReason};
    use crate::model::deletion::DeletionState;
    use crate::model::end_reason::EndVerdict;
    use crate::registry::Registry;
    use crate::store::fixture::{
        Fixture, NOW, TENANT, answered, by_call_id, by_number, over, selection_rules,
    };
    use crate::store::records::CallNews;

    const LATER: Timestamp = Timestamp(NOW.0 + 2000);

    fn lookup(there: &Fixture) -> Lookup {
        Lookup::new(there.store.clone(), Clock::manual(LATER), selection_rules())
    }

    /// News of the end of the call "a", as a notification brings them.
    async fn told(there: &Fixture, code: i64, subcode: i64) {
        let end = EndReason { code: Some(code), subcode: Some(subcode), ..EndReason::default() };
        let change = CallChange {
            deleted: true,
            state: Some(CallState::Terminated),
            end: Some(end),
            ..CallChange::of(GraphCallId("a".to_owned()))
        };
        let tenant = TenantId::new(TENANT);
        let news = CallNews { tenant, app_id: None, changes: vec![change], now: LATER.into() };
        Registry::new(there.store.clone(), Clock::manual(LATER)).apply(news).await.unwrap();
    }

    async fn verdict(there: &Fixture) -> EndVerdict {
        let actor = actor(there).await;
        match lookup(there).call(&actor, by_call_id("a")).await.unwrap() {
            LookedUp::Seen(Found::One(call)) => call.end.unwrap().verdict(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn news_of_the_end_of_a_call_join_the_deletion_that_graph_took() {
        for (code, subcode, expected) in [
            (200, 5001, EndVerdict::EndedByUs),
            (200, 7000, EndVerdict::EndedByUs),
            (200, 4097, EndVerdict::EndedByOther),
            (500, 7106, EndVerdict::Failed),
        ] {
            let there = Fixture::new().await;
            there.call("a", "100").await;
            let leased = there.begin("a", NOW).await;
            let id = leased.deletion_id;
            let taken = answered(NOW, 204, over(DeletionState::Sent, None, false));
            there.store.settle(leased, taken).await.unwrap();
            told(&there, code, subcode).await;
            let looked = lookup(&there).deletion(&actor(&there).await, id).await.unwrap();
            let LookedUp::Seen(Some(details)) = looked else { panic!("{looked:?}") };
            assert_eq!(details.row.state, DeletionState::Confirmed);
            assert_eq!(details.row.confirmed_at, Some(LATER));
            let end = details.end.unwrap();
            assert_eq!((end.at, end.verdict()), (LATER, expected), "{code}/{subcode}");
            assert_eq!(verdict(&there).await, expected);
        }
    }

    #[tokio::test]
    async fn a_call_that_ended_without_us_was_ended_by_somebody_else() {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        told(&there, 200, 7000).await;
        assert_eq!(verdict(&there).await, EndVerdict::EndedByOther);
    }

    #[tokio::test]
    async fn news_that_overtake_graphs_answer_leave_it_open_who_ended_the_call() {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        let leased = there.begin("a", NOW).await;
        told(&there, 200, 5001).await;
        assert_eq!(verdict(&there).await, EndVerdict::Unknown);
        let taken =
            answered(LATER + Duration::from_secs(1), 204, over(DeletionState::Sent, None, false));
        there.store.settle(leased, taken).await.unwrap();
        assert_eq!(verdict(&there).await, EndVerdict::EndedByUs);
    }

    #[tokio::test]
    async fn who_was_revoked_since_it_was_checked_is_to_be_checked_again() {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        let actor = actor(&there).await;
        there.revoke().await;
        let looked = lookup(&there).call(&actor, by_number("100", "ongoing")).await.unwrap();
        assert!(matches!(looked, LookedUp::AccessChanged), "{looked:?}");
    }
}
