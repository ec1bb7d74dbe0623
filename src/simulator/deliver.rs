//! Sends notifications: one task for all of them, with a bounded number of POSTs under way.
//!
//! A 503 and a connection that does not come about are tried again, what comes after it for the
//! same call waits meanwhile. Any other answer ends it: nobody is asked twice what was understood.

use std::convert::Infallible;
use std::future::pending;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hyper::StatusCode;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::Shared;
use super::callback::{Job, Next};

/// The waits before each further attempt; a gateway that restarts is back before their end.
const WAITS: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1600),
    Duration::from_millis(3200),
];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Of an answer's body nothing is used; this much is read, so that its connection can be.
const LONGEST_BODY: usize = 1024 * 1024;

/// Reaches this machine only: no proxy, no redirect, and no name but one, which is not looked up.
///
/// # Errors
///
/// When the client cannot be set up; that does not depend on anything that is asked of it.
pub(super) fn client() -> reqwest::Result<Client> {
    let localhost =
        [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .tcp_nodelay(true)
        .http1_only()
        .tls_certs_only([])
        .resolve_to_addrs("localhost", &localhost)
        .build()
}

/// Sends whatever the callback has to send, until it is aborted.
pub(super) async fn run(shared: Shared, client: Client) -> Infallible {
    // Owned by this future, so that aborting it gives up what is under way.
    let mut posts = JoinSet::new();
    let bell = shared.lock().switchboard.callback.bell();
    let mut epoch = 0;
    loop {
        while posts.try_join_next().is_some() {}
        let next = shared.lock().switchboard.callback.next(&mut epoch, Instant::now());
        let due = match next {
            Next::Send(job) => {
                posts.spawn(deliver(shared.clone(), client.clone(), *job));
                continue;
            }
            Next::Stop => {
                posts.abort_all();
                continue;
            }
            Next::Wait(due) => due,
        };
        tokio::select! {
            () = bell.notified() => {}
            Some(_over) = posts.join_next() => {}
            () = async { match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            } } => {}
        }
    }
}

/// Makes one POST, again if it has to be, and says what came of it.
async fn deliver(shared: Shared, client: Client, job: Job) {
    let body = job.body.to_string();
    let mut waits = WAITS.into_iter();
    loop {
        let token = shared.token(&job).await;
        let request =
            client.post(job.settings.url.clone()).headers(headers(&job, &token)).body(body.clone());
        let status = match request.send().await {
            Ok(answer) => Some(drained(answer).await),
            Err(_) => None,
        };
        shared.lock().switchboard.callback.sent(&job, status.map(|status| status.as_u16()));
        let again = status.is_none_or(|status| status == StatusCode::SERVICE_UNAVAILABLE);
        match waits.next() {
            Some(wait) if again => sleep(wait).await,
            _ => {
                let delivered = status.is_some_and(|status| status.is_success());
                shared.lock().switchboard.callback.finished(&job, delivered);
                return;
            }
        }
    }
}

/// As real traffic has them. An id that a header cannot carry is left out.
fn headers(job: &Job, token: &str) -> HeaderMap {
    let message_id = Uuid::new_v4().to_string();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (AUTHORIZATION, Some(format!("Bearer {token}").as_str())),
        (CONTENT_TYPE, Some("application/json")),
        (ACCEPT, Some("application/json")),
        (USER_AGENT, Some("Microsoft-Skype/3.0,(Calling/1.0)")),
        (HeaderName::from_static("x-microsoft-skype-message-id"), Some(message_id.as_str())),
        (HeaderName::from_static("x-microsoft-skype-chain-id"), Some(job.chain_id.as_str())),
        (HeaderName::from_static("scenario-id"), job.scenario_id.as_deref()),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

/// The status, after the body was read.
async fn drained(mut answer: Response) -> StatusCode {
    let mut read = 0;
    while read < LONGEST_BODY
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        read += chunk.len();
    }
    answer.status()
}
