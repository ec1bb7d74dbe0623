//! The simulator over real connections, as an official client would use it.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

mod control;
mod delivery;
mod login;
mod notifications;
mod participants;
mod proof;
mod receiver;
mod tenants;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use callgate::Simulator;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::until;

const ID: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
const CALL: &str = "/v1.0/communications/calls/57dab8b1-894c-409a-b240-bd8beae78896";
const TOKEN_PATH: &str = "/contoso.com/oauth2/v2.0/token";
const TOKEN_FORM: [(&str, &str); 4] = [
    ("grant_type", "client_credentials"),
    ("client_id", "2891555a-92ff-42e6-80fa-6e1300c6b5c6"),
    ("scope", "https://graph.microsoft.com/.default"),
    ("client_secret", "planted-secret"),
];

struct Graph {
    simulator: Simulator,
    client: Client,
}

impl Graph {
    async fn start() -> Self {
        let simulator = Simulator::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(30))
            .no_proxy()
            .build()
            .unwrap();
        Self { simulator, client }
    }

    /// One with a call under [`ID`].
    async fn with_a_call() -> Self {
        let graph = Self::start().await;
        graph.make(json!({"id": ID})).await;
        graph
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.simulator.url()))
    }

    /// A request of an app, with a token that the simulator did not issue.
    async fn app(&self, method: Method, path: &str) -> Response {
        self.request(method, path).bearer_auth("FAKE.ACCESS.TOKEN.0123456789").send().await.unwrap()
    }

    async fn control(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let answer = self.request(method, path).json(body).send().await.unwrap();
        let status = answer.status();
        let bytes = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn make(&self, mut call: Value) -> Value {
        call["source"] = json!("+4930123456");
        call["targets"] = json!(["278405a3-f568-4b3e-b684-009193463064"]);
        let (status, call) = self.control(Method::POST, "/sim/calls", &call).await;
        assert_eq!(status, StatusCode::CREATED, "{call}");
        call
    }

    async fn fault(&self, fault: Value) {
        let (status, echo) = self.control(Method::POST, "/sim/faults", &fault).await;
        assert_eq!((status, echo), (StatusCode::CREATED, fault));
    }

    /// Sets a callback, and gives what it is now.
    async fn callback(&self, callback: Value) -> Value {
        let (status, shown) = self.control(Method::POST, "/sim/callback", &callback).await;
        assert_eq!(status, StatusCode::OK, "{shown}");
        shown
    }

    /// Waits until no notification waits, and gives what was counted.
    async fn all_sent(&self) -> Value {
        let nothing_waits = async || {
            let (_, shown) = self.control(Method::GET, "/sim/callback", &json!({})).await;
            (shown["waiting"] == 0).then_some(shown)
        };
        until("every notification is sent", nothing_waits).await
    }

    async fn state(&self, id: &str) -> String {
        let (_, call) = self.control(Method::GET, &format!("/sim/calls/{id}"), &json!({})).await;
        call["state"].as_str().unwrap().to_owned()
    }

    async fn requests(&self) -> Vec<Value> {
        let (_, requests) = self.control(Method::GET, "/sim/requests", &json!({})).await;
        requests.as_array().unwrap().clone()
    }
}

/// Graph's error: status, code, message; and that its ids are the headers'.
async fn graph_error(answer: Response) -> (u16, String, String) {
    let status = answer.status().as_u16();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let (request_id, client_request_id) = (header("request-id"), header("client-request-id"));
    assert!(header("x-ms-ags-diagnostic").contains("DataCenter"));
    assert!(!header("date").is_empty());
    let body: Value = answer.json().await.unwrap();
    let inner = &body["error"]["innerError"];
    assert_eq!(inner["request-id"], request_id);
    assert_eq!(inner["client-request-id"], client_request_id);
    assert_eq!(inner["date"].as_str().unwrap().len(), "2020-09-17T11:34:41".len());
    let text = |member: &str| body["error"][member].as_str().unwrap().to_owned();
    (status, text("code"), text("message"))
}

async fn is_unknown(answer: Response) -> bool {
    graph_error(answer).await == (404, "8522".to_owned(), "Call not found.".to_owned())
}

