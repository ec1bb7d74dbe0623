//! `/metrics` of a real gateway: its form, what moves it, and what never gets into it.

#![expect(clippy::panic, reason = "a helper that panics fails its test")]
#![expect(clippy::float_cmp, reason = "counts are whole, whatever they are written as")]

mod documentation;
mod exposition;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use self::exposition::Exposition;
use crate::support::{Answer, Gateway, TENANT, call, send, until};

async fn ask(gateway: &Gateway, method: Method) -> Answer {
    send(method, &format!("http://{}/metrics", gateway.admin), &[], "").await
}

async fn scrape(gateway: &Gateway) -> Exposition {
    Exposition::read(&ask(gateway, Method::GET).await.body)
}

/// Waits until each of these series has its value.
async fn shows(gateway: &Gateway, expected: &[(&str, f64)]) {
    let mut last = String::new();
    let probe = async || {
        let seen = scrape(gateway).await;
        let wrong = expected.iter().find(|(series, value)| seen.value(series) != *value);
        last = format!("{wrong:?}");
        wrong.is_none().then_some(())
    };
    until(&format!("the metrics show {expected:?}"), probe).await;
}

/// The state of sending for the site's tenant.
fn sending(state: &str) -> String {
    format!("callgate_sending_state{{tenant=\"{TENANT}\",state=\"{state}\"}}")
}

/// Only this is so of the site's tenant.
async fn sends(gateway: &Gateway, what: &str) {
    let states = ["flowing", "paused", "tenant_fault", "breaker_open", "sender_stopped"];
    let series = states.map(|state| (sending(state), f64::from(state == what)));
    let expected: Vec<_> = series.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    shows(gateway, &expected).await;
}

#[tokio::test]
async fn it_is_openmetrics_and_documented_name_by_name() {
    let gateway = Gateway::start().await;
    let answer = ask(&gateway, Method::GET).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let exposition = Exposition::read(&answer.body);
    let exposed: BTreeSet<_> =
        exposition.families.iter().map(exposition::Family::documented).collect();
    let page = documentation::section();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `callgate_"));
    let documented: BTreeSet<_> = rows
        .map(|row| format!("callgate_{}", row.split_once('`').unwrap().0))
        .map(|name| name.split('{').next().unwrap().to_owned())
        .collect();
    assert_eq!(documented, exposed, "the table in docs/OPERATIONS.md, and what is exposed");
    documentation::explains(&page, &exposition);
    documentation::alerts_on_what_is_there(&page, &exposition);

    let head = ask(&gateway, Method::HEAD).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let post = ask(&gateway, Method::POST).await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn a_gateway_at_rest_is_well_and_has_done_nothing() {
    let gateway = Gateway::start().await;
    sends(&gateway, "flowing").await;
    shows(&gateway, &[("callgate_ready", 1.0), ("callgate_sending_taken_places", 0.0)]).await;
    let seen = scrape(&gateway).await;
    for family in &seen.families {
        let is_zero = family.series.values().all(|value| *value == 0.0);
        let name = family.name.as_str();
        match name {
            // It is a Graph of the tests.
            "callgate_health" => {
                let wrong: Vec<_> =
                    family.series.iter().filter(|(_, well)| **well == 0.0).collect();
                assert_eq!(wrong.len(), 2, "{wrong:?}");
                assert!(wrong.iter().all(|(part, _)| part.contains(".host\"")), "{wrong:?}");
            }
            "callgate_sending_state" | "callgate_store_state" => {
                assert_eq!(family.series.values().sum::<f64>(), 1.0, "{name}");
            }
            "callgate_ready"
            | "callgate_build"
            | "callgate_store_commits"
            | "callgate_store_size_bytes" => assert!(!is_zero, "{name}"),
            "callgate_start_time_seconds" => assert!(seen.value(name) > 1.7e9),
            "callgate_sending_places" => assert!(seen.value(name) >= 1.0),
            _ => assert!(is_zero, "{family:?}"),
        }
    }
}

#[tokio::test]
async fn a_deletion_moves_what_it_should_and_nothing_else() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    shows(&gateway, &[("callgate_sending_taken_places", 0.0)]).await;
    let before = scrape(&gateway).await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    assert_eq!(answer.word(), "sent", "{}", answer.body);
    gateway.settles(answer.element("DeletionID"), "sent").await;
    shows(&gateway, &[("callgate_sending_taken_places", 0.0)]).await;
    let mut changes = scrape(&gateway).await.since(&before);
    // The audit worker and the like commit whenever they have something.
    let commits = changes.remove("callgate_store_commits_total{result=\"written\"}");
    assert!(commits >= Some(2.0), "{commits:?}");
    changes
        .retain(|series, _| !series.starts_with("callgate_store_") && !series.contains("_bucket{"));
    let took = changes.remove("callgate_answer_duration_seconds_sum");
    assert!(took > Some(0.0) && took < Some(20.0), "{took:?}");
    let login = format!("callgate_logins_total{{tenant=\"{TENANT}\",result=\"granted\"}}");
    let expected = [
        "callgate_requests_total{action=\"DeleteCall\",outcome=\"sent\"}",
        "callgate_answer_duration_seconds_count",
        "callgate_attempts_total{operation=\"hang-up\",verdict=\"sent\"}",
        &login,
    ];
    let expected: BTreeMap<_, _> = expected.map(|series| (series.to_owned(), 1.0)).into();
    assert_eq!(changes, expected);
}

