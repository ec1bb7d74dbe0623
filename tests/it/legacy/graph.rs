//! What Graph answers, and what then becomes of a deletion.

#![expect(clippy::panic, reason = "a helper that panics fails its test")]

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Call, Gateway, Graph, call};

/// A gateway, a call, and a fault that strikes its hang up.
async fn with_fault(fault: Value) -> (Gateway, Call) {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    let mut fault = fault;
    fault["method"] = json!("DELETE");
    gateway.graph.fault(fault).await;
    (gateway, call)
}

async fn delete(gateway: &Gateway, call: &Call) -> Answer {
    gateway.delete(&format!("callID={}&detail=1", call.id)).await
}

/// The time between the two DELETE requests that reached Graph.
async fn between(gateway: &Gateway) -> Duration {
    let requests = gateway.graph.requests().await;
    let time = |request: &Value| request["time"].as_str()?.parse::<jiff::Timestamp>().ok();
    let deletes = requests.iter().filter(|request| request["method"] == "DELETE");
    let times: Vec<_> = deletes.filter_map(time).collect();
    let [first, second] = times.as_slice() else { panic!("{times:?}") };
    second.duration_since(*first).try_into().expect("time goes forward")
}

#[tokio::test]
async fn a_204_is_sent_with_what_graph_documents_and_its_ids_are_kept() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    let answer = delete(&gateway, &call).await;
    assert_eq!((answer.code(), answer.word()), (0, "sent"));
    assert_eq!(answer.element("Operation"), "hang-up");
    let requests = gateway.graph.requests().await;
    let [login, hang_up] = requests.as_slice() else { panic!("{requests:?}") };
    let path = format!("/{}/oauth2/v2.0/token", crate::support::TENANT);
    assert_eq!((&login["method"], &login["path"]), (&json!("POST"), &json!(path)));
    assert!(login["body"].as_str().unwrap().contains("grant_type=client_credentials"));

    assert_eq!(hang_up["path"], format!("/v1.0/communications/calls/{}", call.graph_id));
    let headers = &hang_up["headers"];
    assert!(headers["authorization"].as_str().unwrap().starts_with("Bearer "));
    assert_eq!(headers["accept"], "application/json");
    assert_eq!(headers["user-agent"], concat!("callgate/", env!("CARGO_PKG_VERSION")));
    let client_request_id = headers["client-request-id"].as_str().unwrap();
    assert!(uuid::Uuid::try_parse(client_request_id).is_ok());
    for name in ["content-length", "content-type", "transfer-encoding"] {
        assert_eq!(headers.get(name), None, "{name}");
    }
    assert_eq!((&hang_up["body"], &hang_up["status"]), (&Value::Null, &json!(204)));
    gateway.settles(answer.element("DeletionID"), "sent").await;
    let kept: String = gateway.value("SELECT client_request_id FROM attempts WHERE status = 204");
    assert_eq!(kept, client_request_id);
    let kept: i64 = gateway.value("SELECT count(request_id) FROM attempts WHERE diagnostic <> ''");
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn an_id_is_one_encoded_segment_of_graphs_path() {
    let gateway = Gateway::start().await;
    let odd = "id with/odd?chars#and%2F..";
    let made = call("8856", json!({"graphCallID": odd}));
    let call = gateway.calls(&[made]).await.remove(0);
    assert_eq!(delete(&gateway, &call).await.word(), "sent");
    let deletes = gateway.graph.deletes().await;
    assert!(deletes.len() == 1 && !deletes[0].contains(['/', '?', '#', ' ']), "{deletes:?}");
    assert!(deletes[0].contains("%252F"), "{deletes:?}");
}

#[tokio::test]
async fn one_token_serves_many_deletions() {
    let gateway = Gateway::start().await;
    for _ in 0..3 {
        let call = gateway.call("8856").await;
        assert_eq!(delete(&gateway, &call).await.word(), "sent");
    }
    assert_eq!(gateway.graph.requests().await.len(), 4);
}

