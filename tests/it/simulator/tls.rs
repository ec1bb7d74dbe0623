//! https beside http on one port, and the documents by which Microsoft's libraries begin.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use callgate::Simulator;
use reqwest::{Certificate, Client, ClientBuilder, StatusCode, Version};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

async fn start() -> (Simulator, Client) {
    let simulator = Simulator::start_tls(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let client = client(&simulator).build().unwrap();
    (simulator, client)
}

/// One that trusts the simulator's authority, and no other.
fn client(simulator: &Simulator) -> ClientBuilder {
    let pem = std::fs::read(simulator.ca_file().expect("there is https")).unwrap();
    let authority = Certificate::from_pem(&pem).unwrap();
    Client::builder().timeout(Duration::from_secs(30)).no_proxy().tls_certs_only([authority])
}

fn call(port: u16) -> String {
    format!("https://localhost:{port}/v1.0/communications/calls/a")
}

async fn make(simulator: &Simulator, client: &Client) {
    let body = json!({"id": "a", "source": "8856", "targets": "8857"});
    let url = format!("{}/sim/calls", simulator.url());
    assert_eq!(client.post(url).json(&body).send().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_and_plain_http_still() {
    let (simulator, client_2) = start().await;
    assert!(simulator.url().starts_with("https://127.0.0.1:"), "{}", simulator.url());
    make(&simulator, &client_2).await;
    let url = call(simulator.address().port());
    let client_1 = client(&simulator).http1_only().build().unwrap();
    for (client, version) in [(&client_2, Version::HTTP_2), (&client_1, Version::HTTP_11)] {
        for _ in 0..2 {
            let answer = client.get(&url).bearer_auth("any").send().await.unwrap();
            assert_eq!((answer.status(), answer.version()), (StatusCode::OK, version));
        }
    }
    let plain = url.replace("https://", "http://");
    let answer = client_1.get(plain).bearer_auth("any").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_reset_leaves_a_request_without_an_answer_in_both_versions() {
    let (simulator, client_2) = start().await;
    make(&simulator, &client_2).await;
    let client_1 = client(&simulator).http1_only().build().unwrap();
    for client in [&client_1, &client_2] {
        let fault = json!({"reset": "before", "path": "/v1.0"});
        let url = format!("{}/sim/faults", simulator.url());
        client.post(&url).json(&fault).send().await.unwrap();
        let cut = client.get(call(simulator.address().port())).bearer_auth("any").send().await;
        assert!(cut.is_err());
        assert_eq!(client.delete(&url).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn nobody_else_trusts_the_authority_and_it_goes_with_the_simulator() {
    let (simulator, client) = start().await;
    let (other, _) = start().await;
    assert!(client.get(format!("{}/sim/calls", other.url())).send().await.is_err());
    let file = simulator.ca_file().unwrap().to_owned();
    drop(simulator);
    assert!(!file.exists());
}

#[tokio::test]
async fn the_documents_of_the_login_name_the_host_by_which_it_was_reached() {
    let (simulator, client) = start().await;
    let base = format!("https://localhost:{}", simulator.address().port());
    let get = async |url: String| {
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json::<Value>().await.unwrap()
    };
    let discovery = format!("{base}/t/v2.0/.well-known/openid-configuration");
    let document = get(discovery.clone()).await;
    assert_eq!(document["issuer"], format!("{base}/t/v2.0"));
    assert_eq!(document["token_endpoint"], format!("{base}/t/oauth2/v2.0/token"));
    assert_eq!(get(document["jwks_uri"].as_str().unwrap().to_owned()).await, json!({"keys": []}));
    let instances = get(format!(
        "{base}/common/discovery/instance?api-version=1.1&authorization_endpoint={base}/t/oauth2/v2.0/authorize"
    ))
    .await;
    assert_eq!(instances["tenant_discovery_endpoint"], discovery);
    let signers = get(format!("{base}/v1/.well-known/OpenIdConfiguration")).await;
    assert_eq!(signers["jwks_uri"], format!("{base}/v1/keys"));
}

#[tokio::test]
async fn the_program_prints_its_url_and_where_its_authority_is_until_it_ends() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(["simulate", "--tls"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut out = BufReader::new(program.stdout.take().unwrap()).lines();
    let url = out.next_line().await.unwrap().expect("a URL");
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let mut talk = BufReader::new(program.stderr.take().unwrap()).lines();
    let authority = loop {
        let line = talk.next_line().await.unwrap().expect("the file of the authority");
        if let Some((_, rest)) = line.split_once("ca_file = \"") {
            break rest.trim_end_matches('"').to_owned();
        }
    };
    let pem = std::fs::read(&authority).unwrap();
    let client = Client::builder()
        .timeout(Duration::from_secs(30))
        .no_proxy()
        .tls_certs_only([Certificate::from_pem(&pem).unwrap()])
        .build()
        .unwrap();
    let answer = client.get(format!("{url}/sim/calls")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);

    let id = i32::try_from(program.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
    assert!(program.wait().await.unwrap().success());
    assert!(!Path::new(&authority).exists());
}