#[tokio::test]
async fn a_pause_and_what_waits_for_its_end_are_seen_until_it_is_over() {
    let gateway = Gateway::with("legacy.wait = \"1ms\"").await;
    let call = gateway.call("8856").await;
    gateway.run(&["pause"]).await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    assert_eq!(answer.word(), "accepted");
    sends(&gateway, "paused").await;
    let open = "callgate_deletions{state=\"open\"}";
    shows(&gateway, &[("callgate_health{part=\"paused\"}", 0.0), (open, 1.0)]).await;
    gateway.clock.advance(Duration::from_hours(1));
    let age = scrape(&gateway).await.value("callgate_oldest_open_deletion_age_seconds");
    assert!((3600.0..3660.0).contains(&age), "{age}");

    gateway.run(&["resume"]).await;
    sends(&gateway, "flowing").await;
    let oldest = "callgate_oldest_open_deletion_age_seconds";
    let paused = "callgate_health{part=\"paused\"}";
    shows(&gateway, &[(paused, 1.0), (open, 0.0), (oldest, 0.0)]).await;

    // Of one tenant it is seen as well.
    gateway.run(&["pause", "--tenant", TENANT]).await;
    sends(&gateway, "paused").await;
    gateway.run(&["resume", "--tenant", TENANT]).await;
    sends(&gateway, "flowing").await;
}

#[tokio::test]
async fn a_withdrawn_deletion_sends_no_client_away() {
    let gateway = Gateway::with("legacy.wait = \"1ms\"\nlegacy.on_pending = \"error\"").await;
    let call = gateway.call("8856").await;
    gateway.run(&["pause"]).await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    assert_eq!((answer.code(), answer.word()), (2, "unavailable"));
    let of =
        |outcome| format!("callgate_requests_total{{action=\"DeleteCall\",outcome=\"{outcome}\"}}");
    shows(&gateway, &[(&of("withdrawn"), 1.0), (&of("unavailable"), 0.0)]).await;
}

#[tokio::test]
async fn a_fault_of_the_tenant_is_seen_until_it_is_over() {
    let gateway = Gateway::with("legacy.wait = \"1ms\"").await;
    let call = gateway.call("8856").await;
    let login = format!("/{TENANT}/oauth2/");
    let denial = json!({"error": "invalid_client", "error_codes": [7_000_222]});
    gateway.graph.fault(json!({"path": login, "status": 401, "body": denial})).await;
    gateway.delete(&format!("callID={}", call.id)).await;
    sends(&gateway, "tenant_fault").await;
    let part = "callgate_health{part=\"graph.tenants\"}";
    shows(&gateway, &[(part, 0.0), ("callgate_ready", 1.0)]).await;
    let seen = scrape(&gateway).await;
    let refused = format!("callgate_logins_total{{tenant=\"{TENANT}\",result=\"refused\"}}");
    for series in
        [&refused, "callgate_attempts_total{operation=\"hang-up\",verdict=\"tenant_fault\"}"]
    {
        assert!(seen.value(series) >= 1.0, "{series}");
    }
    gateway.graph.heal().await;
    sends(&gateway, "flowing").await;
    shows(&gateway, &[(part, 1.0), ("callgate_deletions{state=\"open\"}", 0.0)]).await;
}

