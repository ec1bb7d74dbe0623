//! What waits for another deletion of its call is sent only for those who may still ask for it.

use super::*;
use crate::store::admission::Next;
use crate::store::fixture::DEADLINE;
use crate::store::reconcile::Asking;

#[tokio::test]
async fn of_two_for_one_call_the_second_is_not_sent_once_its_key_or_user_was_shut_out() {
    let other = "key = (SELECT max(key) FROM keys)";
    let key = "its key was revoked or expired before its turn came";
    for (change, why) in [
        (format!("UPDATE keys SET revoked_at = 1 WHERE {other}"), key),
        (format!("UPDATE keys SET expires_at = 1 WHERE {other}"), key),
        (
            format!(
                "INSERT INTO users (user, tenant, login, folded, role, password_hash, created_at, \
                 disabled_at) VALUES (1, 1, 'jane', 'jane', 'caller', 'h', 0, 1); \
                 UPDATE deletions SET user = 1 WHERE {other}"
            ),
            "its user was disabled before its turn came",
        ),
        (
            format!("UPDATE deletions SET key = NULL WHERE {other}"),
            "its key cannot be read any more",
        ),
    ] {
        let (there, ids, leased) = two_for_one_call().await;
        there.by_hand(&change);
        let begun = CallChange { state: Some(CallState::Established), ..of("a", NUMBER) };
        there.hear(vec![begun], NOW + SECOND * 5).await;
        let now = NOW + SECOND * 71;
        let end = answered(now, 403, over(DeletionState::Cancelled, Some("why"), false));
        there.store.settle(leased, end).await.unwrap().unwrap();
        assert!(there.leased(now).await.is_empty(), "{change}");
        let state = is(DeletionState::Cancelled, None, Some(why));
        assert_eq!(there.stood(ids[1]).await, state, "{change}");
        there.counts("SELECT count(*) FROM steps", 1);
        let records = i64::from(!change.contains("key = NULL"));
        there.counts("SELECT count(*) FROM audit WHERE canonical LIKE '%\"cancelled\"%'", records);
    }
}

#[tokio::test]
async fn of_two_for_one_call_the_second_waits_no_longer_than_its_own_deadline() {
    let (there, ids, leased) = two_for_one_call().await;
    let begun = CallChange { state: Some(CallState::Established), ..of("a", NUMBER) };
    there.hear(vec![begun], NOW + SECOND * 5).await;
    let now = NOW + SECOND * 71;
    let end = answered(now, 403, over(DeletionState::Cancelled, Some("why"), false));
    there.store.settle(leased, end).await.unwrap().unwrap();
    // An operator is faster than the sender.
    let app = Asking { tenant: TenantId::new(TENANT), client_id: "app".to_owned() };
    let change = Change::Retry { tried_for: DEADLINE * 9, apps: vec![app] };
    let (manner, entry) = (Manner::AllOrNone, entry("deletions retry", now));
    let intervention = Intervention { change, ids: vec![ids[0]], manner, entry };
    let judged = there.store.intervene(intervention).await.unwrap().remove(0);
    assert_eq!(judged.obstacle, None);

    let deadline = NOW + SECOND * 2 + DEADLINE;
    let again = there.leased(deadline - SECOND).await.remove(0);
    assert_eq!(there.stood(ids[1]).await, ARMED);
    assert!(there.leased(deadline).await.is_empty());
    assert_eq!(there.stood(ids[1]).await, ARMED, "the call may end a moment later");
    let end = answered(deadline, 503, Next::At(deadline + SECOND * 9));
    assert_eq!(there.store.settle(again, end).await.unwrap(), None);
    assert!(there.leased(deadline).await.is_empty());
    let state = is(DeletionState::Obsolete, None, Some("its deadline passed before its turn came"));
    assert_eq!(there.stood(ids[1]).await, state);
    assert_eq!(there.stood(ids[0]).await, is(DeletionState::Open, Some("a"), None));
}
