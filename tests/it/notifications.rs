//! Graph's notifications over TCP: the registry that fills itself, and what is refused.

mod forward;
mod people;
mod refusals;
mod strangers;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Gateway, TENANT, until};

/// A call of the site's tenant that rings at `extension`.
fn ringing(id: &str, extension: &str) -> Value {
    json!({
        "id": id,
        "state": "incoming",
        "source": "+4930123456",
        "targets": [extension],
        "tenantId": TENANT,
    })
}

/// Waits until the registry knows the call in this state.
async fn knows(gateway: &Gateway, id: &str, state: &str) {
    let query = format!("SELECT count(*) FROM calls WHERE graph_id = '{id}' AND state = '{state}'");
    let probe = async || (gateway.value::<i64>(&query) == 1).then_some(());
    until(&format!("the registry knows call {id} as {state}"), probe).await;
}

/// What `GetDeletion` says, when it says that the deletion is confirmed.
async fn confirmed(gateway: &Gateway, deletion: &str) -> Value {
    let query = format!(
        "action=GetDeletion&apiKey={}&deletionID={deletion}&responseType=JSON",
        gateway.key.secret
    );
    until("GetDeletion says confirmed", async || {
        let answer = gateway.get(&query).await;
        let found: Value = serde_json::from_str(&answer.body).expect("JSON");
        (found["state"] == "confirmed").then_some(found)
    })
    .await
}

async fn whole_story(form: &str) {
    let gateway = Gateway::announced("").await;
    gateway.announce(json!({"form": form})).await;
    let id = Uuid::new_v4().to_string();
    gateway.graph.make(&ringing(&id, "8856")).await;
    knows(&gateway, &id, "incoming").await;
    // Somebody picks up: at the extension, or elsewhere.
    gateway.graph.move_on(&id, "answer", &json!({})).await;
    knows(&gateway, &id, "established").await;

    let answer = gateway.delete("extension=8856&status=ongoing&detail=1").await;
    assert_eq!((answer.code(), answer.word()), (0, "sent"), "{}", answer.body);
    assert_eq!(gateway.graph.deletes().await, [id.as_str()]);
    let deletion = answer.element("DeletionID").to_owned();
    let found = confirmed(&gateway, &deletion).await;
    assert_eq!(found["endVerdict"], "ended_by_us", "{found}");
    knows(&gateway, &id, "terminated").await;
    // It is over: another request for it finds no running call, but what became of the first one.
    let again = gateway.delete("extension=8856&status=ongoing&detail=1").await;
    assert_eq!((again.code(), again.element("DeletionID")), (0, deletion.as_str()));
    assert_eq!(gateway.graph.deletes().await.len(), 1);
}

#[tokio::test]
async fn a_call_rings_is_answered_is_deleted_and_its_end_is_confirmed_as_ours() {
    whole_story("v1.0").await;
}

#[tokio::test]
async fn the_first_beta_tells_the_same_story_in_its_own_words() {
    whole_story("beta-2018").await;
}

#[tokio::test]
async fn a_call_that_somebody_else_ended_is_said_to_be_ended_by_somebody_else() {
    let gateway = Gateway::announced("").await;
    let id = Uuid::new_v4().to_string();
    gateway.graph.make(&ringing(&id, "8856")).await;
    gateway.graph.move_on(&id, "end", &json!({"code": 200, "subcode": 4521})).await;
    knows(&gateway, &id, "terminated").await;
    let query = format!(
        "action=GetCallInformation&apiKey={}&callID={id}&responseType=JSON",
        gateway.key.secret
    );
    let found: Value = serde_json::from_str(&gateway.get(&query).await.body).expect("JSON");
    assert_eq!(found["code"], 0, "{found}");
    assert!(found.to_string().contains("ended_by_other"), "{found}");
}

/// Sends a notification of `change` with `data` about what is at `path` below the calls.
async fn tell(gateway: &Gateway, proof: &str, change: &str, path: &str, data: &Value) {
    let body = json!({"value": [{
        "changeType": change,
        "resource": format!("/app/calls/{path}"),
        "resourceData": data,
    }]});
    let answer = gateway.notify(&[("Authorization", proof)], &body.to_string()).await;
    assert_eq!(answer.status, 202, "{body}");
}

