//! What the simulator posts to a callback about each change of a call.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{CALL, Graph, ID};

/// `updated /communications/calls/ID terminating`: what an entry says in short.
fn short(entry: &Value) -> String {
    let resource = entry.get("resourceUrl").unwrap_or(&entry["resource"]).as_str().unwrap();
    let data = &entry["resourceData"];
    let state = data.get("state").or_else(|| data.get("callState")).and_then(Value::as_str);
    let change = entry["changeType"].as_str().unwrap();
    format!("{change} {} {}", resource.replace(ID, "ID"), state.unwrap_or("-"))
}

fn shorts(entries: &[Value]) -> Vec<String> {
    entries.iter().map(short).collect()
}

async fn told(form: &str) -> (Graph, Receiver) {
    let (graph, receiver) = (Graph::start().await, Receiver::start().await);
    graph.callback(json!({"url": receiver.url, "form": form})).await;
    (graph, receiver)
}

async fn act(graph: &Graph, path: &str, body: Value) -> Value {
    let path = format!("/sim/calls/{ID}/{path}");
    let (status, call) = graph.control(Method::POST, &path, &body).await;
    assert_eq!(status, StatusCode::OK, "{call}");
    call
}

#[tokio::test]
async fn every_change_of_a_call_is_told_in_its_order() {
    let (graph, mut receiver) = told("v1.0").await;
    graph.make(json!({"id": ID, "state": "incoming", "callChainId": "chain"})).await;
    act(&graph, "answer", json!({})).await;
    let ann = json!({"id": "ann", "identity": {"user": {"id": "u", "displayName": "Ann"}}});
    act(&graph, "participants", json!({"add": [ann, "+4930123456"]})).await;
    act(&graph, "participants", json!({"remove": ["ann"]})).await;
    let end = json!({"code": 200, "subcode": 5001, "message": "The conversation has ended."});
    act(&graph, "end", end).await;

    let entries = receiver.entries(6).await;
    let url = "/communications/calls/ID";
    assert_eq!(
        shorts(&entries),
        [
            format!("created {url} incoming"),
            format!("updated {url} established"),
            format!("updated {url}/participants -"),
            format!("updated {url}/participants -"),
            format!("updated {url} terminating"),
            format!("deleted {url} terminated"),
        ]
    );
    for entry in &entries {
        assert_eq!(entry["@odata.type"], "#microsoft.graph.commsNotification");
        let resource = entry["resourceUrl"].as_str().unwrap().replace("/communications", "/app");
        assert_eq!(entry["resource"], resource);
    }
    let made = &entries[0]["resourceData"];
    assert_eq!(made["source"]["identity"]["phone"]["id"], "+4930123456");
    assert_eq!(
        (&made["callChainId"], &made["callbackUri"]),
        (&json!("chain"), &json!(receiver.url))
    );

    let [full, rest] = [&entries[2]["resourceData"], &entries[3]["resourceData"]];
    assert_eq!((&full[0]["id"], full.as_array().unwrap().len()), (&json!("ann"), 2));
    assert_eq!(full[0]["info"]["identity"]["user"]["displayName"], "Ann");
    assert_eq!(rest.as_array().unwrap().len(), 1, "who left is missing");
    assert_eq!(rest[0]["info"]["identity"]["phone"]["id"], "+4930123456");

    let result = &entries[5]["resourceData"]["resultInfo"];
    assert_eq!((&result["code"], &result["subcode"]), (&json!(200), &json!(5001)));
    assert_eq!(result["message"], "The conversation has ended.");
}

#[tokio::test]
async fn a_hang_up_is_told_as_ended_by_the_app() {
    let (graph, mut receiver) = told("v1.0").await;
    graph.make(json!({"id": ID, "announce": false})).await;
    assert_eq!(graph.app(Method::DELETE, CALL).await.status(), StatusCode::NO_CONTENT);
    let entries = receiver.entries(2).await;
    let url = "/communications/calls/ID";
    let expected = [format!("updated {url} terminating"), format!("deleted {url} terminated")];
    assert_eq!(shorts(&entries), expected);
    let result = &entries[1]["resourceData"]["resultInfo"];
    assert_eq!((&result["code"], &result["subcode"]), (&json!(200), &json!(7000)));
    assert_eq!(graph.app(Method::DELETE, CALL).await.status(), StatusCode::NOT_FOUND);
    graph.all_sent().await;
    assert!(receiver.came().is_empty(), "a refused request changes nothing");
}