#[tokio::test]
async fn refusals_end_a_deletion_and_name_no_success() {
    for (fault, text) in [
        (
            json!({"status": 403, "body": {"error": {"code": "Forbidden", "message": "x"}}}),
            "Microsoft Graph refused to end the call.",
        ),
        (
            json!({"status": 403, "body": {"error": {"code": "7505", "message": "x"}}}),
            "Microsoft Graph refused to end the call.",
        ),
        (json!({"status": 400}), "Microsoft Graph refused to end the call."),
        (json!({"status": 302}), "Microsoft Graph refused to end the call."),
        (
            json!({"status": 404, "body": {"error": {"code": "8522", "message": "x"}}}),
            "Call has already ended.",
        ),
    ] {
        let (gateway, call) = with_fault(fault.clone()).await;
        let answer = delete(&gateway, &call).await;
        assert_eq!((answer.code(), answer.element("ErrorMessage")), (2, text), "{fault}");
        gateway.settles(answer.element("DeletionID"), "failed").await;
        assert_eq!(gateway.graph.deletes().await.len(), 1, "{fault}");
    }
}

#[tokio::test]
async fn a_throttled_deletion_is_tried_again_no_earlier_than_graph_asked() {
    let (gateway, call) =
        with_fault(json!({"status": 429, "retryAfter": "2.128", "times": 1})).await;
    let answer = delete(&gateway, &call).await;
    assert_eq!((answer.code(), answer.word()), (0, "sent"));
    let waited = between(&gateway).await;
    assert!(waited >= Duration::from_millis(2_128), "{waited:?}");
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for (fault, word) in [
        (json!({"status": 503, "retryAfter": 1, "times": 1}), "sent"),
        (json!({"status": 503, "times": 1}), "sent"),
        (json!({"status": 500, "times": 1}), "sent"),
        (json!({"status": 408, "times": 1}), "sent"),
        // Somebody else's 404 says nothing about the call.
        (json!({"status": 404, "body": "<html>not here</html>", "times": 1}), "sent"),
        (
            json!({"status": 404, "body": {"error": {"code": "ResourceNotFound"}}, "times": 1}),
            "sent",
        ),
        (json!({"reset": "before", "times": 1}), "sent"),
        (json!({"reset": "after", "times": 1}), "gone"),
    ] {
        let (gateway, call) = with_fault(fault.clone()).await;
        let answer = delete(&gateway, &call).await;
        assert_eq!((answer.code(), answer.word()), (0, word), "{fault}");
        gateway.settles(answer.element("DeletionID"), word).await;
        let waited = between(&gateway).await;
        assert!(waited >= Duration::from_secs(1), "{fault}: {waited:?}");
    }
}

#[tokio::test]
async fn a_404_after_a_500_means_that_the_call_is_gone() {
    let (gateway, call) = with_fault(json!({"status": 500, "times": 1})).await;
    let fault = json!({"method": "DELETE", "status": 404,
        "body": {"error": {"code": "8522", "message": "Call not found."}}});
    gateway.graph.fault(fault).await;
    let answer = delete(&gateway, &call).await;
    assert_eq!((answer.code(), answer.word()), (0, "gone"));
}

#[tokio::test]
async fn a_401_gets_a_new_token_once_and_then_waits_for_the_operator() {
    let (gateway, call) = with_fault(json!({"status": 401, "times": 1})).await;
    assert_eq!(delete(&gateway, &call).await.word(), "sent");
    let requests = gateway.graph.requests().await;
    let order: Vec<_> = requests.iter().map(|request| request["method"].clone()).collect();
    assert_eq!(order, ["POST", "DELETE", "POST", "DELETE"]);
}

#[tokio::test]
async fn a_fault_of_the_tenant_keeps_the_deletion_and_tells_the_operator() {
    for (fault, count) in [
        (json!({"method": "DELETE", "status": 401, "times": 2}), 3),
        // 7503: the app is not registered for calls in this tenant.
        (json!({"method": "DELETE", "status": 403, "times": 1}), 2),
    ] {
        let gateway = Gateway::with("legacy.wait = \"500ms\"").await;
        let call = gateway.call("8856").await;
        gateway.graph.fault(fault.clone()).await;
        let answer = delete(&gateway, &call).await;
        assert_eq!((answer.code(), answer.word()), (0, "accepted"), "{fault}");
        let part = format!("degraded: graph.{}: ", crate::support::TENANT);
        let readiness = gateway.readiness().await;
        assert!(readiness.contains(&part), "{readiness}");
        gateway.settles(answer.element("DeletionID"), "sent").await;
        let restored = async || (!gateway.readiness().await.contains(&part)).then_some(());
        crate::support::until("the fault is over", restored).await;
        assert_eq!(gateway.graph.deletes().await.len(), count, "{fault}");
    }
}

