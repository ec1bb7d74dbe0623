//! What comes between: a hold while everybody is removed, an answer that takes too long, a client that
//! goes away, and an app that is not ours.

use serde_json::{Value, json};

use crate::support::{CLIENT_ID, Gateway, Key, TENANT, until};

const ANN: &str = "278405a3-f568-4b3e-b684-009193463064";
/// Another app of the same tenant, whose notifications are taken as well.
const OTHER_APP: &str = "3a3b4c5d-0000-4000-8000-123456789abc";
const EVERY_RIGHT: [&str; 5] =
    ["DeleteCall", "scope-all", "RejectCall", "DeleteParticipant", "InviteParticipant"];

fn people() -> Vec<(&'static str, Value)> {
    vec![("p-1", json!("+49301")), ("p-2", json!("+49302")), ("p-3", json!("+49303"))]
}

/// One of each kind, for a call with people in it and for one that rings.
fn requests(key: &Key, room: &str, ringing: &str) -> [String; 4] {
    [
        key.query(&format!("callID={room}&scope=all&detail=1")),
        key.ask("RejectCall", &format!("callID={ringing}&detail=1")),
        key.ask("DeleteParticipant", &format!("callID={room}&participantID=p-2&detail=1")),
        key.ask("InviteParticipant", &format!("callID={room}&userID={ANN}&detail=1")),
    ]
}

/// Has Graph announce a call that rings, and waits until it is known.
async fn ring(gateway: &Gateway, id: &str, more: Value) {
    let ringing = json!({"state": "incoming", "direction": "incoming", "participants": []});
    let Value::Object(mut ringing) = ringing else { unreachable!("an object") };
    ringing.extend(more.as_object().cloned().unwrap_or_default());
    gateway.room(id, &[], Value::Object(ringing)).await;
    let query = format!("SELECT count(*) FROM calls WHERE graph_id = '{id}'");
    let probe = async || (gateway.value::<i64>(&query) == 1).then_some(());
    until("the call is known", probe).await;
}

#[tokio::test]
async fn a_hold_that_is_set_while_everybody_is_removed_keeps_the_rest_and_our_leg() {
    let gateway = Gateway::announced("legacy.wait = \"100ms\"").await;
    let key = gateway.key_with(&EVERY_RIGHT).await;
    gateway.room("a", &people(), json!({})).await;
    let path = "/v1.0/communications/calls/a/participants/p-2";
    let fault = json!({"method": "DELETE", "path": path, "status": 429, "retryAfter": 2});
    gateway.graph.fault(fault).await;
    let all = key.query("callID=a&scope=all&detail=1");
    let accepted = gateway.get(&all).await;
    assert_eq!((accepted.code(), accepted.word()), (0, "accepted"), "{}", accepted.body);
    // Two are out, and the third is tried again.
    gateway.has_people("a", 2).await;
    gateway.has_asked(4).await;
    gateway.hold();
    let deletion = accepted.element("DeletionID").to_owned();
    gateway.settles(&deletion, "held").await;
    let standing = gateway.standing(&key, &deletion).await;
    let told = (&standing["reason"], &standing["removed"], &standing["participants"]);
    assert_eq!(told, (&json!("policy"), &json!(2), &json!(3)), "{standing}");
    let asked = gateway.asked().await;
    assert!(!asked.contains(&"DELETE a".to_owned()), "{asked:?}");
    assert_eq!(gateway.graph.state("a").await, "established");
    let held = gateway.get(&all).await;
    assert_eq!((held.code(), held.word()), (2, "policy"), "{}", held.body);

    gateway.graph.heal().await;
    gateway.change("DELETE FROM holds");
    let again = gateway.get(&all).await;
    assert_eq!(again.code(), 0, "{}", again.body);
    gateway.settles(again.element("DeletionID"), "confirmed").await;
    let asked = gateway.asked().await;
    assert_eq!(
        asked[asked.len() - 3..],
        ["GET a/participants", "DELETE a/participants/p-2", "DELETE a"]
    );
}