#[tokio::test]
async fn a_breaker_that_opens_is_seen_until_it_closes() {
    let gateway = Gateway::with("legacy.wait = \"1ms\"").await;
    let made: Vec<_> = (0..12).map(|n| call(&format!("{}", 1000 + n), json!({}))).collect();
    gateway.graph.fault(json!({"method": "DELETE", "status": 429})).await;
    for call in gateway.calls(&made).await {
        gateway.delete(&format!("callID={}", call.id)).await;
    }
    sends(&gateway, "breaker_open").await;
    let throttled = "callgate_attempts_total{operation=\"hang-up\",verdict=\"throttled\"}";
    let seen = scrape(&gateway).await;
    assert!(seen.value(throttled) >= 10.0, "{seen:?}");
    gateway.graph.heal().await;
    sends(&gateway, "flowing").await;
    let sent = "callgate_attempts_total{operation=\"hang-up\",verdict=\"sent\"}";
    shows(&gateway, &[(sent, 12.0), ("callgate_deletions{state=\"open\"}", 0.0)]).await;
}

#[tokio::test]
async fn what_failed_for_good_is_counted_as_long_as_it_is_there() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "status": 400})).await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    gateway.settles(answer.element("DeletionID"), "failed").await;
    shows(&gateway, &[("callgate_deletions{state=\"failed\"}", 1.0)]).await;
    let seen = scrape(&gateway).await;
    let refused = "callgate_attempts_total{operation=\"hang-up\",verdict=\"refused\"}";
    assert_eq!(seen.value(refused), 1.0);
}

#[tokio::test]
async fn nothing_of_a_request_gets_into_a_label_and_no_request_makes_a_series() {
    const PLANTED: &str = "planted4711";
    const STRANGER: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
    let gateway = Gateway::start().await;
    let stranger = gateway.new_key(&["--tenant", STRANGER, "--owner", PLANTED]).await;
    let count = |seen: &Exposition| {
        let families = seen.families.iter().filter(|family| family.name != "callgate_requests");
        families.map(|family| family.series.len()).sum::<usize>()
    };
    let before = count(&scrape(&gateway).await);
    for query in [
        format!("action={PLANTED}"),
        format!("action=DeleteCall&apiKey={PLANTED}&callID={PLANTED}"),
        format!("action=GetCallID&apiKey={PLANTED}&responseType={PLANTED}"),
        stranger.query(&format!("callID={PLANTED}")),
        gateway.query(&format!("extension=%2B{PLANTED}&reason={PLANTED}&{PLANTED}={PLANTED}")),
        gateway.query(&format!("nativeID={PLANTED}%22%7D%0A{PLANTED}")),
    ] {
        gateway.get(&query).await;
    }
    gateway.ask(format!("{PLANTED} /{PLANTED} HTTP/1.1\r\nHost: {PLANTED}\r\n\r\n")).await;
    gateway.notify(&[("x-api-key", PLANTED)], PLANTED).await;
    gateway.notify(&[("authorization", PLANTED)], PLANTED).await;
    let text = ask(&gateway, Method::GET).await.body;
    for secret in [PLANTED, STRANGER, &stranger.id, &gateway.key.id] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let seen = Exposition::read(&text);
    assert_eq!(count(&seen), before, "{text}");
    for (name, value) in seen.families.iter().flat_map(|family| &family.labels) {
        let is_word =
            value.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_.-".contains(&byte));
        match name.as_str() {
            "tenant" => assert_eq!(value, TENANT),
            "le" | "version" => {}
            _ => assert!(is_word && value != "other" || name == "part", "{name}={value}"),
        }
    }
    for series in [
        "callgate_requests_total{action=\"none\",outcome=\"unknown_action\"}",
        "callgate_requests_total{action=\"DeleteCall\",outcome=\"bad_key\"}",
        "callgate_notifications_total{result=\"bad_key\"}",
        "callgate_notifications_total{result=\"not_proven\"}",
    ] {
        assert!(seen.value(series) >= 1.0, "{series} in {text}");
    }
}
