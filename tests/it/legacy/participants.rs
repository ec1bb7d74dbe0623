//! `DeleteParticipant`: one in a call by Graph's id, by a number or by a user id, and nobody else.

use serde_json::{Value, json};

use super::formats::golden;
use crate::support::{Gateway, Key, Known};

const ANN: &str = "278405a3-f568-4b3e-b684-009193463064";
const BOB: &str = "8a34a46b-3d17-4adc-8dce-dc4e7d572698";

fn user(id: &str) -> Value {
    json!({"user": {"id": id}})
}

/// Ann by phone and by two devices of hers, and Bob.
fn people() -> Vec<(&'static str, Value)> {
    vec![
        ("p-1", json!("+49301238856")),
        ("p-2", user(ANN)),
        ("p-3", user(ANN)),
        ("p-4", user(BOB)),
        ("p-5", json!("+49301238857")),
    ]
}

async fn removing(gateway: &Gateway) -> Key {
    gateway.key_with(&["DeleteParticipant", "DeleteCall"]).await
}

#[tokio::test]
async fn one_is_removed_by_id_by_number_and_by_user_id() {
    let gateway = Gateway::announced("").await;
    let key = removing(&gateway).await;
    gateway.room("a", &people(), json!({})).await;
    let careless = "callID=a&participant=+49+30+1238857&dryRun=1";
    let repaired = gateway.get(&key.ask("DeleteParticipant", careless)).await;
    assert!(
        repaired.body.contains("Parameter participant began with a blank"),
        "{}",
        repaired.body
    );
    for (who, id) in [
        ("participantID=p-1".to_owned(), "p-1"),
        (format!("participant={}", BOB.to_uppercase()), "p-4"),
        ("participant=tel:%2B49+30+1238857".to_owned(), "p-5"),
    ] {
        let query = |more: &str| key.ask("deleteparticipant", &format!("callID=a&{who}&{more}"));
        let before = gateway.asked().await.len();
        let dry = gateway.get(&query("dryRun=1")).await;
        assert_eq!((dry.word(), dry.element("ParticipantID")), ("would_send", id), "{}", dry.body);
        assert_eq!(dry.element("Operation"), "remove-participant");
        assert_eq!(gateway.asked().await.len(), before);

        let answer = gateway.get(&query("detail=1&reason=left+long+ago")).await;
        assert_eq!((answer.code(), answer.word()), (0, "sent"), "{}", answer.body);
        assert_eq!(answer.attribute("type"), "DeleteParticipant");
        assert_eq!(answer.element("Operation"), "remove-participant");
        assert_eq!(answer.element("ParticipantID"), id);
        assert_eq!(gateway.asked().await[before..], [format!("DELETE a/participants/{id}")]);
        let deletion = answer.element("DeletionID").to_owned();
        // That the roster knows of it is what confirms it.
        gateway.settles(&deletion, "confirmed").await;
        let standing = gateway.standing(&key, &deletion).await;
        let told = (&standing["outcome"], &standing["operation"], &standing["participantID"]);
        assert_eq!(told, (&json!("sent"), &json!("remove-participant"), &json!(id)));
        let audited = |entry: &Value| entry["deletion_id"] == deletion.as_str();
        let entry = gateway.audited("the removal", audited).await;
        assert_eq!(
            (&entry["action"], &entry["result"]),
            (&json!("DeleteParticipant"), &json!("admitted"))
        );
        let again = gateway.get(&query("detail=1")).await;
        assert_eq!((again.word(), again.element("DeletionID")), ("already_deleted", &*deletion));
    }
    assert_eq!((gateway.recorded(), gateway.asked().await.len()), (3, 3));
    assert_eq!(gateway.graph.state("a").await, "established");
}