#[tokio::test]
async fn what_is_pending_is_an_error_whatever_was_asked_for_and_is_never_begun_afterwards() {
    let lines = "legacy.on_pending = \"error\"\nlegacy.wait = \"50ms\"\ngraph.concurrency = 1";
    let gateway = Gateway::announced(lines).await;
    let key = gateway.key_with(&EVERY_RIGHT).await;
    gateway.room("a", &people(), json!({})).await;
    gateway.room("b", &people(), json!({})).await;
    ring(&gateway, "c", json!({})).await;
    // One is begun, and what comes behind it is not.
    gateway.graph.fault(json!({"path": "/v1.0/", "delayMs": 3_000, "times": 1})).await;
    let first = key.ask("DeleteParticipant", "callID=a&participantID=p-1&detail=1");
    let begun = gateway.get(&first).await;
    assert_eq!((begun.code(), begun.word()), (2, "unknown_outcome"), "{}", begun.body);
    let mut withdrawn = Vec::new();
    for request in requests(&key, "b", "c") {
        let answer = gateway.get(&request).await;
        assert_eq!((answer.code(), answer.word()), (2, "unavailable"), "{}", answer.body);
        withdrawn.push(answer.element("DeletionID").to_owned());
    }
    for deletion in &withdrawn {
        gateway.settles(deletion, "cancelled").await;
    }
    gateway.settles(begun.element("DeletionID"), "confirmed").await;
    // The slot is free, and nothing but this one takes it.
    let last = gateway.get(&key.query("callID=a&detail=1")).await;
    gateway.settles(last.element("DeletionID"), "confirmed").await;
    assert_eq!(gateway.asked().await, ["DELETE a/participants/p-1", "DELETE a"]);
    let cancelled = "SELECT count(*) FROM deletions WHERE state = 'cancelled'";
    assert_eq!(gateway.value::<i64>(cancelled), 4);
}

#[tokio::test]
async fn what_was_begun_goes_on_behind_an_error_whatever_was_asked_for() {
    let gateway = Gateway::announced("legacy.on_pending = \"error\"\nlegacy.wait = \"50ms\"").await;
    let key = gateway.key_with(&EVERY_RIGHT).await;
    for (number, end) in ["confirmed", "confirmed", "confirmed", "sent"].iter().enumerate() {
        let (room, ringing) = (format!("room-{number}"), format!("ringing-{number}"));
        gateway.room(&room, &people(), json!({"inviteMs": 600_000})).await;
        ring(&gateway, &ringing, json!({})).await;
        gateway.graph.fault(json!({"path": "/v1.0/", "delayMs": 700, "times": 1})).await;
        let request = &requests(&key, &room, &ringing)[number];
        let answer = gateway.get(request).await;
        assert_eq!((answer.code(), answer.word()), (2, "unknown_outcome"), "{}", answer.body);
        gateway.settles(answer.element("DeletionID"), end).await;
    }
    // An invitation that was begun was sent once, and no step of anything else twice.
    assert_eq!(gateway.value::<i64>("SELECT max(number) FROM attempts"), 1);
}

#[tokio::test]
async fn a_call_of_another_app_is_left_alone_whatever_is_asked_for() {
    let lines = format!("notifications.audiences = [\"{CLIENT_ID}\", \"{OTHER_APP}\"]");
    let gateway = Gateway::announced(&lines).await;
    let key = gateway.key_with(&EVERY_RIGHT).await;
    let of_other = json!({"appId": OTHER_APP});
    gateway.room("a", &people(), of_other.clone()).await;
    ring(&gateway, "c", of_other).await;
    let mut requests = requests(&key, "a", "c").to_vec();
    requests.push(key.query("callID=a&detail=1"));
    for request in &requests {
        let answer = gateway.get(request).await;
        assert_eq!((answer.code(), answer.word()), (2, "not_permitted"), "{}", answer.body);
        assert_eq!(
            answer.element("ErrorMessage"),
            "The call belongs to an app that is not configured here."
        );
    }
    let refused = |entry: &&Value| entry["key_id"] == key.id && entry["decision"] == "refused";
    let probe = async || {
        let entries = gateway.audit();
        (entries.iter().filter(refused).count() == requests.len()).then_some(())
    };
    until("every refusal is audited", probe).await;
    assert_eq!((gateway.recorded(), gateway.asked().await.len()), (0, 0));
    // Its calls beside it are the site's own.
    gateway.room("b", &people(), json!({"appId": CLIENT_ID, "tenantId": TENANT})).await;
    assert_eq!(gateway.get(&key.query("callID=b")).await.code(), 0);
}

