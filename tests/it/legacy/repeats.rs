//! Asking twice: by impatient people, by careful programs, and by old HTTP stacks.

use serde_json::json;

use crate::support::{Gateway, call, until};

fn get(query: &str) -> String {
    format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[tokio::test]
async fn a_request_for_a_call_whose_deletion_is_open_joins_it() {
    let gateway = Gateway::start().await;
    let other = gateway.new_key(&[]).await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 2_000})).await;
    let mut first = gateway.connect().await;
    first.send(get(&gateway.query(&format!("callID={}&detail=1", call.id)))).await;
    gateway.graph.has_deletes(1).await;
    // By another selector and another key, because it is the call that counts.
    let mut second = gateway.connect().await;
    second.send(get(&other.query("extension=8856&status=ongoing&detail=1"))).await;
    let (first, second) = (first.answer().await, second.answer().await);
    assert_eq!((first.word(), second.word()), ("sent", "joined"));
    assert_eq!(first.element("DeletionID"), second.element("DeletionID"));
    assert_eq!((gateway.recorded(), gateway.graph.deletes().await.len()), (1, 1));
}

#[tokio::test]
async fn a_joined_request_shares_a_refusal_as_well() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "status": 400, "delayMs": 2_000})).await;
    let request = get(&gateway.query(&format!("callID={}&detail=1", call.id)));
    let (mut first, mut second) = (gateway.connect().await, gateway.connect().await);
    first.send(&request).await;
    gateway.graph.has_deletes(1).await;
    second.send(&request).await;
    let (first, second) = (first.answer().await, second.answer().await);
    assert_eq!((first.word(), second.word()), ("refused_by_graph", "refused_by_graph"));
    assert_eq!(first.element("DeletionID"), second.element("DeletionID"));
    assert_eq!(gateway.graph.deletes().await.len(), 1);
}

#[tokio::test]
async fn many_at_once_are_one_deletion() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 300})).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = gateway.connect().await;
        client.send(get(&gateway.query(&format!("callID={}&detail=1", call.id)))).await;
        clients.push(client);
    }
    let mut words = Vec::new();
    for client in &mut clients {
        let answer = client.answer().await;
        assert_eq!(answer.code(), 0);
        words.push(answer.word().to_owned());
    }
    assert_eq!(words.iter().filter(|word| *word == "sent").count(), 1, "{words:?}");
    assert_eq!((gateway.recorded(), gateway.graph.deletes().await.len()), (1, 1));
}

#[tokio::test]
async fn a_call_that_we_deleted_is_deleted_already() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    let by_id = format!("callID={}&detail=1", call.id);
    let first = gateway.delete(&by_id).await;
    let other = gateway.new_key(&[]).await;
    for query in
        [gateway.query(&by_id), other.query(&by_id), other.query(&format!("{by_id}&dryRun=1"))]
    {
        let again = gateway.get(&query).await;
        assert_eq!((again.code(), again.word()), (0, "already_deleted"));
        assert_eq!(again.element("DeletionID"), first.element("DeletionID"));
    }
    assert_eq!((gateway.recorded(), gateway.graph.deletes().await.len()), (1, 1));
}

#[tokio::test]
async fn a_selector_that_matches_nothing_any_more_means_its_last_deletion_for_ten_minutes() {
    let gateway = Gateway::start().await;
    gateway.call("8856").await;
    let selector = "extension=8856&status=ongoing&detail=1";
    let first = gateway.delete(selector).await;
    assert_eq!(first.word(), "sent");
    let again = gateway.delete(selector).await;
    assert_eq!((again.code(), again.word()), (0, "already_deleted"));
    assert_eq!(again.element("DeletionID"), first.element("DeletionID"));
    // The same number in another spelling is the same selector.
    let spelt = gateway.delete("extension=tel:88-56&status=ONGOING&detail=1").await;
    assert_eq!(spelt.word(), "already_deleted");
    // Another selector, or another key, is not.
    let other = gateway.delete("extension=8856&status=ongoing,next&detail=1").await;
    assert_eq!((other.code(), other.word()), (2, "not_found"));
    let key = gateway.new_key(&[]).await;
    assert_eq!(gateway.get(&key.query(selector)).await.word(), "not_found");
    // And after ten minutes it is forgotten.
    gateway.change("UPDATE deletions SET created_at = created_at - 601000");
    assert_eq!(gateway.delete(selector).await.word(), "not_found");
}

