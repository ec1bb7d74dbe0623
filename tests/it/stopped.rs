//! Tenants for which nothing can be sent: what waits, what people see, and how it goes on.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use serde_json::json;
use uuid::Uuid;

use crate::support::{Gateway, Graph, Process, Site, TENANT, call, until};

/// A second tenant with a Graph of its own.
const OTHER: &str = "57dab8b1-894c-409a-b240-bd8beae78896";

/// How often this is in the log.
fn count(process: &Process, text: &str) -> usize {
    std::fs::read_to_string(&process.log).unwrap().matches(text).count()
}

#[tokio::test]
async fn a_login_that_refuses_stops_its_tenant_until_it_grants_and_then_everything_is_sent_once() {
    let site = Site::with("legacy.wait = \"1ms\"").await;
    let made: Vec<_> = (0..12).map(|n| call(&format!("{}", 1000 + n), json!({}))).collect();
    let calls = site.calls(&made).await;
    let login = format!("/{TENANT}/oauth2/");
    let denial = json!({"error": "invalid_client", "error_codes": [7_000_222]});
    site.graph.fault(json!({"path": login, "status": 401, "body": denial})).await;
    let process = Process::start(&site, &[]).await;
    for call in &calls {
        let query = site.key.query(&format!("callID={}&detail=1", call.id));
        let answer = process.get(&site, &query).await;
        assert_eq!((answer.code(), answer.word()), (0, "accepted"));
    }
    let part = format!(
        "degraded: graph.{TENANT}: Graph or its login refuses the app; the client \
                        secret has expired"
    );
    let stopped = async || process.readiness().await.contains(&part).then_some(());
    until("the tenant is stopped", stopped).await;
    let waits = async || (site.value::<i64>("SELECT count(*) FROM attempts") >= 3).then_some(());
    until("it was probed", waits).await;
    assert!(process.readiness().await.starts_with("ready\n"));
    let untouched: i64 = site.value(
        "SELECT count(*) FROM deletions WHERE state = 'open' AND deletion NOT IN (SELECT deletion \
         FROM attempts)",
    );
    assert!(untouched >= 6, "{untouched} wait without an attempt");
    assert!(site.graph.deletes().await.is_empty());

    site.graph.heal().await;
    site.graph.has_deletes(12).await;
    let mut deletes = site.graph.deletes().await;
    let mut all: Vec<_> = calls.iter().map(|call| call.graph_id.clone()).collect();
    deletes.sort();
    all.sort();
    assert_eq!(deletes, all);
    let over = async || (!process.readiness().await.contains(TENANT)).then_some(());
    until("it is over", over).await;
    assert_eq!(count(&process, "nothing can be sent for this tenant"), 1);
    assert_eq!(count(&process, "goes on after"), 1);
}

#[tokio::test]
async fn a_login_that_asks_for_patience_gets_it_and_a_start_asks_it_at_once() {
    let site = Site::with("legacy.wait = \"1ms\"").await;
    let made: Vec<_> = (0..3).map(|n| call(&format!("{}", 1000 + n), json!({}))).collect();
    let calls = site.calls(&made).await;
    let login = format!("/{TENANT}/oauth2/");
    site.graph.fault(json!({"path": login, "status": 503, "retryAfter": 3600})).await;
    let process = Process::start(&site, &[]).await;
    for call in &calls {
        let query = site.key.query(&format!("callID={}&detail=1", call.id));
        let answer = process.get(&site, &query).await;
        assert_eq!((answer.code(), answer.word()), (0, "accepted"));
        // With the first answer of the login, and with its time.
        let part =
            format!("degraded: graph.{TENANT}: its login gives no token; it asked to be left");
        let stopped = async || process.readiness().await.contains(&part).then_some(());
        until("the tenant is stopped", stopped).await;
    }
    assert_eq!(count(&process, "only a restart asks it before that"), 1);
    assert_eq!(site.value::<i64>("SELECT count(*) FROM attempts"), 1, "nothing is probed");
    process.kill().await;
    site.graph.heal().await;
    let process = Process::start(&site, &[]).await;
    site.graph.has_deletes(3).await;
    assert!(!process.readiness().await.contains(TENANT));
}

#[tokio::test]
async fn a_tenant_that_cannot_be_reached_keeps_nothing_of_another_back() {
    let other = Graph::start().await;
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let url = other.url();
    let section = format!("graph.tenants.{OTHER}");
    let gateway = Gateway::with(&format!(
        "legacy.wait = \"1ms\"\ngraph.concurrency = 2\n{section}.client_id = \
         \"3a3b4c5d-0000-4000-8000-123456789abc\"\n{section}.client_secret = \"second\"\n\
         {section}.login_url = \"{url}\"\n{section}.base_url = \"{gone}\"\n"
    ))
    .await;
    let key = gateway.new_key(&["--tenant", OTHER]).await;
    for n in 0..8 {
        let made = call(&format!("{}", 2000 + n), json!({"tenantID": OTHER}));
        gateway.import(&format!("{made}\n")).await;
        let query = key.query(&format!("extension={}&status=ongoing", 2000 + n));
        assert_eq!(gateway.get(&query).await.code(), 0);
    }
    let part = format!("degraded: graph.{OTHER}: Graph cannot be reached");
    let stopped = async || gateway.readiness().await.contains(&part).then_some(());
    until("the other tenant is stopped", stopped).await;

    let made: Vec<_> = (0..8).map(|n| call(&format!("{}", 1000 + n), json!({}))).collect();
    for call in gateway.calls(&made).await {
        assert_eq!(gateway.delete(&format!("callID={}", call.id)).await.code(), 0);
    }
    gateway.graph.has_deletes(8).await;
    let readiness = gateway.readiness().await;
    assert!(!readiness.contains(&format!("graph.{TENANT}")), "{readiness}");
    let open = format!(
        "SELECT count(*) FROM deletions JOIN tenants USING (tenant) WHERE state = 'open' \
         AND tenant_id = '{OTHER}'"
    );
    assert_eq!(gateway.value::<i64>(&open), 8, "nothing is dropped");
}