#[tokio::test]
async fn who_called_whom_is_shown_by_name() {
    let gateway = Gateway::start().await;
    let proof = refusals::token(&gateway).await;
    let call = json!({
        "state": "established",
        "source": {"identity": {"phone": {"id": "+4930123456", "displayName": "Ann & Co"}}},
        "targets": [{"identity": {"phone": {"id": "8856"}}}],
    });
    tell(&gateway, &proof, "created", "named", &call).await;
    let named = json!({"targets": [{"identity": {"phone": {"id": "8856", "displayName": "Bob"}}}]});
    tell(&gateway, &proof, "updated", "named", &named).await;
    let query = format!("action=GetCallInformation&apiKey={}&callID=named", gateway.key.secret);
    let answer = gateway.get(&query).await;
    for expected in
        ["<source_name>Ann &amp; Co</source_name>", "<destination_name>Bob</destination_name>"]
    {
        assert!(answer.body.contains(expected), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_call_that_somebody_has_left_is_not_deleted_by_their_number() {
    let gateway = Gateway::with("legacy.match_roster = true").await;
    let proof = refusals::token(&gateway).await;
    let call = json!({"state": "established", "source": {"phone": {"id": "100"}}});
    let person = |more: &Value| {
        let mut one = json!({"id": "p", "info": {"identity": {"phone": {"id": "500"}}}});
        one.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        one
    };
    let would = async || {
        let answer = gateway.delete("extension=500&status=ongoing&detail=1&dryRun=1").await;
        answer.word().to_owned()
    };
    tell(&gateway, &proof, "created", "a", &call).await;
    let there = json!([person(&json!({"rosterSequenceNumber": 5}))]);
    tell(&gateway, &proof, "updated", "a/participants", &there).await;
    assert_eq!(would().await, "would_send");
    let gone = person(&json!({"removedState": {"reason": "Removed"}}));
    tell(&gateway, &proof, "updated", "a/participants/p", &gone).await;
    assert_eq!(would().await, "not_found");
    tell(&gateway, &proof, "updated", "a/participants/p", &person(&json!({}))).await;
    assert_eq!(would().await, "would_send");
}

#[tokio::test]
async fn what_is_too_much_at_once_is_refused_and_nothing_of_it_is_taken() {
    let gateway = Gateway::start().await;
    let proof = refusals::token(&gateway).await;
    let entry = r#"{"changeType":"created","resource":"/app/calls/c"}"#;
    let body = format!(r#"{{"value":[{}]}}"#, vec![entry; 5001].join(","));
    assert_eq!(gateway.notify(&[("Authorization", &proof)], &body).await.status, 413);
    assert_eq!(gateway.value::<i64>("SELECT count(*) FROM calls"), 0);
}

#[tokio::test]
async fn doubled_shuffled_and_late_notifications_leave_the_same_calls() {
    let gateway = Gateway::announced("").await;
    gateway.announce(json!({"double": true, "shuffle": true, "delayMs": 20})).await;
    let ids: Vec<_> = (0..20).map(|_| Uuid::new_v4().to_string()).collect();
    for id in &ids {
        gateway.graph.make(&ringing(id, "8856")).await;
        gateway.graph.move_on(id, "answer", &json!({})).await;
        gateway.graph.move_on(id, "end", &json!({})).await;
    }
    for id in &ids {
        knows(&gateway, id, "terminated").await;
    }
    // What tells who called whom may be the last to arrive.
    let probe = async || (gateway.value::<i64>("SELECT count(*) FROM parties") == 40).then_some(());
    until("all parties are known", probe).await;
    let calls: i64 = gateway.value("SELECT count(*) FROM calls WHERE ended_at IS NOT NULL");
    assert_eq!(calls, 20);
}

#[tokio::test]
async fn a_new_signing_key_is_fetched_when_it_is_first_met() {
    let gateway = Gateway::announced("").await;
    let (before, after) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    gateway.graph.make(&ringing(&before, "8856")).await;
    knows(&gateway, &before, "incoming").await;
    gateway.graph.rotate_key().await;
    gateway.graph.make(&ringing(&after, "8857")).await;
    knows(&gateway, &after, "incoming").await;
}
