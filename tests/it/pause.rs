//! The operator's switch, at a real gateway under load: what is sent, what is answered, what people see.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::time::Duration;

use serde_json::json;

use crate::support::{Call, Gateway, Process, Site, TENANT, call, until};

/// Longer than the gateway may take to notice a switch.
const NOTICED: Duration = Duration::from_millis(1200);

async fn calls(site: &Site, count: usize) -> Vec<Call> {
    let made: Vec<_> = (0..count).map(|n| call(&format!("{}", 1000 + n), json!({}))).collect();
    site.calls(&made).await
}

/// Asks for the deletion of each call, which has to be taken.
async fn delete(site: &Site, process: &Process, calls: &[Call]) {
    for call in calls {
        let answer =
            process.get(site, &site.key.query(&format!("callID={}&detail=1", call.id))).await;
        assert_eq!(answer.code(), 0, "{}", answer.body);
    }
}

/// What a command says on standard error; it has to succeed.
async fn talk(site: &Site, arguments: &[&str]) -> String {
    let output = site.command(arguments).output().await.unwrap();
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {talk}");
    talk
}

#[tokio::test]
async fn nothing_is_sent_after_a_pause_under_load_and_everything_once_after_the_resumption() {
    let site = Site::with("legacy.wait = \"1ms\"\ngraph.concurrency = 2").await;
    let calls = calls(&site, 40).await;
    site.graph.fault(json!({"method": "DELETE", "delayMs": 50})).await;
    let process = Process::start(&site, &[]).await;
    let (first, rest) = calls.split_at(20);
    let operator = async {
        site.graph.has_deletes(4).await;
        talk(&site, &["pause", "--reason", "Graph misbehaves"]).await
    };
    let ((), said) = tokio::join!(delete(&site, &process, first), operator);
    assert!(said.starts_with("paused: nothing is sent to Graph for any tenant"), "{said}");
    tokio::time::sleep(NOTICED).await;
    let sent = site.graph.deletes().await.len();
    assert!((4..20).contains(&sent), "{sent} were sent before the pause");

    delete(&site, &process, rest).await;
    tokio::time::sleep(NOTICED).await;
    assert_eq!(site.graph.deletes().await.len(), sent, "something was sent while it was paused");
    let ready = process.readiness().await;
    assert!(ready.starts_with("ready\n"), "{ready}");
    let shown =
        "paused: by an operator: nothing is sent for any tenant; `callgate resume` ends that\n";
    assert!(ready.ends_with(shown), "{ready}");
    let list = talk(&site, &["deletions", "list"]).await;
    assert!(list.contains("nothing is sent for any tenant: paused by "), "{list}");
    assert!(list.ends_with("; `callgate resume` ends that\n"), "{list}");
    let again = talk(&site, &["pause", "--reason", "again"]).await;
    assert!(again.starts_with("nothing was changed: nothing is sent for any tenant"), "{again}");
    assert!(again.ends_with(": Graph misbehaves; `callgate resume` ends that\n"), "{again}");
    let record = site.audited("the pause", |entry| entry["action"] == "pause").await;
    assert_eq!(record["parameters"], json!(["reason"]));
    assert_eq!(record["personal"]["reason"], "Graph misbehaves");
    let pauses = site.audit().iter().filter(|entry| entry["action"] == "pause").count();
    assert_eq!(pauses, 1);

    site.graph.heal().await;
    let said = talk(&site, &["resume"]).await;
    assert!(said.starts_with("resumed, and what is due is sent"), "{said}");
    site.graph.has_deletes(40).await;
    let mut deletes = site.graph.deletes().await;
    let mut all: Vec<_> = calls.iter().map(|call| call.graph_id.clone()).collect();
    deletes.sort();
    all.sort();
    assert_eq!(deletes, all);
    let resumed = async || (!process.readiness().await.contains("paused")).then_some(());
    until("it is resumed", resumed).await;
    let log = std::fs::read_to_string(&process.log).unwrap();
    for line in
        ["paused by ", ": Graph misbehaves; `callgate resume` ends that", "resumed. Until now"]
    {
        assert!(log.contains(line), "{line} in {log}");
    }
    let said = talk(&site, &["resume"]).await;
    assert_eq!(said, "nothing was changed: sending was not paused for all tenants\n");
}

#[tokio::test]
async fn a_gateway_that_starts_paused_says_so_and_sends_nothing_that_was_left() {
    let site = Site::with("legacy.wait = \"1ms\"").await;
    let calls = calls(&site, 2).await;
    site.graph.fault(json!({"method": "DELETE", "status": 503})).await;
    let process = Process::start(&site, &[]).await;
    delete(&site, &process, &calls).await;
    site.graph.has_deletes(2).await;
    process.kill().await;
    let resumption = format!("`callgate resume --tenant {TENANT}`");
    let said = talk(&site, &["pause", "--tenant", TENANT]).await;
    assert!(said.contains(&format!("wait until {resumption}, or end")), "{said}");
    let before = site.graph.deletes().await.len();
    site.graph.heal().await;
    let process = Process::start(&site, &[]).await;
    let ready = process.readiness().await;
    assert!(
        ready.ends_with(
            "nothing is sent for some tenants; `callgate resume --tenant ID` ends that\n"
        ),
        "{ready}"
    );
    let log = std::fs::read_to_string(&process.log).unwrap();
    assert!(log.contains(&format!("nothing is sent for tenant {TENANT}: paused by ")), "{log}");
    let check = talk(&site, &["check"]).await;
    assert!(check.contains(&format!("warning: nothing is sent for tenant {TENANT}: ")), "{check}");
    for text in [&log, &check] {
        assert!(text.contains(&format!("; {resumption} ends that")), "{text}");
    }
    // The backoff of both is over by then.
    tokio::time::sleep(NOTICED * 2).await;
    assert_eq!(site.graph.deletes().await.len(), before);
    let said = talk(&site, &["resume", "--tenant", TENANT]).await;
    assert!(said.starts_with("resumed"), "{said}");
    site.graph.has_deletes(before + 2).await;
}