#[tokio::test]
async fn a_login_that_refuses_the_app_keeps_the_deletion() {
    let gateway = Gateway::with("legacy.wait = \"100ms\"").await;
    let call = gateway.call("8856").await;
    let login = format!("/{}/oauth2/", crate::support::TENANT);
    gateway.graph.fault(json!({"path": login, "status": 401})).await;
    let answer = delete(&gateway, &call).await;
    assert_eq!((answer.code(), answer.word()), (0, "accepted"));
    assert!(gateway.graph.deletes().await.is_empty());
    gateway.graph.heal().await;
    gateway.settles(answer.element("DeletionID"), "sent").await;
    assert_eq!(gateway.graph.deletes().await.len(), 1);
}

#[tokio::test]
async fn a_slow_graph_means_accepted_in_time_and_sent_later() {
    let gateway = Gateway::with("legacy.wait = \"100ms\"").await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 2_000})).await;
    let began = tokio::time::Instant::now();
    let answer = delete(&gateway, &call).await;
    assert_eq!((answer.code(), answer.word()), (0, "accepted"));
    assert!(began.elapsed() >= Duration::from_millis(100));
    let id = answer.element("DeletionID");
    gateway.settles(id, "sent").await;
    let listed = gateway.deletions().await;
    assert_eq!((&listed[0]["id"], &listed[0]["state"]), (&json!(id), &json!("sent")));
    assert_eq!(listed[0]["callID"], call.id.as_str());
    assert_eq!(listed[0]["graphCallID"], call.graph_id.as_str());
    assert_eq!(listed[0]["keyID"], gateway.key.id.as_str());
    assert_eq!(listed[0]["kind"], "DeleteCall");
}

#[tokio::test]
async fn a_request_that_times_out_is_repeated_and_may_have_worked() {
    let gateway = Gateway::with("graph.request_timeout = \"600ms\"").await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 5_000, "times": 1})).await;
    let answer = delete(&gateway, &call).await;
    assert_eq!((answer.code(), answer.word()), (0, "gone"));
    assert_eq!(gateway.graph.deletes().await.len(), 2);
}

#[tokio::test]
async fn a_deletion_ends_at_its_deadline() {
    // A 503 may have had its effect, a 429 has not.
    for (status, state, word) in
        [(429, "obsolete", "unavailable"), (503, "unknown", "unknown_outcome")]
    {
        let lines = "graph.request_timeout = \"700ms\"\ngraph.deadline = \"1500ms\"";
        let gateway = Gateway::with(lines).await;
        let call = gateway.call("8856").await;
        gateway.graph.fault(json!({"method": "DELETE", "status": status})).await;
        let answer = delete(&gateway, &call).await;
        assert_eq!((answer.code(), answer.word()), (2, word), "{status}");
        gateway.settles(answer.element("DeletionID"), state).await;
        let asked = gateway.graph.deletes().await.len();
        assert!((1..=3).contains(&asked), "{status}: {asked}");
    }
}

