//! Graph as the gateway under test sees it: the real simulator, and its control API.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use callgate::Simulator;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::until;

/// A simulator of its own for one test.
#[derive(Debug)]
pub(crate) struct Graph {
    simulator: Simulator,
    client: Client,
}

impl Graph {
    pub(crate) async fn start() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let simulator = Simulator::start(any).await.expect("a port is free");
        let client = Client::builder().timeout(Duration::from_secs(20)).no_proxy().build();
        Self { simulator, client: client.expect("a client without options can be built") }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        self.simulator.url()
    }

    /// Makes a call as `POST /sim/calls` takes it.
    pub(crate) async fn make(&self, call: &Value) {
        self.control(Method::POST, "/sim/calls", call).await;
    }

    /// Sets where notifications go, as `POST /sim/callback` takes it.
    pub(crate) async fn callback(&self, callback: &Value) {
        self.control(Method::POST, "/sim/callback", callback).await;
    }

    /// Says what is right for an app, a tenant or the machine, as `POST /sim/apps`, `/sim/tenants` or
    /// `/sim/identity` takes it.
    pub(crate) async fn say(&self, of: &str, what: &Value) {
        self.control(Method::POST, &format!("/sim/{of}"), what).await;
    }

    /// Moves a call on: `answer`, `end` or `participants`, with what that takes.
    pub(crate) async fn move_on(&self, id: &str, how: &str, body: &Value) {
        self.control(Method::POST, &format!("/sim/calls/{id}/{how}"), body).await;
    }

    /// Signs with another key from now on.
    pub(crate) async fn rotate_key(&self) {
        self.control(Method::POST, "/sim/keys/rotate", &json!({})).await;
    }

    /// Sets a fault as `POST /sim/faults` takes it.
    pub(crate) async fn fault(&self, fault: Value) {
        self.control(Method::POST, "/sim/faults", &fault).await;
    }

    /// Removes every fault.
    pub(crate) async fn heal(&self) {
        self.control(Method::DELETE, "/sim/faults", &Value::Null).await;
    }

    /// Ends a call as its other side would, and tells nobody.
    pub(crate) async fn end(&self, id: &str) {
        self.control(Method::POST, &format!("/sim/calls/{id}/end"), &json!({})).await;
    }

    /// The state of a call.
    pub(crate) async fn state(&self, id: &str) -> String {
        let call = self.control(Method::GET, &format!("/sim/calls/{id}"), &json!({})).await;
        call["state"].as_str().expect("a call has a state").to_owned()
    }

    /// Everything that Graph and the login were asked, but for the keys of notifications, which every
    /// gateway fetches when it starts.
    pub(crate) async fn requests(&self) -> Vec<Value> {
        let requests = self.control(Method::GET, "/sim/requests", &json!({})).await;
        let mut requests = requests.as_array().expect("a list").clone();
        requests.retain(|request| {
            let path = request["path"].as_str().expect("a request has a path");
            !matches!(path, "/v1/.well-known/OpenIdConfiguration" | "/v1/keys")
        });
        requests
    }

    /// The ids of the calls that were to be hung up, in the order the requests came.
    pub(crate) async fn deletes(&self) -> Vec<String> {
        let ours = |request: &Value| {
            let path = request["path"].as_str()?;
            let id = path.strip_prefix("/v1.0/communications/calls/")?;
            (request["method"] == "DELETE").then(|| id.to_owned())
        };
        self.requests().await.iter().filter_map(ours).collect()
    }

    /// Waits until Graph was asked `count` times to hang up.
    pub(crate) async fn has_deletes(&self, count: usize) {
        let probe = async || (self.deletes().await.len() >= count).then_some(());
        until(&format!("Graph receives {count} DELETE requests"), probe).await;
    }

    async fn control(&self, method: Method, path: &str, body: &Value) -> Value {
        let request = self.client.request(method, format!("{}{path}", self.url())).json(body);
        let answer = request.send().await.expect("the simulator runs");
        let status = answer.status();
        let body = answer.bytes().await.expect("the simulator answers");
        let text = String::from_utf8_lossy(&body);
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}