#[tokio::test]
async fn nobody_is_removed_when_several_are_meant_or_none() {
    let gateway = Gateway::announced("").await;
    let key = removing(&gateway).await;
    let seeing = gateway.key_with(&["DeleteParticipant", "see-candidates"]).await;
    gateway.room("a", &people(), json!({})).await;
    let ask = async |key: &Key, who: &str| {
        gateway.get(&key.ask("DeleteParticipant", &format!("callID=a&{who}&detail=1"))).await
    };
    let ann = format!("participant={ANN}");
    for (who, word, text, candidates) in [
        (
            &*ann,
            "ambiguous",
            "2 participants match: parameter participantID would decide which one is meant.",
            2,
        ),
        ("participant=8856", "not_found", "Participant cannot be found in the call.", 5),
        // By its tail a number is nobody's.
        ("participant=1238856", "not_found", "Participant cannot be found in the call.", 5),
    ] {
        for (key, candidates) in [(&key, 0), (&seeing, candidates)] {
            let answer = ask(key, who).await;
            let found = (answer.code(), answer.word(), answer.element("ErrorMessage"));
            assert_eq!(found, (2, word, text), "{who}");
            assert_eq!(answer.element("CallID").len(), 36, "{}", answer.body);
            let listed = answer.body.matches("<Candidate ").count();
            assert_eq!(listed, candidates, "{}", answer.body);
        }
    }
    let answer = ask(&seeing, &ann).await;
    assert!(answer.body.contains("participantID=\"p-2\" state=\"joined\""), "{}", answer.body);
    assert!(!answer.body.contains(ANN), "{}", answer.body);
    // Our own leg ends by a DeleteCall.
    assert_eq!(ask(&key, "participantID=us").await.word(), "not_found");
    assert_eq!((gateway.recorded(), gateway.asked().await.len()), (0, 0));
}

#[tokio::test]
async fn a_participant_of_another_call_is_never_removed() {
    let gateway = Gateway::announced("").await;
    let key = removing(&gateway).await;
    gateway.room("a", &[("p-1", user(ANN))], json!({})).await;
    gateway.room("b", &[("p-2", user(BOB))], json!({})).await;
    for who in ["participantID=p-2".to_owned(), format!("participant={BOB}")] {
        let query = key.ask("DeleteParticipant", &format!("callID=a&{who}&detail=1"));
        let answer = gateway.get(&query).await;
        assert_eq!((answer.code(), answer.word()), (2, "not_found"), "{}", answer.body);
    }
    assert_eq!((gateway.recorded(), gateway.asked().await.len()), (0, 0));
}

#[tokio::test]
async fn graph_decides_about_an_id_that_nobody_told_of_and_about_who_has_left() {
    let gateway = Gateway::announced("").await;
    let key = removing(&gateway).await;
    gateway.room("a", &people(), json!({})).await;
    gateway.graph.move_on("a", "participants", &json!({"remove": ["p-4"]})).await;
    gateway.has_people("a", 5).await;
    for id in ["never-told", "p-4"] {
        let query = key.ask("DeleteParticipant", &format!("callID=a&participantID={id}&detail=1"));
        let answer = gateway.get(&query).await;
        assert_eq!((answer.code(), answer.word()), (2, "ended"), "{}", answer.body);
        assert_eq!(answer.element("ErrorMessage"), "Participant has already left the call.");
        let asked = gateway.asked().await;
        assert_eq!(asked.last(), Some(&format!("DELETE a/participants/{id}")));
        let standing = gateway.standing(&key, answer.element("DeletionID")).await;
        assert_eq!((&standing["state"], &standing["reason"]), (&json!("failed"), &json!("ended")));
    }
    // The call itself is still there, and known to be.
    let dry = gateway.get(&key.query("callID=a&dryRun=1")).await;
    assert_eq!((dry.word(), dry.element("Operation")), ("would_send", "hang-up"));
}

