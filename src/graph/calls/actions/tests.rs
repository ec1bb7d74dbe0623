//! What is sent, and what of the answers counts.

use crate::model::participant::ClientContext;
use serde_json::json;

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::config::graph::Api;
use crate::graph::error::LoginError;
use crate::graph::responder::{CLIENT_ID, Reaction, Responder, answer, config, grant, tenant};

const CALL: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
/// Longer than anything here takes.
const LONG: Duration = Duration::from_mins(1);

fn call() -> GraphCallId {
    GraphCallId(CALL.to_owned())
}

/// A Graph with these answers, after that of the login.
fn start(api: Api, reactions: Vec<Reaction>) -> (Responder, GraphClient) {
    let mut all = vec![grant("FAKE.ACCESS.TOKEN", 3599)];
    all.extend(reactions);
    let there = Responder::start(all);
    let mut config = config(&there.url, &there.url);
    config.tenant.as_mut().unwrap().api = api;
    let client = GraphClient::new(&config, Clock::manual(Timestamp(1_790_000_000_000))).unwrap();
    (there, client)
}

fn person(id: &str) -> Value {
    json!({"id": id, "info": {"identity": {"user": {"id": format!("user-{id}"), "displayName": "A"}}}})
}

fn page(people: &[&str], next: Option<&str>) -> Reaction {
    let people: Vec<_> = people.iter().map(|id| person(id)).collect();
    answer("200 OK", "", &json!({"value": people, "@odata.nextLink": next}).to_string())
}

fn lines(requests: &[String]) -> Vec<&str> {
    requests.iter().skip(1).filter_map(|request| request.lines().next()).collect()
}

