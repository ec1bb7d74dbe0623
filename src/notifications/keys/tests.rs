//! Loading, rotation and what is asked how often, over real connections.

use std::collections::BTreeMap;

use serde_json::json;
use tokio::task::JoinSet;

use super::fixture::{Host, PATIENT, Serves, Signer, config, ok, running};
use super::*;

fn set(keys: &[(&str, &Signer)]) -> Serves {
    let entries: Vec<_> = keys.iter().map(|(key_id, signer)| signer.entry(key_id)).collect();
    Serves::Keys(json!({ "keys": entries }))
}

fn one(key_id: &str) -> Serves {
    set(&[(key_id, Signer::one())])
}

#[track_caller]
fn check_health(health: &Health, expected: Option<&'static str>) {
    let expected = expected.map(|reason| (PART.into(), reason.into()));
    assert_eq!(health.report().degraded, BTreeMap::from_iter(expected));
}

/// Waits until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_key_is_waited_for_until_the_first_look() {
    let host = Host::start(one("a"));
    let (keys, health, _stop) = running(&[&host.url], PATIENT);
    assert!(keys.find("a").await.is_ok());
    assert_eq!(host.looks(), 1);
    check_health(&health, None);
}

#[tokio::test]
async fn before_the_first_look_nobody_waits_longer_than_patience_lasts() {
    let pace = Pace { patience: Duration::from_millis(20), ..PATIENT };
    let host = Host::start(Serves::Silence);
    let (keys, ..) = running(&[&host.url], pace.clone());
    assert_eq!(keys.find("a").await.unwrap_err(), KeyMissing::NotLoaded);
    // Nor where nobody loads any.
    let idle = KeySet::with(&config(&[&host.url]), Health::default(), pace).unwrap();
    assert_eq!(idle.find("a").await.unwrap_err(), KeyMissing::NotLoaded);
}

#[tokio::test]
async fn a_new_key_is_found_when_it_is_first_used() {
    let host = Host::start(one("a"));
    let (keys, _, _stop) = running(&[&host.url], PATIENT);
    keys.find("a").await.unwrap();
    host.serve(set(&[("b", Signer::other())]));
    let found = keys.find("b").await.unwrap();
    assert!(found.has_signed(b"message", &Signer::other().sign(b"message")));
    assert_eq!(host.looks(), 2);
    // The one that was taken away is gone.
    assert_eq!(keys.find("a").await.unwrap_err(), KeyMissing::Unknown);
}

#[tokio::test]
async fn unknown_keys_cause_one_look_in_their_interval_whoever_asks() {
    let host = Host::start(one("a"));
    let (keys, _, _stop) = running(&[&host.url], PATIENT);
    keys.find("a").await.unwrap();
    let mut callers = JoinSet::new();
    for number in 0..100 {
        let keys = keys.clone();
        callers.spawn(async move { keys.find(&format!("unknown-{number}")).await.unwrap_err() });
    }
    for missing in callers.join_all().await {
        assert_eq!(missing, KeyMissing::Unknown);
    }
    assert_eq!(keys.find("later").await.unwrap_err(), KeyMissing::Unknown);
    assert_eq!(host.looks(), 2);
}

#[tokio::test]
async fn after_the_interval_an_unknown_key_causes_another_look() {
    let host = Host::start(one("a"));
    let (keys, _, _stop) = running(&[&host.url], Pace { wish: Duration::ZERO, ..PATIENT });
    keys.find("a").await.unwrap();
    for looks in 2..5 {
        assert_eq!(keys.find("b").await.unwrap_err(), KeyMissing::Unknown);
        assert_eq!(host.looks(), looks);
    }
}

#[tokio::test]
async fn more_than_so_many_callers_do_not_wait_for_a_key() {
    let host = Host::start(one("a"));
    let (keys, _, _stop) = running(&[&host.url], PATIENT);
    keys.find("a").await.unwrap();
    let _places = keys.0.waiting.try_acquire_many(MOST_WAITING.try_into().unwrap()).unwrap();
    assert_eq!(keys.find("b").await.unwrap_err(), KeyMissing::Unknown);
    assert!(keys.find("a").await.is_ok());
    assert_eq!(host.looks(), 1);
}