#[tokio::test]
async fn a_call_is_hung_up_once_in_every_path_form() {
    let graph = Graph::start().await;
    for prefix in [
        "/v1.0/communications/calls",
        "/beta/communications/calls",
        "/beta/app/calls",
        "/beta/applications/2891555a-92ff-42e6-80fa-6e1300c6b5c6/calls",
        "/V1.0/Communications/CALLS",
    ] {
        let call = graph.make(json!({})).await;
        let id = call["id"].as_str().unwrap();
        let path = format!("{prefix}/{id}");

        assert_eq!(graph.app(Method::GET, &path).await.status(), StatusCode::OK, "{prefix}");
        let answer = graph.app(Method::DELETE, &path).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{prefix}");
        assert_eq!(answer.headers().get("content-length"), None);
        assert!(answer.headers().contains_key("request-id"));
        assert_eq!(answer.bytes().await.unwrap(), "");

        assert!(is_unknown(graph.app(Method::DELETE, &path).await).await, "{prefix}");
        assert!(is_unknown(graph.app(Method::GET, &path).await).await, "{prefix}");
        let (_, call) = graph.control(Method::GET, &format!("/sim/calls/{id}"), &json!({})).await;
        assert_eq!(call["state"], "terminated");
        assert_eq!(call["resultInfo"]["code"], 200);
        assert_eq!(call["resultInfo"]["subcode"], 7000);
    }
}

#[tokio::test]
async fn an_id_is_one_decoded_segment_and_its_case_matters() {
    let graph = Graph::start().await;
    graph.make(json!({"id": "id with/odd?chars"})).await;
    let path = |id| format!("/v1.0/communications/calls/{id}");

    let other_case = path("ID%20with%2Fodd%3Fchars");
    assert!(is_unknown(graph.app(Method::DELETE, &other_case).await).await);
    let answer = graph.app(Method::DELETE, &path("id%20with%2Fodd%3Fchars")).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(graph.state("id%20with%2Fodd%3Fchars").await, "terminated");
    assert_eq!(graph.requests().await[1]["path"], path("id%20with%2Fodd%3Fchars"));
}

#[tokio::test]
async fn a_call_is_read_with_explicit_nulls_and_odata_types() {
    let graph = Graph::start().await;
    graph.make(json!({"id": ID, "threadId": "19:meeting_x@thread.v2", "tenantId": "t"})).await;
    let answer = graph.app(Method::GET, CALL).await;
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/json"));
    let call: Value = answer.json().await.unwrap();

    assert_eq!(
        call["@odata.context"],
        "https://graph.microsoft.com/v1.0/$metadata#communications/calls/$entity"
    );
    assert_eq!(call["@odata.type"], "#microsoft.graph.call");
    assert_eq!((&call["id"], &call["state"]), (&json!(ID), &json!("established")));
    assert_eq!(call["chatInfo"]["threadId"], "19:meeting_x@thread.v2");
    let source = &call["source"]["identity"];
    assert_eq!(source["@odata.type"], "#microsoft.graph.communicationsIdentitySet");
    assert_eq!(source["phone"]["id"], "+4930123456");
    assert_eq!(source.get("user"), Some(&Value::Null));
    assert_eq!(call["targets"][0]["identity"]["user"]["displayName"], Value::Null);
    for member in ["subject", "resultInfo", "toneInfo", "incomingContext", "meetingInfo"] {
        assert_eq!(call.get(member), Some(&Value::Null), "{member}");
    }
}

