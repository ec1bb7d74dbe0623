//! `scope=all` of which one removal cannot be read: what is told of it is true of the other ones.

use crate::model::deletion::DeletionState::{Failed, Unknown};
use crate::store::fixture::{Fixture, NOW};

impl Fixture {
    /// Two removals, `x` and `y`, are due; that of `broken` cannot be read.
    async fn one_cannot_be_read(&self, broken: &str) {
        self.roster_is_read(&[("x", None), ("y", None)]).await;
        self.by_hand(&format!("UPDATE steps SET target = NULL WHERE target = '{broken}'"));
    }
}

#[tokio::test]
async fn a_removal_that_is_sent_is_never_recorded_as_not_sent_for_another_that_cannot_be_read() {
    let there = Fixture::new().await;
    there.one_cannot_be_read("y").await;
    let due = there.store.lease_due(NOW, there.lease(NOW), 10, Vec::new()).await.unwrap();
    assert_eq!(due.leased.len(), 1, "that of x, and it is sent");
    assert_eq!(due.over.iter().map(|over| over.state).collect::<Vec<_>>(), [Unknown]);
    let under_way = "SELECT count(*) FROM attempts JOIN steps USING (deletion, position) \
                     WHERE target = 'x' AND answered_at IS NULL AND effect_possible = 1";
    assert_eq!(there.look::<i64>(under_way), 1);
}

#[tokio::test]
async fn no_removal_is_sent_for_a_deletion_that_has_ended_because_another_cannot_be_read() {
    let there = Fixture::new().await;
    there.one_cannot_be_read("x").await;
    let due = there.store.lease_due(NOW, there.lease(NOW), 10, Vec::new()).await.unwrap();
    assert_eq!(due.over.iter().map(|over| over.state).collect::<Vec<_>>(), [Failed]);
    assert!(due.leased.is_empty(), "whoever waits is told that nothing was sent");
    assert_eq!(there.look::<i64>("SELECT count(*) FROM steps WHERE lease_owner IS NOT NULL"), 0);
}
