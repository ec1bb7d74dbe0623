//! Golden files: every kind of success in all four formats, with and without detail.

use serde_json::json;

use crate::support::{Answer, Call, Gateway, Key, Known, assert_golden, call, shown};

/// The rest of a query, in the order of the golden files.
const STYLES: [&str; 8] = [
    "responseType=XML&detail=0",
    "responseType=XML&detail=1",
    "responseType=JSON&detail=0",
    "responseType=JSON&detail=1",
    "responseType=HTML&detail=0",
    "responseType=HTML&detail=1",
    "responseType=TEXT&detail=0",
    "responseType=TEXT&detail=1",
];

/// Asks in every style and compares with the golden file `name`.
pub(super) async fn golden(
    name: &str,
    known: &[Known<'_>],
    mut ask: impl AsyncFnMut(&str) -> Answer,
) {
    let mut text = String::new();
    for style in STYLES {
        let answer = ask(style).await;
        text.extend(["===== ", style, "\n", &shown(&answer, known)]);
    }
    assert_golden(name, &text);
}

/// Calls of one extension each, one for every style.
async fn calls(gateway: &Gateway) -> Vec<Call> {
    let calls: Vec<_> = (0..STYLES.len()).map(|_| call("8856", json!({}))).collect();
    gateway.calls(&calls).await
}

fn known(calls: &[Call]) -> Vec<Known<'_>> {
    calls.iter().map(|call| (call.id.as_str(), "callID")).collect()
}

#[tokio::test]
async fn a_deletion_that_graph_took_reads_like_this() {
    let gateway = Gateway::start().await;
    let calls = calls(&gateway).await;
    let mut next = calls.iter();
    golden("sent", &known(&calls), async |style| {
        let call = next.next().unwrap();
        gateway.delete(&format!("callID={}&{style}", call.id)).await
    })
    .await;
    assert_eq!(gateway.graph.deletes().await.len(), STYLES.len());
    golden("already_deleted", &known(&calls), async |style| {
        gateway.delete(&format!("callID={}&{style}", calls[0].id)).await
    })
    .await;
    assert_eq!(gateway.graph.deletes().await.len(), STYLES.len());
}

#[tokio::test]
async fn a_deletion_that_graph_is_slow_to_take_reads_like_this() {
    let gateway = Gateway::with("legacy.wait = \"50ms\"").await;
    let calls = calls(&gateway).await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 600_000})).await;
    let mut next = calls.iter();
    golden("accepted", &known(&calls), async |style| {
        let call = next.next().unwrap();
        gateway.delete(&format!("callID={}&{style}", call.id)).await
    })
    .await;
    golden("joined", &known(&calls), async |style| {
        gateway.delete(&format!("callID={}&{style}", calls[0].id)).await
    })
    .await;
    assert_eq!(gateway.recorded(), 8);
}