#[tokio::test]
async fn a_hold_that_comes_before_the_next_attempt_stops_it() {
    for (status, state, word) in [(429, "held", "policy"), (503, "unknown", "unknown_outcome")] {
        let (gateway, call) =
            with_fault(json!({"status": status, "retryAfter": 1, "times": 1})).await;
        let mut client = gateway.connect().await;
        let query = gateway.query(&format!("callID={}&detail=1", call.id));
        client.send(format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        gateway.graph.has_deletes(1).await;
        gateway.change(
            "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
             VALUES ('h', 1, 'all', '*', 'auditor', 1)",
        );
        let answer = client.answer().await;
        assert_eq!((answer.code(), answer.word()), (2, word), "{status}");
        gateway.settles(answer.element("DeletionID"), state).await;
        assert_eq!(gateway.graph.deletes().await.len(), 1, "{status}");
    }
}

/// A second tenant, of which the site's own configuration says nothing.
const OTHER: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
const OTHER_APP: &str = "3a3b4c5d-0000-4000-8000-123456789abc";

/// A site whose second tenant has another Graph, other paths and another app, with a credential.
async fn with_two_tenants(other: &Graph, credential: (&str, &str)) -> Gateway {
    let url = other.url();
    let key = |last: &str, value: &str| format!("graph.tenants.{OTHER}.{last} = \"{value}\"\n");
    let keys = [
        ("client_id", OTHER_APP),
        credential,
        ("api", "beta-applications"),
        ("base_url", &url),
        ("login_url", &url),
    ];
    let lines: String = keys.into_iter().map(|(last, value)| key(last, value)).collect();
    Gateway::with(&lines).await
}

#[tokio::test]
async fn each_tenants_calls_are_ended_by_its_own_app_at_its_own_graph() {
    let other = Graph::start().await;
    let gateway = with_two_tenants(&other, ("client_secret", "second-secret")).await;
    let key = gateway.new_key(&["--tenant", OTHER]).await;
    let graph_id = "0d0d4c5d-0000-4000-8000-123456789abc";
    let made = call("8857", json!({"graphCallID": graph_id, "tenantID": OTHER}));
    let (source, targets) = (&made["source"], &made["targets"]);
    other.make(&json!({"id": graph_id, "source": source, "targets": targets})).await;
    gateway.import(&format!("{made}\n")).await;
    let query = format!("{}&detail=1", key.query("extension=8857&status=ongoing"));
    let answer = gateway.get(&query).await;
    assert_eq!((answer.code(), answer.word()), (0, "sent"), "{answer:?}");

    let requests = other.requests().await;
    let [login, hang_up] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(login["path"], format!("/{OTHER}/oauth2/v2.0/token"));
    let form = login["body"].as_str().unwrap();
    assert!(form.contains(&format!("client_id={OTHER_APP}")), "{form}");
    let path = format!("/beta/applications/{OTHER_APP}/calls/{graph_id}");
    assert_eq!((&hang_up["method"], &hang_up["path"]), (&json!("DELETE"), &json!(path)));
    assert_eq!(gateway.graph.requests().await.len(), 0, "the first tenant's Graph");

    let own = gateway.call("8856").await;
    assert_eq!(delete(&gateway, &own).await.word(), "sent");
    assert_eq!((gateway.graph.requests().await.len(), other.requests().await.len()), (2, 2));
}

#[tokio::test]
async fn an_app_without_a_secret_logs_in_with_the_token_that_its_file_holds_now() {
    let other = Graph::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    // Two objects and a signature: `{}`, and `{"jti":"before"}` or `{"jti":"renewed"}`.
    std::fs::write(file.path(), "e30.eyJqdGkiOiJiZWZvcmUifQ.c2ln\n").unwrap();
    let name = file.path().to_str().unwrap();
    let gateway = with_two_tenants(&other, ("federated_token_file", name)).await;
    std::fs::write(file.path(), "e30.eyJqdGkiOiJyZW5ld2VkIn0.c2ln\n").unwrap();
    let key = gateway.new_key(&["--tenant", OTHER]).await;
    gateway.import(&format!("{}\n", call("8857", json!({"tenantID": OTHER})))).await;
    let _gone = gateway.get(&key.query("extension=8857&status=ongoing")).await;
    let requests = other.requests().await;
    let form = requests[0]["body"].as_str().unwrap();
    // The simulator shows the signature to nobody.
    assert!(form.contains("client_assertion=e30.eyJqdGkiOiJyZW5ld2VkIn0."), "{form}");
    assert_eq!((&requests[0]["status"], &requests[1]["method"]), (&json!(200), &json!("DELETE")));
}

#[tokio::test]
async fn a_tenant_that_is_not_configured_is_refused_and_nothing_is_sent() {
    let gateway = Gateway::start().await;
    let key = gateway.new_key(&["--tenant", OTHER]).await;
    let made = call("8857", json!({"tenantID": OTHER}));
    gateway.import(&format!("{made}\n")).await;
    let answer =
        gateway.get(&format!("{}&detail=1", key.query("extension=8857&status=ongoing"))).await;
    assert_eq!((answer.code(), answer.element("Reason")), (2, "not_permitted"));
    assert_eq!(gateway.graph.requests().await.len(), 0);
}

#[tokio::test]
async fn an_app_on_the_first_beta_paths_is_answered_there() {
    let gateway = Gateway::with("graph.api = \"beta-app\"").await;
    let call = gateway.call("8856").await;
    assert_eq!(delete(&gateway, &call).await.word(), "sent");
    let requests = gateway.graph.requests().await;
    assert_eq!(requests[1]["path"], format!("/beta/app/calls/{}", call.graph_id));
}
