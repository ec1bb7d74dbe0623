//! Several tenants in one gateway: each call goes to its own tenant's Graph, in that tenant's form of
//! the paths, with a token of that tenant's app, or nowhere.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Answer, CLIENT_ID, Gateway, Graph, Key, TENANT, call, until};

/// Tenants of which a site says nothing by itself, each with its app and the form of its paths.
const BETA: [&str; 3] =
    ["57dab8b1-894c-409a-b240-bd8beae78896", "3a3b4c5d-0000-4000-8000-123456789abc", "beta-app"];
const APPLICATIONS: [&str; 3] = [
    "9d1a0f1c-7c1b-4d5e-8f00-0a1b2c3d4e5f",
    "4b4b4c5d-0000-4000-8000-123456789abc",
    "beta-applications",
];

/// A gateway for the site's own tenant and these.
async fn serving(tenants: &[([&str; 3], &Graph)], lines: &str) -> Gateway {
    let mut all = vec![lines.to_owned()];
    for ([id, app, form], graph) in tenants {
        let url = graph.url();
        for (last, value) in [
            ("client_id", *app),
            ("client_secret", &format!("secret-of-{app}")),
            ("api", form),
            ("base_url", &url),
            ("login_url", &url),
        ] {
            all.push(format!("graph.tenants.{id}.{last} = \"{value}\""));
        }
    }
    Gateway::with(&all.join("\n")).await
}

/// Makes a running call of a tenant and its app in Graph and in the registry; gives Graph's id.
async fn make(gateway: &Gateway, graph: &Graph, tenant: &str, app: &str) -> String {
    let id = Uuid::new_v4().to_string();
    let made = call("8856", json!({"graphCallID": id, "tenantID": tenant}));
    let (source, targets) = (&made["source"], &made["targets"]);
    graph
        .make(&json!({
            "id": id, "source": source, "targets": targets, "tenantId": tenant, "appId": app,
        }))
        .await;
    gateway.import(&format!("{made}\n")).await;
    id
}

async fn delete(gateway: &Gateway, key: &Key, id: &str) -> Answer {
    gateway.get(&format!("{}&detail=1", key.query(&format!("nativeID={id}")))).await
}

/// What a Graph was asked: method, path and the status that it answered.
async fn asked(graph: &Graph) -> Vec<(String, String, u64)> {
    let text = |request: &Value, name: &str| request[name].as_str().unwrap_or_default().to_owned();
    let asked = |request: &Value| {
        let status = request["status"].as_u64().unwrap_or_default();
        (text(request, "method"), text(request, "path"), status)
    };
    graph.requests().await.iter().map(asked).collect()
}

fn login(tenant: &str) -> (String, String, u64) {
    ("POST".to_owned(), format!("/{tenant}/oauth2/v2.0/token"), 200)
}

fn hang_up(path: &str, status: u64) -> (String, String, u64) {
    ("DELETE".to_owned(), path.to_owned(), status)
}

#[tokio::test]
async fn each_call_goes_to_its_own_tenant_with_its_own_app_and_form() {
    // Two tenants of one Graph, so that one's token would reach the other's calls, and one elsewhere.
    let other = Graph::start().await;
    let gateway = serving(&[(BETA, &other), (APPLICATIONS, &other)], "").await;
    for ([tenant, app, _], graph, prefix) in [
        ([TENANT, CLIENT_ID, ""], &gateway.graph, "/v1.0/communications/calls"),
        (BETA, &other, "/beta/app/calls"),
        (APPLICATIONS, &other, &format!("/beta/applications/{}/calls", APPLICATIONS[1])),
    ] {
        let key = gateway.new_key(&["--tenant", tenant]).await;
        // Graph opens a call of another tenant with 403, and of another app with 404.
        let id = make(&gateway, graph, tenant, app).await;
        let before = asked(graph).await.len();
        let answer = delete(&gateway, &key, &id).await;
        assert_eq!((answer.code(), answer.word()), (0, "sent"), "{}", answer.body);
        assert_eq!(graph.state(&id).await, "terminated");
        let asked = asked(graph).await.split_off(before);
        assert_eq!(asked, [login(tenant), hang_up(&format!("{prefix}/{id}"), 204)]);
    }
    assert_eq!((asked(&gateway.graph).await.len(), asked(&other).await.len()), (2, 4));
}

