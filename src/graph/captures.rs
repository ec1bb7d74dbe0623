//! Our requests beside those of the official clients, which were taken off the wire: method, path,
//! the headers that matter, and body. What was taken is in the folder of the same name, a file for each
//! client and way to reach Graph; what the login gets is in `login`.
//!
//! Both ways: whatever we send, an official client sends, and of what they were seen to send about calls,
//! we send all but [`NOT_OURS`]. A client that takes any answer says less in `accept` than we do, and one
//! that was told of another host than Graph's sends no `client-request-id`.
//!
//! No client writes the path `/applications/{appId}/calls` any more, nor did every one send every
//! operation on `/app/calls`: there, what it sends on v1.0 counts with the other prefix. So the form with
//! the app in the path is compared with requests that were rewritten, and not with any that was seen.
//!
//! Left out of what was taken: the JavaScript client over plain HTTP, because it sends the requests of its
//! other file without a token; and two files that are notes of how often a client asks again
//! (`msgraph-sdk-python-retries`, `msal-python-caching-and-throttling`) and hold no request.

mod login;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::responder::{CLIENT_ID, Responder, answer, config, grant, tenant};
use super::*;
use crate::clock::Timestamp;
use crate::id::{GraphCallId, canonical_guid};
use crate::model::participant::{ClientContext, Invitation};
use crate::model::plan::RejectReason;

const CALL: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
const PARTICIPANT: &str = "a7ebfb2d-871e-419c-87af-27290b22e8db";

/// What was taken of requests about calls.
const TAKEN: [&str; 7] = [
    "msgraph-sdk-python-graph-host-http1.txt",
    "msgraph-sdk-python-graph-host-http2.txt",
    "msgraph-sdk-python-localhost.txt",
    "msgraph-beta-sdk-python-app-calls.txt",
    "graph-client-js-localhost-https.txt",
    "graph-rs-sdk-localhost.txt",
    "end-to-end-sdk-and-credential.txt",
];
/// What they send and we do not, by the end of the path and the body: a call is not kept alive, nobody is
/// given our callback, a reason is always said, and there are three forms of the path.
const NOT_OURS: [(&str, &str); 4] = [
    ("/keepAlive", ""),
    ("/reject", r#"{"callbackUri": "https://bot.contoso.com/api/calls", "reason": "none"}"#),
    ("/reject", "{}"),
    ("/beta/communications/calls/57dab8b1-894c-409a-b240-bd8beae78896", ""),
];

/// Longer than anything here takes.
const LONG: Duration = Duration::from_mins(1);

/// A request, with the names of its headers in lower case.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Seen {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let headers: BTreeMap<_, _> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut words = head.split_whitespace();
        // Over HTTP/2 the first line is headers as well.
        let mut first = |name| match headers.get(name) {
            Some(is) => is.clone(),
            None => words.next().unwrap().to_owned(),
        };
        let (method, path) = (first(":method"), first(":path"));
        Self { method, path, headers, body: body.trim().to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn form(&self) -> BTreeMap<String, String> {
        serde_urlencoded::from_str(self.body.lines().next().unwrap()).unwrap()
    }

    fn query(&self) -> (&str, BTreeMap<String, String>) {
        let (path, query) = self.path.split_once('?').unwrap();
        (path, serde_urlencoded::from_str(query).unwrap())
    }

    fn json(&self) -> Option<Value> {
        (!self.body.is_empty()).then(|| serde_json::from_str(&self.body).unwrap())
    }
}

/// The requests in a captured file.
fn captured(name: &str) -> Vec<Seen> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/graph/captures");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let parts = text.split("\n# via: ").skip(1);
    let requests =
        parts.map(|part| part.split_once('\n').unwrap().1.split("\n----").next().unwrap());
    requests.map(Seen::read).collect()
}

fn taken(there: &Responder) -> Vec<Seen> {
    there.requests().iter().map(|text| Seen::read(&text.replace("\r\n", "\n"))).collect()
}

fn client(config: &GraphConfig) -> GraphClient {
    GraphClient::new(config, Clock::manual(Timestamp(1_795_319_012_914))).unwrap()
}

/// The one request with this method, path and body.
fn find<'a>(all: &'a [Seen], one: &Seen) -> Option<&'a Seen> {
    let what = |seen: &Seen| (seen.method.clone(), seen.path.clone(), seen.json());
    all.iter().find(|other| what(other) == what(one))
}