/// Calls whose hang-up always fails, in a gateway that is told of others, once they have stopped the tenant.
async fn with_calls_that_fail(count: usize) -> Gateway {
    let gateway = Gateway::announced("legacy.wait = \"1ms\"").await;
    let made: Vec<_> = (0..count).map(|n| call(&format!("{}", 1000 + n), json!({}))).collect();
    for call in gateway.calls(&made).await {
        let path = format!("/v1.0/communications/calls/{}", call.graph_id);
        let fault = json!({"method": "DELETE", "path": path, "status": 502, "body": "<html>"});
        gateway.graph.fault(fault).await;
        assert_eq!(gateway.delete(&format!("callID={}", call.id)).await.code(), 0);
    }
    let part = format!(
        "degraded: graph.{TENANT}: Graph throttles or fails every request (502); one probe"
    );
    let stopped = async || gateway.readiness().await.contains(&part).then_some(());
    until("the tenant is stopped", stopped).await;
    gateway
}

#[tokio::test]
async fn calls_that_fail_for_their_own_reasons_keep_no_other_hang_up_back() {
    let gateway = with_calls_that_fail(16).await;
    let healthy = gateway.call("8856").await;
    assert_eq!(gateway.delete(&format!("callID={}", healthy.id)).await.code(), 0);
    let ended =
        async || (gateway.graph.state(&healthy.graph_id).await == "terminated").then_some(());
    until("the healthy one is hung up", ended).await;
}

#[tokio::test]
async fn calls_that_fail_for_their_own_reasons_keep_no_rejection_back() {
    let gateway = with_calls_that_fail(16).await;
    let id = Uuid::new_v4().to_string();
    let ringing = json!({
        "id": id, "state": "incoming", "direction": "incoming", "source": "+4930123456",
        "targets": ["8856"], "tenantId": TENANT,
    });
    gateway.graph.make(&ringing).await;
    let known = format!("SELECT count(*) FROM calls WHERE graph_id = '{id}'");
    let is_known = async || (gateway.value::<i64>(&known) == 1).then_some(());
    until("the call is known", is_known).await;
    assert_eq!(gateway.delete(&format!("nativeID={id}")).await.code(), 0);
    let ended = async || (gateway.graph.state(&id).await == "terminated").then_some(());
    until("it is rejected", ended).await;
    let rejected = "SELECT count(*) FROM steps WHERE operation = 'reject' AND state = 'sent'";
    let is_settled = async || (gateway.value::<i64>(rejected) == 1).then_some(());
    until("it was rejected while it rang", is_settled).await;
}

#[tokio::test]
async fn a_graph_that_fails_every_hang_up_with_its_internal_error_stops_its_tenant() {
    let gateway = Gateway::with("legacy.wait = \"1ms\"").await;
    let body = json!({"error": {"code": "9999", "message": "Unknown internal server error."}});
    gateway.graph.fault(json!({"method": "DELETE", "status": 500, "body": body})).await;
    let made: Vec<_> = (0..12).map(|n| call(&format!("{}", 1000 + n), json!({}))).collect();
    for call in gateway.calls(&made).await {
        assert_eq!(gateway.delete(&format!("callID={}", call.id)).await.code(), 0);
    }
    let part = format!(
        "degraded: graph.{TENANT}: Graph throttles or fails every request (500); one probe"
    );
    let stopped = async || gateway.readiness().await.contains(&part).then_some(());
    until("the tenant is stopped", stopped).await;
    gateway.graph.heal().await;
    let sent = "SELECT count(*) FROM deletions WHERE state <> 'open'";
    let all = async || (gateway.value::<i64>(sent) == 12).then_some(());
    until("all are hung up once it works again", all).await;
}

#[tokio::test]
async fn a_rate_is_kept() {
    let gateway = Gateway::with("legacy.wait = \"1ms\"\ngraph.rate = \"10/s\"").await;
    let made: Vec<_> = (0..12).map(|n| call(&format!("{}", 1000 + n), json!({}))).collect();
    for call in gateway.calls(&made).await {
        assert_eq!(gateway.delete(&format!("callID={}", call.id)).await.code(), 0);
    }
    gateway.graph.has_deletes(12).await;
    let requests = gateway.graph.requests().await;
    let times = requests.iter().filter(|request| request["method"] == "DELETE");
    let times: Vec<jiff::Timestamp> =
        times.map(|request| request["time"].as_str().unwrap().parse().unwrap()).collect();
    let took = times.last().unwrap().duration_since(times[0]);
    // Eleven more than the first one, less what the way there evens out.
    assert!(took.as_millis() >= 900, "{took:?}");
}