#[tokio::test]
async fn a_key_never_reaches_a_call_of_another_tenant() {
    let other = Graph::start().await;
    let gateway = serving(&[(BETA, &other)], "").await;
    let id = make(&gateway, &other, BETA[0], BETA[1]).await;
    let answer = delete(&gateway, &gateway.key, &id).await;
    assert_eq!((answer.code(), answer.word()), (2, "not_found"), "{}", answer.body);
    assert!(asked(&gateway.graph).await.is_empty() && asked(&other).await.is_empty());
}

#[tokio::test]
async fn a_call_of_a_tenant_that_is_not_configured_is_refused_on_record_and_goes_nowhere() {
    let other = Graph::start().await;
    let gateway = serving(&[(BETA, &other)], "").await;
    let key = gateway.new_key(&["--tenant", APPLICATIONS[0]]).await;
    let id = make(&gateway, &gateway.graph, APPLICATIONS[0], APPLICATIONS[1]).await;
    let answer = delete(&gateway, &key, &id).await;
    assert_eq!((answer.code(), answer.word()), (2, "not_permitted"), "{}", answer.body);
    let entry = gateway
        .audited("the refusal is audited", |entry| {
            entry["key_id"] == key.id && entry["decision"] == "refused"
        })
        .await;
    assert_eq!(entry["tenant"], APPLICATIONS[0], "{entry}");
    assert_eq!(gateway.recorded(), 0);
    assert!(asked(&gateway.graph).await.is_empty() && asked(&other).await.is_empty());
}

#[tokio::test]
async fn one_tenants_fault_keeps_its_deletions_and_no_others() {
    for (app, code) in [(json!({"registered": false}), "7503"), (json!({"consent": false}), "7504")]
    {
        let other = Graph::start().await;
        let gateway = serving(&[(BETA, &other)], "legacy.wait = \"300ms\"").await;
        let key = gateway.new_key(&["--tenant", BETA[0]]).await;
        let mut app = app;
        app["clientId"] = json!(BETA[1]);
        other.say("apps", &app).await;
        let id = make(&gateway, &other, BETA[0], BETA[1]).await;
        let answer = delete(&gateway, &key, &id).await;
        assert_eq!((answer.code(), answer.word()), (0, "accepted"), "{code} {}", answer.body);
        let deletion = answer.element("DeletionID").to_owned();
        let error: String = gateway.value("SELECT error FROM attempts WHERE status = 403");
        assert!(error.contains(code), "{error}");
        let readiness = gateway.readiness().await;
        assert!(readiness.contains(&format!("degraded: graph.{}: ", BETA[0])), "{readiness}");

        let own = make(&gateway, &gateway.graph, TENANT, CLIENT_ID).await;
        assert_eq!(delete(&gateway, &gateway.key, &own).await.word(), "sent", "{code}");

        other.say("apps", &json!({"clientId": BETA[1]})).await;
        gateway.settles(&deletion, "sent").await;
        assert_eq!(other.state(&id).await, "terminated");
    }
}

#[tokio::test]
async fn a_call_that_graph_says_is_another_tenants_fails_at_once() {
    let gateway = Gateway::start().await;
    // The registry was told wrong: it is not a call of the site's tenant.
    let id = Uuid::new_v4().to_string();
    let foreign = json!({"id": id, "source": "1", "targets": ["2"], "tenantId": BETA[0]});
    gateway.graph.make(&foreign).await;
    gateway.import(&format!("{}\n", call("8856", json!({"graphCallID": id})))).await;
    let answer = delete(&gateway, &gateway.key, &id).await;
    assert_eq!((answer.code(), answer.word()), (2, "refused_by_graph"), "{}", answer.body);
    gateway.settles(answer.element("DeletionID"), "failed").await;
    let error: String = gateway.value("SELECT error FROM attempts WHERE status = 403");
    assert!(error.contains("7505") || error.contains("tenant"), "{error}");
    assert_eq!(gateway.graph.state(&id).await, "established");
    assert_eq!(gateway.graph.deletes().await.len(), 1);
    let ready = async || {
        (!gateway.readiness().await.contains(&format!("degraded: graph.{TENANT}: "))).then_some(())
    };
    until("nobody else has to wait", ready).await;
}
