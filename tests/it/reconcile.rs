//! Graph is asked about calls of whose end nothing was told, and only asked.

use serde_json::{Value, json};

use crate::support::{Call, Gateway, Site, call, until};

/// What is due at some time is due now.
fn hurry(site: &Site, call: &Call) {
    site.change(&format!("UPDATE calls SET look_at = 1 WHERE call_id = '{}'", call.id));
}

/// Waits until the registry knows that the call has ended.
async fn ends(site: &Site, call: &Call) {
    let sql = format!("SELECT ended_at IS NOT NULL FROM calls WHERE call_id = '{}'", call.id);
    let probe = async || site.value::<bool>(&sql).then_some(());
    until("the call has ended", probe).await;
}

/// Waits until Graph was asked about the call `count` times.
async fn is_asked(site: &Site, call: &Call, count: usize) {
    let probe = async || (gets(site, call).await >= count).then_some(());
    until(&format!("Graph is asked {count} times"), probe).await;
}

async fn gets(site: &Site, call: &Call) -> usize {
    let path = format!("/v1.0/communications/calls/{}", call.graph_id);
    let is_get = |request: &&Value| request["method"] == "GET" && request["path"] == path.as_str();
    site.graph.requests().await.iter().filter(is_get).count()
}

/// Nothing but logins, deletions and questions reached Graph: above all nothing that would have kept
/// a call alive.
async fn only_asked(site: &Site) {
    for request in site.graph.requests().await {
        let (method, path) = (request["method"].as_str(), request["path"].as_str());
        let path = path.expect("a request has a path");
        let is_login = method == Some("POST") && path.ends_with("/oauth2/v2.0/token");
        let is_call = matches!(method, Some("GET" | "DELETE"))
            && path.strip_prefix("/v1.0/communications/calls/").is_some_and(|id| !id.contains('/'));
        assert!(is_login || is_call, "{request}");
        assert!(!path.to_lowercase().contains("keepalive"), "{request}");
        assert_eq!(request["body"].is_null(), !is_login, "{request}");
    }
}

#[tokio::test]
async fn a_204_that_nothing_confirmed_is_confirmed_by_asking() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    assert_eq!(answer.word(), "sent");
    let deletion = answer.element("DeletionID");
    gateway.settles(deletion, "sent").await;
    let planned = "SELECT look_at - (SELECT settled_at FROM deletions) FROM calls";
    assert_eq!(gateway.value::<i64>(planned), 60_000);
    assert_eq!(gets(&gateway, &call).await, 0);

    hurry(&gateway, &call);
    gateway.settles(deletion, "confirmed").await;
    ends(&gateway, &call).await;
    let confirmed = "SELECT confirmed_at >= settled_at FROM deletions";
    assert!(gateway.value::<bool>(confirmed));
    let unexplained =
        "SELECT end_code IS NULL AND end_subcode IS NULL AND look_at IS NULL FROM calls";
    assert!(gateway.value::<bool>(unexplained));
    assert_eq!(gets(&gateway, &call).await, 1);

    let repeated = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    assert_eq!((repeated.code(), repeated.element("DeletionID")), (0, deletion));
    only_asked(&gateway).await;
}

#[tokio::test]
async fn a_call_that_graph_keeps_after_its_204_is_asked_about_again() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "status": 204})).await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    let deletion = answer.element("DeletionID");
    gateway.settles(deletion, "sent").await;
    for count in 1..=2 {
        hurry(&gateway, &call);
        is_asked(&gateway, &call, count).await;
        let later = async || gateway.value::<bool>("SELECT look_at > 1 FROM calls").then_some(());
        until("the look is written down", later).await;
    }
    gateway.settles(deletion, "sent").await;
    assert!(gateway.value::<bool>("SELECT ended_at IS NULL FROM calls"));

    gateway.graph.end(&call.graph_id).await;
    hurry(&gateway, &call);
    gateway.settles(deletion, "confirmed").await;
    only_asked(&gateway).await;
}

#[tokio::test]
async fn a_silent_call_that_ended_elsewhere_ends_and_one_that_runs_goes_on() {
    let gateway = Gateway::start().await;
    let ended = gateway.call("8856").await;
    let running = gateway.call("8857").await;
    gateway.graph.end(&ended.graph_id).await;
    gateway.change("UPDATE calls SET look_at = 1, last_seen_at = 1");
    ends(&gateway, &ended).await;
    is_asked(&gateway, &running, 1).await;
    let probe = async || {
        let sql = "SELECT count(*) FROM calls WHERE look_at > looked_at AND ended_at IS NULL";
        (gateway.value::<i64>(sql) == 1).then_some(())
    };
    until("the call that runs is looked at later", probe).await;
    let answer = gateway.delete("extension=8857&status=ongoing&detail=1").await;
    assert_eq!(answer.word(), "sent");
    only_asked(&gateway).await;
}

#[tokio::test]
async fn who_got_an_ambiguous_answer_is_understood_once_graph_was_asked() {
    let gateway = Gateway::start().await;
    let calls = gateway.calls(&[call("8856", json!({})), call("8856", json!({}))]).await;
    gateway.graph.end(&calls[0].graph_id).await;
    let ambiguous = gateway.delete("extension=8856&status=ongoing&detail=1").await;
    assert_eq!(ambiguous.word(), "ambiguous", "{}", ambiguous.body);

    ends(&gateway, &calls[0]).await;
    is_asked(&gateway, &calls[1], 1).await;
    let answer = gateway.delete("extension=8856&status=ongoing&detail=1").await;
    assert_eq!((answer.word(), answer.element("CallID")), ("sent", calls[1].id.as_str()));
    assert_eq!(gateway.graph.state(&calls[1].graph_id).await, "terminated");
    only_asked(&gateway).await;
}

#[tokio::test]
async fn what_was_due_when_the_gateway_stopped_is_asked_by_the_next_one() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    gateway
        .graph
        .fault(json!({"method": "GET", "path": "/v1.0/", "delayMs": 15_000, "times": 1}))
        .await;
    gateway.change("UPDATE calls SET look_at = 1, last_seen_at = 1");
    is_asked(&gateway, &call, 1).await;
    let site = gateway.stop().await;
    assert_eq!(site.value::<i64>("SELECT look_at FROM calls"), 1);
    site.graph.end(&call.graph_id).await;
    let gateway = Gateway::serve(site).await;
    ends(&gateway, &call).await;
}

#[tokio::test]
async fn a_login_that_refuses_ends_no_call_and_is_told_of() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    gateway.graph.end(&call.graph_id).await;
    gateway.graph.fault(json!({"method": "POST", "status": 401})).await;
    gateway.change("UPDATE calls SET look_at = 1, last_seen_at = 1");
    let probe = async || gateway.readiness().await.contains("reconciler").then_some(());
    until("it is told of", probe).await;
    assert!(gateway.value::<bool>("SELECT ended_at IS NULL FROM calls"));
    gateway.graph.heal().await;
    let again = async || {
        hurry(&gateway, &call);
        gateway.value::<bool>("SELECT ended_at IS NOT NULL FROM calls").then_some(())
    };
    until("Graph is asked again", again).await;
    let probe = async || (!gateway.readiness().await.contains("reconciler")).then_some(());
    until("it is restored", probe).await;
}
