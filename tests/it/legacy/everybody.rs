//! `scope=all`: everybody else is removed, and then our leg ends; or it stays, because only with it
//! somebody can be removed.

use serde_json::{Value, json};

use super::formats::golden;
use crate::support::{Answer, Gateway, Key, until};

const ALL: &str = "callID=a&scope=all&detail=1";
const REMOVALS: [&str; 3] =
    ["DELETE a/participants/p-1", "DELETE a/participants/p-2", "DELETE a/participants/p-3"];

/// Three others.
fn people() -> Vec<(&'static str, Value)> {
    vec![("p-1", json!("+49301")), ("p-2", json!("+49302")), ("p-3", json!("+49303"))]
}

async fn ending(gateway: &Gateway) -> Key {
    gateway.key_with(&["DeleteCall", "scope-all"]).await
}

fn counts(answer: &Answer) -> (&str, &str) {
    (answer.element("Removed"), answer.element("Participants"))
}

/// Refuses the removal of one for good.
async fn refuse(gateway: &Gateway, participant: &str, status: u16) {
    let path = format!("/v1.0/communications/calls/a/participants/{participant}");
    // Not one of those refusals that an operator can end.
    let body = json!({"error": {"code": "Forbidden", "message": "Not this one."}});
    let fault = json!({"method": "DELETE", "path": path, "status": status, "body": body});
    gateway.graph.fault(fault).await;
}

#[tokio::test]
async fn the_others_are_removed_first_and_then_our_leg_ends() {
    let gateway = Gateway::announced("").await;
    let key = ending(&gateway).await;
    gateway.room("a", &people(), json!({})).await;
    let dry = gateway.get(&key.query("callID=a&scope=all&dryRun=1")).await;
    assert_eq!((dry.word(), dry.element("Operation")), ("would_send", "hang-up"), "{}", dry.body);
    assert!(gateway.asked().await.is_empty());

    let answer = gateway.get(&key.query(ALL)).await;
    assert_eq!((answer.code(), answer.word()), (0, "sent"), "{}", answer.body);
    assert_eq!((answer.element("Operation"), counts(&answer)), ("hang-up", ("3", "3")));
    let mut asked = gateway.asked().await;
    assert_eq!(asked.first().map(String::as_str), Some("GET a/participants"));
    assert_eq!(asked.last().map(String::as_str), Some("DELETE a"));
    asked[1..4].sort();
    assert_eq!((&asked[1..4], asked.len()), (&REMOVALS.map(str::to_owned)[..], 5));
    let deletion = answer.element("DeletionID").to_owned();
    gateway.settles(&deletion, "confirmed").await;
    let standing = gateway.standing(&key, &deletion).await;
    let told = (&standing["outcome"], &standing["removed"], &standing["participants"]);
    assert_eq!(told, (&json!("sent"), &json!(3), &json!(3)), "{standing}");
    let again = gateway.get(&key.query(ALL)).await;
    assert_eq!((again.word(), again.element("DeletionID")), ("already_deleted", &*deletion));
    assert_eq!(gateway.asked().await.len(), 5);
}

#[tokio::test]
async fn our_leg_stays_when_one_of_the_others_does_and_whoever_asks_again_removes_the_rest() {
    let gateway = Gateway::announced("").await;
    let key = ending(&gateway).await;
    gateway.room("a", &people(), json!({})).await;
    refuse(&gateway, "p-2", 403).await;
    let answer = gateway.get(&key.query(ALL)).await;
    assert_eq!((answer.code(), answer.word()), (2, "refused_by_graph"), "{}", answer.body);
    assert_eq!(
        answer.element("ErrorMessage"),
        "2 of 3 participants were removed: the others and our leg of the call go on."
    );
    assert_eq!(counts(&answer), ("2", "3"));
    let deletion = answer.element("DeletionID").to_owned();
    gateway.settles(&deletion, "failed").await;
    let standing = gateway.standing(&key, &deletion).await;
    let told = (&standing["reason"], &standing["removed"], &standing["participants"]);
    assert_eq!(told, (&json!("refused_by_graph"), &json!(2), &json!(3)), "{standing}");
    assert!(gateway.graph.deletes().await.iter().all(|path| path != "a"));
    assert_eq!(gateway.graph.state("a").await, "established");

    gateway.graph.heal().await;
    gateway.has_people("a", 2).await;
    let answer = gateway.get(&key.query(ALL)).await;
    assert_eq!((answer.word(), counts(&answer)), ("sent", ("1", "1")), "{}", answer.body);
    let asked = gateway.asked().await;
    assert_eq!(
        asked[asked.len() - 3..],
        ["GET a/participants", "DELETE a/participants/p-2", "DELETE a"]
    );
}