#[tokio::test]
async fn one_document_that_fails_does_not_lose_the_keys_of_another() {
    let (good, bad) = (Host::start(one("a")), Host::start(Serves::Bytes(ok("<html>"))));
    let slow = Host::start(Serves::Silence);
    let (keys, health, _stop) = running(&[&bad.url, &slow.url, &good.url], PATIENT);
    assert!(keys.find("a").await.is_ok());
    until(|| !health.report().degraded.is_empty()).await;
    check_health(&health, Some("the keys of notifications cannot be refreshed"));
    assert!(keys.find("a").await.is_ok());
}

#[tokio::test]
async fn the_first_document_with_a_key_decides() {
    let (first, second) = (Host::start(one("a")), Host::start(set(&[("a", Signer::other())])));
    let (keys, _, _stop) = running(&[&first.url, &second.url], PATIENT);
    keys.0.answered(0, "none").await;
    let found = keys.find("a").await.unwrap();
    assert!(found.has_signed(b"message", &Signer::one().sign(b"message")));
}

#[tokio::test]
async fn a_document_is_read_again_by_itself_and_its_keys_stand_when_it_fails() {
    let often = Duration::from_millis(10);
    let pace = Pace { refresh: often, retry: often, longest_retry: often, ..PATIENT };
    let host = Host::start(one("a"));
    let (keys, health, _stop) = running(&[&host.url], pace);
    keys.find("a").await.unwrap();
    host.serve(Serves::Bytes("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned()));
    until(|| !health.report().degraded.is_empty()).await;
    check_health(&health, Some("the keys of notifications cannot be refreshed"));
    assert!(keys.find("a").await.is_ok());
    host.serve(set(&[("a", Signer::one()), ("b", Signer::other())]));
    until(|| health.report().degraded.is_empty()).await;
    assert!(keys.find("b").await.is_ok());
}

#[tokio::test]
async fn without_any_key_it_says_so() {
    let host = Host::start(Serves::Keys(json!({ "keys": [] })));
    let (keys, health, _stop) = running(&[&host.url], PATIENT);
    assert_eq!(keys.find("a").await.unwrap_err(), KeyMissing::NotLoaded);
    check_health(&health, Some("no key of notifications is known, so none can be proven"));
}

#[tokio::test]
async fn the_worker_ends_when_it_is_told_to_and_when_nobody_can_tell_it() {
    let host = Host::start(Serves::Silence);
    let keys = KeySet::with(&config(&[&host.url]), Health::default(), PATIENT).unwrap();
    let (stop, stopped) = watch::channel(false);
    stop.send_replace(true);
    keys.run(stopped.clone()).await;
    stop.send_replace(false);
    drop(stop);
    keys.run(stopped).await;
}

/// A log in memory.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_is_logged_when_something_changes_and_not_again() {
    let paper = Paper::default();
    let copy = paper.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
    let url = "http://127.0.0.1:9/openid?secret";
    let keys = KeySet::new(&config(&[url]), Health::default()).unwrap();
    tracing::subscriber::with_default(log.with_writer(move || copy.clone()).finish(), || {
        let good = || Keys::from([("a".to_owned(), Arc::new(Signer::one().public_key()))]);
        let outcomes = [Err(LoadFault::NoKeys), Ok(good()), Err(LoadFault::NoDocument), Ok(good())];
        for outcome in outcomes {
            keys.0.settle(0, outcome);
            let same = if keys.0.none_known() || lock(&keys.0.failing)[0] == Some(true) {
                Err(LoadFault::KeysUrl)
            } else {
                Ok(good())
            };
            keys.0.settle(0, same);
        }
    });
    let text = String::from_utf8(lock(&paper.0).clone()).unwrap();
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    assert_eq!(lines.len(), 4, "{text}");
    for (line, beginning) in lines.iter().zip([
        "ERROR the keys of notifications cannot be loaded, and without any no notification can be",
        "INFO the keys of notifications are loaded document=\"127.0.0.1\" count=1",
        "WARN the keys of notifications cannot be refreshed, and those that are known are used on",
        "INFO the keys of notifications are loaded document=\"127.0.0.1\" count=1",
    ]) {
        assert!(line.starts_with(beginning), "{text}");
    }
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn the_pause_after_failures_doubles_up_to_its_limit() {
    let url = "http://127.0.0.1:9/openid";
    let keys = KeySet::new(&config(&[url]), Health::default()).unwrap();
    let pauses = [1, 2, 3, 6, 7, 100, u32::MAX].map(|failures| keys.0.pause_after(failures));
    assert_eq!(pauses.map(|pause| pause.as_secs()), [10, 20, 40, 320, 600, 600, 600]);
}

/// What comes of loading from a host that serves this.
async fn fault_of(serves: Serves) -> String {
    fault_within(Duration::from_secs(30), serves).await
}

async fn fault_within(limit: Duration, serves: Serves) -> String {
    let host = Host::start(serves);
    let fetcher = Fetcher::new(&config(&[&host.url]), limit).unwrap();
    match fetcher.load(&host.url.parse().unwrap()).await {
        Ok(keys) => format!("{} keys", keys.len()),
        Err(fault) => fault.to_string(),
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_named() {
    let host = "the host of the OpenID document";
    assert_eq!(fault_of(one("a")).await, "1 keys");
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        Host::start(one("a")).url
    );
    for (bytes, expected) in [
        (redirect, format!("{host} answered with status 302 Found")),
        (
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            format!("{host} answered with status 204 No Content"),
        ),
        (ok(&" ".repeat(LONGEST + 1)), format!("{host} answered with more than 1 MiB")),
        (ok("<html>"), "what came is no OpenID document with the address of keys".to_owned()),
    ] {
        assert_eq!(fault_of(Serves::Bytes(bytes)).await, expected);
    }
    // One that never says where it ends is not read to its end.
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(4 * LONGEST));
    assert_eq!(
        fault_of(Serves::Bytes(endless)).await,
        format!("{host} answered with more than 1 MiB")
    );
    let torn = Serves::Bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned());
    for slow in [torn, Serves::Silence] {
        let fault = fault_within(Duration::from_millis(200), slow).await;
        assert_eq!(fault, format!("{host} did not answer in time"));
    }
    assert_eq!(fault_of(Serves::Keys(json!({}))).await, "no key that came can be used");
}

const LONGEST: usize = 1024 * 1024;

#[tokio::test]
async fn the_address_of_keys_is_held_to_the_rules_of_the_document() {
    let not_https = "the document's address of keys is not an https address";
    for url in ["http://a.example/keys", "ftp://127.0.0.1/", "keys", "https://a:b@a.example/"] {
        assert_eq!(fault_of(Serves::NamesKeysAt(url.to_owned())).await, not_https, "{url}");
    }
    let host = Host::start(one("a"));
    let config = NotificationsConfig { allow_other_host: false, ..config(&[&host.url]) };
    let fetcher = Fetcher::new(&config, Duration::from_secs(2)).unwrap();
    let fault = fetcher.load(&config.openid_urls[0]).await.unwrap_err();
    assert!(matches!(fault, LoadFault::KeysHost), "{fault}");
}

#[tokio::test]
async fn a_host_that_is_not_there_is_named_without_its_address() {
    let config = config(&["http://127.0.0.1:9/openid?secret"]);
    let fetcher = Fetcher::new(&config, Duration::from_secs(2)).unwrap();
    let fault = fetcher.load(&config.openid_urls[0]).await.unwrap_err().to_string();
    assert!(fault.starts_with("the host of the OpenID document could not be reached: "), "{fault}");
    assert!(!fault.contains("secret") && !fault.contains('\n'), "{fault}");
}
