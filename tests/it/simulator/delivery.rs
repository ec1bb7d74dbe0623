//! How the simulator sends notifications: lost, late, doubled, shuffled, together, again.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Graph;
use super::receiver::{Receiver, Reply};
use crate::support::until;

/// A simulator that tells a receiver, with `extra` fields of the callback.
async fn told(extra: &Value) -> (Graph, Receiver) {
    let (graph, receiver) = (Graph::start().await, Receiver::start().await);
    set(&graph, &receiver, extra).await;
    (graph, receiver)
}

async fn set(graph: &Graph, receiver: &Receiver, extra: &Value) {
    let mut callback = json!({"url": receiver.url, "form": "v1.0"});
    callback.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    graph.callback(callback).await;
}

async fn make(graph: &Graph, ids: impl IntoIterator<Item = usize>) {
    for id in ids {
        graph.make(json!({"id": id.to_string()})).await;
    }
}

/// The ids of the calls in POSTs with one entry each.
async fn ids(receiver: &mut Receiver, count: usize) -> Vec<usize> {
    let entries = receiver.entries(count).await;
    entries.iter().map(id).collect()
}

fn id(entry: &Value) -> usize {
    entry["resourceData"]["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_is_lost_is_never_sent_and_is_counted() {
    let (graph, mut receiver) = told(&json!({"lose": 1, "loseTimes": 2})).await;
    make(&graph, 0..4).await;
    assert_eq!(ids(&mut receiver, 2).await, [2, 3]);
    let counts = graph.all_sent().await;
    assert_eq!((&counts["lost"], &counts["sent"]), (&json!(2), &json!(2)));
    assert_eq!(counts["answered"], json!({"202": 2}));

    set(&graph, &receiver, &json!({"lose": 0.5})).await;
    make(&graph, 4..204).await;
    let counts = graph.all_sent().await;
    let lost = counts["lost"].as_u64().unwrap() - 2;
    assert!((50..150).contains(&lost), "{lost} of 200");
    assert_eq!(counts["delivered"].as_u64().unwrap() - 2, 200 - lost);
}

#[tokio::test]
async fn only_what_is_named_is_lost() {
    let extra = json!({"lose": true, "loseOnly": "deleted"});
    let (graph, mut receiver) = told(&extra).await;
    make(&graph, 0..2).await;
    graph.control(Method::POST, "/sim/calls/0/end", &json!({})).await;
    assert_eq!(ids(&mut receiver, 3).await, [0, 1, 0]);
    assert_eq!(graph.all_sent().await["lost"], 1);
    assert!(receiver.came().is_empty());
}

#[tokio::test]
async fn an_end_takes_its_time() {
    let (graph, mut receiver) = told(&json!({"endMs": 300})).await;
    make(&graph, [0]).await;
    let before = Instant::now();
    graph.control(Method::POST, "/sim/calls/0/end", &json!({})).await;
    let posts = [receiver.post().await, receiver.post().await, receiver.post().await];
    let states =
        posts.each_ref().map(|post| post.body["value"][0]["resourceData"]["state"].clone());
    assert_eq!(states, ["established", "terminating", "terminated"]);
    assert!(posts[2].at - before >= Duration::from_millis(300));
}

#[tokio::test]
async fn what_is_doubled_comes_twice_under_different_message_ids() {
    let (graph, mut receiver) = told(&json!({"double": true})).await;
    make(&graph, [7]).await;
    let [first, second] = [receiver.post().await, receiver.post().await];
    assert_eq!(first.body, second.body);
    let name = "x-microsoft-skype-message-id";
    assert_ne!(first.headers[name], second.headers[name]);
    let counts = graph.all_sent().await;
    assert_eq!((&counts["doubled"], &counts["delivered"]), (&json!(1), &json!(2)));
    assert!(receiver.came().is_empty());
}

#[tokio::test]
async fn what_is_late_keeps_its_order() {
    let (graph, mut receiver) = told(&json!({"delayMs": 300})).await;
    let before = Instant::now();
    make(&graph, [0, 1]).await;
    let late = receiver.post().await;
    assert_eq!(id(&late.body["value"][0]), 0);
    assert!(late.at - before >= Duration::from_millis(300));
    assert_eq!(ids(&mut receiver, 1).await, [1]);
}

#[tokio::test]
async fn what_is_late_can_be_overtaken() {
    let (graph, mut receiver) = told(&json!({"delayMs": 600_000})).await;
    make(&graph, [0]).await;
    set(&graph, &receiver, &json!({})).await;
    make(&graph, [1]).await;
    assert_eq!(ids(&mut receiver, 1).await, [1]);
    let (_, shown) = graph.control(Method::GET, "/sim/callback", &json!({})).await;
    assert_eq!(shown["waiting"], 1);
}

#[tokio::test]
async fn what_is_shuffled_all_comes_in_another_order() {
    let (graph, mut receiver) = told(&json!({"shuffle": true, "windowMs": 800})).await;
    make(&graph, 0..100).await;
    let mut order = ids(&mut receiver, 100).await;
    assert!(!order.is_sorted(), "{order:?}");
    order.sort_unstable();
    assert!(order.into_iter().eq(0..100));
}

#[tokio::test]
async fn a_batch_carries_what_waits_of_one_tenant() {
    let (graph, mut receiver) = told(&json!({"batch": 3, "windowMs": 1000})).await;
    make(&graph, 0..4).await;
    graph.make(json!({"id": "4", "tenantId": "other"})).await;
    let mut posts = Vec::new();
    while posts.iter().flatten().count() < 5 {
        let body = receiver.post().await.body;
        posts.push(body["value"].as_array().unwrap().iter().map(id).collect::<Vec<_>>());
    }
    assert!(posts.concat().is_sorted(), "{posts:?}");
    assert_eq!(posts.last().unwrap(), &[4], "another tenant has another token");
    assert!(posts.len() < 5 && posts.iter().all(|post| post.len() <= 3), "{posts:?}");
}

#[tokio::test]
async fn what_cannot_be_taken_is_sent_again_before_what_follows() {
    let (graph, mut receiver) = told(&json!({})).await;
    receiver.reply([Reply::Status(503), Reply::Cut, Reply::Status(503)]);
    make(&graph, [0, 1]).await;
    assert_eq!(ids(&mut receiver, 5).await, [0, 0, 0, 0, 1]);
    let counts = graph.all_sent().await;
    assert_eq!(counts["answered"], json!({"202": 2, "503": 2}));
    let outcome = ["sent", "unanswered", "delivered", "failed"].map(|name| counts[name].clone());
    assert_eq!(outcome, [5, 1, 2, 0]);
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again() {
    let (graph, mut receiver) = told(&json!({})).await;
    receiver.reply([401, 400, 500, 204].map(Reply::Status));
    make(&graph, 0..4).await;
    assert_eq!(ids(&mut receiver, 4).await, [0, 1, 2, 3]);
    let counts = graph.all_sent().await;
    assert_eq!(counts["answered"], json!({"204": 1, "400": 1, "401": 1, "500": 1}));
    assert_eq!((&counts["failed"], &counts["delivered"]), (&json!(3), &json!(1)));
}

#[tokio::test]
async fn the_news_of_a_call_keep_their_order_over_several_connections() {
    let (graph, mut receiver) = told(&json!({"connections": 16, "double": 0.1})).await;
    // Some are tried again, while others go on.
    receiver.reply((0..40).map(|number| Reply::Status(if number % 8 == 0 { 503 } else { 202 })));
    let calls = (0..150).map(|id| {
        let call = json!({"id": id.to_string(), "source": "1000", "targets": ["8856"]});
        format!("/sim/calls {call}\n/sim/calls/{id}/end\n")
    });
    graph.simulator.run_script(&calls.collect::<String>()).unwrap();
    let counts = graph.all_sent().await;
    assert_eq!(counts["failed"], 0);
    assert_eq!(counts["delivered"].as_u64(), Some(450 + counts["doubled"].as_u64().unwrap()));

    let mut steps: HashMap<usize, Vec<String>> = HashMap::new();
    for entry in receiver.entries(usize::try_from(counts["sent"].as_u64().unwrap()).unwrap()).await
    {
        let state = entry["resourceData"]["state"].as_str().unwrap().to_owned();
        let steps = steps.entry(id(&entry)).or_default();
        if steps.last() != Some(&state) {
            steps.push(state);
        }
    }
    assert_eq!(steps.len(), 150);
    for (call, steps) in steps {
        assert_eq!(steps, ["established", "terminating", "terminated"], "call {call}");
    }
}

#[tokio::test]
async fn a_callback_is_shown_counted_and_forgotten() {
    let graph = Graph::start().await;
    let show = async || graph.control(Method::GET, "/sim/callback", &json!({})).await.1;
    let nothing = json!({
        "callback": null, "waiting": 0, "sent": 0, "answered": {}, "unanswered": 0,
        "delivered": 0, "lost": 0, "doubled": 0, "failed": 0,
    });
    assert_eq!(show().await, nothing);

    let mut receiver = Receiver::start().await;
    let answer = graph.callback(json!({"url": receiver.url, "form": "beta-2018"})).await;
    assert_eq!(answer, show().await);
    assert_eq!(answer["callback"]["url"], receiver.url);
    assert_eq!(answer["callback"]["form"], "beta-2018");
    assert_eq!(
        (&answer["callback"]["delayMs"], &answer["callback"]["batch"]),
        (&json!(0), &json!(1))
    );

    set(&graph, &receiver, &json!({"delayMs": 600_000})).await;
    make(&graph, 0..3).await;
    assert_eq!(show().await["waiting"], 3);
    let (status, _) = graph.control(Method::DELETE, "/sim/callback", &Value::Null).await;
    assert_eq!((status, show().await), (StatusCode::NO_CONTENT, nothing));
    make(&graph, [3]).await;
    set(&graph, &receiver, &json!({})).await;
    make(&graph, [4]).await;
    assert_eq!(ids(&mut receiver, 1).await, [4], "nothing else was kept");
}

#[tokio::test]
async fn forgetting_gives_up_what_is_under_way() {
    let (graph, mut receiver) = told(&json!({})).await;
    receiver.reply([Reply::Cut; 3]);
    make(&graph, [0, 1]).await;
    assert_eq!(ids(&mut receiver, 1).await, [0]);
    graph.control(Method::DELETE, "/sim/callback", &Value::Null).await;
    set(&graph, &receiver, &json!({})).await;
    make(&graph, [2]).await;
    let delivered = async || {
        let (_, counts) = graph.control(Method::GET, "/sim/callback", &json!({})).await;
        (counts["delivered"] == 1 && counts["waiting"] == 0).then_some(())
    };
    until("the new call is told", delivered).await;
    // What was under way may have begun its second attempt; what waited behind it never comes.
    let came: Vec<usize> = receiver.came().iter().map(|post| id(&post.body["value"][0])).collect();
    assert!(came.contains(&2) && !came.contains(&1), "{came:?}");
}

#[tokio::test]
async fn bad_input_for_a_callback_is_refused_by_name_and_changes_nothing() {
    let (graph, receiver) = told(&json!({"delayMs": 5})).await;
    let (_, before) = graph.control(Method::GET, "/sim/callback", &json!({})).await;
    for (path, body, text) in [
        ("/sim/callback", json!({"url": "http://bot.contoso.com/api/calls"}), "url: "),
        ("/sim/callback", json!({"url": "https://127.0.0.1/api/calls"}), "url: "),
        ("/sim/callback", json!({"form": "v1.0"}), "url: "),
        ("/sim/callback", json!([]), "body: "),
        ("/sim/callback", json!({"url": receiver.url, "form": "v2"}), "form: "),
        ("/sim/callback", json!({"url": receiver.url, "loose": 1}), "loose: "),
        ("/sim/keys/rotate", json!({"keepOld": "yes"}), "keepOld: "),
        ("/sim/keys/rotate", json!({"keep": true}), "keep: "),
        ("/sim/calls/x/participants", json!({}), "add: "),
        ("/sim/calls/x/end", json!({"code": 99}), "code: "),
    ] {
        let (status, error) = graph.control(Method::POST, path, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}: {error}");
        assert!(error["error"]["message"].as_str().unwrap().starts_with(text), "{body}: {error}");
    }
    let (_, after) = graph.control(Method::GET, "/sim/callback", &json!({})).await;
    assert_eq!(after, before);
    for (path, method, status) in [
        ("/sim/callback", Method::PUT, 405),
        ("/sim/keys/rotate", Method::GET, 405),
        ("/sim/calls/x/participants", Method::GET, 405),
        ("/sim/keys", Method::POST, 404),
    ] {
        assert_eq!(graph.control(method, path, &json!({})).await.0, status, "{path}");
    }
    let add = json!({"add": ["8857"]});
    let path = "/sim/calls/x/participants";
    assert_eq!(graph.control(Method::POST, path, &add).await.0, StatusCode::NOT_FOUND);
}