#[tokio::test]
async fn while_one_of_two_switches_is_off_nobody_says_that_it_is_resumed() {
    let site = Site::with("legacy.wait = \"1ms\"").await;
    let calls = calls(&site, 1).await;
    let alone = talk(&site, &["pause"]).await;
    assert_eq!(alone.lines().count(), 1, "{alone}");
    let beside = talk(&site, &["pause", "--tenant", TENANT]).await;
    assert!(beside.ends_with("; `callgate resume` ends that\n"), "{beside}");
    let process = Process::start(&site, &[]).await;
    delete(&site, &process, &calls).await;
    let of_one = format!("`callgate resume --tenant {TENANT}` ends that\n");
    let ready = process.readiness().await;
    let both = "nothing is sent for any tenant; `callgate resume` ends that, and some tenants need \
                `callgate resume --tenant ID` as well\n";
    assert!(ready.ends_with(both), "{ready}");
    let said = talk(&site, &["resume"]).await;
    let lifted = "the pause of all tenants is lifted, but what is listed below still stands. ";
    assert!(said.starts_with(lifted) && said.ends_with(&of_one), "{said}");
    let logged = async || {
        let log = std::fs::read_to_string(&process.log).unwrap();
        log.contains("the pause of all tenants is lifted, and another one still").then_some(log)
    };
    let log = until("the log says so", logged).await;
    assert!(!log.contains("resumed. Until"), "{log}");
    assert!(site.graph.deletes().await.is_empty());

    talk(&site, &["pause"]).await;
    let said = talk(&site, &["resume", "--tenant", TENANT]).await;
    assert!(said.starts_with(&format!("the pause of tenant {TENANT} is lifted, but ")), "{said}");
    assert!(said.ends_with("; `callgate resume` ends that\n"), "{said}");
    assert!(site.graph.deletes().await.is_empty());
    let said = talk(&site, &["resume"]).await;
    assert!(said.starts_with("resumed, and what is due is sent"), "{said}");
    site.graph.has_deletes(1).await;
}

#[tokio::test]
async fn a_client_that_wants_errors_gets_one_and_nothing_is_ever_sent_for_it() {
    let gateway = Gateway::with("legacy.on_pending = \"error\"\nlegacy.wait = \"50ms\"").await;
    let call = gateway.call("8856").await;
    gateway.run(&["pause"]).await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    assert_eq!(answer.code(), 2);
    assert!(answer.body.contains("deletion was withdrawn"), "{}", answer.body);
    gateway.run(&["resume"]).await;
    tokio::time::sleep(NOTICED).await;
    assert!(gateway.graph.deletes().await.is_empty());
}

#[tokio::test]
async fn an_ambiguous_request_asks_graph_nothing_before_the_resumption() {
    let gateway = Gateway::start().await;
    gateway.calls(&[call("8856", json!({})), call("8856", json!({}))]).await;
    gateway.run(&["pause"]).await;
    let ambiguous = gateway.delete("extension=8856&status=ongoing&detail=1").await;
    assert_eq!(ambiguous.word(), "ambiguous", "{}", ambiguous.body);
    tokio::time::sleep(NOTICED * 2).await;
    let requests = gateway.graph.requests().await;
    assert!(requests.is_empty(), "not even a login: {requests:?}");
    gateway.run(&["resume"]).await;
    let asked = async || {
        let requests = gateway.graph.requests().await;
        let gets = requests.iter().filter(|request| request["method"] == "GET").count();
        (gets == 2).then_some(())
    };
    until("Graph is asked about both", asked).await;
}

#[tokio::test]
async fn a_deadline_that_passes_while_it_is_paused_ends_the_deletion() {
    let gateway = Gateway::with("legacy.wait = \"1ms\"").await;
    let call = gateway.call("8856").await;
    gateway.run(&["pause"]).await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    assert_eq!((answer.code(), answer.word()), (0, "accepted"));
    gateway.clock.advance(Duration::from_hours(25));
    gateway.settles(answer.element("DeletionID"), "obsolete").await;
    gateway.run(&["resume"]).await;
    tokio::time::sleep(NOTICED).await;
    assert!(gateway.graph.deletes().await.is_empty());
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let site = Site::new().await;
    let long = "a".repeat(257);
    let wrong: [(&[&str], i32); 6] = [
        (&["pause", "--tenant", "nobody.example"], 65),
        (&["resume", "--tenant", "nobody.example"], 65),
        (&["pause", "--tenant", "no tenant"], 64),
        (&["pause", "--reason", " "], 64),
        (&["pause", "--reason", "two\nlines"], 64),
        (&["pause", "--reason", &long], 64),
    ];
    let records = site.audit().len();
    for (arguments, code) in wrong {
        let output = site.command(arguments).output().await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
    assert_eq!(site.value::<i64>("SELECT count(*) FROM paused"), 0);
    assert_eq!(site.audit().len(), records);
}
