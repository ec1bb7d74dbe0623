//! What a look-up shows, in golden files and on the command line.

use serde_json::{Value, json};

use super::{ask, confirm, deleted};
use crate::legacy::formats::golden;
use crate::support::{Answer, Gateway, call, until};

fn as_json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).expect("JSON")
}

#[tokio::test]
async fn the_id_of_a_call_reads_like_this() {
    let gateway = Gateway::start().await;
    let call = gateway.call("+49301238856").await;
    golden("get_call_id", &[(&call.id, "callID")], async |style| {
        // The blank that a careless client's plus sign became is told of.
        ask(&gateway, "GetCallID", &format!("extension=+49301238856&status=ongoing&{style}")).await
    })
    .await;
    let answer = ask(&gateway, "getcallid", &format!("nativeID={}", call.graph_id)).await;
    let expected = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<VerbaApi>\n\
         <Response code=\"0\" type=\"GetCallID\" callID=\"{id}\"/>\n<CallID>{id}</CallID>\n\
         </VerbaApi>\n",
        id = call.id
    );
    assert_eq!(
        answer.body, expected,
        "one public client reads the one, the documents show the other"
    );
}

#[tokio::test]
async fn the_information_on_a_call_that_runs_reads_like_this() {
    let gateway = Gateway::start().await;
    let more = json!({"nativeID": "TRS|1|-1", "meetingID": "M6<&>DD", "direction": "incoming"});
    let call = gateway.calls(&[call("8856", more)]).await.remove(0);
    gateway.change("UPDATE parties SET display_name = 'Adele <A&C>' WHERE role = 'source'");
    gateway.change("UPDATE calls SET chain_id = 'chain-1', answered_at = 1795325590000");
    let known = [(call.id.as_str(), "callID"), (call.graph_id.as_str(), "graphID")];
    golden("get_call_information", &known, async |style| {
        let rest = format!("callID={}&returnMetadata=1&returnIM=1&{style}", call.graph_id);
        ask(&gateway, "GetCallInformation", &rest).await
    })
    .await;
}

#[tokio::test]
async fn the_information_on_a_call_that_we_ended_reads_like_this() {
    let gateway = Gateway::start().await;
    let (call, deletion) = deleted(&gateway).await;
    confirm(&gateway, 200, 7000, "over & <out>");
    let known = [
        (call.id.as_str(), "callID"),
        (call.graph_id.as_str(), "graphID"),
        (deletion.as_str(), "deletionID"),
    ];
    golden("get_call_information_ended", &known, async |style| {
        ask(&gateway, "GetCallInformation", &format!("extension=8856&status=last&{style}")).await
    })
    .await;
}

#[tokio::test]
async fn a_deletion_that_was_confirmed_reads_like_this() {
    let gateway = Gateway::start().await;
    let (call, deletion) = deleted(&gateway).await;
    confirm(&gateway, 200, 5001, "The conversation has ended.");
    let known = [(call.id.as_str(), "callID"), (deletion.as_str(), "deletionID")];
    golden("get_deletion", &known, async |style| {
        ask(&gateway, "GetDeletion", &format!("deletionID={deletion}&{style}")).await
    })
    .await;
    golden("get_deletion_not_found", &known, async |style| {
        ask(&gateway, "GetDeletion", &format!("deletionID={}&{style}", call.id)).await
    })
    .await;
}

#[tokio::test]
async fn a_deletion_that_graph_refused_says_why() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "status": 400})).await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    let rest = format!("deletionID={}", answer.element("DeletionID"));
    let answer = ask(&gateway, "GetDeletion", &rest).await;
    assert_eq!((answer.code(), answer.element("State")), (0, "failed"));
    assert_eq!((answer.element("Reason"), answer.element("Outcome")), ("refused_by_graph", ""));
    assert_eq!((answer.element("Attempts"), answer.element("NextAttemptAt")), ("1", ""));
    assert!(!answer.element("Failure").is_empty(), "{}", answer.body);
    assert_eq!(answer.element("EndVerdict"), "", "the call goes on");
}