#[tokio::test]
async fn misuse_is_answered_in_graphs_error_shape() {
    let graph = Graph::with_a_call().await;
    let body = graph.request(Method::DELETE, CALL).bearer_auth("any").body("{}").send().await;
    assert_eq!(graph_error(body.unwrap()).await.0, 400);

    let answer = graph.app(Method::POST, CALL).await;
    assert_eq!(answer.headers()["allow"], "DELETE, GET");
    assert_eq!(graph_error(answer).await.0, 405);

    let (status, code, message) = graph_error(graph.app(Method::GET, "/v1.0/users/x").await).await;
    assert_eq!((status, code.as_str()), (400, "BadRequest"));
    assert_eq!(message, "Resource not found for the segment 'users'.");

    let large = graph.request(Method::POST, CALL).bearer_auth("any").body("x".repeat(300_000));
    assert_eq!(large.send().await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(graph.state(ID).await, "established");
    assert_eq!(graph.requests().await.last().unwrap()["status"], 413);
}

#[tokio::test]
async fn a_client_request_id_is_echoed() {
    let graph = Graph::start().await;
    let request = graph.request(Method::DELETE, CALL).bearer_auth("any");
    let answer = request.header("client-request-id", "85b20903").send().await.unwrap();
    assert_eq!(answer.headers()["client-request-id"], "85b20903");
    assert!(is_unknown(answer).await);

    let answer = graph.app(Method::DELETE, CALL).await;
    assert_eq!(answer.headers()["client-request-id"], answer.headers()["request-id"]);
}

#[tokio::test]
async fn a_request_without_a_bearer_token_is_refused() {
    let graph = Graph::with_a_call().await;
    for credentials in ["", "Bearer", "Bearer  ", "Basic YTpi"] {
        let request = graph.request(Method::DELETE, CALL).header("authorization", credentials);
        let answer = request.send().await.unwrap();
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
        let (status, code, _) = graph_error(answer).await;
        assert_eq!((status, code.as_str()), (401, "InvalidAuthenticationToken"), "{credentials}");
    }
    assert_eq!(graph.state(ID).await, "established");
}

#[tokio::test]
async fn a_token_is_issued_and_opens_graph() {
    let graph = Graph::with_a_call().await;
    let answer = graph.request(Method::POST, TOKEN_PATH).form(&TOKEN_FORM).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let token: Value = answer.json().await.unwrap();
    assert_eq!(token["token_type"], "Bearer");
    assert_eq!((&token["expires_in"], &token["ext_expires_in"]), (&json!(3599), &json!(3599)));

    let token = token["access_token"].as_str().unwrap();
    let answer = graph.request(Method::DELETE, CALL).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_incomplete_token_request_gets_logins_error_shape() {
    let graph = Graph::start().await;
    let form = &TOKEN_FORM[..3];
    let answer = graph.request(Method::POST, TOKEN_PATH).form(form).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let error: Value = answer.json().await.unwrap();
    assert_eq!(error["error"], "invalid_client");
    assert_eq!(error["error_codes"], json!([7_000_218]));
    let description = error["error_description"].as_str().unwrap();
    assert!(description.starts_with("AADSTS7000218: "), "{description}");
    assert!(description.contains("\r\nTrace ID: "), "{description}");
    for member in ["timestamp", "trace_id", "correlation_id"] {
        assert!(error[member].is_string(), "{member}");
    }

    // A JSON body is no form, so nothing is in it.
    let answer = graph.request(Method::POST, TOKEN_PATH).json(&json!({"grant_type": "x"}));
    let error: Value = answer.send().await.unwrap().json().await.unwrap();
    assert_eq!(error["error_codes"], json!([900_144]));
    assert_eq!(graph.app(Method::GET, TOKEN_PATH).await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_openid_document_names_the_token_endpoint() {
    let graph = Graph::start().await;
    let path = "/contoso.com/v2.0/.well-known/openid-configuration";
    let document: Value =
        graph.request(Method::GET, path).send().await.unwrap().json().await.unwrap();
    let expected = format!("{}{TOKEN_PATH}", graph.simulator.url());
    assert_eq!(document["token_endpoint"], expected);
}

#[tokio::test]
async fn requests_are_kept_without_their_secrets() {
    let graph = Graph::start().await;
    graph.request(Method::POST, TOKEN_PATH).form(&TOKEN_FORM).send().await.unwrap();
    graph.app(Method::DELETE, &format!("{CALL}?x=1")).await;

    let requests = graph.requests().await;
    assert_eq!(requests.len(), 2, "the control API's own requests are not among them");
    let [login, delete] = [&requests[0], &requests[1]];
    assert_eq!((&login["method"], &login["path"]), (&json!("POST"), &json!(TOKEN_PATH)));
    assert!(login["body"].as_str().unwrap().contains("client_secret=(hidden)"), "{login}");
    assert_eq!(login["status"], 200);
    assert_eq!((&delete["path"], &delete["query"]), (&json!(CALL), &json!("x=1")));
    assert_eq!(delete["headers"]["authorization"], "Bearer FAKE.ACC...");
    assert_eq!((&delete["body"], &delete["status"]), (&Value::Null, &json!(404)));
    let everything = json!(requests).to_string();
    assert!(!everything.contains("planted-secret") && !everything.contains("0123456789"));

    graph.control(Method::DELETE, "/sim/requests", &Value::Null).await;
    assert!(graph.requests().await.is_empty());
}

#[tokio::test]
async fn stopping_frees_the_port_and_closes_connections() {
    let graph = Graph::start().await;
    let address = graph.simulator.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /sim/calls HTTP/1.1\r\nHost: graph\r\n\r\n").await.unwrap();
    assert_ne!(idle.read(&mut [0; 1024]).await.unwrap(), 0);

    graph.simulator.stop().await;
    assert_eq!(idle.read(&mut [0; 64]).await.unwrap(), 0);
    assert!(TcpStream::connect(address).await.is_err());
}
