//! The bot that owned the callback before, in front of the gateway and behind it.

use serde_json::json;
use uuid::Uuid;

use super::{knows, ringing};
use crate::support::{Bot, Gateway, until};

const REDIRECT: &str = "HTTP/1.1 302 Found\r\nLocation: https://region.example/api/calls\r\n\
                        Scenario-Id: bots-own\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n";
const JOIN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 53\r\n\r\n\
                    {\"@odata.type\":\"#microsoft.graph.acceptJoinResponse\"}";

const CODED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                     Content-Encoding: x-own\r\nContent-Length: 2\r\n\r\n{}";

/// A gateway that passes notifications on to `bot`.
async fn in_front_of(bot: &Bot, lines: &str) -> Gateway {
    let url = format!("http://{}/bot/calls?region=emea", bot.address);
    Gateway::announced(&format!("notifications.forward_url = \"{url}\"\n{lines}")).await
}

#[tokio::test]
async fn the_bot_gets_what_graph_sent_and_graph_gets_what_the_bot_answers() {
    for (answer, status) in [(JOIN, 200), (REDIRECT, 302)] {
        let bot = Bot::start(Some(answer)).await;
        let gateway = in_front_of(&bot, "").await;
        let id = Uuid::new_v4().to_string();
        gateway.graph.make(&ringing(&id, "8856")).await;
        let received = bot.receives(1).await.remove(0);
        // It was committed before the bot was asked.
        assert_eq!(gateway.value::<i64>("SELECT count(*) FROM calls"), 1);
        assert!(
            received.head.starts_with("POST /bot/calls?region=emea HTTP/1.1\n"),
            "{received:?}"
        );
        assert!(received.header("authorization").is_some_and(|value| value.starts_with("Bearer ")));
        assert_eq!(received.header("content-type"), Some("application/json"));
        assert_eq!(received.header("host"), Some(bot.address.to_string().as_str()));
        let body: serde_json::Value = serde_json::from_str(&received.body).expect("JSON");
        assert_eq!(body["value"][0]["changeType"], "created");

        // The same request by hand shows the answer.
        let proof = received.header("authorization").expect("it was looked at");
        let mine = gateway.notify(&[("Authorization", proof)], &received.body).await;
        assert_eq!(mine.status, status);
        let body = answer.split_once("\r\n\r\n").expect("a head and a body").1;
        assert_eq!(mine.body, body);
        let scenario = (status == 302).then_some("bots-own");
        assert_eq!(mine.header("scenario-id"), scenario);
        assert_eq!(mine.header("location").is_some(), status == 302);
        assert_eq!(mine.header("set-cookie"), None);
        let content_type = (status == 200).then_some("application/json");
        assert_eq!(mine.header("content-type"), content_type);
    }
}

#[tokio::test]
async fn the_bot_is_not_asked_for_an_encoding_and_graph_is_told_of_one() {
    let bot = Bot::start(Some(CODED)).await;
    let gateway = in_front_of(&bot, "").await;
    gateway.graph.make(&ringing(&Uuid::new_v4().to_string(), "8856")).await;
    let received = bot.receives(1).await.remove(0);
    let proof = received.header("authorization").expect("Graph proves itself");
    let headers = [("Authorization", proof), ("Accept-Encoding", "gzip, br")];
    let answer = gateway.notify(&headers, &received.body).await;
    assert_eq!(bot.receives(2).await[1].header("accept-encoding"), None);
    assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("x-own")));
}

#[tokio::test]
async fn a_bot_that_is_down_or_hangs_costs_a_502_after_the_commit_and_nothing_else() {
    let hanging = Bot::start(None).await;
    let down = Bot::start(None).await.address;
    for address in [hanging.address, down] {
        let url = format!("http://{address}/");
        let gateway = Gateway::announced(&format!(
            "notifications.forward_url = \"{url}\"\nnotifications.forward_timeout = \"200ms\""
        ))
        .await;
        let id = Uuid::new_v4().to_string();
        gateway.graph.make(&ringing(&id, "8856")).await;
        knows(&gateway, &id, "incoming").await;
        let probe = async || {
            let readiness = gateway.readiness().await;
            readiness.contains("degraded: notifications.forward: ").then_some(readiness)
        };
        let readiness = until("the bot's silence shows", probe).await;
        assert!(readiness.starts_with("ready\n"), "{readiness}");
        let answer = gateway.delete("extension=8856&status=ongoing").await;
        assert_eq!(answer.code(), 0);
    }
}

#[tokio::test]
async fn a_bot_that_keeps_its_callback_posts_copies_with_a_key_that_may_notify() {
    let bot = Bot::start(Some(JOIN)).await;
    let gateway = in_front_of(&bot, "").await;
    let notify = gateway.new_key(&["--right", "Notify"]).await;
    let id = Uuid::new_v4().to_string();
    let copy = json!({"value": [{
        "changeType": "created",
        "resourceUrl": format!("/communications/calls/{id}"),
        "resourceData": {"state": "incoming", "targets": [{"identity": {"phone": {"id": "8856"}}}]},
    }]})
    .to_string();
    let refused = gateway.notify(&[("X-Api-Key", gateway.key.secret.as_str())], &copy).await;
    assert_eq!((refused.status, gateway.value("SELECT count(*) FROM calls")), (401, 0));
    let unknown = gateway.notify(&[("X-Api-Key", &Uuid::new_v4().to_string())], &copy).await;
    assert_eq!((unknown.status, gateway.value("SELECT count(*) FROM calls")), (401, 0));
    let braces = format!("{{{}}}", notify.secret.to_uppercase());
    let message = [
        ("X-Api-Key", braces.as_str()),
        ("X-Microsoft-Skype-Message-ID", "m-1"),
        ("Scenario-Id", "s-1"),
    ];
    let taken = gateway.notify(&message, &copy).await;
    assert_eq!((taken.status, taken.body.as_str()), (202, ""));
    assert_eq!(taken.header("client-request-id"), Some("m-1"));
    assert_eq!(taken.header("scenario-id"), Some("s-1"));
    knows(&gateway, &id, "incoming").await;
    // The bot has it already.
    assert!(bot.received().is_empty());
    assert_eq!(gateway.delete("extension=8856&status=ongoing&dryRun=1").await.word(), "would_send");
}
