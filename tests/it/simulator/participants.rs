//! Rosters, invitations and rejections over real connections, in every path form.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{Graph, graph_error, is_unknown};
use crate::support::until;

/// Every path form, for the app that the tests' foreign token stands for.
const FORMS: [&str; 4] = [
    "/v1.0/communications/calls",
    "/beta/communications/calls",
    "/beta/app/calls",
    "/beta/applications/2891555a-92ff-42e6-80fa-6e1300c6b5c6/calls",
];

async fn post(graph: &Graph, path: &str, body: &Value) -> Response {
    graph.request(Method::POST, path).bearer_auth("any").json(body).send().await.unwrap()
}

async fn roster(graph: &Graph, call: &str) -> Vec<String> {
    let roster: Value =
        graph.app(Method::GET, &format!("{call}/participants")).await.json().await.unwrap();
    assert!(roster["@odata.context"].as_str().unwrap().ends_with("/participants"), "{roster}");
    let ids = roster["value"].as_array().unwrap().iter();
    ids.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

fn people(numbers: &[&str]) -> Value {
    let people = numbers.iter().map(|number| json!({"identity": {"phone": {"id": number}}}));
    json!({"participants": people.collect::<Value>(), "clientContext": "f2fa86af"})
}

#[tokio::test]
async fn who_is_invited_is_pending_and_then_joins_in_every_path_form() {
    let graph = Graph::start().await;
    for (number, form) in FORMS.iter().enumerate() {
        let call = format!("{form}/c{number}");
        graph.make(json!({"id": format!("c{number}"), "inviteMs": 300})).await;
        let answer = post(&graph, &format!("{call}/participants/invite"), &people(&["+491"])).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        let operation: Value = answer.json().await.unwrap();
        assert_eq!(operation["@odata.type"], "#microsoft.graph.inviteParticipantsOperation");
        assert_eq!(
            (&operation["status"], &operation["clientContext"], &operation["resultInfo"]),
            (&json!("Running"), &json!("f2fa86af"), &Value::Null)
        );
        assert_eq!(operation["participants"][0]["identity"]["phone"]["id"], "+491");
        assert_eq!(operation["participants"][0]["identity"]["user"], Value::Null);
        let id = operation["id"].as_str().unwrap();
        assert_eq!(location, format!("{}{call}/operations/{id}", graph.simulator.url()));
        assert!(roster(&graph, &call).await.is_empty());

        let joined = until("the invited joined", async || roster(&graph, &call).await.pop()).await;
        assert_eq!(operation["participants"][0]["participantId"], joined);
        let path = format!("{call}/operations/{id}");
        let operation: Value = graph.app(Method::GET, &path).await.json().await.unwrap();
        assert_eq!(operation["status"], "completed");

        let one = format!("{call}/participants/{joined}");
        assert_eq!(graph.app(Method::DELETE, &one).await.status(), StatusCode::NO_CONTENT);
        assert!(roster(&graph, &call).await.is_empty());
        let again = graph_error(graph.app(Method::DELETE, &one).await).await;
        assert_eq!((again.0, again.1.as_str()), (404, "NotFound"));
    }
}

#[tokio::test]
async fn a_pending_invitation_is_taken_back_by_its_participants_id() {
    let graph = Graph::start().await;
    graph.make(json!({"id": "a", "inviteMs": 600_000})).await;
    let call = "/v1.0/communications/calls/a";
    let answer = post(&graph, &format!("{call}/participants/invite"), &people(&["+491"])).await;
    let operation: Value = answer.json().await.unwrap();
    let id = operation["participants"][0]["participantId"].as_str().unwrap();
    let path = format!("{call}/participants/{id}");
    assert_eq!(graph.app(Method::GET, &path).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(graph.app(Method::DELETE, &path).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(graph.app(Method::DELETE, &path).await.status(), StatusCode::NOT_FOUND);
    let path = format!("{call}/operations/{}", operation["id"].as_str().unwrap());
    let operation: Value = graph.app(Method::GET, &path).await.json().await.unwrap();
    assert_eq!(
        (&operation["status"], &operation["resultInfo"]["code"]),
        (&json!("failed"), &json!(487))
    );
}

#[tokio::test]
async fn an_invitation_fails_on_demand_and_may_keep_its_ids() {
    let graph = Graph::start().await;
    graph.make(json!({"id": "a"})).await;
    let rules = json!({
        "inviteMs": 0, "inviteFails": {"code": 480, "subcode": 10_037}, "inviteShowsIds": false,
    });
    let (status, shown) = graph.control(Method::POST, "/sim/calls/a", &rules).await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    let path = "/beta/app/calls/a/participants/invite";
    let operation: Value = post(&graph, path, &people(&["+491"])).await.json().await.unwrap();
    assert_eq!(operation["participants"][0]["participantId"], Value::Null);
    let path = format!("/beta/app/calls/a/operations/{}", operation["id"].as_str().unwrap());
    let operation: Value = graph.app(Method::GET, &path).await.json().await.unwrap();
    assert_eq!(operation["status"], "failed");
    assert_eq!(operation["resultInfo"]["subcode"], 10_037);
    assert!(roster(&graph, "/beta/app/calls/a").await.is_empty());
}

#[tokio::test]
async fn an_invitation_that_the_schema_does_not_allow_is_refused() {
    let graph = Graph::start().await;
    graph.make(json!({"id": "a"})).await;
    let path = "/v1.0/communications/calls/a/participants/invite";
    let mut long = people(&["+491"]);
    long["clientContext"] = json!("x".repeat(257));
    for body in [
        json!({}),
        people(&[]),
        // Several at once need a meeting's chat.
        people(&["+491", "+492"]),
        people(&["+491", "+492", "+493", "+494", "+495", "+496"]),
        long,
    ] {
        let (status, code, _) = graph_error(post(&graph, path, &body).await).await;
        assert_eq!((status, code.as_str()), (400, "BadRequest"), "{body}");
    }
    let path = "/v1.0/communications/calls/b/participants/invite";
    assert!(is_unknown(post(&graph, path, &people(&["+491"])).await).await);
}

#[tokio::test]
async fn a_call_is_rejected_only_while_it_rings() {
    let graph = Graph::start().await;
    for (number, form) in FORMS.iter().enumerate() {
        for (id, call, late) in [
            ("ringing", json!({"state": "incoming"}), false),
            ("late", json!({"state": "incoming", "ringMs": 0}), true),
            ("answered", json!({"state": "established"}), true),
        ] {
            let id = format!("{id}{number}");
            let mut call = call;
            call["id"] = json!(id);
            graph.make(call).await;
            let path = format!("{form}/{id}/reject");
            let answer = post(&graph, &path, &json!({"reason": "busy"})).await;
            if late {
                assert!(is_unknown(answer).await, "{id}");
                let hung_up = graph.app(Method::DELETE, &format!("{form}/{id}")).await;
                assert_eq!(hung_up.status(), StatusCode::NO_CONTENT, "{id}");
            } else {
                assert_eq!(answer.status(), StatusCode::ACCEPTED);
                assert_eq!(graph.state(&id).await, "terminated");
            }
        }
    }
    graph.make(json!({"id": "a", "state": "incoming"})).await;
    for body in [
        json!({"reason": "maybe"}),
        json!({"reason": 1}),
        json!({"callbackUri": "http://bot.contoso.com/api/calls"}),
    ] {
        let answer = post(&graph, "/beta/app/calls/a/reject", &body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(graph.state("a").await, "incoming");
}

#[tokio::test]
async fn the_end_of_an_invitation_is_told_without_anybody_asking() {
    let graph = Graph::start().await;
    let mut receiver = Receiver::start().await;
    graph.callback(json!({"url": receiver.url})).await;
    graph.make(json!({"id": "a", "inviteMs": 50})).await;
    let path = "/v1.0/communications/calls/a/participants/invite";
    let operation: Value = post(&graph, path, &people(&["+491"])).await.json().await.unwrap();

    let entries = receiver.entries(3).await;
    let told: Vec<(&Value, &Value)> =
        entries.iter().map(|entry| (&entry["changeType"], &entry["resourceUrl"])).collect();
    let call = "/communications/calls/a";
    let of_operation = format!("{call}/operations/{}", operation["id"].as_str().unwrap());
    assert_eq!(
        told,
        [
            (&json!("created"), &json!(call)),
            (&json!("deleted"), &json!(of_operation)),
            (&json!("updated"), &json!(format!("{call}/participants"))),
        ]
    );
    let [over, roster] = [&entries[1]["resourceData"], &entries[2]["resourceData"]];
    assert_eq!(
        (&over["status"], &over["clientContext"]),
        (&json!("completed"), &json!("f2fa86af"))
    );
    assert_eq!(over["participants"][0]["participantId"], roster[0]["id"]);
    assert_eq!(graph.state("a").await, "established");
}