fn check_to_graph(ours: &Seen, theirs: &Seen) {
    for name in ["authorization", "content-type"] {
        assert_eq!(ours.header(name), theirs.header(name), "{name} of {}", ours.path);
    }
    assert_eq!(ours.header("accept"), Some("application/json"), "{}", ours.path);
    let accept = theirs.header("accept");
    assert!(matches!(accept, Some("application/json" | "*/*")), "{accept:?} for {}", ours.path);
    assert!(ours.header("client-request-id").is_some());
    for request in [ours, theirs] {
        if let Some(id) = request.header("client-request-id") {
            assert_eq!(canonical_guid(id).as_deref(), Some(id));
        }
        let length = request.header("content-length").map(|length| length.parse().unwrap());
        assert_eq!(length, Some(request.body.len()).filter(|length| *length > 0), "{request:?}");
        assert_eq!(request.header("transfer-encoding"), None);
    }
}

/// What an official client sends, or would send, where this tenant's calls are.
fn official(api: Api) -> Vec<Seen> {
    const V1: &str = "/v1.0/communications/calls/";
    const APP: &str = "/beta/app/calls/";
    let v1 = captured("msgraph-sdk-python-graph-host-http1.txt");
    let app = || captured("msgraph-beta-sdk-python-app-calls.txt");
    let applications = format!("/beta/applications/{CLIENT_ID}/calls/");
    match api {
        Api::V1 => v1,
        Api::BetaApp => [app(), moved(v1, V1, APP)].concat(),
        Api::BetaApplications => {
            [moved(app(), APP, &applications), moved(v1, V1, &applications)].concat()
        }
    }
}

/// The requests below one prefix, with another one.
fn moved(requests: Vec<Seen>, from: &str, to: &str) -> Vec<Seen> {
    let moved = requests.into_iter().filter_map(|request| {
        let rest = request.path.strip_prefix(from)?;
        Some(Seen { path: format!("{to}{rest}"), ..request })
    });
    moved.collect()
}

/// Every operation once, and what else an official client was seen to send.
async fn send_all(api: Api) -> Vec<Seen> {
    let mut reactions = vec![grant("FAKE.ACCESS.TOKEN", 3599)];
    reactions.extend((0..20).map(|_| answer("204 No Content", "", "")));
    let there = Responder::start(reactions);
    let mut config = config(&there.url, &there.url);
    config.tenant.as_mut().unwrap().api = api;
    let (client, tenant) = (client(&config), tenant());
    let call = GraphCallId(CALL.to_owned());
    let odd = GraphCallId("id with/odd?chars".to_owned());
    let invitation = Invitation {
        user_id: "278405a3-f568-4b3e-b684-009193463064".to_owned(),
        user_tenant: None,
        replaces: Some(PARTICIPANT.to_owned()),
        context: ClientContext::new("f2fa86af-3c51-4bc2-8fc0-475452d9764f"),
    };
    client.hang_up(&tenant, &call).await.result.unwrap();
    client.hang_up(&tenant, &odd).await.result.unwrap();
    client.remove_participant(&tenant, &call, PARTICIPANT).await.result.unwrap();
    client.reject(&tenant, &call, RejectReason::Busy, LONG).await.result.unwrap();
    if api != Api::V1 {
        client.reject(&tenant, &call, RejectReason::None, LONG).await.result.unwrap();
    }
    // Nothing that is answered here can be read; that it was asked is what counts.
    let _no_roster = client.roster(&tenant, &call).await;
    let _no_operation = client.invite(&tenant, &call, &invitation).await;
    let _no_call = client.read_call(&tenant, &call).await;
    taken(&there).split_off(1)
}

#[tokio::test]
async fn what_graph_gets_is_what_the_official_clients_send() {
    for (api, count) in [(Api::V1, 7), (Api::BetaApp, 8), (Api::BetaApplications, 8)] {
        let theirs = official(api);
        let ours = send_all(api).await;
        assert_eq!(ours.len(), count, "{api:?}");
        for ours in &ours {
            let theirs = find(&theirs, ours);
            let theirs = theirs.unwrap_or_else(|| panic!("no official client sends {ours:?}"));
            check_to_graph(ours, theirs);
        }
    }
}

#[tokio::test]
async fn what_the_official_clients_send_about_calls_we_send() {
    let ours = [send_all(Api::V1).await, send_all(Api::BetaApp).await].concat();
    for (file, count) in TAKEN.into_iter().zip([7, 7, 7, 4, 5, 4, 4]) {
        let mut compared = 0;
        let theirs = captured(file);
        for theirs in theirs.iter().filter(|request| request.path.contains("/calls/")) {
            let is_not_ours = NOT_OURS
                .iter()
                .any(|(end, body)| theirs.path.ends_with(end) && theirs.body == *body);
            let found = find(&ours, theirs);
            assert_eq!(found.is_none(), is_not_ours, "{file}: {theirs:?}");
            if let Some(ours) = found {
                check_to_graph(ours, theirs);
                compared += 1;
            }
        }
        assert_eq!(compared, count, "{file}");
    }
}
