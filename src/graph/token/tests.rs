//! Tokens against a login that answers what it is told to.

use super::*;
use crate::config::error::SecretFileFault;
use crate::config::graph::{Credential, ManagedIdentity, TenantConfig};
use crate::graph::error::GraphError;
use crate::graph::responder::{Reaction, Responder, answer, config, grant, tenant};
use crate::graph::{GraphClient, direct_client, http_client};
use crate::id::GraphCallId;

const LIFETIME: u32 = 3600;

fn tokens(login: &Responder, clock: &Clock) -> Tokens {
    let config = config("http://graph.example", &login.url);
    tokens_of(config.tenant.as_ref().unwrap(), clock)
}

fn tokens_of(tenant: &TenantConfig, clock: &Clock) -> Tokens {
    let http = direct_client().unwrap();
    let app = App::new(tenant, http.clone(), http, seconds(1), clock.clone()).unwrap();
    Tokens::new(app, clock.clone())
}

fn clock() -> Clock {
    Clock::manual(Timestamp(1_790_000_000_000))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn get(tokens: &Tokens) -> Result<String, LoginError> {
    Ok(tokens.get().await?.text().to_owned())
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
async fn a_login_that_asks_for_patience_gets_it_and_all_are_told_what_is_left_of_it() {
    for asked in [7, 7200] {
        let headers = format!("Retry-After: {asked}\r\n");
        let login = Responder::start([answer("429 Slow", &headers, ""), grant("one", LIFETIME)]);
        let clock = clock();
        let tokens = tokens(&login, &clock);
        for (advance, left) in [(0, asked), (2, asked - 2), (asked - 3, 1)] {
            clock.advance(seconds(advance));
            let result = get(&tokens).await;
            let left = Some(seconds(left));
            assert!(
                matches!(result, Err(LoginError::Unavailable { retry_after, .. }) if retry_after == left),
                "{result:?}"
            );
        }
        assert_eq!(login.requests().len(), 1);
        clock.advance(seconds(1));
        assert_eq!(get(&tokens).await.unwrap(), "one");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_neither_shortens_nor_prolongs_a_pause() {
    let login =
        Responder::start([answer("429 Slow", "Retry-After: 60\r\n", ""), grant("one", LIFETIME)]);
    let clock = clock();
    let tokens = tokens(&login, &clock);
    get(&tokens).await.unwrap_err();
    for by in [-86_400_000, 2 * 86_400_000] {
        clock.set(by);
        get(&tokens).await.unwrap_err();
    }
    clock.advance(seconds(60));
    assert_eq!(get(&tokens).await.unwrap(), "one");
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once_for_all_who_sent_it() {
    let login = Responder::start([grant("one", LIFETIME), grant("two", LIFETIME)]);
    let tokens = tokens(&login, &clock());
    let one = tokens.get().await.unwrap();
    let replace = || tokens.replace(&one, None);
    let (a, b) = tokio::join!(replace(), replace());
    assert_eq!([a, b].map(|token| token.unwrap().text().to_owned()), ["two", "two"]);
    assert_eq!(login.requests().len(), 2);
}

#[tokio::test]
async fn a_rejected_token_is_not_used_on_when_no_other_can_be_had() {
    let login = Responder::start([grant("one", LIFETIME), answer("500 Oops", "", "")]);
    let tokens = tokens(&login, &clock());
    let one = tokens.get().await.unwrap();
    let result = tokens.replace(&one, None).await;
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
    let _asking = client.tenants[0].tokens.refreshing.lock().await;
    let answer = client.hang_up(&tenant(), &GraphCallId("x".to_owned())).await;
    assert!(matches!(answer.result, Err(GraphError::Login(LoginError::TimedOut))), "{answer:?}");
}

fn with_secrets(login: &Responder, secrets: &[&str]) -> TenantConfig {
    let tenant = TenantConfig::at("http://graph.example", tenant(), "app", "");
    let secrets = secrets.iter().map(|secret| Secret::new((*secret).to_owned())).collect();
    let login_url = login.url.clone();
    TenantConfig { credential: Credential::Secrets(secrets), login_url, ..tenant }
}

#[tokio::test]
async fn the_second_secret_is_tried_when_the_login_does_not_know_the_first() {
    let unknown = || answer("401 No", "", r#"{"error":"invalid_client","error_codes":[7000215]}"#);
    let login = Responder::start([unknown(), grant("one", LIFETIME)]);
    let tokens = tokens_of(&with_secrets(&login, &["new", "old"]), &clock());
    assert_eq!(get(&tokens).await.unwrap(), "one");
    let requests = login.requests();
    assert!(requests[0].contains("client_secret=new&"), "{}", requests[0]);
    assert!(requests[1].contains("client_secret=old&"), "{}", requests[1]);

    let login = Responder::start([unknown(), unknown(), grant("one", LIFETIME)]);
    let tokens = tokens_of(&with_secrets(&login, &["new", "old"]), &clock());
    assert!(matches!(get(&tokens).await, Err(LoginError::Refused { .. })));
    assert_eq!(login.requests().len(), 2);
}

#[tokio::test]
async fn the_second_secret_is_not_tried_for_what_is_not_the_firsts_fault() {
    for refusal in [
        answer("503 Later", "", ""),
        answer("400 No", "", r#"{"error":"unauthorized_client","error_codes":[700016]}"#),
        grant("one", LIFETIME),
    ] {
        let login = Responder::start([refusal, grant("two", LIFETIME)]);
        let tokens = tokens_of(&with_secrets(&login, &["new", "old"]), &clock());
        let _any = get(&tokens).await;
        assert_eq!(login.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_token_is_renewed_when_the_login_wishes_it_but_not_at_once_and_not_too_late() {
    for (wish, after) in [(1800, 1800), (1, 30), (3599, 3300)] {
        let body = format!(
            r#"{{"token_type":"Bearer","expires_in":3600,"refresh_in":{wish},"access_token":"one"}}"#
        );
        let login = Responder::start([answer("200 OK", "", &body), grant("two", LIFETIME)]);
        let clock = clock();
        let tokens = tokens(&login, &clock);
        assert_eq!(get(&tokens).await.unwrap(), "one");
        clock.advance(seconds(after - 1));
        assert_eq!(get(&tokens).await.unwrap(), "one", "{wish}");
        clock.advance(seconds(1));
        assert_eq!(get(&tokens).await.unwrap(), "two", "{wish}");
    }
}

#[tokio::test]
async fn a_federated_token_is_read_anew_for_each_login() {
    let login = Responder::start([grant("one", LIFETIME), grant("two", LIFETIME)]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let credential = Credential::Federated(file.path().to_owned());
    let tenant = TenantConfig { credential, ..with_secrets(&login, &[]) };
    let clock = clock();
    let tokens = tokens_of(&tenant, &clock);
    let failed = get(&tokens).await.unwrap_err();
    assert!(matches!(failed, LoginError::Assertion(SecretFileFault::NoToken)), "{failed:?}");
    assert!(
        failed.to_string().starts_with("the login was not asked: the file with the"),
        "{failed}"
    );
    for (assertion, token) in [("first", "one"), ("second", "two")] {
        std::fs::write(file.path(), assertion).unwrap();
        let rejected = Token {
            bearer: Secret::new(HeaderValue::from_static("Bearer x")),
            claims: None,
            number: u64::MAX,
            renew_at: Timestamp(0),
            expires_at: Timestamp(0),
        };
        clock.advance(PAUSE_WITHOUT_TOKEN);
        assert_eq!(tokens.replace(&rejected, None).await.unwrap().text(), token);
        let request = login.requests().remove(0);
        assert!(request.contains(&format!("client_assertion={assertion}&")), "{request}");
    }
}

#[tokio::test]
async fn a_machines_identity_that_is_not_there_yet_is_waited_for() {
    let token = r#"{"access_token":"one","expires_on":"1790003600","token_type":"Bearer"}"#;
    let login = Responder::start([
        answer("404 Not Found", "", ""),
        answer("410 Gone", "", "Retry-After: 7\r\n"),
        answer(
            "400 Bad",
            "",
            r#"{"error":"invalid_request","error_description":"Identity not found"}"#,
        ),
        answer("200 OK", "", token),
        grant("two", LIFETIME),
    ]);
    let credential = Credential::Managed(ManagedIdentity::Imds(login.url.clone()));
    let clock = clock();
    let tokens = tokens_of(&TenantConfig { credential, ..with_secrets(&login, &[]) }, &clock);
    for status in [404, 410] {
        let result = get(&tokens).await;
        assert!(matches!(result, Err(LoginError::Unavailable { status: is, .. }) if is == status));
        clock.advance(seconds(10));
    }
    let refused = get(&tokens).await.unwrap_err();
    let LoginError::Refused { hint, .. } = refused else { panic!("{refused:?}") };
    assert!(hint.contains("graph.managed_identity"), "{hint}");
    clock.advance(seconds(1));
    assert_eq!(get(&tokens).await.unwrap(), "one");
    clock.advance(seconds(3_300));
    assert_eq!(get(&tokens).await.unwrap(), "two");
}