#[tokio::test]
async fn a_call_that_an_earlier_attempt_may_have_ended_reads_like_this() {
    let gateway = Gateway::start().await;
    let calls = calls(&gateway).await;
    let mut clients = Vec::new();
    for (call, style) in calls.iter().zip(STYLES) {
        let path = format!("/v1.0/communications/calls/{}", call.graph_id);
        gateway.graph.fault(json!({"path": path, "reset": "after", "times": 1})).await;
        let mut client = gateway.connect().await;
        let query = gateway.query(&format!("callID={}&{style}", call.id));
        client.send(format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        clients.push(client);
    }
    let mut next = clients.iter_mut();
    golden("gone", &known(&calls), async |_| next.next().unwrap().answer().await).await;
    assert_eq!(gateway.graph.deletes().await.len(), 2 * STYLES.len());
}

#[tokio::test]
async fn a_call_that_is_ending_already_reads_like_this() {
    let gateway = Gateway::start().await;
    let call = gateway.calls(&[call("8856", json!({"state": "terminating"}))]).await.remove(0);
    golden("ending", &[(&call.id, "callID")], async |style| {
        gateway.delete(&format!("callID={}&{style}", call.id)).await
    })
    .await;
    assert_eq!((gateway.recorded(), gateway.graph.deletes().await.len()), (0, 0));
}

#[tokio::test]
async fn a_call_that_has_ended_reads_like_this_where_that_counts_as_success() {
    let gateway = Gateway::with("legacy.on_ended = \"success\"").await;
    let ended = call("8856", json!({"endedAt": "2026-11-22T05:40:00Z"}));
    let call = gateway.calls(&[ended]).await.remove(0);
    golden("already_ended", &[(&call.id, "callID")], async |style| {
        gateway.delete(&format!("callID={}&{style}", call.id)).await
    })
    .await;
    assert_eq!((gateway.recorded(), gateway.graph.requests().await.len()), (0, 0));
}

#[tokio::test]
async fn a_dry_run_reads_like_this_and_leaves_no_trace() {
    let gateway = Gateway::start().await;
    let call = gateway.call("+49301238856").await;
    golden("would_send", &[(&call.id, "callID")], async |style| {
        // The blank that a careless client's plus sign became is told of.
        let selector = format!("extension=+49301238856&status=ongoing&dryRun=1&{style}");
        gateway.delete(&selector).await
    })
    .await;
    assert_eq!((gateway.recorded(), gateway.graph.requests().await.len()), (0, 0));
    assert!(gateway.deletions().await.is_empty());
}

#[tokio::test]
async fn a_call_that_graph_does_not_know_reads_like_this() {
    let gateway = Gateway::start().await;
    let ended = call("8856", json!({"endedAt": "2026-11-22T05:40:00Z"}));
    let call = gateway.calls(&[ended]).await.remove(0);
    golden("ended", &[(&call.id, "callID")], async |style| {
        gateway.delete(&format!("callID={}&{style}", call.id)).await
    })
    .await;
    // A call that has ended is forwarded like any other, each time: Graph decides.
    assert_eq!(gateway.graph.deletes().await.len(), STYLES.len());
}

#[tokio::test]
async fn a_refusal_of_graphs_reads_like_this() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "status": 400})).await;
    golden("refused_by_graph", &[(&call.id, "callID")], async |style| {
        gateway.delete(&format!("callID={}&{style}", call.id)).await
    })
    .await;
}

#[tokio::test]
async fn an_unknown_outcome_and_a_withdrawal_read_like_this() {
    let lines = "legacy.on_pending = \"error\"\nlegacy.wait = \"50ms\"\ngraph.concurrency = 1";
    let gateway = Gateway::with(lines).await;
    let made = [call("8856", json!({})), call("8857", json!({}))];
    let calls = gateway.calls(&made).await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 600_000})).await;
    golden("unknown_outcome", &known(&calls), async |style| {
        gateway.delete(&format!("callID={}&{style}", calls[0].id)).await
    })
    .await;
    // The one slot is taken, so no attempt of this one can begin.
    golden("withdrawn", &known(&calls), async |style| {
        gateway.delete(&format!("callID={}&{style}", calls[1].id)).await
    })
    .await;
    assert_eq!(gateway.graph.deletes().await, [calls[0].graph_id.as_str()]);
}

#[tokio::test]
async fn an_ambiguous_answer_reads_like_this_with_candidates_and_without() {
    let gateway = Gateway::start().await;
    let at = |second| json!({"startedAt": format!("2026-11-22T05:32:{second}.123Z")});
    let calls = gateway.calls(&[call("8856", at(55)), call("8856", at(57))]).await;
    let known: Vec<Known<'_>> = vec![(&calls[0].id, "first"), (&calls[1].id, "second")];
    golden("ambiguous", &known, async |style| {
        gateway.delete(&format!("extension=8856&status=ongoing&{style}")).await
    })
    .await;
    let rights = ["--right", "DeleteCall", "--right", "see-candidates"];
    let key: Key = gateway.new_key(&rights).await;
    golden("ambiguous_with_candidates", &known, async |style| {
        let selector = format!("extension=8856&status=ongoing&{style}");
        gateway.get(&key.query(&selector)).await
    })
    .await;
    assert_eq!((gateway.recorded(), gateway.graph.deletes().await.len()), (0, 0));
}
