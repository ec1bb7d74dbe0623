//! `InviteParticipant`: one user is asked into a call once, and can be taken back.

use serde_json::{Value, json};

use super::formats::golden;
use crate::support::{Gateway, Key, Known};

const ANN: &str = "278405a3-f568-4b3e-b684-009193463064";
const BOB: &str = "8a34a46b-3d17-4adc-8dce-dc4e7d572698";
const INVITE: &str = "POST a/participants/invite";

async fn inviting(gateway: &Gateway) -> Key {
    gateway.key_with(&["InviteParticipant", "DeleteParticipant", "DeleteCall"]).await
}

/// A call whose invitations stay pending.
async fn pending(gateway: &Gateway) {
    gateway.room("a", &[("p-1", json!("+49301"))], json!({"inviteMs": 600_000})).await;
}

async fn invite(gateway: &Gateway, key: &Key, rest: &str) -> crate::support::Answer {
    gateway.get(&key.ask("InviteParticipant", &format!("callID=a&{rest}"))).await
}

#[tokio::test]
async fn an_invitation_is_sent_whole_and_its_operation_is_answered() {
    let gateway = Gateway::announced("").await;
    let key = inviting(&gateway).await;
    gateway.room("b", &[], json!({})).await;
    gateway.room("a", &[("p-1", json!("+49301"))], json!({"inviteMs": 0})).await;
    let other: String = gateway.value("SELECT call_id FROM calls WHERE graph_id = 'b'");
    let tenant = "72F988BF86F141AF91AB2D7CD011DB47";
    let rest =
        format!("userID={ANN}&tenantID={tenant}&replacesCallID={other}&clientContext=a+%22b%22");
    let dry = invite(&gateway, &key, &format!("{rest}&dryRun=1")).await;
    assert_eq!((dry.word(), dry.element("Operation")), ("would_send", "invite"), "{}", dry.body);
    assert!(gateway.asked().await.is_empty());

    let answer = invite(&gateway, &key, &format!("{rest}&detail=1")).await;
    assert_eq!((answer.code(), answer.word()), (0, "sent"), "{}", answer.body);
    assert_eq!(answer.attribute("type"), "InviteParticipant");
    assert_eq!(answer.element("Operation"), "invite");
    let operation = answer.element("OperationID").to_owned();
    let participant = answer.element("ParticipantID").to_owned();
    assert!(!operation.is_empty() && !participant.is_empty(), "{}", answer.body);
    let asked = gateway.asked().await;
    assert_eq!(asked.len(), 1, "{asked:?}");
    let body: Value = serde_json::from_str(asked[0].strip_prefix(INVITE).unwrap()).expect("JSON");
    assert_eq!(
        body,
        json!({
            "participants": [{
                "identity": {"user": {
                    "id": ANN, "identityProvider": "AAD",
                    "tenantId": "72f988bf-86f1-41af-91ab-2d7cd011db47",
                }},
                // Graph's name for the call that we know by another.
                "replacesCallId": "b",
            }],
            "clientContext": "a \"b\"",
        })
    );
    gateway.has_people("a", 3).await;
    let deletion = answer.element("DeletionID");
    let standing = gateway.standing(&key, deletion).await;
    let told = (&standing["outcome"], &standing["operationID"], &standing["participantID"]);
    assert_eq!(told, (&json!("sent"), &json!(operation), &json!(participant)));
    let audited = |entry: &Value| entry["deletion_id"] == deletion;
    let entry = gateway.audited("the invitation", audited).await;
    assert_eq!(
        (&entry["action"], &entry["result"]),
        (&json!("InviteParticipant"), &json!("admitted"))
    );

    // People leave, and are invited again.
    let again = invite(&gateway, &key, &format!("userID={ANN}&responseType=TEXT")).await;
    let again = again.body.strip_prefix("OK:").expect("the operation").trim_end();
    assert_ne!(again, operation);
    assert_eq!(gateway.asked().await.len(), 2);
}

#[tokio::test]
async fn an_invitation_that_is_pending_is_taken_back_by_graphs_id_and_by_user_id() {
    let gateway = Gateway::announced("").await;
    let key = inviting(&gateway).await;
    pending(&gateway).await;
    let first = invite(&gateway, &key, &format!("userID={ANN}&detail=1")).await;
    let second = invite(&gateway, &key, &format!("userID={BOB}&detail=1")).await;
    let ids = [first.element("ParticipantID"), second.element("ParticipantID")];
    let by_id = format!("participantID={}", ids[0]);
    let by_user = format!("participant={}", BOB.to_uppercase());
    for (who, id) in [(by_id, ids[0]), (by_user, ids[1])] {
        let query = key.ask("DeleteParticipant", &format!("callID=a&{who}&detail=1"));
        let answer = gateway.get(&query).await;
        assert_eq!((answer.code(), answer.word()), (0, "sent"), "{}", answer.body);
        assert_eq!(answer.element("ParticipantID"), id);
        let asked = gateway.asked().await;
        assert_eq!(asked.last(), Some(&format!("DELETE a/participants/{id}")));
    }
    assert_eq!(gateway.asked().await.len(), 4);
}