#[tokio::test]
async fn a_deletion_that_waits_says_until_when() {
    let gateway = Gateway::with("legacy.wait = \"50ms\"").await;
    let call = gateway.call("8856").await;
    let later = json!({"method": "DELETE", "status": 429, "retryAfter": "900"});
    gateway.graph.fault(later).await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    let rest = format!("deletionID={}&responseType=JSON", answer.element("DeletionID"));
    let shown = until("the first attempt was answered", async || {
        let shown = as_json(&ask(&gateway, "GetDeletion", &rest).await);
        shown["nextAttemptAt"].is_string().then_some(shown)
    })
    .await;
    assert_eq!((&shown["state"], &shown["outcome"]), (&json!("open"), &json!("accepted")));
    assert_eq!((&shown["attempts"], &shown["operation"]), (&json!(1), &json!("hang-up")));
    let time = |name: &str| shown[name].as_str().unwrap().to_owned();
    assert!(time("nextAttemptAt") > time("lastAttemptAt"));
    assert!(time("nextAttemptAt") < time("deadlineAt"));
    assert_eq!(shown["settledAt"], Value::Null);
}

#[tokio::test]
async fn who_ended_a_call_is_told_from_graphs_reason_and_our_deletion() {
    let gateway = Gateway::start().await;
    let (_, deletion) = deleted(&gateway).await;
    let rest = format!("deletionID={deletion}");
    for (code, subcode, verdict) in [
        (200, 7000, "ended_by_us"),
        (200, 5001, "ended_by_us"),
        (200, 4097, "ended_by_other"),
        (480, 10037, "failed"),
        (200, 99_999, "unknown"),
    ] {
        confirm(&gateway, code, subcode, "");
        let answer = ask(&gateway, "GetDeletion", &rest).await;
        assert_eq!(answer.element("EndVerdict"), verdict, "{code}/{subcode}");
        assert_eq!(answer.element("EndSubcode"), subcode.to_string());
        assert_eq!(answer.element("EndMeaning").is_empty(), verdict == "unknown");
        let shown = gateway.run(&["deletions", "show", &deletion]).await;
        assert!(shown.contains(&format!("{code}/{subcode}")), "{shown}");
        assert!(shown.contains(verdict) && shown.contains("confirmed"), "{shown}");
        let shown = gateway.run(&["deletions", "show", "--json", &deletion]).await;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["end"]["verdict"], verdict);
        assert_eq!(shown["confirmedAt"], "2026-11-22T05:32:56.790Z");
    }
}

#[tokio::test]
async fn the_command_line_shows_the_roster_and_why_the_call_ended() {
    let gateway = Gateway::start().await;
    let (call, _) = deleted(&gateway).await;
    gateway.change(
        "INSERT INTO roster (call, participant_id, tenant, raw, normalised, user_id, \
         display_name, joined_at, left_at, sequence) VALUES \
         (1, 'p-1', 1, '+4930777', '+4930777', NULL, NULL, 1795325575000, 1795325576000, 3), \
         (1, 'p-2', 1, NULL, 'u-2', 'u-2', 'Adele', NULL, NULL, NULL)",
    );
    let text = gateway.run(&["calls", "show", &call.id]).await;
    assert!(!text.contains("verdict"), "it goes on: {text}");
    confirm(&gateway, 200, 10550, "over");
    let text = gateway.run(&["calls", "show", &call.id]).await;
    for line in [
        "end reason        200/10550",
        "which means       The app hung up.",
        "verdict           ended_by_us",
        "PARTICIPANT ID  STATE   NUMBER    USER ID  NAME   JOINED                    LEFT",
        "p-1             left    +4930777  -        -      2026-11-22T05:32:55.000Z  2026-11-22T05:32:56.000Z",
        "p-2             joined  -         u-2      Adele  -                         -",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let shown = gateway.run(&["calls", "show", "--json", &call.id]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["end"]["subcode"], &shown["end"]["cause"]), (&json!(10550), &json!("app")));
    assert_eq!(shown["end"]["verdict"], "ended_by_us");
    let people = json!([
        {
            "participantID": "p-1", "state": "left", "isUs": false,
            "number": "+4930777", "userID": null, "appID": null, "displayName": null,
            "joinedAt": "2026-11-22T05:32:55.000Z", "leftAt": "2026-11-22T05:32:56.000Z",
            "sequence": 3,
        },
        {
            "participantID": "p-2", "state": "joined", "isUs": false,
            "number": null, "userID": "u-2", "appID": null, "displayName": "Adele",
            "joinedAt": null, "leftAt": null, "sequence": null,
        },
    ]);
    assert_eq!(shown["roster"], people);
}
