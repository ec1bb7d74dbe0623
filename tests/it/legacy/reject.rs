//! Calls that ring: rejected while they do, and hung up when that came too late.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::formats::golden;
use crate::support::{Gateway, Key, TENANT, until};

/// Has Graph announce a call that rings at 8856, and waits until it is known; `more` wins over what
/// is here.
async fn ring(gateway: &Gateway, more: Value) -> String {
    let id = Uuid::new_v4().to_string();
    let mut call = json!({
        "id": id,
        "state": "incoming",
        "direction": "incoming",
        "source": "+4930123456",
        "targets": ["8856"],
        "tenantId": TENANT,
    });
    if let (Some(call), Value::Object(more)) = (call.as_object_mut(), more) {
        call.extend(more);
    }
    gateway.graph.make(&call).await;
    knows(gateway, &id, "incoming").await;
    id
}

async fn knows(gateway: &Gateway, id: &str, state: &str) {
    let query = format!("SELECT count(*) FROM calls WHERE graph_id = '{id}' AND state = '{state}'");
    let probe = async || (gateway.value::<i64>(&query) == 1).then_some(());
    until(&format!("the registry knows call {id} as {state}"), probe).await;
}

/// The operations of the one deletion with their states, in their order.
fn steps(gateway: &Gateway) -> String {
    gateway.value(
        "SELECT group_concat(operation || ' ' || state, ', ') FROM (SELECT * FROM steps \
         ORDER BY deletion, position)",
    )
}

#[tokio::test]
async fn a_call_that_rings_is_rejected_and_its_end_is_ours() {
    let gateway = Gateway::announced("").await;
    let id = ring(&gateway, json!({})).await;
    let dry = gateway.delete("extension=8856&status=ongoing&dryRun=1").await;
    assert_eq!((dry.word(), dry.element("Operation")), ("would_send", "reject"));
    assert!(gateway.asked().await.is_empty());

    let answer = gateway.delete("extension=8856&status=ongoing&detail=1").await;
    assert_eq!((answer.code(), answer.word()), (0, "sent"), "{}", answer.body);
    assert_eq!(answer.element("Operation"), "reject");
    assert_eq!(gateway.asked().await, [format!("POST {id}/reject {{\"reason\":\"none\"}}")]);
    let deletion = answer.element("DeletionID").to_owned();
    gateway.settles(&deletion, "confirmed").await;
    let query = gateway.key.ask("GetDeletion", &format!("deletionID={deletion}&responseType=JSON"));
    let found: Value = serde_json::from_str(&gateway.get(&query).await.body).expect("JSON");
    assert_eq!(
        (&found["operation"], &found["endVerdict"]),
        (&json!("reject"), &json!("ended_by_us"))
    );
    assert_eq!(steps(&gateway), "reject sent");
    let again = gateway.delete("extension=8856&status=ongoing&detail=1").await;
    assert_eq!((again.word(), again.element("DeletionID")), ("already_deleted", deletion.as_str()));
}

#[tokio::test]
async fn a_call_that_is_answered_before_it_could_be_rejected_is_hung_up_and_nobody_is_told_before()
{
    let gateway = Gateway::announced("").await;
    let id = ring(&gateway, json!({})).await;
    let path = format!("/v1.0/communications/calls/{id}/reject");
    gateway.graph.fault(json!({"path": path, "status": 429, "retryAfter": 1, "times": 1})).await;
    let mut client = gateway.connect().await;
    let query = gateway.query(&format!("callID={id}&detail=1"));
    client.send(format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    gateway.has_asked(1).await;
    gateway.graph.move_on(&id, "answer", &json!({})).await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.word(), answer.element("Operation")),
        ("sent", "hang-up"),
        "{}",
        answer.body
    );
    let reject = format!("POST {id}/reject {{\"reason\":\"none\"}}");
    assert_eq!(gateway.asked().await, [reject, format!("DELETE {id}")]);
    gateway.settles(answer.element("DeletionID"), "confirmed").await;
    assert_eq!(steps(&gateway), "reject obsolete, hang-up sent");
}

