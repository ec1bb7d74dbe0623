//! Who may ask: API keys, tokens, addresses, methods, rights.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Answer, Gateway, Key, Site, until};

const NO_CALL: &str = "callID=57dab8b1-894c-409a-b240-bd8beae78896";

/// Neither a key nor a token.
const NOBODY: &str = "57dab8b1-894c-409a-b240-bd8beae78896";

/// Asks for a call that does not exist: code 2 says that the caller was accepted.
async fn ask(gateway: &Gateway, key: &Key, rest: &str) -> Answer {
    gateway.get(&key.query(&format!("{NO_CALL}&detail=1{rest}"))).await
}

async fn with_header(gateway: &Gateway, query: &str, header: &str) -> Answer {
    let request = format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
    gateway.ask(request).await
}

#[tokio::test]
async fn a_key_is_accepted_in_every_spelling_and_every_other_key_gets_one_answer() {
    let gateway = Gateway::start().await;
    let key = gateway.key.secret.clone();
    let plain = key.replace('-', "");
    for spelling in [key.to_uppercase(), plain.clone(), plain.to_uppercase(), format!("{{{key}}}")]
    {
        let spelling = spelling.replace('{', "%7B").replace('}', "%7D");
        let query = format!("action=DeleteCall&apikey={spelling}&{NO_CALL}");
        assert_eq!(gateway.get(&query).await.code(), 2, "{query}");
    }
    let mut answers = Vec::new();
    for credential in [
        String::new(),
        "&apiKey=".to_owned(),
        "&apiKey=x".to_owned(),
        "&apiKey=57dab8b1-894c-409a-b240-bd8beae78896".to_owned(),
        "&apiKey=%".to_owned(),
        format!("&apiKey={}", &key[..35]),
        format!("&apiKey={key}&apiKey=57dab8b1-894c-409a-b240-bd8beae78896"),
        format!("&api_key={key}"),
        format!("&apiKey={key}&api.key=x"),
        format!("&apiKey={}", gateway.key.id),
    ] {
        let query = format!("action=DeleteCall&detail=1&{NO_CALL}{credential}");
        let answer = gateway.get(&query).await;
        assert_eq!((answer.code(), answer.word()), (-41, "bad_key"), "{credential}");
        answers.push(answer.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "one answer for all: {answers:?}");
}

#[tokio::test]
async fn a_header_brings_a_key_or_token_only_where_the_parameter_is_absent() {
    let site = Site::new().await;
    let guarded = site.key(&["--requires-token"]).await;
    let token = site.token(&guarded).await;
    let gateway = Gateway::serve(site).await;
    let key = &gateway.key.secret;
    let plain = format!("action=DeleteCall&{NO_CALL}");
    for (query, header, code) in [
        (plain.clone(), format!("X-Api-Key: {key}"), 2),
        (format!("{plain}&apiKey="), format!("x-api-key:  {} ", key.to_uppercase()), 2),
        (plain.clone(), format!("X-Api-Key: {key}\r\nx-api-key: {}", key.to_uppercase()), 2),
        (plain.clone(), format!("X-Api-Key: {key}\r\nX-Api-Key: {NOBODY}"), -41),
        (plain.clone(), format!("X-Api-Key: {NOBODY}\r\nX-Api-Key: {key}"), -41),
        (format!("{plain}&apiKey=x"), format!("X-Api-Key: {key}"), -41),
        (format!("{plain}&apiKey=%"), format!("X-Api-Key: {key}"), -41),
        (plain.clone(), format!("Authorization: Bearer {key}"), -41),
        (plain.clone(), format!("Cookie: apiKey={key}"), -41),
        (guarded.query(NO_CALL), format!("Authorization: Bearer {token}"), 2),
        (guarded.query(NO_CALL), format!("Authorization: bearer {}", token.to_uppercase()), 2),
        (
            guarded.query(NO_CALL),
            format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {NOBODY}"),
            -43,
        ),
        (guarded.query(NO_CALL), format!("Authorization: Basic {token}"), -42),
        (guarded.query(NO_CALL), format!("Cookie: token={token}"), -42),
        (
            guarded.query(&format!("{NO_CALL}&token=x")),
            format!("Authorization: Bearer {token}"),
            -43,
        ),
        (gateway.query(NO_CALL), "Authorization: Bearer nonsense".to_owned(), 2),
    ] {
        assert_eq!(with_header(&gateway, &query, &header).await.code(), code, "{query} {header}");
    }
}

#[tokio::test]
async fn a_token_counts_for_its_own_key_until_it_expires() {
    let site = Site::new().await;
    let guarded = site.key(&["--requires-token"]).await;
    let other = site.key(&["--requires-token"]).await;
    let (token, foreign) = (site.token(&guarded).await, site.token(&other).await);
    let gateway = Gateway::serve(site).await;
    let unknown = "57dab8b1-894c-409a-b240-bd8beae78896";
    for (rest, code, word) in [
        (String::new(), -42, "token_needed"),
        ("&token=".to_owned(), -42, "token_needed"),
        (format!("&token={unknown}"), -43, "token_expired"),
        ("&token=%".to_owned(), -43, "token_expired"),
        (format!("&token={foreign}"), -43, "token_expired"),
        (format!("&token={token}&token={foreign}"), -43, "token_expired"),
        (format!("&token={token}"), 2, "not_found"),
        (format!("&TOKEN={}", token.replace('-', "").to_uppercase()), 2, "not_found"),
    ] {
        let answer = ask(&gateway, &guarded, &rest).await;
        assert_eq!((answer.code(), answer.word()), (code, word), "{rest}");
    }
    // A key that needs none does not look at it, whatever it is.
    for rest in ["&token=%", "&token=x&token=y", &format!("&token={foreign}")] {
        assert_eq!(ask(&gateway, &gateway.key, rest).await.code(), 2, "{rest}");
    }

    gateway.change("UPDATE sessions SET expires_at = 1 WHERE session = 1");
    let rest = format!("&token={token}");
    let expired = async || (ask(&gateway, &guarded, &rest).await.code() == -43).then_some(());
    until("a token that has expired is refused", expired).await;
    let rest = format!("&token={foreign}");
    assert_eq!(ask(&gateway, &other, &rest).await.code(), 2);
    gateway.change("UPDATE sessions SET released_at = 1 WHERE session = 2");
    let released = async || (ask(&gateway, &other, &rest).await.code() == -43).then_some(());
    until("a token that was released is refused", released).await;
}

#[tokio::test]
async fn a_revoked_key_deletes_nothing_from_that_moment_and_is_unknown_within_a_second() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    let query = gateway.query(&format!("callID={}", call.id));
    assert_eq!(gateway.delete(NO_CALL).await.code(), 2);
    gateway.run(&["keys", "revoke", &gateway.key.id]).await;
    let began = Instant::now();
    // The first one may still find the key in memory: its admission looks into the database.
    assert_eq!(gateway.get(&query).await.code(), -41);
    let refused = async || (gateway.get("action=DeleteCall").await.code() == -41).then_some(());
    until("the key is unknown", refused).await;
    // A second, and another for a busy machine.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!((gateway.recorded(), gateway.graph.requests().await.len()), (0, 0));
}