#[tokio::test]
async fn a_removal_that_the_tenant_does_not_allow_waits_and_nothing_else_does() {
    let gateway = Gateway::announced("legacy.wait = \"300ms\"").await;
    let key = gateway.key_with(&EVERY_RIGHT).await;
    gateway.room("a", &people(), json!({})).await;
    let list = |app: &str| json!({"tenantId": TENANT, "allowRemoveParticipantAppIds": [app]});
    gateway.graph.say("tenants", &list(OTHER_APP)).await;
    let remove = key.ask("DeleteParticipant", "callID=a&participantID=p-1&detail=1");
    let waits = gateway.get(&remove).await;
    assert_eq!((waits.code(), waits.word()), (0, "accepted"), "{}", waits.body);
    let error: String = gateway.value("SELECT error FROM attempts WHERE status = 500 LIMIT 1");
    assert!(error.contains("9999"), "{error}");
    assert!(!gateway.readiness().await.contains(&format!("degraded: graph.{TENANT}: ")));
    let invite = key.ask("InviteParticipant", &format!("callID=a&userID={ANN}&detail=1"));
    assert_eq!(gateway.get(&invite).await.word(), "sent");
    gateway.graph.say("tenants", &list(CLIENT_ID)).await;
    gateway.settles(waits.element("DeletionID"), "confirmed").await;
}

#[tokio::test]
async fn a_silent_repeat_of_an_invitation_invites_nobody_again() {
    // The answer that the first client did not get: a success, and one that nobody knows.
    for (fault, state) in [(json!({"delayMs": 1_500}), "sent"), (json!({"status": 500}), "unknown")]
    {
        let gateway = Gateway::announced("").await;
        let key = gateway.key_with(&EVERY_RIGHT).await;
        gateway.room("a", &people(), json!({"inviteMs": 600_000})).await;
        let mut fault = fault;
        fault["path"] = json!("/v1.0/communications/calls/a/participants/invite");
        (fault["delayMs"], fault["times"]) = (json!(1_500), json!(1));
        gateway.graph.fault(fault).await;
        let query = key.ask("InviteParticipant", &format!("callID=a&userID={ANN}&detail=1"));
        let mut cut = gateway.connect().await;
        cut.send(format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        gateway.has_asked(1).await;
        drop(cut);
        let abandoned = "SELECT coalesce(max(deletion_id), '') FROM deletions \
                         WHERE abandoned_at IS NOT NULL";
        let probe = async || Some(gateway.value::<String>(abandoned)).filter(|id| !id.is_empty());
        let deletion = until("the gateway notices that its client went away", probe).await;
        gateway.settles(&deletion, state).await;

        let repeat = gateway.get(&query).await;
        assert_eq!(repeat.element("DeletionID"), deletion, "{}", repeat.body);
        if state == "sent" {
            assert_eq!(repeat.code(), 0, "{}", repeat.body);
            assert_ne!(repeat.element("OperationID"), "");
        } else {
            assert_eq!((repeat.code(), repeat.word()), (2, "unknown_outcome"), "{}", repeat.body);
        }
        assert_eq!(gateway.asked().await.len(), 1);
        // Whoever has not joined yet, or may have been invited, is not invited again for a while.
        let third = gateway.get(&query).await;
        let expected = if state == "sent" { (0, "joined") } else { (2, "unknown_outcome") };
        assert_eq!((third.code(), third.word()), expected, "{}", third.body);
        assert_eq!(gateway.asked().await.len(), 1);
    }
}
