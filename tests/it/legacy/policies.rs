//! The switches of `[legacy]`: codes, HTTP status, what ended and what is pending, mapping.

use serde_json::json;

use crate::support::{Gateway, Site, call};

/// One request for each row of the code table that a request can reach by itself: query, code,
/// mapped status. `KEY` and `GUARDED` are keys.
const ROWS: [(&str, i32, u16); 12] = [
    ("", -30, 400),
    ("action=KeepCall&apiKey=KEY&callID=x", -30, 400),
    ("action=GetCallID&apiKey=KEY&callID=x", 2, 404),
    ("action=GetDeletion&apiKey=KEY&deletionID=74c8eea0-50c6-40b2-9f3e-252ed501c3c8", 2, 404),
    ("action=GetDeletion&apiKey=KEY&deletionID=x", -20, 400),
    ("action=DeleteCall&apiKey=KEY", -20, 400),
    ("action=DeleteCall&apiKey=KEY&callID=x&responseType=YAML", -20, 400),
    ("action=DeleteCall&callID=x", -41, 401),
    ("action=DeleteCall&apiKey=GUARDED&callID=x", -42, 401),
    ("action=DeleteCall&apiKey=GUARDED&callID=x&token=x", -43, 401),
    ("action=DeleteCall&apiKey=KEY&callID=x", 2, 404),
    ("action=DeleteCall&apiKey=KEY&callID=x&scope=all", 2, 403),
];

async fn check(lines: &str, expected: impl Fn(i32, u16) -> (i32, u16)) {
    let site = Site::with(lines).await;
    let guarded = site.key(&["--requires-token"]).await;
    let gateway = Gateway::serve(site).await;
    let two = [call("8899", json!({})), call("8899", json!({})), call("8856", json!({}))];
    let calls = gateway.calls(&two).await;
    for (query, code, mapped) in ROWS {
        let query = query.replace("KEY", &gateway.key.secret).replace("GUARDED", &guarded.secret);
        let answer = gateway.get(&query).await;
        assert_eq!((answer.code(), answer.status), expected(code, mapped), "{lines}: {query}");
    }
    let answer = gateway.delete("extension=8899&status=ongoing").await;
    assert_eq!((answer.code(), answer.status), expected(2, 409), "{lines}");
    gateway.graph.fault(json!({"method": "DELETE", "status": 400, "times": 1})).await;
    let selector = format!("callID={}", calls[2].id);
    let answer = gateway.delete(&selector).await;
    assert_eq!((answer.code(), answer.status), expected(2, 502), "{lines}");
    let answer = gateway.delete(&selector).await;
    assert_eq!((answer.code(), answer.status), (0, 200), "{lines}");
    // What no client of the original API can cause has its own status in every table.
    let (code, _) = expected(-30, 404);
    let answer = gateway.ask("GET /other HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.code(), answer.status), (code, 404), "{lines}");
    let (code, _) = expected(-20, 405);
    let answer = gateway.ask("PUT /verba/api HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.code(), answer.status), (code, 405), "{lines}");
}

#[tokio::test]
async fn every_decided_answer_is_200_with_the_whole_code_table() {
    check("", |code, _| (code, 200)).await;
}

#[tokio::test]
async fn documented_codes_are_2_for_every_error() {
    check("legacy.codes = \"documented\"", |_, _| (2, 200)).await;
}

#[tokio::test]
async fn a_mapped_status_says_what_the_code_says() {
    check("legacy.http_status = \"mapped\"", |code, mapped| (code, mapped)).await;
}

#[tokio::test]
async fn a_call_that_has_ended_is_forwarded_and_graph_decides() {
    let gateway = Gateway::start().await;
    let ended = json!({"endedAt": "2026-11-22T05:40:00Z"});
    let calls = gateway.calls(&[call("8856", ended), call("8857", json!({}))]).await;
    let answer = gateway.delete("extension=8856&status=last&detail=1").await;
    let text = "Call has already ended.";
    assert_eq!((answer.code(), answer.element("ErrorMessage")), (2, text));
    assert_eq!(answer.word(), "ended");
    assert_eq!(gateway.graph.deletes().await, [calls[0].graph_id.as_str()]);

    // A call that only the registry takes for ended: Graph still has it.
    gateway.change(&format!("UPDATE calls SET ended_at = 1 WHERE call_id = '{}'", calls[1].id));
    let answer = gateway.delete("extension=8857&status=last&detail=1").await;
    assert_eq!(answer.word(), "sent");
    assert!(answer.body.contains("<Note>The call had ended already; Graph decides.</Note>"));
}

#[tokio::test]
async fn a_call_that_has_ended_can_count_as_success_without_sending() {
    let gateway = Gateway::with("legacy.on_ended = \"success\"").await;
    let ended = json!({"endedAt": "2026-11-22T05:40:00Z"});
    let calls = gateway.calls(&[call("8856", ended), call("8857", json!({}))]).await;
    let answer = gateway.delete("extension=8856&status=last&detail=1").await;
    assert_eq!((answer.code(), answer.word()), (0, "already_ended"));
    assert!(gateway.graph.requests().await.is_empty());
    let answer = gateway.delete(&format!("callID={}&detail=1", calls[1].id)).await;
    assert_eq!(answer.word(), "sent");
}

#[tokio::test]
async fn what_is_pending_is_accepted_and_sent_later() {
    let gateway = Gateway::with("legacy.wait = \"50ms\"").await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "status": 503, "times": 1})).await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    assert_eq!((answer.code(), answer.word()), (0, "accepted"));
    let id = answer.element("DeletionID");
    gateway.settles(id, "sent").await;
    let shown = gateway.run(&["deletions", "show", id]).await;
    assert!(shown.contains("sent") && shown.contains(&call.id), "{shown}");
    assert_eq!(gateway.graph.deletes().await.len(), 2);
}