#[tokio::test]
async fn a_404_to_a_reject_is_asked_again_as_a_hang_up() {
    for (how, word, state) in [("answer", "sent", "sent"), ("end", "ended", "failed")] {
        let gateway = Gateway::announced("").await;
        let id = ring(&gateway, json!({})).await;
        // News of it go nowhere.
        gateway.announce(json!({"url": "http://127.0.0.1:9/nobody"})).await;
        gateway.graph.move_on(&id, how, &json!({})).await;
        let answer = gateway.delete(&format!("callID={id}&detail=1")).await;
        assert_eq!(answer.word(), word, "{}", answer.body);
        let reject = format!("POST {id}/reject {{\"reason\":\"none\"}}");
        assert_eq!(gateway.asked().await, [reject, format!("DELETE {id}")]);
        gateway.settles(answer.element("DeletionID"), state).await;
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_reject_is_settled_by_the_hang_up() {
    let gateway = Gateway::announced("").await;
    let id = ring(&gateway, json!({})).await;
    let path = format!("/v1.0/communications/calls/{id}/reject");
    gateway.graph.fault(json!({"path": path, "reset": "after", "times": 1})).await;
    let answer = gateway.delete(&format!("callID={id}&detail=1")).await;
    assert_eq!(
        (answer.word(), answer.element("Operation")),
        ("gone", "hang-up"),
        "{}",
        answer.body
    );
    let information =
        gateway.key.ask("GetCallInformation", &format!("callID={id}&responseType=JSON"));
    let found: Value = serde_json::from_str(&gateway.get(&information).await.body).expect("JSON");
    assert!(found.to_string().contains("\"endVerdict\":"), "{found}");
    assert_ne!(found["endVerdict"], "ended_by_other", "{found}");
}

#[tokio::test]
async fn there_are_15_seconds_to_reject_and_5_for_policy_recording() {
    let recorded = json!({"incomingContext": {"observedParticipantId": "o-1"}});
    for (more, last) in [(json!({}), 14), (recorded, 4)] {
        let gateway = Gateway::announced("").await;
        let id = ring(&gateway, more).await;
        let operation = async || {
            let dry = gateway.delete(&format!("callID={id}&dryRun=1")).await;
            dry.element("Operation").to_owned()
        };
        assert_eq!(operation().await, "reject");
        // The test itself takes a part of a second.
        gateway.clock.advance(Duration::from_secs(last - 1));
        assert_eq!(operation().await, "reject", "{last}");
        gateway.clock.advance(Duration::from_secs(2));
        assert_eq!(operation().await, "hang-up", "{last}");
    }
}

#[tokio::test]
async fn what_graph_puts_off_beyond_the_ringing_is_hung_up_no_earlier_than_it_asked() {
    let gateway = Gateway::announced("").await;
    let id = ring(&gateway, json!({"incomingContext": {"observedParticipantId": "o-1"}})).await;
    gateway.clock.advance(Duration::from_millis(3_500));
    let path = format!("/v1.0/communications/calls/{id}/reject");
    gateway.graph.fault(json!({"path": path, "status": 429, "retryAfter": 2, "times": 1})).await;
    let began = tokio::time::Instant::now();
    let answer = gateway.delete(&format!("callID={id}&detail=1")).await;
    assert_eq!(
        (answer.word(), answer.element("Operation")),
        ("sent", "hang-up"),
        "{}",
        answer.body
    );
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(gateway.asked().await.len(), 2);
}

#[tokio::test]
async fn a_call_of_which_only_the_id_was_told_or_that_we_made_is_hung_up() {
    let gateway = Gateway::announced("").await;
    let made = ring(&gateway, json!({"direction": "outgoing"})).await;
    let told = ring(&gateway, json!({})).await;
    gateway.change(&format!("UPDATE calls SET rings_since = NULL WHERE graph_id = '{told}'"));
    for id in [made, told] {
        let dry = gateway.delete(&format!("callID={id}&dryRun=1")).await;
        assert_eq!((dry.word(), dry.element("Operation")), ("would_send", "hang-up"));
    }
}

#[tokio::test]
async fn a_restart_between_reject_and_hang_up_forgets_neither() {
    let gateway = Gateway::announced("legacy.wait = \"100ms\"").await;
    let id = ring(&gateway, json!({})).await;
    let path = format!("/v1.0/communications/calls/{id}/reject");
    gateway.graph.fault(json!({"path": path, "status": 503, "times": 1})).await;
    let answer = gateway.delete(&format!("callID={id}&detail=1")).await;
    assert_eq!((answer.word(), answer.element("Operation")), ("accepted", "reject"));
    let deletion = answer.element("DeletionID").to_owned();
    let site = gateway.stop().await;
    site.graph.move_on(&id, "answer", &json!({})).await;
    site.change(&format!("UPDATE calls SET state = 'established' WHERE graph_id = '{id}'"));
    let gateway = Gateway::serve(site).await;
    gateway.settles(&deletion, "sent").await;
    assert_eq!(steps(&gateway), "reject obsolete, hang-up sent");
    assert_eq!(gateway.graph.deletes().await, [id]);
}

/// A key that may reject, and a query with it.
async fn rejecting(gateway: &Gateway) -> Key {
    let rights = ["--right", "RejectCall", "--right", "DeleteCall", "--right", "GetDeletion"];
    gateway.new_key(&rights).await
}

#[tokio::test]
async fn a_rejection_is_sent_with_its_reason_and_recorded_as_one() {
    let gateway = Gateway::announced("").await;
    let key = rejecting(&gateway).await;
    for (sent, reason) in
        [("", "none"), ("rejectReason=BUSY&", "busy"), ("rejectreason=forbidden&", "forbidden")]
    {
        let id = ring(&gateway, json!({})).await;
        let query = |more: &str| key.ask("rejectcall", &format!("{sent}callID={id}&{more}"));
        let dry = gateway.get(&query("dryRun=1")).await;
        assert_eq!((dry.word(), dry.element("Operation")), ("would_send", "reject"));
        let answer = gateway.get(&query("detail=1&reason=wrong+number")).await;
        assert_eq!((answer.code(), answer.word()), (0, "sent"), "{}", answer.body);
        assert_eq!(answer.attribute("type"), "RejectCall");
        assert_eq!(answer.element("Operation"), "reject");
        let body = format!("POST {id}/reject {{\"reason\":\"{reason}\"}}");
        assert_eq!(gateway.asked().await.last(), Some(&body));
        let deletion = answer.element("DeletionID").to_owned();
        gateway.settles(&deletion, "confirmed").await;
        let audited = |entry: &Value| entry["deletion_id"] == deletion.as_str();
        let entry = gateway.audited("the rejection", audited).await;
        assert_eq!(
            (&entry["action"], &entry["result"]),
            (&json!("RejectCall"), &json!("admitted"))
        );
        assert_eq!(entry["personal"]["reason"], "wrong number");
        // Whoever asks for its end is told that it is over by us.
        let deleted = gateway.get(&key.query(&format!("callID={id}&detail=1"))).await;
        assert_eq!(
            (deleted.word(), deleted.element("DeletionID")),
            ("already_deleted", &*deletion)
        );
    }
    assert_eq!(gateway.asked().await.len(), 3);
    let kinds: String = gateway.value("SELECT group_concat(DISTINCT kind) FROM deletions");
    assert_eq!(kinds, "RejectCall");
}

#[tokio::test]
async fn what_does_not_ring_is_not_rejected() {
    let gateway = Gateway::announced("").await;
    let key = rejecting(&gateway).await;
    let reject = async |selector: &str| {
        gateway.get(&key.ask("RejectCall", &format!("{selector}&detail=1"))).await
    };
    let no_more = "Call cannot be rejected any more: DeleteCall would end it.";
    let runs = ring(&gateway, json!({"targets": ["1"]})).await;
    gateway.graph.move_on(&runs, "answer", &json!({})).await;
    knows(&gateway, &runs, "established").await;
    let over = ring(&gateway, json!({"targets": ["2"]})).await;
    gateway.graph.end(&over).await;
    knows(&gateway, &over, "terminated").await;
    let ours = ring(&gateway, json!({"targets": ["3"], "direction": "outgoing"})).await;
    let (first, second) = (json!({"targets": ["4"]}), json!({"targets": ["4"]}));
    ring(&gateway, first).await;
    ring(&gateway, second).await;
    for (selector, word, text) in [
        (format!("callID={runs}"), "ended", no_more),
        (format!("callID={over}"), "ended", "Call has already ended."),
        (format!("callID={ours}"), "ended", no_more),
        ("callID=nobody".to_owned(), "not_found", "Call cannot be found."),
        (
            "extension=4&status=ongoing".to_owned(),
            "ambiguous",
            "2 calls match: parameter callID would decide which one is meant.",
        ),
    ] {
        let answer = reject(&selector).await;
        let found = (answer.code(), answer.word(), answer.element("ErrorMessage"));
        assert_eq!(found, (2, word, text), "{selector}");
    }
    gateway.clock.advance(Duration::from_secs(16));
    let late = reject("callID=nobody").await;
    assert_eq!(late.word(), "not_found");
    assert_eq!((gateway.recorded(), gateway.asked().await.len()), (0, 0));
}

#[tokio::test]
async fn an_unknown_reason_and_a_key_without_the_right_reject_nothing() {
    let gateway = Gateway::announced("").await;
    let id = ring(&gateway, json!({})).await;
    let usual = gateway.get(&gateway.key.ask("RejectCall", &format!("callID={id}&detail=1"))).await;
    assert_eq!((usual.code(), usual.word()), (2, "not_permitted"));
    assert_eq!(usual.element("ErrorMessage"), "This API key does not permit RejectCall.");
    let key = rejecting(&gateway).await;
    for (parameter, text) in [
        ("rejectReason=rude", "Parameter rejectReason takes none, busy or forbidden."),
        ("rejectReason=busy&rejectReason=none", ""),
        ("reject_reason=busy", ""),
    ] {
        let query = key.ask("RejectCall", &format!("callID={id}&detail=1&{parameter}"));
        let answer = gateway.get(&query).await;
        assert_eq!((answer.code(), answer.word()), (-20, "bad_parameter"), "{parameter}");
        assert!(answer.element("ErrorMessage").starts_with(text), "{}", answer.body);
    }
    assert_eq!((gateway.recorded(), gateway.asked().await.len()), (0, 0));
}

#[tokio::test]
async fn a_rejection_that_came_too_late_is_never_a_hang_up() {
    // News of the answer come between two attempts, or go nowhere.
    for is_told in [true, false] {
        let gateway = Gateway::announced("").await;
        let key = rejecting(&gateway).await;
        let id = ring(&gateway, json!({})).await;
        if is_told {
            let path = format!("/v1.0/communications/calls/{id}/reject");
            let fault = json!({"path": path, "status": 429, "retryAfter": 1, "times": 1});
            gateway.graph.fault(fault).await;
        } else {
            gateway.announce(json!({"url": "http://127.0.0.1:9/nobody"})).await;
            gateway.graph.move_on(&id, "answer", &json!({})).await;
        }
        let mut client = gateway.connect().await;
        let query = key.ask("RejectCall", &format!("callID={id}&detail=1"));
        client.send(format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        gateway.has_asked(1).await;
        if is_told {
            gateway.graph.move_on(&id, "answer", &json!({})).await;
        }
        let answer = client.answer().await;
        assert_eq!((answer.code(), answer.word()), (2, "ended"), "{}", answer.body);
        let text = "Call cannot be rejected any more: DeleteCall would end it.";
        assert_eq!(answer.element("ErrorMessage"), text);
        gateway.settles(answer.element("DeletionID"), "obsolete").await;
        assert_eq!(gateway.asked().await.len(), 1);
        assert_eq!(gateway.graph.state(&id).await, "established");
        // What the text says is true.
        gateway.announce(json!({})).await;
        let deleted = gateway.get(&key.query(&format!("callID={id}&detail=1"))).await;
        assert_eq!(
            (deleted.word(), deleted.element("Operation")),
            ("sent", "hang-up"),
            "{is_told}"
        );
    }
}

#[tokio::test]
async fn a_rejection_that_graph_puts_off_for_too_long_was_not_done_and_nobody_wonders() {
    // Longer than it rings; or again and again.
    for (status, seconds) in [(503, "600"), (503, "1"), (429, "1")] {
        let gateway = Gateway::announced("legacy.wait = \"50ms\"").await;
        let key = rejecting(&gateway).await;
        let id = ring(&gateway, json!({})).await;
        let path = format!("/v1.0/communications/calls/{id}/reject");
        gateway.graph.fault(json!({"path": path, "status": status, "retryAfter": seconds})).await;
        gateway.get(&key.ask("RejectCall", &format!("callID={id}&detail=1"))).await;
        if seconds == "1" {
            gateway.has_asked(2).await;
            gateway.clock.advance(Duration::from_secs(20));
        }
        let deletion: String = gateway.value("SELECT deletion_id FROM deletions");
        gateway.settles(&deletion, "obsolete").await;
        assert_eq!(gateway.graph.state(&id).await, "incoming");
        assert_eq!(gateway.graph.deletes().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_rejection_and_a_deletion_at_once_are_sent_once() {
    for rejected_first in [true, false] {
        let gateway = Gateway::announced("").await;
        let key = rejecting(&gateway).await;
        let id = ring(&gateway, json!({})).await;
        // Its end is told to nobody: what is known is what Graph answered.
        gateway.announce(json!({"url": "http://127.0.0.1:9/nobody"})).await;
        let path = format!("/v1.0/communications/calls/{id}/reject");
        gateway.graph.fault(json!({"path": path, "delayMs": 600, "times": 1})).await;
        let reject = key.ask("RejectCall", &format!("callID={id}&detail=1"));
        let delete = key.query(&format!("callID={id}&detail=1"));
        let (first, second) = if rejected_first { (reject, delete) } else { (delete, reject) };
        let mut client = gateway.connect().await;
        client.send(format!("GET /verba/api?{first} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let recorded = async || (gateway.recorded() == 1).then_some(());
        until("the first one is recorded", recorded).await;
        let second = gateway.get(&second).await;
        assert_eq!((second.code(), second.word()), (0, "gone"), "{}", second.body);
        let first = client.answer().await;
        assert_eq!((first.code(), first.word()), (0, "sent"), "{}", first.body);
        assert_eq!(gateway.asked().await.len(), 1, "{rejected_first}");
        assert_eq!(gateway.recorded(), 2);
    }
}

#[tokio::test]
async fn a_rejection_and_one_that_comes_too_late_read_like_this() {
    let gateway = Gateway::announced("").await;
    let key = rejecting(&gateway).await;
    for (name, is_answered) in [("rejected", false), ("rings_no_more", true)] {
        golden(name, &[], async |style| {
            let id = ring(&gateway, json!({})).await;
            if is_answered {
                gateway.graph.move_on(&id, "answer", &json!({})).await;
                knows(&gateway, &id, "established").await;
            }
            gateway.get(&key.ask("RejectCall", &format!("callID={id}&{style}"))).await
        })
        .await;
    }
}