#[tokio::test]
async fn who_was_not_removed_before_our_leg_ended_is_not_told_of_as_removed() {
    let gateway = Gateway::announced("legacy.wait = \"1s\"").await;
    let key = ending(&gateway).await;
    gateway.room("a", &people(), json!({})).await;
    for one in ["p-2", "p-3"] {
        let path = format!("/v1.0/communications/calls/a/participants/{one}");
        let fault = json!({
            "method": "DELETE", "path": path, "status": 429, "times": 1, "retryAfter": "2",
        });
        gateway.graph.fault(fault).await;
    }
    let answer = gateway.get(&key.query(ALL)).await;
    assert_eq!(answer.word(), "accepted", "{}", answer.body);
    gateway.graph.end("a").await;
    let deletion = answer.element("DeletionID").to_owned();
    gateway.settles(&deletion, "obsolete").await;
    let standing = gateway.standing(&key, &deletion).await;
    let told = (&standing["outcome"], &standing["reason"], &standing["removed"]);
    assert_eq!(told, (&Value::Null, &json!("ended"), &json!(1)), "{standing}");
    assert_ne!(gateway.asked().await.last().map(String::as_str), Some("DELETE a"));
}

#[tokio::test]
async fn our_own_leg_can_be_ended_when_everybody_s_cannot() {
    let gateway = Gateway::announced("legacy.wait = \"1s\"").await;
    let key = ending(&gateway).await;
    gateway.room("a", &people(), json!({})).await;
    for one in ["p-1", "p-2", "p-3"] {
        refuse(&gateway, one, 500).await;
    }
    let all = gateway.get(&key.query(ALL)).await;
    assert_eq!(all.word(), "accepted", "{}", all.body);
    let leg = gateway.get(&key.query("callID=a&detail=1")).await;
    assert_eq!(leg.element("DeletionID"), all.element("DeletionID"), "{}", leg.body);
    gateway.change("UPDATE deletions SET created_at = created_at - 31000");
    let leg = gateway.get(&key.query("callID=a&detail=1")).await;
    assert_eq!((leg.code(), leg.word()), (0, "sent"), "{}", leg.body);
    assert_eq!(gateway.graph.state("a").await, "terminated");
    let standing = gateway.standing(&key, all.element("DeletionID")).await;
    assert_eq!(standing["reason"], json!("ended"), "{standing}");
}

#[tokio::test]
async fn who_has_left_meanwhile_is_as_good_as_removed() {
    let gateway = Gateway::announced("").await;
    let key = ending(&gateway).await;
    gateway.room("a", &people(), json!({})).await;
    let path = "/v1.0/communications/calls/a/participants/p-1";
    let gone = json!({"error": {"code": "NotFound", "message": "x", "innerError": {}}});
    let fault = json!({
        "method": "DELETE", "path": path, "status": 404, "body": gone, "times": 1,
    });
    gateway.graph.fault(fault).await;
    let answer = gateway.get(&key.query(ALL)).await;
    assert_eq!((answer.code(), answer.word()), (0, "sent"), "{}", answer.body);
    assert_eq!(counts(&answer), ("3", "3"));
    assert_eq!(gateway.asked().await.last().map(String::as_str), Some("DELETE a"));
}

#[tokio::test]
async fn nobody_is_removed_beyond_the_ceiling_of_the_key() {
    let gateway = Gateway::announced("").await;
    let two = gateway.key_with(&["DeleteCall", "scope-all:2"]).await;
    let three = gateway.key_with(&["DeleteCall", "scope-all:3"]).await;
    gateway.room("a", &people(), json!({})).await;
    let answer = gateway.get(&two.query(ALL)).await;
    assert_eq!((answer.code(), answer.word()), (2, "not_permitted"), "{}", answer.body);
    assert_eq!(
        answer.element("ErrorMessage"),
        "Nobody was removed: this API key permits scope=all for at most 2 others."
    );
    let one = gateway.key_with(&["DeleteCall", "scope-all:1"]).await;
    let refused = gateway.get(&one.query(ALL)).await;
    assert!(refused.element("ErrorMessage").ends_with(" at most 1 other."), "{}", refused.body);
    assert_eq!(gateway.asked().await, ["GET a/participants"; 2]);
    let standing = gateway.standing(&two, answer.element("DeletionID")).await;
    assert_eq!(standing["reason"], "not_permitted", "{standing}");
    let answer = gateway.get(&three.query(ALL)).await;
    assert_eq!((answer.word(), counts(&answer)), ("sent", ("3", "3")), "{}", answer.body);
}