#[tokio::test]
async fn what_is_pending_can_be_an_error_and_is_never_begun_afterwards() {
    let lines = "legacy.on_pending = \"error\"\nlegacy.wait = \"50ms\"\ngraph.concurrency = 1";
    let gateway = Gateway::with(lines).await;
    let calls = gateway.calls(&[call("8856", json!({})), call("8857", json!({}))]).await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 1_500, "times": 1})).await;
    let answer = gateway.delete(&format!("callID={}&detail=1", calls[0].id)).await;
    assert_eq!((answer.code(), answer.word()), (2, "unknown_outcome"));
    let begun = answer.element("DeletionID").to_owned();
    let answer = gateway.delete(&format!("callID={}&detail=1", calls[1].id)).await;
    assert_eq!((answer.code(), answer.word()), (2, "unavailable"));
    let withdrawn = answer.element("DeletionID").to_owned();
    gateway.settles(&withdrawn, "cancelled").await;
    gateway.settles(&begun, "sent").await;
    // The slot is free again, and what was answered with an error stays undone.
    assert_eq!(gateway.delete(&format!("callID={}&detail=1", calls[0].id)).await.code(), 0);
    assert_eq!(gateway.graph.deletes().await, [calls[0].graph_id.as_str()]);
    gateway.settles(&withdrawn, "cancelled").await;
}

#[tokio::test]
async fn each_identifier_is_compared_with_the_fields_that_the_mapping_names() {
    let lines = "legacy.mapping.platform_call_id = [\"id\", \"chatInfo.threadId\"]\n\
                 legacy.mapping.native_id = [\"callChainId\"]\n\
                 legacy.mapping.meeting_id = [\"meetingInfo.joinMeetingId\"]";
    for (lines, found) in [
        ("", ["nativeID=GRAPH", "platformCallID=CHAIN", "meetingID=THREAD", "meetingID=JOIN"]),
        (
            lines,
            ["platformCallID=GRAPH", "nativeID=CHAIN", "platformCallID=THREAD", "meetingID=JOIN"],
        ),
    ] {
        let gateway = Gateway::with(lines).await;
        let call = gateway.call("8856").await;
        gateway.change(
            "UPDATE calls SET chain_id = 'CHAIN', thread_id = 'THREAD', join_meeting_id = 'JOIN'",
        );
        for name in ["platformCallID", "nativeID", "meetingID"] {
            for field in ["GRAPH", "CHAIN", "THREAD", "JOIN"] {
                let pair = format!("{name}={field}");
                let selector = pair.replace("GRAPH", &call.graph_id);
                let word = if found.contains(&pair.as_str()) { "would_send" } else { "not_found" };
                let answer = gateway.delete(&format!("{selector}&dryRun=1")).await;
                assert_eq!(answer.word(), word, "{pair} with {lines:?}");
            }
        }
    }
}
