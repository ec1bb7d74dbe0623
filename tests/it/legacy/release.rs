//! `ReleaseToken`: whoever logs out is out.

use super::formats::golden;
use super::login::{LOGIN, PASSWORD, basic, request, site};
use crate::support::{Answer, Gateway, Key, until};

const NO_CALL: &str = "callID=57dab8b1-894c-409a-b240-bd8beae78896";

async fn token(gateway: &Gateway, key: &Key) -> String {
    let answer = request(gateway, key, &[&basic(format!("{LOGIN}:{PASSWORD}"))], "").await;
    assert_eq!(answer.code(), 0);
    answer.attribute("token").to_owned()
}

async fn release(gateway: &Gateway, key: &Key, rest: &str) -> Answer {
    gateway.get(&key.ask("ReleaseToken", &format!("detail=1&{rest}"))).await
}

#[tokio::test]
async fn a_token_that_was_released_ends_at_once_and_no_other_does() {
    let (site, key) = site().await;
    let other = site.key(&["--requires-token"]).await;
    let gateway = Gateway::serve(site).await;
    let (mine, second) = (token(&gateway, &key).await, token(&gateway, &key).await);
    let foreign = token(&gateway, &other).await;
    let code = async |key: &Key, token: &str| {
        gateway.get(&key.query(&format!("{NO_CALL}&token={token}"))).await.code()
    };
    assert_eq!(code(&key, &mine).await, 2);
    for (rest, expected, word) in [
        (String::new(), -42, "token_needed"),
        ("token=".to_owned(), -42, "token_needed"),
        ("token=x".to_owned(), -43, "token_expired"),
        (format!("token={foreign}"), -43, "token_expired"),
        (format!("token={mine}&token={second}"), -43, "token_expired"),
    ] {
        let answer = release(&gateway, &key, &rest).await;
        assert_eq!((answer.code(), answer.word()), (expected, word), "{rest}");
    }
    assert_eq!(release(&gateway, &key, &format!("token={mine}")).await.code(), 0);
    assert_eq!(code(&key, &mine).await, -43);
    assert_eq!(release(&gateway, &key, &format!("token={mine}")).await.code(), -43);
    assert_eq!((code(&key, &second).await, code(&other, &foreign).await), (2, 2));

    gateway.change("UPDATE sessions SET expires_at = 1 WHERE released_at IS NULL");
    let expired = async || {
        let answer = release(&gateway, &key, &format!("token={second}")).await;
        (answer.code() == -43).then_some(())
    };
    until("a token that has expired cannot be released", expired).await;
}

#[tokio::test]
async fn a_key_that_needs_no_token_can_release_its_own_with_the_right_to_it() {
    let (site, _) = site().await;
    let free = site.key(&["--right", "RequestToken", "--right", "ReleaseToken"]).await;
    let bound = site.key(&["--right", "RequestToken"]).await;
    let gateway = Gateway::serve(site).await;
    let made = token(&gateway, &free).await;
    assert_eq!(release(&gateway, &free, "").await.code(), -42);
    let bearer = format!(
        "POST /verba/api?{} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {made}\r\n\r\n",
        free.ask("releasetoken", "")
    );
    assert_eq!(gateway.ask(bearer).await.code(), 0);
    let made = token(&gateway, &bound).await;
    let answer = release(&gateway, &bound, &format!("token={made}")).await;
    let text = "This API key does not permit ReleaseToken.";
    assert_eq!((answer.code(), answer.element("ErrorMessage")), (2, text));
}

#[tokio::test]
async fn a_release_that_comes_too_late_is_told_and_recorded_why() {
    let (site, key) = site().await;
    let gateway = Gateway::serve(site).await;
    for (change, expected, cause) in [
        ("UPDATE sessions SET released_at = 5", -43, "released"),
        ("UPDATE users SET disabled_at = 5", -43, "disabled"),
        ("UPDATE keys SET expires_at = 5", -41, "expired"),
    ] {
        let token = token(&gateway, &key).await;
        // From now on the session is remembered.
        assert_eq!(gateway.get(&key.query(&format!("{NO_CALL}&token={token}"))).await.code(), 2);
        gateway.change(change);
        let answer = release(&gateway, &key, &format!("token={token}")).await;
        assert_eq!(answer.code(), expected, "{cause}");
        let is_it = |entry: &serde_json::Value| {
            entry["action"] == "ReleaseToken" && entry["cause"] == cause
        };
        let entry = gateway.audited(cause, is_it).await;
        assert_eq!(
            (&entry["personal"]["user"], entry["session_id"].is_string()),
            (&LOGIN.into(), true)
        );
        gateway.change("UPDATE users SET disabled_at = NULL");
    }
}

#[tokio::test]
async fn a_release_reads_like_this() {
    let (site, key) = site().await;
    let gateway = Gateway::serve(site).await;
    golden("release_token", &[], async |style| {
        let token = token(&gateway, &key).await;
        gateway.get(&key.ask("ReleaseToken", &format!("token={token}&{style}"))).await
    })
    .await;
}