#[tokio::test]
async fn last_after_our_own_deletion_means_the_call_that_it_ended_and_no_older_one() {
    let gateway = Gateway::start().await;
    let ended = |at: &str| call("7010", json!({"startedAt": at, "endedAt": at}));
    gateway.calls(&[ended("2020-11-21T05:40:00Z")]).await;
    let running = gateway.call("7010").await;
    let selector = "extension=7010&status=ongoing,last&detail=1";
    let first = gateway.delete(selector).await;
    assert_eq!((first.word(), first.element("CallID")), ("sent", running.id.as_str()));
    for query in [selector, "extension=7010&status=last&detail=1"] {
        let again = gateway.delete(query).await;
        assert_eq!((again.code(), again.word()), (0, "already_deleted"), "{query}");
        assert_eq!(again.element("DeletionID"), first.element("DeletionID"));
    }
    // It is the call that counts, and not who asks or for how long nobody did.
    let other = gateway.new_key(&[]).await;
    gateway.change("UPDATE deletions SET created_at = created_at - 601000");
    assert_eq!(gateway.get(&other.query(selector)).await.word(), "already_deleted");
    assert_eq!(gateway.graph.deletes().await, [running.graph_id]);
    assert_eq!(gateway.value::<i64>("SELECT count(*) FROM calls WHERE ended_at IS NULL"), 1);

    // One that ended after it is the last one again.
    let later = gateway.calls(&[ended("2100-01-01T00:00:00Z")]).await.remove(0);
    let answer = gateway.delete(&format!("{selector}&dryRun=1")).await;
    assert_eq!((answer.word(), answer.element("CallID")), ("would_send", later.id.as_str()));
}

#[tokio::test]
async fn the_next_call_of_a_number_is_another_call() {
    let gateway = Gateway::start().await;
    let selector = "extension=8856&status=ongoing&detail=1";
    let first = gateway.call("8856").await;
    assert_eq!(gateway.delete(selector).await.element("CallID"), first.id);
    let second = gateway.call("8856").await;
    let answer = gateway.delete(selector).await;
    assert_eq!((answer.word(), answer.element("CallID")), ("sent", second.id.as_str()));
    assert_eq!(gateway.graph.deletes().await, [first.graph_id, second.graph_id]);
}

#[tokio::test]
async fn a_silent_repeat_after_a_cut_joins_and_leaves_the_next_call_alone() {
    let gateway = Gateway::start().await;
    let first = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 2_500, "times": 1})).await;
    let request = get(&gateway.query("extension=8856&status=ongoing&detail=1"));
    let mut cut = gateway.connect().await;
    cut.send(&request).await;
    gateway.graph.has_deletes(1).await;
    drop(cut);
    let noticed = "SELECT count(*) FROM deletions WHERE abandoned_at IS NOT NULL";
    let probe = async || (gateway.value::<i64>(noticed) == 1).then_some(());
    until("the gateway notices that its client went away", probe).await;

    // The caller's next call has begun when the stack repeats what was cut off.
    let next = gateway.calls(&[call("8856", json!({}))]).await.remove(0);
    let repeat = gateway.ask(&request).await;
    assert_eq!((repeat.code(), repeat.word()), (0, "joined"));
    assert_eq!(repeat.element("CallID"), first.id);
    assert_eq!(gateway.graph.deletes().await, [first.graph_id.as_str()]);
    assert_eq!(gateway.graph.state(&next.graph_id).await, "established");

    // Only once: the third request is a person who means the next call.
    let third = gateway.ask(&request).await;
    assert_eq!((third.word(), third.element("CallID")), ("sent", next.id.as_str()));
    assert_eq!(gateway.graph.deletes().await, [first.graph_id, next.graph_id]);
}

#[tokio::test]
async fn a_deletion_goes_on_when_its_client_is_cut_off() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    let path = format!("/{}/oauth2/", crate::support::TENANT);
    gateway.graph.fault(json!({"path": path, "delayMs": 500, "times": 1})).await;
    let mut cut = gateway.connect().await;
    cut.send(get(&gateway.query(&format!("callID={}", call.id)))).await;
    let recorded = async || (gateway.recorded() == 1).then_some(());
    until("the deletion is recorded", recorded).await;
    drop(cut);
    gateway.graph.has_deletes(1).await;
    let state = "SELECT state FROM deletions";
    let sent = async || (gateway.value::<String>(state) == "sent").then_some(());
    until("the deletion is sent", sent).await;
}

#[tokio::test]
async fn a_deletion_that_failed_can_be_asked_for_again() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "status": 400, "times": 1})).await;
    let selector = format!("callID={}&detail=1", call.id);
    let first = gateway.delete(&selector).await;
    let second = gateway.delete(&selector).await;
    assert_eq!((first.word(), second.word()), ("refused_by_graph", "sent"));
    assert_ne!(first.element("DeletionID"), second.element("DeletionID"));
}
