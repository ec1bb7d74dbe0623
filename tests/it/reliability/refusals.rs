//! Whatever is refused, by whatever class of reason, sends nothing to Graph and is in the audit record.
//! Each class asks for a call that would be deleted if it were not for that reason.

mod table;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use self::table::{Case, all, lift};
use super::{amount, figure, shuffle};
use crate::support::{Answer, Client, Gateway, Key, Seeded, all_of, until};

/// Requests in one run of the tests.
const MIXED: usize = 2_000;
/// Callers at the same time.
const CALLERS: usize = 8;

/// One caller, who connects again when he was told to.
struct Caller<'g> {
    gateway: &'g Gateway,
    client: Option<Client>,
}

impl Caller<'_> {
    async fn ask(&mut self, case: &Case) -> Answer {
        let mut client = if let Some(client) = self.client.take() {
            client
        } else {
            let stream = TcpStream::connect(self.gateway.legacy).await;
            Client::new(stream.expect("the gateway listens"), self.gateway.answers.clone())
        };
        client.send(&case.request).await;
        let answer = if case.request.starts_with("HEAD ") {
            client.answer_without_body().await
        } else {
            client.answer().await
        };
        let goes_on = answer.header("connection").is_none();
        self.client = goes_on.then_some(client);
        answer
    }
}

/// Asks, and checks the answer.
async fn ask(caller: &mut Caller<'_>, case: &Case) {
    let answer = caller.ask(case).await;
    if answer.body.is_empty() {
        assert_eq!(answer.status, 405, "{}", case.name);
        return;
    }
    assert_eq!(answer.code(), case.code, "{}: {}", case.name, answer.body);
    assert!(case.words.contains(&answer.word()), "{}: {}", case.name, answer.body);
}

/// How many records there are of each result, of those that `of` names.
fn audited(gateway: &Gateway, of: &BTreeMap<&str, u64>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for entry in gateway.audit() {
        let result = entry["result"].as_str().expect("every record has one");
        let is_request = entry["action"] != "armed deletion fired" && of.contains_key(result);
        if is_request {
            let count = entry["count"].as_u64().expect("every record has one");
            *counts.entry(result.to_owned()).or_default() += count;
        }
    }
    counts
}

/// Calls begin that what is armed may not delete: one outside of its key's numbers, one that is held.
async fn begin_armed(gateway: &Gateway, cases: &[Case], bot: &Key) {
    let armed = cases.iter().filter(|case| case.words.contains(&"armed"));
    for case in armed.clone() {
        let number = case.request.split_once("extension=").expect("it names one").1;
        let body = json!({"value": [{
            "changeType": "created",
            "resourceUrl": format!("/communications/calls/next-{}", &number[..4]),
            "resourceData": {
                "state": "incoming", "targets": [{"identity": {"phone": {"id": &number[..4]}}}],
            },
        }]});
        let answer = gateway.notify(&[("X-Api-Key", &bot.secret)], &body.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let ended = "SELECT count(*) FROM deletions WHERE state = 'held'";
    let probe = async || (gateway.value::<i64>(ended) > 0).then_some(());
    until("the one of a held number is held", probe).await;
    assert!(armed.count() > 1, "there are such classes");
}

#[tokio::test]
async fn nothing_that_is_refused_reaches_graph_and_all_of_it_is_on_record() {
    let asked = amount("RELIABILITY_REFUSALS", MIXED);
    let (gateway, cases, bot) = all().await;
    let mut order: Vec<&Case> = cases.iter().cycle().take(asked).collect();
    shuffle(&mut Seeded::new(1), &mut order);
    let shares = order.chunks(asked.div_ceil(CALLERS));
    all_of(shares.map(async |share| {
        let mut caller = Caller { gateway: &gateway, client: None };
        for case in share {
            ask(&mut caller, case).await;
        }
    }))
    .await;
    begin_armed(&gateway, &cases, &bot).await;
    assert_eq!(gateway.graph.requests().await, [Value::Null; 0]);
    let mut expected = BTreeMap::<&str, u64>::new();
    for result in order.iter().filter_map(|case| case.audited) {
        *expected.entry(result).or_default() += 1;
    }
    let on_record = |counts: &BTreeMap<String, u64>| {
        counts.iter().map(|(result, count)| (result.as_str(), *count)).eq(expected.clone())
    };
    until(&format!("all of it is on record: {expected:?}"), async || {
        let counts = audited(&gateway, &expected);
        on_record(&counts).then_some(())
    })
    .await;
    figure(format_args!(
        "refusals: {} classes, {asked} requests, 0 at Graph; on record {expected:?}",
        cases.len()
    ));
}

#[tokio::test]
async fn what_no_reason_refuses_any_more_reaches_graph() {
    let (gateway, cases, _) = all().await;
    let mut caller = Caller { gateway: &gateway, client: None };
    for case in &cases {
        ask(&mut caller, case).await;
    }
    assert_eq!(gateway.graph.requests().await, [Value::Null; 0]);
    lift(&gateway).await;
    let mut calls = Vec::new();
    for case in &cases {
        let Some((call, control)) = &case.control else { continue };
        let control = Case { request: control.clone(), ..case.clone() };
        let answer = caller.ask(&control).await;
        assert_eq!(answer.code(), 0, "{}: {}", case.name, answer.body);
        calls.push(call.as_str());
    }
    calls.sort_unstable();
    calls.dedup();
    assert!(calls.len() > 20, "{calls:?}");
    until("all of them are deleted", async || {
        let mut deleted = gateway.graph.deletes().await;
        deleted.sort_unstable();
        deleted.dedup();
        (deleted == calls).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_that_several_calls_match_deletes_none_of_them() {
    let gateway = Gateway::start().await;
    let made = |number| crate::support::call("7777", serde_json::json!({"subject": number}));
    let calls = gateway.calls(&[made("1"), made("2")]).await;
    for _ in 0..20 {
        let answer = gateway.delete("extension=7777&status=ongoing&detail=1").await;
        assert_eq!((answer.code(), answer.word()), (2, "ambiguous"));
    }
    gateway.audited("the refusals", |entry| entry["result"] == "ambiguous").await;
    // The registry looks whether they still run, which changes nothing.
    let looked = |request: &&Value| request["method"] == "GET" || is_login(request);
    let requests = gateway.graph.requests().await;
    assert!(requests.iter().all(|request| looked(&request)), "{requests:?}");
    assert_eq!(gateway.delete(&format!("callID={}&detail=1", calls[0].id)).await.word(), "sent");
    assert_eq!(gateway.graph.deletes().await, [calls[0].graph_id.as_str()]);
}

fn is_login(request: &Value) -> bool {
    request["path"].as_str().is_some_and(|path| path.contains("/oauth2/"))
}