#[tokio::test]
async fn a_call_can_be_made_without_telling() {
    let (graph, mut receiver) = told("v1.0").await;
    graph.make(json!({"id": "quiet", "announce": false, "participants": ["8857"]})).await;
    graph.make(json!({"id": ID, "participants": ["8857"]})).await;
    graph.make(json!({"id": "over", "state": "terminated", "participants": ["8857"]})).await;
    let expected = [
        "created /communications/calls/ID established",
        "updated /communications/calls/ID/participants -",
        "deleted /communications/calls/over terminated",
    ];
    assert_eq!(shorts(&receiver.entries(3).await), expected);
}

#[tokio::test]
async fn the_first_beta_tells_the_end_in_three_steps() {
    let (graph, mut receiver) = told("beta-2018").await;
    graph.make(json!({"id": ID, "state": "incoming"})).await;
    act(&graph, "answer", json!({})).await;
    act(&graph, "participants", json!({"add": "8857"})).await;
    let path = format!("/beta/app/calls/{ID}");
    assert_eq!(graph.app(Method::DELETE, &path).await.status(), StatusCode::NO_CONTENT);
    let entries = receiver.entries(6).await;
    assert_eq!(
        shorts(&entries),
        [
            "created /app/calls/ID incoming",
            "updated /app/calls/ID established",
            "updated /app/calls/ID/participants -",
            "updated /app/calls/ID terminating",
            "updated /app/calls/ID terminated",
            "deleted /app/calls/ID -",
        ]
    );
    let data = |index: usize| entries[index]["resourceData"].clone();
    assert!(entries.iter().all(|entry| entry.get("resourceUrl").is_none()));
    assert_eq!(data(1)["callState"], "established");
    assert_eq!(data(4)["terminationReason"], "AppInitiated");
    assert_eq!(data(5)["@odata.etag"], "W/\"5445\"");

    graph.make(json!({"id": "other", "announce": false})).await;
    graph.control(Method::POST, "/sim/calls/other/end", &json!({})).await;
    let entries = receiver.entries(3).await;
    assert_eq!(entries[1]["resourceData"]["terminationReason"], "CallTerminated");
}

#[tokio::test]
async fn a_rejected_call_is_gone_without_a_state() {
    let (graph, mut receiver) = told("v1.0").await;
    for (number, path) in [
        "/v1.0/communications/calls/",
        "/beta/app/calls/",
        "/beta/applications/2891555a-92ff-42e6-80fa-6e1300c6b5c6/calls/",
    ]
    .into_iter()
    .enumerate()
    {
        graph.make(json!({"id": number.to_string(), "state": "incoming", "announce": false})).await;
        let path = format!("{path}{number}/reject");
        let reject = async |body: Value| {
            let request = graph.request(Method::POST, &path).bearer_auth("any").json(&body);
            request.send().await.unwrap().status().as_u16()
        };
        assert_eq!(reject(json!({"reason": "later"})).await, 400);
        assert_eq!(reject(json!([])).await, 400);
        assert_eq!(reject(json!({"reason": "busy"})).await, 202);
        assert_eq!(reject(json!({})).await, 404, "it is gone");
        let gone = format!("deleted /communications/calls/{number} -");
        let entries = receiver.entries(1).await;
        assert_eq!(shorts(&entries), [gone]);
        assert_eq!(entries[0]["resourceData"].get("resultInfo"), None);
    }
    graph.make(json!({"id": ID, "announce": false})).await;
    let path = format!("{CALL}/reject");
    assert_eq!(graph.app(Method::POST, &path).await.status(), 404, "an answered call");
    let answer = graph.app(Method::GET, &path).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
    assert_eq!(graph.state(ID).await, "established");
}