#[tokio::test]
async fn an_invitation_whose_answer_is_lost_is_unknown_and_never_repeated() {
    let gateway = Gateway::announced("legacy.wait = \"5s\"").await;
    let key = inviting(&gateway).await;
    pending(&gateway).await;
    let path = "/v1.0/communications/calls/a/participants/invite";
    gateway.graph.fault(json!({"path": path, "reset": "after", "times": 1})).await;
    let answer = invite(&gateway, &key, &format!("userID={ANN}&detail=1")).await;
    assert_eq!((answer.code(), answer.word()), (2, "unknown_outcome"), "{}", answer.body);
    let text = "It is not known whether the user was invited.";
    assert_eq!(answer.element("ErrorMessage"), text);
    let deletion = answer.element("DeletionID").to_owned();
    gateway.settles(&deletion, "unknown").await;
    // Nothing is repeated by a restart either.
    let gateway = Gateway::serve(gateway.stop().await).await;
    let standing = gateway.standing(&key, &deletion).await;
    assert_eq!(
        (&standing["state"], &standing["reason"]),
        (&json!("unknown"), &json!("unknown_outcome"))
    );
    assert_eq!(standing["attempts"], 1);
    assert_eq!(gateway.asked().await.len(), 1);
}

#[tokio::test]
async fn an_invitation_that_graph_did_not_take_is_an_error() {
    let gateway = Gateway::announced("").await;
    let key = inviting(&gateway).await;
    pending(&gateway).await;
    let path = "/v1.0/communications/calls/a/participants/invite";
    gateway.graph.fault(json!({"path": path, "status": 400, "times": 1})).await;
    let answer = invite(&gateway, &key, &format!("userID={ANN}&detail=1")).await;
    assert_eq!((answer.code(), answer.word()), (2, "refused_by_graph"), "{}", answer.body);
    let text = "Microsoft Graph refused the invitation.";
    assert_eq!(answer.element("ErrorMessage"), text);
    // Graph may have taken what it answers so.
    gateway.graph.fault(json!({"path": path, "status": 500, "times": 1})).await;
    let answer = invite(&gateway, &key, &format!("userID={ANN}&detail=1")).await;
    assert_eq!((answer.code(), answer.word()), (2, "unknown_outcome"), "{}", answer.body);
    assert_eq!(gateway.asked().await.len(), 2);
}

#[tokio::test]
async fn what_cannot_be_an_invitation_reaches_nobody() {
    let gateway = Gateway::announced("").await;
    let key = inviting(&gateway).await;
    pending(&gateway).await;
    let long = format!("userID={ANN}&clientContext={}", "x".repeat(257));
    let six = "userID=a,b,c,d,e,f".to_owned();
    for (rest, text) in [
        (six, "Parameter userID names one user: send a request for each."),
        (
            long,
            "Parameter clientContext is too long: Microsoft Graph takes at most 256 characters.",
        ),
        ("userID=".to_owned(), "Parameter userID is needed."),
        (
            "userID=%2B4930123456".to_owned(),
            "Parameter userID takes the user&apos;s object id, a GUID.",
        ),
        (
            format!("userID={ANN}&tenantID=a/b"),
            "Parameter tenantID takes the tenant&apos;s GUID or a domain name of it.",
        ),
    ] {
        let answer = invite(&gateway, &key, &format!("{rest}&detail=1")).await;
        let found = (answer.code(), answer.word(), answer.element("ErrorMessage"));
        assert_eq!(found, (-20, "bad_parameter", text), "{rest}");
    }
    let rest = format!("callID=a&userID={ANN}&detail=1");
    let usual = gateway.get(&gateway.key.ask("InviteParticipant", &rest)).await;
    assert_eq!((usual.code(), usual.word()), (2, "not_permitted"));
    gateway.hold();
    let held = invite(&gateway, &key, &format!("userID={ANN}&detail=1")).await;
    assert_eq!((held.code(), held.word()), (2, "policy"), "{}", held.body);
    gateway.change("DELETE FROM holds");
    assert_eq!((gateway.recorded(), gateway.asked().await.len()), (0, 0));
    assert_eq!(gateway.get(&key.query("callID=a")).await.code(), 0);
    let late = invite(&gateway, &key, &format!("userID={ANN}&detail=1")).await;
    assert_eq!((late.code(), late.word()), (2, "ended"), "{}", late.body);
    assert_eq!(gateway.asked().await, ["DELETE a"]);
}

#[tokio::test]
async fn an_invitation_reads_like_this() {
    let gateway = Gateway::announced("").await;
    let key = inviting(&gateway).await;
    pending(&gateway).await;
    let call: String = gateway.value("SELECT call_id FROM calls");
    let known: Vec<Known<'_>> = vec![(&call, "callID")];
    golden("invited", &known, async |style| {
        invite(&gateway, &key, &format!("userID={ANN}&{style}")).await
    })
    .await;
    let path = "/v1.0/communications/calls/a/participants/invite";
    gateway.graph.fault(json!({"path": path, "status": 500})).await;
    golden("invitation_unknown", &known, async |style| {
        invite(&gateway, &key, &format!("userID={BOB}&{style}")).await
    })
    .await;
}
