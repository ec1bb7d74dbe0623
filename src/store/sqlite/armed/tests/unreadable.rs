//! What cannot be read of an armed deletion keeps nobody else from firing, and no news from being taken.

use super::*;

#[tokio::test]
async fn one_that_cannot_be_read_fails_and_the_call_and_others_go_on() {
    for change in [
        "UPDATE armed SET rules = '{\"numbers\"' WHERE deletion = 1",
        "UPDATE deletions SET scope = 'all', most_others = NULL WHERE deletion = 1",
    ] {
        let there = Fixture::new().await;
        let broken = there.arm(NOW).await;
        let (_, other) = there.make_key("c5cc7a29-d38c-4d44-ba2a-1d3d0b9f8e05").await;
        let mut ask = there.next(NOW + SECOND).await;
        ask.checked = there.checked(other, None).await;
        let second = there.armed(ask).await;
        there.by_hand(change);
        there.hear(vec![rings("a", NUMBER)], NOW + SECOND * 2).await;
        let (state, call, failure) = there.stood(broken).await;
        assert_eq!((state, call), (DeletionState::Failed, None), "{change}");
        assert!(failure.unwrap().contains("cannot be read"), "{change}");
        assert_eq!(there.stood(second).await, is(DeletionState::Open, Some("a"), None));
        assert_eq!(there.leased(NOW + SECOND * 2).await.len(), 1);
    }
}

#[tokio::test]
async fn one_that_cannot_be_read_when_its_turn_comes_fails_and_the_sender_goes_on() {
    let (there, ids, leased) = two_for_one_call().await;
    there.by_hand("UPDATE deletions SET scope = 'all', most_others = NULL WHERE deletion = 2");
    let now = NOW + SECOND * 71;
    let begun = CallChange { state: Some(CallState::Established), ..of("a", NUMBER) };
    there.hear(vec![begun], NOW + SECOND * 5).await;
    let end = answered(now, 403, over(DeletionState::Cancelled, Some("why"), false));
    there.store.settle(leased, end).await.unwrap().unwrap();
    there.call("c", "100").await;
    there.record("c", now).await;
    assert_eq!(there.leased(now).await.len(), 1);
    assert_eq!(there.stood(ids[1]).await.0, DeletionState::Failed);
}
