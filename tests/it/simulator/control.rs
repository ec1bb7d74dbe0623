//! The simulator's control API: calls and faults on demand.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{CALL, Graph, ID, TOKEN_FORM, TOKEN_PATH, graph_error, is_unknown};

#[tokio::test]
async fn retry_after_is_sent_as_it_was_given() {
    let graph = Graph::with_a_call().await;
    for (given, sent) in [
        (json!("2.128"), "2.128"),
        (json!(2.128), "2.128"),
        (json!(7), "7"),
        (json!("Wed, 21 Oct 2026 07:28:00 GMT"), "Wed, 21 Oct 2026 07:28:00 GMT"),
    ] {
        graph.fault(json!({"status": 429, "retryAfter": given, "times": 1})).await;
        let answer = graph.app(Method::DELETE, CALL).await;
        assert_eq!(answer.headers()["retry-after"], sent);
        assert_eq!(graph_error(answer).await.1, "TooManyRequests");
    }
    assert_eq!(graph.state(ID).await, "established");
    assert_eq!(graph.app(Method::DELETE, CALL).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_fault_strikes_what_it_names_until_it_is_removed() {
    let graph = Graph::with_a_call().await;
    graph.fault(json!({"method": "POST", "path": "/contoso.com/", "status": 401})).await;
    graph.fault(json!({"method": "DELETE", "status": 502, "body": "<p>Bad gateway</p>"})).await;
    graph.fault(json!({"path": "/beta/", "status": 500, "body": {"odd": true}})).await;

    let login = graph.request(Method::POST, TOKEN_PATH).form(&TOKEN_FORM).send().await.unwrap();
    let error: Value = login.json().await.unwrap();
    assert_eq!(error["error"], "invalid_client");

    let answer = graph.app(Method::DELETE, CALL).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert!(answer.headers().contains_key("request-id"));
    assert_eq!(answer.text().await.unwrap(), "<p>Bad gateway</p>");

    let answer = graph.app(Method::GET, "/beta/app/calls/x").await;
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"odd": true}));
    assert_eq!(graph.app(Method::GET, CALL).await.status(), StatusCode::OK);

    graph.control(Method::DELETE, "/sim/faults", &Value::Null).await;
    assert_eq!(graph.app(Method::DELETE, CALL).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_reset_cuts_the_connection_before_or_after_the_effect() {
    let graph = Graph::with_a_call().await;
    for (when, state) in [("before", "established"), ("after", "terminated")] {
        graph.fault(json!({"reset": when, "times": 1})).await;
        let mut connection = TcpStream::connect(graph.simulator.address()).await.unwrap();
        let request =
            format!("DELETE {CALL} HTTP/1.1\r\nHost: graph\r\nAuthorization: Bearer any\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let error = connection.read(&mut [0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{when}");
        assert_eq!(graph.state(ID).await, state, "{when}");
    }
    let statuses: Vec<Value> =
        graph.requests().await.iter().map(|request| request["status"].clone()).collect();
    assert_eq!(statuses, [Value::Null, Value::Null]);
}

#[tokio::test]
async fn a_delayed_answer_comes_late_and_its_effect_does_not() {
    let graph = Graph::with_a_call().await;
    graph.fault(json!({"delayMs": 600_000, "times": 1})).await;
    tokio::select! {
        _ = graph.app(Method::DELETE, CALL) => panic!("answered at once"),
        () = async { while graph.requests().await.is_empty() {} } => {}
    }
    assert_eq!(graph.state(ID).await, "terminated");
    assert_eq!(graph.requests().await[0]["status"], Value::Null);

    graph.fault(json!({"delayMs": 200})).await;
    let before = tokio::time::Instant::now();
    assert!(is_unknown(graph.app(Method::DELETE, CALL).await).await);
    assert!(before.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn calls_are_made_listed_answered_and_ended() {
    let graph = Graph::start().await;
    let made = graph.make(json!({"id": "a", "state": "incoming", "callChainId": "c"})).await;
    assert_eq!((&made["state"], &made["callChainId"]), (&json!("incoming"), &json!("c")));
    assert_eq!(made["source"], json!({"phone": {"id": "+4930123456"}}));
    let second = graph.make(json!({})).await;
    let (_, listed) = graph.control(Method::GET, "/sim/calls", &json!({})).await;
    assert_eq!(listed, json!([made, second]));

    let act = async |path: &str| {
        let (status, body) = graph.control(Method::POST, path, &json!({})).await;
        (status.as_u16(), body["state"].as_str().map(str::to_owned))
    };
    assert_eq!(act("/sim/calls/a/answer").await, (200, Some("established".to_owned())));
    assert_eq!(act("/sim/calls/a/answer").await, (409, None));
    assert_eq!(act("/sim/calls/a/end").await, (200, Some("terminated".to_owned())));
    assert_eq!(act("/sim/calls/a/end").await, (409, None));
    assert_eq!(act("/sim/calls/A/end").await, (404, None));
    assert!(is_unknown(graph.app(Method::DELETE, "/beta/app/calls/a").await).await);
}

#[tokio::test]
async fn bad_control_input_is_refused_by_name() {
    let graph = Graph::with_a_call().await;
    for (method, path, body, status, text) in [
        (Method::POST, "/sim/calls", json!({"targets": "88"}), 400, "source: "),
        (Method::POST, "/sim/calls", json!([]), 400, "body: "),
        (
            Method::POST,
            "/sim/calls",
            json!({"source": "88", "targets": ["89"], "stat": "x"}),
            400,
            "stat: ",
        ),
        (Method::POST, "/sim/calls", json!({"id": ID, "source": "88", "targets": "89"}), 409, ""),
        (Method::POST, "/sim/faults", json!({"status": 1}), 400, "status: "),
        (Method::POST, "/sim/calls/x/end", json!({"why": 1}), 400, "why: "),
        (Method::GET, "/sim/calls/x", json!({}), 404, ""),
        (Method::POST, "/sim/callbacks", json!({}), 404, ""),
        (Method::GET, "/sim", json!({}), 404, ""),
        (Method::PUT, "/sim/calls", json!({}), 405, ""),
        (Method::POST, "/sim/calls", json!({"id": "x".repeat(300_000)}), 413, ""),
    ] {
        let (answered, error) = graph.control(method, path, &body).await;
        assert_eq!(answered.as_u16(), status, "{path}: {error}");
        assert!(error["error"]["code"].is_string(), "{path}: {error}");
        assert!(error["error"]["message"].as_str().unwrap().starts_with(text), "{path}: {error}");
    }
}
