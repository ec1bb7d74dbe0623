//! `status=next`: armed on disk, and carried out for the first call of the number that begins.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::formats::golden;
use crate::support::{Gateway, Key, TENANT, until};

/// A call that begins at 8856; `more` wins over what is here.
async fn begins(gateway: &Gateway, more: Value) -> String {
    let id = Uuid::new_v4().to_string();
    let mut call = json!({
        "id": id, "state": "incoming", "direction": "incoming", "source": "+4930123456",
        "targets": ["8856"], "tenantId": TENANT,
    });
    if let (Some(call), Value::Object(more)) = (call.as_object_mut(), more) {
        call.extend(more);
    }
    gateway.graph.make(&call).await;
    id
}

/// A key that may arm deletions.
async fn arming(gateway: &Gateway) -> Key {
    gateway.key_with(&["DeleteCall", "RejectCall", "next"]).await
}

async fn known(gateway: &Gateway, id: &str) {
    let query = format!("SELECT count(*) FROM calls WHERE graph_id = '{id}'");
    let probe = async || (gateway.value::<i64>(&query) == 1).then_some(());
    until(&format!("the registry knows call {id}"), probe).await;
}

#[tokio::test]
async fn the_next_call_of_the_number_is_rejected_and_the_one_after_it_goes_on() {
    let gateway = Gateway::announced("").await;
    let key = arming(&gateway).await;
    let dry = gateway.get(&key.query("extension=8856&status=next&dryRun=1&detail=1")).await;
    assert_eq!((dry.code(), dry.word()), (0, "would_send"), "{}", dry.body);
    assert!(dry.body.contains("would be armed"), "{}", dry.body);
    assert_eq!(gateway.recorded(), 0);
    let other = begins(&gateway, json!({"targets": ["8857"]})).await;
    let answer = gateway.get(&key.query("extension=8856&status=ongoing,next&detail=1")).await;
    assert_eq!((answer.code(), answer.word()), (0, "armed"), "{}", answer.body);
    golden("armed", &[], async |style| {
        gateway.get(&key.query(&format!("extension=8856&status=ongoing,next&{style}"))).await
    })
    .await;
    let deletion = answer.element("DeletionID").to_owned();
    let again = gateway.get(&key.query("extension=8856&status=ongoing,next&detail=1")).await;
    assert_eq!((again.word(), again.element("DeletionID")), ("armed", deletion.as_str()));
    let dry = gateway.get(&key.query("extension=8856&status=ongoing,next&dryRun=1&detail=1")).await;
    assert_eq!((dry.word(), dry.element("DeletionID")), ("armed", deletion.as_str()));
    assert!(dry.body.contains("An earlier request armed this deletion"), "{}", dry.body);
    let found = gateway.standing(&key, &deletion).await;
    assert_eq!((&found["state"], &found["outcome"]), (&json!("armed"), &json!("armed")), "{found}");
    assert_eq!(found["callID"], Value::Null);
    let listed = gateway.run(&["deletions", "list", "--state", "armed", "--json"]).await;
    assert!(listed.contains(&deletion), "{listed}");
    assert!(gateway.asked().await.is_empty());

    let first = begins(&gateway, json!({})).await;
    gateway.settles(&deletion, "confirmed").await;
    let second = begins(&gateway, json!({})).await;
    known(&gateway, &second).await;
    assert_eq!(gateway.asked().await, [format!("POST {first}/reject {{\"reason\":\"none\"}}")]);
    assert_eq!(gateway.graph.state(&first).await, "terminated");
    assert_eq!(gateway.graph.state(&second).await, "incoming");
    assert_eq!(gateway.graph.state(&other).await, "incoming");
    gateway
        .audited("it fired", |record| {
            record["action"] == "armed deletion fired" && record["deletion_id"] == deletion
        })
        .await;
}

#[tokio::test]
async fn a_call_that_begins_without_ringing_is_hung_up() {
    let gateway = Gateway::announced("").await;
    let key = arming(&gateway).await;
    let answer = gateway.get(&key.query("extension=8856&status=next&detail=1")).await;
    assert_eq!(answer.word(), "armed");
    let id = begins(&gateway, json!({"state": "establishing", "direction": "outgoing"})).await;
    gateway.settles(answer.element("DeletionID"), "confirmed").await;
    assert_eq!(gateway.asked().await, [format!("DELETE {id}")]);
}