#[tokio::test]
async fn a_participant_is_read_and_removed_by_its_id() {
    let (graph, mut receiver) = told("v1.0").await;
    let roster =
        json!([{"id": "ann/1", "identity": "+4930123456"}, {"id": "bob", "identity": "8857"}]);
    graph.make(json!({"id": ID, "participants": roster})).await;
    receiver.entries(2).await;

    let path = format!("{CALL}/participants");
    let listed: Value = graph.app(Method::GET, &path).await.json().await.unwrap();
    assert_eq!(listed["value"].as_array().unwrap().len(), 2);
    assert_eq!(listed["value"][0]["info"]["identity"]["phone"]["id"], "+4930123456");
    let ann = format!("{path}/ann%2F1");
    let one: Value = graph.app(Method::GET, &ann).await.json().await.unwrap();
    assert_eq!(one, listed["value"][0]);

    assert_eq!(graph.app(Method::DELETE, &ann).await.status(), StatusCode::NO_CONTENT);
    let told = receiver.entries(1).await;
    let left = told[0]["resourceData"].as_array().unwrap();
    assert_eq!((left.len(), &left[0]["id"]), (1, &json!("bob")));
    assert_eq!(graph.app(Method::DELETE, &ann).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(graph.app(Method::POST, &ann).await.status(), StatusCode::METHOD_NOT_ALLOWED);

    graph.app(Method::DELETE, CALL).await;
    assert_eq!(graph.app(Method::GET, &path).await.status(), StatusCode::NOT_FOUND);
    receiver.entries(2).await;
    assert!(receiver.came().is_empty());
}

#[tokio::test]
async fn a_post_has_the_headers_of_real_traffic() {
    let (graph, mut receiver) = told("v1.0").await;
    graph.make(json!({"id": ID, "callChainId": "chain"})).await;
    act(&graph, "end", json!({})).await;
    let posts = [receiver.post().await, receiver.post().await, receiver.post().await];
    let text = |post: usize, name: &str| posts[post].headers[name].to_str().unwrap().to_owned();
    for (number, post) in posts.iter().enumerate() {
        assert_eq!(post.path, "/api/calls");
        for (name, value) in [
            ("content-type", "application/json"),
            ("accept", "application/json"),
            ("user-agent", "Microsoft-Skype/3.0,(Calling/1.0)"),
            ("x-microsoft-skype-chain-id", "chain"),
        ] {
            assert_eq!(text(number, name), value);
        }
        assert!(text(number, "authorization").starts_with("Bearer "));
    }
    assert_eq!(posts[0].headers.get("scenario-id"), None, "the first one has none");
    assert_eq!(text(1, "scenario-id"), text(2, "scenario-id"));
    let [first, second, third] = [0, 1, 2].map(|post| text(post, "x-microsoft-skype-message-id"));
    assert!(first != second && second != third && first != third);
}

#[tokio::test]
async fn a_script_sets_a_callback_and_makes_its_calls_heard() {
    let (graph, mut receiver) = (Graph::start().await, Receiver::start().await);
    let script = format!(
        "/sim/callback {{\"url\": \"{}\", \"form\": \"v1.0\"}}\n\
         /sim/calls {{\"id\": \"{ID}\", \"source\": \"+4930123456\", \"targets\": [\"8856\"]}}\n\
         /sim/calls/{ID}/participants {{\"add\": [\"8857\"]}}\n\
         /sim/keys/rotate {{\"keepOld\": true}}\n\
         /sim/calls/{ID}/end {{\"code\": 200, \"subcode\": 5001}}\n",
        receiver.url
    );
    assert_eq!(graph.simulator.run_script(&script).unwrap(), 5);
    let entries = receiver.entries(4).await;
    assert_eq!(short(&entries[0]), "created /communications/calls/ID established");
    assert_eq!(short(&entries[3]), "deleted /communications/calls/ID terminated");
    let refused = graph.simulator.run_script("/sim/callback {\"url\": \"http://192.0.2.1/\"}");
    assert!(refused.unwrap_err().message.contains("url: must name a loopback address"));
}
