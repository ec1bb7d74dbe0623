//! Tenants and apps: whose token opens which call, and the refusals that people meet.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Graph, graph_error};

const APP: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";

/// A token of the app `client_id` in `tenant`.
async fn token(graph: &Graph, tenant: &str, client_id: &str) -> String {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("scope", "https://graph.microsoft.com/.default"),
        ("client_secret", "any"),
    ];
    let path = format!("/{tenant}/oauth2/v2.0/token");
    let answer = graph.request(Method::POST, &path).form(&form).send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    body["access_token"].as_str().expect("a token").to_owned()
}

/// What Graph answers to a GET: status, and code of an error.
async fn ask(graph: &Graph, token: &str, path: &str) -> (u16, String) {
    let answer = graph.request(Method::GET, path).bearer_auth(token).send().await.unwrap();
    if answer.status() == StatusCode::OK {
        return (200, String::new());
    }
    let (status, code, _) = graph_error(answer).await;
    (status, code)
}

#[tokio::test]
async fn a_call_is_opened_by_its_own_tenant_and_app_only() {
    let graph = Graph::start().await;
    let tenant = json!({"tenantId": "t1", "domains": ["contoso.com"]});
    graph.control(Method::POST, "/sim/tenants", &tenant).await;
    graph.make(json!({"id": "a", "tenantId": "t1"})).await;
    graph.make(json!({"id": "b", "tenantId": "t1", "appId": APP})).await;
    let call = |id: &str| format!("/v1.0/communications/calls/{id}");

    let own = token(&graph, "t1", APP).await;
    let by_domain = token(&graph, "Contoso.com", "other").await;
    let foreign = token(&graph, "t2", APP).await;
    let common = token(&graph, "common", APP).await;
    let ok = (200, String::new());
    assert_eq!(ask(&graph, &own, &call("a")).await, ok);
    assert_eq!(ask(&graph, &own, &call("b")).await, ok);
    assert_eq!(ask(&graph, &by_domain, &call("a")).await, ok);
    assert_eq!(ask(&graph, &by_domain, &call("b")).await, (404, "8522".to_owned()));
    for token in [&foreign, &common] {
        assert_eq!(ask(&graph, token, &call("a")).await, (403, "7505".to_owned()));
    }
    assert_eq!(ask(&graph, "a token from elsewhere", &call("b")).await, ok);

    let path = |app: &str| format!("/beta/applications/{app}/calls/b");
    assert_eq!(ask(&graph, &own, &path(APP)).await, ok);
    assert_eq!(ask(&graph, &own, &path("other")).await, (403, "7503".to_owned()));
}

#[tokio::test]
async fn a_refused_request_changes_nothing() {
    let graph = Graph::start().await;
    graph.make(json!({"id": "a", "tenantId": "t1"})).await;
    let foreign = token(&graph, "t2", APP).await;
    let path = "/v1.0/communications/calls/a";
    let answer = graph.request(Method::DELETE, path).bearer_auth(&foreign).send().await.unwrap();
    assert_eq!(graph_error(answer).await.1, "7505");
    assert_eq!(graph.state("a").await, "established");
}

#[tokio::test]
async fn apps_tenants_and_calls_are_refused_on_demand() {
    let graph = Graph::start().await;
    graph.make(json!({"id": "a", "tenantId": "t"})).await;
    let path = "/v1.0/communications/calls/a";
    let own = token(&graph, "t", APP).await;
    for (where_to, said, status, code) in [
        ("/sim/apps", json!({"clientId": APP, "registered": false}), 403, "7503"),
        ("/sim/apps", json!({"clientId": APP, "tenantId": "t", "consent": false}), 403, "7504"),
        ("/sim/apps", json!({"clientId": APP, "tenantId": "t", "error": "9999"}), 500, "9999"),
        ("/sim/tenants", json!({"tenantId": "t", "error": 7505}), 403, "7505"),
        ("/sim/calls/a", json!({"error": "8522"}), 404, "8522"),
        ("/sim/calls/a", json!({"error": "9999"}), 500, "9999"),
    ] {
        let (answered, shown) = graph.control(Method::POST, where_to, &said).await;
        assert_eq!(answered, StatusCode::OK, "{shown}");
        assert_eq!(ask(&graph, &own, path).await, (status, code.to_owned()), "{said}");
        if where_to == "/sim/calls/a" {
            graph.control(Method::POST, where_to, &json!({"error": null})).await;
        } else {
            graph.control(Method::DELETE, where_to, &Value::Null).await;
        }
        assert_eq!(ask(&graph, &own, path).await.0, 200, "after {said}");
    }
}

#[tokio::test]
async fn participants_are_removed_only_by_apps_that_the_tenant_lists() {
    let graph = Graph::start().await;
    let person = |id: &str| json!({"id": id, "identity": "+4930123456"});
    graph
        .make(json!({"id": "a", "tenantId": "t", "participants": [person("p"), person("q")]}))
        .await;
    let own = token(&graph, "t", APP).await;
    let remove = async |id: &str| {
        let path = format!("/v1.0/communications/calls/a/participants/{id}");
        graph.request(Method::DELETE, &path).bearer_auth(&own).send().await.unwrap()
    };
    let list = |apps: Value| json!({"tenantId": "t", "allowRemoveParticipantAppIds": apps});
    graph.control(Method::POST, "/sim/tenants", &list(json!(["other"]))).await;
    let (status, code, message) = graph_error(remove("p").await).await;
    assert_eq!((status, code.as_str()), (500, "9999"));
    assert_eq!(message, "Unknown internal server error.");
    graph.control(Method::POST, "/sim/tenants", &list(json!(["other", APP]))).await;
    assert_eq!(remove("p").await.status(), StatusCode::NO_CONTENT);
    graph.control(Method::DELETE, "/sim/tenants", &Value::Null).await;
    assert_eq!(remove("q").await.status(), StatusCode::NO_CONTENT);
}