#[tokio::test]
async fn everybody_is_a_right_of_its_own_and_a_hold_protects_all() {
    let gateway = Gateway::announced("").await;
    let key = ending(&gateway).await;
    gateway.room("a", &people(), json!({})).await;
    let usual = gateway.get(&gateway.query(ALL)).await;
    assert_eq!((usual.code(), usual.word()), (2, "not_permitted"));
    assert_eq!(usual.element("ErrorMessage"), "This API key does not permit scope=all.");
    gateway.hold();
    let held = gateway.get(&key.query(ALL)).await;
    assert_eq!((held.code(), held.word()), (2, "policy"), "{}", held.body);
    assert_eq!((gateway.recorded(), gateway.asked().await.len()), (0, 0));
}

#[tokio::test]
async fn our_leg_alone_and_everybody_are_two_things() {
    let gateway = Gateway::announced("legacy.wait = \"100ms\"").await;
    let key = ending(&gateway).await;
    gateway.room("a", &people(), json!({})).await;
    refuse(&gateway, "p-3", 503).await;
    let all = gateway.get(&key.query(ALL)).await;
    assert_eq!((all.code(), all.word()), (0, "accepted"), "{}", all.body);
    let deletion = all.element("DeletionID").to_owned();
    // Who asks for less joins what does more.
    for query in [key.query(ALL), gateway.query("callID=a&detail=1")] {
        let joined = gateway.get(&query).await;
        assert_eq!((joined.word(), joined.element("DeletionID")), ("joined", &*deletion));
    }
    gateway.graph.heal().await;
    gateway.settles(&deletion, "confirmed").await;
    assert_eq!(gateway.graph.deletes().await.last().map(String::as_str), Some("a"));

    let gateway = Gateway::announced("").await;
    let key = ending(&gateway).await;
    gateway.room("a", &people(), json!({})).await;
    assert_eq!(gateway.get(&key.query("callID=a")).await.code(), 0);
    let late = gateway.get(&key.query(ALL)).await;
    assert_eq!((late.code(), late.word()), (2, "ended"), "{}", late.body);
    assert_eq!(gateway.asked().await, ["DELETE a"]);
}

#[tokio::test]
async fn nobody_is_removed_when_we_cannot_be_told_from_the_others() {
    let gateway = Gateway::announced("").await;
    let key = ending(&gateway).await;
    let bot = json!({"application": {"id": "1891555a-92ff-42e6-80fa-6e1300c6b5c6"}});
    let roster = json!([
        {"id": "p-1", "identity": "+49301"},
        {"id": "bot", "identity": bot},
    ]);
    gateway.room("a", &[], json!({"participants": roster, "myParticipantId": null})).await;
    let answer = gateway.get(&key.query(ALL)).await;
    assert_eq!((answer.code(), answer.word()), (2, "ambiguous"), "{}", answer.body);
    assert!(answer.element("ErrorMessage").starts_with("Nobody was removed"));
    assert_eq!(gateway.asked().await, ["GET a/participants"]);
}

#[tokio::test]
async fn the_end_of_everybodys_leg_reads_like_this() {
    let gateway = Gateway::announced("").await;
    let key = ending(&gateway).await;
    let mut ids = Vec::new();
    for number in 0..8 {
        let id = format!("c-{number}");
        gateway.room(&id, &people(), json!({})).await;
        ids.push(id);
    }
    let mut next = ids.iter();
    golden("everybody_sent", &[], async |style| {
        let id = next.next().unwrap();
        gateway.get(&key.query(&format!("callID={id}&scope=all&{style}"))).await
    })
    .await;
    gateway.room("a", &people(), json!({})).await;
    refuse(&gateway, "p-", 403).await;
    golden("everybody_refused", &[], async |style| {
        gateway.get(&key.query(&format!("callID=a&scope=all&{style}"))).await
    })
    .await;
    let open = "SELECT count(*) FROM deletions WHERE state = 'open'";
    let probe = async || (gateway.value::<i64>(open) == 0).then_some(());
    until("all is settled", probe).await;
}