#[tokio::test]
async fn a_token_that_was_released_by_hand_admits_nothing_from_that_moment() {
    let site = Site::new().await;
    let guarded = site.key(&["--requires-token"]).await;
    let token = site.token(&guarded).await;
    let gateway = Gateway::serve(site).await;
    let call = gateway.call("8856").await;
    let rest = format!("&token={token}");
    assert_eq!(ask(&gateway, &guarded, &rest).await.code(), 2);
    gateway.change("UPDATE sessions SET released_at = 1");
    let query = guarded.query(&format!("callID={}{rest}", call.id));
    assert_eq!(gateway.get(&query).await.code(), -43);
    assert!(gateway.graph.requests().await.is_empty());
}

#[tokio::test]
async fn a_key_ends_at_its_expiry() {
    let site = Site::new().await;
    let past = site.key(&["--expires", "2099-01-01T00:00:00Z"]).await;
    let future = site.key(&["--expires", "2099-01-01T00:00:00Z"]).await;
    site.change(&format!("UPDATE keys SET expires_at = 1 WHERE key_id = '{}'", past.id));
    let gateway = Gateway::serve(site).await;
    let answer = ask(&gateway, &past, "").await;
    assert_eq!((answer.code(), answer.word()), (-41, "bad_key"));
    assert_eq!(ask(&gateway, &future, "").await.code(), 2);
}

