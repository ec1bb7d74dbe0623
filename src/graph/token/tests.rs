//! Tokens against a login that answers what it is told to.

use std::sync::atomic::Ordering;

use super::*;
use crate::graph::error::GraphError;
use crate::graph::responder::{Reaction, Responder, answer, config, grant, tenant};
use crate::graph::{GraphClient, http_client};
use crate::id::GraphCallId;

const LIFETIME: u32 = 3600;

fn tokens(login: &Responder, clock: &Clock) -> Tokens {
    let config = config("http://graph.example", &login.url);
    Tokens::new(&config, http_client(&config, false).unwrap(), clock.clone()).unwrap()
}

fn clock() -> Clock {
    Clock::manual(Timestamp(1_790_000_000_000))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn get(tokens: &Tokens) -> Result<String, LoginError> {
    Ok(tokens.get(&tenant()).await?.text().to_owned())
}

#[tokio::test]
async fn all_who_wait_share_one_request_to_the_login() {
    let login = Responder::start([grant("one", LIFETIME), grant("two", LIFETIME)]);
    let tokens = tokens(&login, &clock());
    let (a, b, c) = tokio::join!(get(&tokens), get(&tokens), get(&tokens));
    assert_eq!([a, b, c].map(Result::unwrap), ["one", "one", "one"]);
    assert_eq!(login.requests().len(), 1);
}

#[tokio::test]
async fn all_who_wait_share_one_failure_and_a_second_later_one_of_them_tries_again() {
    let login = Responder::start([answer("500 Oops", "", ""), grant("one", LIFETIME)]);
    let clock = clock();
    let tokens = tokens(&login, &clock);
    let (a, b, c) = tokio::join!(get(&tokens), get(&tokens), get(&tokens));
    for result in [a, b, c] {
        assert!(matches!(result, Err(LoginError::Unavailable { status: 500, .. })));
    }
    assert_eq!(login.requests().len(), 1);
    clock.advance(PAUSE_WITHOUT_TOKEN);
    assert_eq!(get(&tokens).await.unwrap(), "one");
}

#[tokio::test]
async fn a_token_is_renewed_five_minutes_early_or_at_half_a_short_life() {
    for (lifetime, early) in [(LIFETIME, 300), (60, 30)] {
        let login = Responder::start([grant("one", lifetime), grant("two", LIFETIME)]);
        let clock = clock();
        let tokens = tokens(&login, &clock);
        assert_eq!(get(&tokens).await.unwrap(), "one");
        clock.advance(seconds(u64::from(lifetime) - early - 1));
        assert_eq!(get(&tokens).await.unwrap(), "one");
        clock.advance(seconds(1));
        assert_eq!(get(&tokens).await.unwrap(), "two");
    }
}

#[tokio::test]
async fn a_valid_token_is_used_on_while_the_login_fails_and_not_beyond_its_end() {
    let fails = || answer("503 Later", "", "");
    let login = Responder::start([grant("one", LIFETIME), fails(), fails(), fails()]);
    let clock = clock();
    let tokens = tokens(&login, &clock);
    get(&tokens).await.unwrap();
    clock.advance(seconds(3300));
    assert_eq!(get(&tokens).await.unwrap(), "one");
    clock.advance(seconds(29));
    assert_eq!(get(&tokens).await.unwrap(), "one");
    assert_eq!(login.requests().len(), 2, "no second try within the pause");
    clock.advance(seconds(1));
    assert_eq!(get(&tokens).await.unwrap(), "one");
    assert_eq!(login.requests().len(), 1);
    clock.advance(seconds(270));
    assert!(matches!(get(&tokens).await, Err(LoginError::Unavailable { status: 503, .. })));
    assert_eq!(login.requests().len(), 1);
}

#[tokio::test]
async fn nobody_waits_for_a_renewal_while_the_token_is_valid() {
    let login = Responder::start([grant("one", LIFETIME), Reaction::Silence]);
    let clock = clock();
    let tokens = tokens(&login, &clock);
    get(&tokens).await.unwrap();
    clock.advance(seconds(3300));
    let mut renewing = std::pin::pin!(get(&tokens));
    tokio::select! {
        biased;
        _ = &mut renewing => panic!("the login does not answer"),
        token = get(&tokens) => assert_eq!(token.unwrap(), "one"),
    }
    assert_eq!(renewing.await.unwrap(), "one");
}

#[tokio::test]
async fn a_login_that_asks_for_patience_gets_it_for_an_hour_at_most() {
    for (asked, kept) in [("7", 7), ("7200", 3600)] {
        let headers = format!("Retry-After: {asked}\r\n");
        let login = Responder::start([answer("429 Slow", &headers, ""), grant("one", LIFETIME)]);
        let clock = clock();
        let tokens = tokens(&login, &clock);
        let wait = Some(seconds(kept));
        for advance in [0, kept - 1] {
            clock.advance(seconds(advance));
            let result = get(&tokens).await;
            assert!(
                matches!(result, Err(LoginError::Unavailable { retry_after, .. }) if retry_after == wait),
                "{result:?}"
            );
        }
        clock.advance(seconds(1));
        assert_eq!(get(&tokens).await.unwrap(), "one");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_prolong_a_pause() {
    let login =
        Responder::start([answer("429 Slow", "Retry-After: 60\r\n", ""), grant("one", LIFETIME)]);
    let clock = clock();
    let tokens = tokens(&login, &clock);
    get(&tokens).await.unwrap_err();
    let Clock::Manual(hand) = &clock else { unreachable!() };
    hand.fetch_sub(86_400_000, Ordering::SeqCst);
    assert_eq!(get(&tokens).await.unwrap(), "one");
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once_for_all_who_sent_it() {
    let login = Responder::start([grant("one", LIFETIME), grant("two", LIFETIME)]);
    let tokens = tokens(&login, &clock());
    let tenant = tenant();
    let one = tokens.get(&tenant).await.unwrap();
    let replace = || tokens.replace(&tenant, &one, None);
    let (a, b) = tokio::join!(replace(), replace());
    assert_eq!([a, b].map(|token| token.unwrap().text().to_owned()), ["two", "two"]);
    assert_eq!(login.requests().len(), 2);
}

#[tokio::test]
async fn a_rejected_token_is_not_used_on_when_no_other_can_be_had() {
    let login = Responder::start([grant("one", LIFETIME), answer("500 Oops", "", "")]);
    let tokens = tokens(&login, &clock());
    let one = tokens.get(&tenant()).await.unwrap();
    let result = tokens.replace(&tenant(), &one, None).await;
    assert!(matches!(result, Err(LoginError::Unavailable { .. })), "{result:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_grant_is_no_token() {
    for body in [
        "<html>",
        r#"{"access_token":"a\nb","expires_in":60}"#,
        r#"{"access_token":"a b","expires_in":60}"#,
        r#"{"access_token":"ä","expires_in":60}"#,
    ] {
        let login = Responder::start([answer("200 OK", "", body)]);
        let result = get(&tokens(&login, &clock())).await;
        assert!(matches!(result, Err(LoginError::Unreadable { status: 200 })), "{result:?}");
    }
}

#[tokio::test]
async fn neither_token_nor_secret_is_printed() {
    let login = Responder::start([grant("t0k3n", LIFETIME)]);
    let tokens = tokens(&login, &clock());
    get(&tokens).await.unwrap();
    let printed = format!("{tokens:?}");
    assert!(printed.contains("renew_at"), "{printed}");
    assert!(!printed.contains("t0k3n") && !printed.contains("s~cr&t"), "{printed}");
}

#[tokio::test]
async fn who_waits_for_a_login_of_others_gives_up_in_time() {
    let mut config = config("http://graph.example", "http://login.example");
    config.request_timeout = Duration::from_millis(20);
    let http = http_client(&config, false).unwrap();
    let client = GraphClient::with(http, &config, clock()).unwrap();
    let _asking = client.tokens.refreshing.lock().await;
    let answer = client.hang_up(&tenant(), &GraphCallId("x".to_owned())).await;
    assert!(matches!(answer.result, Err(GraphError::Login(LoginError::TimedOut))), "{answer:?}");
}