#[tokio::test]
async fn nobody_is_removed_without_the_right_under_a_hold_or_after_our_leg() {
    let gateway = Gateway::announced("").await;
    let key = removing(&gateway).await;
    gateway.room("a", &people(), json!({})).await;
    let ask = async |key: &Key| {
        let query = "callID=a&participantID=p-1&detail=1";
        gateway.get(&key.ask("DeleteParticipant", query)).await
    };
    let usual = ask(&gateway.key).await;
    assert_eq!((usual.code(), usual.word()), (2, "not_permitted"));
    assert_eq!(usual.element("ErrorMessage"), "This API key does not permit DeleteParticipant.");
    gateway.hold();
    let held = ask(&key).await;
    assert_eq!((held.code(), held.word()), (2, "policy"));
    assert_eq!(held.element("ErrorMessage"), "Deletion refused by policy.");
    assert_eq!((gateway.recorded(), gateway.asked().await.len()), (0, 0));
    gateway.change("DELETE FROM holds");
    let leg = gateway.get(&key.query("callID=a&detail=1")).await;
    assert_eq!(leg.code(), 0);
    gateway.settles(leg.element("DeletionID"), "confirmed").await;
    let late = ask(&key).await;
    assert_eq!((late.code(), late.word()), (2, "ended"), "{}", late.body);
    assert!(late.element("ErrorMessage").starts_with("Our leg of the call has ended"));
    assert_eq!(gateway.asked().await, ["DELETE a"]);
}

#[tokio::test]
async fn bad_parameters_reach_nobody() {
    let gateway = Gateway::announced("").await;
    let key = removing(&gateway).await;
    gateway.room("a", &people(), json!({})).await;
    for who in [
        "x=1",
        "participantID=p-1&participant=8856",
        "participantID=p-1&participantID=p-2",
        "participantID=%01",
        "participant=tel:",
        "participant_id=p-1",
    ] {
        let query = key.ask("DeleteParticipant", &format!("callID=a&{who}&detail=1"));
        let answer = gateway.get(&query).await;
        assert_eq!((answer.code(), answer.word()), (-20, "bad_parameter"), "{who}");
    }
    // What only looks like a way out of the path stays one piece of it.
    for id in ["..", "..%2F..%2Fb", "p-1%3Fx%3D1", "%2F"] {
        let query = key.ask("DeleteParticipant", &format!("callID=a&participantID={id}&detail=1"));
        assert_ne!(gateway.get(&query).await.code(), 0, "{id}");
    }
    for asked in gateway.asked().await {
        let id = asked.strip_prefix("DELETE a/participants/").unwrap_or_else(|| panic!("{asked}"));
        assert!(!id.contains('/') && id != "p-1", "{asked}");
    }
    gateway.has_people("a", 6).await;
}

#[tokio::test]
async fn removals_and_what_they_cannot_choose_read_like_this() {
    let gateway = Gateway::announced("").await;
    let key = gateway.key_with(&["DeleteParticipant", "see-candidates"]).await;
    let ids: Vec<_> = (0..8).map(|number| format!("p-1{number}")).collect();
    let mut everybody = vec![("p-1", user(ANN)), ("p-2", user(ANN))];
    everybody.extend(ids.iter().map(|id| (id.as_str(), json!("+4930777"))));
    gateway.room("a", &everybody, json!({})).await;
    let call: String = gateway.value("SELECT call_id FROM calls");
    let known: Vec<Known<'_>> = vec![(&call, "callID")];
    let mut next = ids.iter();
    golden("participant_removed", &known, async |style| {
        let id = next.next().unwrap();
        let rest = format!("callID=a&participantID={id}&{style}");
        gateway.get(&key.ask("DeleteParticipant", &rest)).await
    })
    .await;
    gateway.has_people("a", 3).await;
    golden("participant_ambiguous", &known, async |style| {
        let rest = format!("callID=a&participant={ANN}&{style}");
        gateway.get(&key.ask("DeleteParticipant", &rest)).await
    })
    .await;
    golden("participant_not_found", &known, async |style| {
        let rest = format!("callID=a&participant={BOB}&{style}");
        gateway.get(&key.ask("DeleteParticipant", &rest)).await
    })
    .await;
}