#[tokio::test]
async fn a_key_is_accepted_from_its_own_addresses_only() {
    let site = Site::new().await;
    let elsewhere = site.key(&["--allow", "192.0.2.0/24", "--allow", "2001:db8::/32"]).await;
    let here = site.key(&["--allow", "192.0.2.0/24", "--allow", "127.0.0.1"]).await;
    let gateway = Gateway::serve(site).await;
    let answer = ask(&gateway, &elsewhere, "").await;
    assert_eq!((answer.code(), answer.word()), (-41, "bad_key"));
    assert_eq!(ask(&gateway, &here, "").await.code(), 2);
    // Nobody may say from where he comes.
    let query = elsewhere.query(NO_CALL);
    for header in ["X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7", "X-Real-IP: 192.0.2.7"]
    {
        assert_eq!(with_header(&gateway, &query, header).await.code(), -41, "{header}");
    }
}

#[tokio::test]
async fn a_key_may_do_what_it_was_given_and_no_more() {
    let site = Site::new().await;
    let reader = site.key(&["--right", "GetCallID"]).await;
    let poster = site.key(&["--post-only"]).await;
    let gateway = Gateway::serve(site).await;
    let call = gateway.call("8856").await;

    let answer = ask(&gateway, &reader, "").await;
    let text = "This API key does not permit DeleteCall.";
    assert_eq!((answer.word(), answer.element("ErrorMessage")), ("not_permitted", text));

    let query = poster.query(&format!("callID={}&detail=1", call.id));
    let answer = gateway.get(&query).await;
    let text = "This API key does not permit GET.";
    assert_eq!((answer.word(), answer.element("ErrorMessage")), ("not_permitted", text));
    assert!(gateway.graph.requests().await.is_empty());
    assert_eq!(gateway.post("", &query).await.word(), "sent");
}

#[tokio::test]
async fn a_key_of_a_tenant_without_an_app_can_send_nothing() {
    let site = Site::new().await;
    let tenant = "0e9c1f7e-52b1-4c3c-9f1c-6d1d3b0d6d11";
    let foreign = site.key(&["--tenant", tenant]).await;
    let gateway = Gateway::serve(site).await;
    let made = crate::support::call("8856", serde_json::json!({"tenantID": tenant}));
    let call = gateway.calls(&[made]).await.remove(0);
    let answer = gateway.get(&foreign.query(&format!("callID={}&detail=1", call.id))).await;
    assert_eq!((answer.code(), answer.word()), (2, "not_permitted"));
    assert_eq!((gateway.recorded(), gateway.graph.requests().await.len()), (0, 0));
}

#[tokio::test]
async fn a_new_key_is_accepted_in_its_first_request_and_a_store_that_fails_calls_none_unknown() {
    let gateway = Gateway::start().await;
    // The command line is another process; nobody waits until the gateway may have noticed.
    let made = gateway.key(&[]).await;
    assert_eq!(ask(&gateway, &made, "").await.code(), 2);

    gateway.database().execute_batch("ALTER TABLE access_generation RENAME TO hidden").unwrap();
    let unknown = Key { secret: "57dab8b1-894c-409a-b240-bd8beae78896".to_owned(), ..made };
    // The look that found the new key may be some milliseconds old, and holds for ten.
    let fails = async || (ask(&gateway, &unknown, "").await.status == 503).then_some(());
    until("the store is asked again", fails).await;
    for _ in 0..3 {
        let answer = ask(&gateway, &unknown, "").await;
        assert_eq!((answer.status, answer.code(), answer.word()), (503, -1, "unavailable"));
    }
}