#[tokio::test]
async fn each_path_form_has_every_operation() {
    let applications = format!("/beta/applications/{CLIENT_ID}/calls");
    for (api, calls) in [
        (Api::V1, "/v1.0/communications/calls"),
        (Api::BetaApp, "/beta/app/calls"),
        (Api::BetaApplications, applications.as_str()),
    ] {
        let no_content = || answer("204 No Content", "", "");
        let operation = answer("200 OK", "", r#"{"id":"o","status":"Running"}"#);
        let read = answer("200 OK", "", &json!({"id": CALL, "state": "established"}).to_string());
        let reactions = vec![no_content(), no_content(), no_content(), operation, read];
        let (there, client) = start(api, reactions);
        client.hang_up(&tenant(), &call()).await.result.unwrap();
        client.remove_participant(&tenant(), &call(), "p/1").await.result.unwrap();
        client.reject(&tenant(), &call(), RejectReason::None, LONG).await.result.unwrap();
        client.invite(&tenant(), &call(), &invitation()).await.result.unwrap();
        client.read_call(&tenant(), &call()).await.result.unwrap();
        let expected = [
            format!("DELETE {calls}/{CALL} HTTP/1.1"),
            format!("DELETE {calls}/{CALL}/participants/p%2F1 HTTP/1.1"),
            format!("POST {calls}/{CALL}/reject HTTP/1.1"),
            format!("POST {calls}/{CALL}/participants/invite HTTP/1.1"),
            format!("GET {calls}/{CALL} HTTP/1.1"),
        ];
        assert_eq!(lines(&there.requests()), expected);
    }
}

fn invitation() -> Invitation {
    Invitation { user_id: "u".to_owned(), user_tenant: None, replaces: None, context: None }
}

#[tokio::test]
async fn a_rejection_is_taken_with_any_success_and_says_why() {
    for (status, reason, word) in [
        ("202 Accepted", RejectReason::Busy, "busy"),
        ("200 OK", RejectReason::Forbidden, "forbidden"),
        ("204 No Content", RejectReason::None, "none"),
    ] {
        let (there, client) = start(Api::V1, vec![answer(status, "", "")]);
        client.reject(&tenant(), &call(), reason, LONG).await.result.unwrap();
        let request = there.requests().remove(1);
        assert!(request.ends_with(&format!("\r\n\r\n{{\"reason\":\"{word}\"}}")), "{request}");
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
    }
}

#[tokio::test]
async fn an_invitation_gives_the_operation_and_who_was_invited() {
    let body = json!({
        "@odata.type": "#microsoft.graph.inviteParticipantsOperation", "id": "o-1",
        "status": "Running", "participants": [{"participantId": "p-1", "identity": {}}],
    });
    let reactions = vec![answer("200 OK", "", &body.to_string()), answer("200 OK", "", "<html>")];
    let (there, client) = start(Api::V1, reactions);
    let invitation =
        Invitation { user_tenant: Some(TenantId::new("contoso.example")), ..invitation() };
    let invited = client.invite(&tenant(), &call(), &invitation).await.result.unwrap();
    assert_eq!(
        (invited.operation_id.as_str(), invited.participant_id.as_deref()),
        ("o-1", Some("p-1"))
    );
    let unreadable = client.invite(&tenant(), &call(), &invitation).await.result;
    assert!(matches!(unreadable, Err(GraphError::Unreadable { status: 200 })), "{unreadable:?}");
    let sent = there.requests().remove(1);
    let body: Value = serde_json::from_str(sent.split_once("\r\n\r\n").unwrap().1).unwrap();
    let user = json!({"id": "u", "identityProvider": "AAD", "tenantId": "contoso.example"});
    assert_eq!(body, json!({"participants": [{"identity": {"user": user}}]}));
}

#[test]
fn a_client_context_is_counted_in_characters() {
    assert!(ClientContext::new(&"\u{e4}".repeat(256)).is_some());
    assert!(ClientContext::new(&"a".repeat(257)).is_none());
}

#[tokio::test]
async fn a_roster_is_read_to_its_last_page() {
    let next = |url: &str, page: u8| {
        format!("{url}/v1.0/communications/calls/{CALL}/participants?$skiptoken={page}")
    };
    let (there, client) = paged(|url| {
        vec![
            page(&["a", "b"], Some(&next(url, 1))),
            page(&["b", "c"], Some(&next(url, 2))),
            page(&[], None),
        ]
    });
    let everybody = client.roster(&tenant(), &call()).await.result.unwrap();
    let ids: Vec<_> = everybody.iter().map(|one| one.participant_id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(everybody[0].user_id.as_deref(), Some("user-a"));
    let requests = there.requests();
    let path = format!("GET /v1.0/communications/calls/{CALL}/participants");
    let expected = [
        format!("{path} HTTP/1.1"),
        format!("{path}?$skiptoken=1 HTTP/1.1"),
        format!("{path}?$skiptoken=2 HTTP/1.1"),
    ];
    assert_eq!(lines(&requests), expected);
    assert!(requests[3].contains("authorization: Bearer FAKE.ACCESS.TOKEN"), "{}", requests[3]);
}

/// A Graph whose answers need its own address.
fn paged(reactions: impl FnOnce(&str) -> Vec<Reaction>) -> (Responder, GraphClient) {
    let there = Responder::start_with(|url| {
        let mut all = vec![grant("FAKE.ACCESS.TOKEN", 3599)];
        all.extend(reactions(url));
        all
    });
    let config = config(&there.url, &there.url);
    let client = GraphClient::new(&config, Clock::manual(Timestamp(1_790_000_000_000))).unwrap();
    (there, client)
}

#[tokio::test]
async fn a_page_elsewhere_is_not_asked_for() {
    let here = format!("/v1.0/communications/calls/{CALL}/participants?next");
    for next in [
        "https://evil.example/v1.0/communications/calls/x".to_owned(),
        here.clone(),
        "{url}/v1.0/users/x".to_owned(),
        "{url}/v1.0/communications/callsx/1".to_owned(),
        "{url}/v1.0/communications/calls/../../users".to_owned(),
        format!("http://u:p@{{host}}{here}"),
    ] {
        let (there, client) = paged(|url| {
            let host = url.strip_prefix("http://").unwrap();
            vec![page(&["a"], Some(&next.replace("{url}", url).replace("{host}", host)))]
        });
        let result = client.roster(&tenant(), &call()).await.result;
        assert!(matches!(result, Err(GraphError::ForeignPage)), "{next} {result:?}");
        assert_eq!(there.requests().len(), 2, "{next}");
    }
}

#[tokio::test]
async fn a_roster_without_end_is_none() {
    let (there, client) = paged(|url| {
        let next = format!("{url}/v1.0/communications/calls/{CALL}/participants?again");
        (0..60).map(|_| page(&["a"], Some(&next))).collect()
    });
    let result = client.roster(&tenant(), &call()).await.result;
    assert!(matches!(result, Err(GraphError::TooMany)), "{result:?}");
    assert_eq!(there.requests().len(), 1 + MOST_PAGES);
}

#[tokio::test]
async fn a_roster_with_somebody_unknown_is_none_and_who_was_removed_is_not_in_it() {
    let removed = json!({"id": "b", "removedState": {"reason": "x"}});
    for (people, expected) in [
        (json!([person("a"), removed]), Some(1)),
        (json!([]), Some(0)),
        (json!([person("a"), {"info": {}}]), None),
        (json!([person("a"), 7]), None),
        (json!("a"), None),
    ] {
        let body = json!({"value": people}).to_string();
        let (_there, client) = start(Api::V1, vec![answer("200 OK", "", &body)]);
        let result = client.roster(&tenant(), &call()).await.result;
        assert_eq!(result.ok().map(|people| people.len()), expected, "{body}");
    }
}

#[tokio::test]
async fn a_tenant_that_is_not_configured_gets_nobodys_token() {
    let (there, client) = start(Api::V1, Vec::new());
    let other = TenantId::new("other.example");
    let results = [
        client.reject(&other, &call(), RejectReason::None, LONG).await.result,
        client.remove_participant(&other, &call(), "p").await.result,
        client.invite(&other, &call(), &invitation()).await.result.map(drop),
        client.roster(&other, &call()).await.result.map(drop),
    ];
    for result in results {
        assert!(matches!(result, Err(GraphError::Login(LoginError::NotConfigured))), "{result:?}");
    }
    assert_eq!(there.requests().len(), 0);
}