#[tokio::test]
async fn a_call_that_goes_on_is_meant_before_the_next_one() {
    let gateway = Gateway::announced("").await;
    let key = arming(&gateway).await;
    let id = begins(&gateway, json!({})).await;
    known(&gateway, &id).await;
    let answer = gateway.get(&key.query("extension=8856&status=ongoing,next&detail=1")).await;
    assert_eq!((answer.word(), answer.element("CallID").is_empty()), ("sent", false));
    assert_eq!(gateway.value::<i64>("SELECT count(*) FROM armed"), 0);
    // What follows the word is never tried.
    let answer = gateway.get(&key.query("extension=8856&status=next,last")).await;
    assert_eq!((answer.code(), gateway.value::<i64>("SELECT count(*) FROM armed")), (0, 1));
}

#[tokio::test]
async fn the_word_is_skipped_without_the_right_without_a_number_and_for_participants() {
    let gateway = Gateway::announced("").await;
    let armed = arming(&gateway).await;
    let people = gateway.key_with(&["DeleteParticipant", "GetCallID", "next"]).await;
    let number = "extension=8856&status=next";
    for query in [
        gateway.key.query(number),
        gateway.key.query("extension=8856&status=ongoing,next,last"),
        armed.query("callID=unknown&status=next"),
        people.ask("DeleteParticipant", &format!("{number}&participantID=p")),
        people.ask("GetCallID", number),
    ] {
        let answer = gateway.get(&format!("{query}&detail=1")).await;
        assert_eq!((answer.code(), answer.word()), (2, "not_found"), "{query}: {}", answer.body);
    }
    assert_eq!(gateway.recorded(), 0);
}

#[tokio::test]
async fn nobody_who_calls_later_is_meant() {
    let gateway = Gateway::announced("").await;
    let key = arming(&gateway).await;
    let answer = gateway.get(&key.query("extension=8856&status=next&detail=1")).await;
    let deletion = answer.element("DeletionID").to_owned();
    gateway.clock.advance(Duration::from_secs(61));
    gateway.settles(&deletion, "obsolete").await;
    let id = begins(&gateway, json!({})).await;
    known(&gateway, &id).await;
    assert!(gateway.asked().await.is_empty());
    let found = gateway.standing(&key, &deletion).await;
    assert_eq!(found["failure"], "no call of that number began in time", "{found}");
}

#[tokio::test]
async fn what_is_armed_is_carried_out_by_the_next_process() {
    let gateway = Gateway::announced("legacy.on_pending = \"error\"").await;
    let key = arming(&gateway).await;
    let answer = gateway.get(&key.query("extension=8856&status=next&detail=1")).await;
    assert_eq!((answer.code(), answer.word()), (0, "armed"), "{}", answer.body);
    let gateway = Gateway::serve(gateway.stop().await).await;
    gateway.announce(json!({})).await;
    let id = begins(&gateway, json!({})).await;
    gateway.settles(answer.element("DeletionID"), "confirmed").await;
    assert_eq!(gateway.asked().await, [format!("POST {id}/reject {{\"reason\":\"none\"}}")]);
}

#[tokio::test]
async fn the_sender_is_told_and_does_not_only_look_around() {
    let gateway = Gateway::announced("").await;
    let key = arming(&gateway).await;
    let mut all = 0;
    for _ in 0..5 {
        let answer = gateway.get(&key.query("extension=8856&status=next&detail=1")).await;
        let deletion = answer.element("DeletionID").to_owned();
        begins(&gateway, json!({})).await;
        gateway.settles(&deletion, "confirmed").await;
        all += gateway.value::<i64>(&format!(
            "SELECT a.started_at - c.first_seen_at FROM attempts AS a JOIN deletions AS d \
             USING (deletion) JOIN calls AS c USING (call) WHERE deletion_id = '{deletion}'"
        ));
    }
    // It looks around once a second.
    assert!(all < 1200, "{all} ms for five calls");
}
