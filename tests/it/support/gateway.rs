//! The gateway in this process: the real composition root on ports of its own.

use std::net::SocketAddr;
use std::ops::Deref;

use callgate::measured::{TestClock, serve_at};
use callgate::{Config, Listeners, Options, ServeError};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::http::{Answer, Client, send};
use super::site::{Key, Site};
use super::{soon, until};

/// A running gateway; it ends with the test.
pub(crate) struct Gateway {
    site: Site,
    pub(crate) legacy: SocketAddr,
    pub(crate) notifications: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Its time, which is the system's until it is moved.
    pub(crate) clock: TestClock,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Deref for Gateway {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Gateway {
    /// Serves a site with the defaults.
    pub(crate) async fn start() -> Self {
        Self::serve(Site::new().await).await
    }

    /// Serves a site with these lines in its configuration.
    pub(crate) async fn with(lines: &str) -> Self {
        Self::serve(Site::with(lines).await).await
    }

    /// Serves `site`.
    pub(crate) async fn serve(site: Site) -> Self {
        Self::serve_by(TestClock::default(), site).await
    }

    /// Serves `site` by this clock.
    pub(crate) async fn serve_by(clock: TestClock, site: Site) -> Self {
        let options = Options { file: Some(site.config()), set: Vec::new() };
        let config = Config::load(&options).unwrap_or_else(|errors| panic!("{errors}"));
        let listeners = Listeners::bind(&config).await.expect("a port is free");
        let legacy = listeners.legacy.local_addr().expect("it is bound");
        let notifications = listeners.notifications.local_addr().expect("it is bound");
        let admin = listeners.admin.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let serving = serve_at(clock.clone(), listeners, config, stopped);
        #[expect(clippy::disallowed_methods, reason = "the handle is kept and aborted on drop")]
        let served = tokio::spawn(serving);
        Self { site, legacy, notifications, admin, clock, stop: Some(stop), served }
    }

    /// Serves a site with these lines in its configuration, to which Graph announces its calls.
    pub(crate) async fn announced(lines: &str) -> Self {
        let gateway = Self::with(lines).await;
        gateway.announce(json!({})).await;
        gateway
    }

    /// Has Graph send notifications here, as `POST /sim/callback` takes it.
    pub(crate) async fn announce(&self, how: Value) {
        let mut callback = json!({"url": self.webhook()});
        if let (Some(callback), Value::Object(how)) = (callback.as_object_mut(), how) {
            callback.extend(how);
        }
        self.graph.callback(&callback).await;
    }

    /// Where Graph posts to.
    pub(crate) fn webhook(&self) -> String {
        format!("http://{}/api/calls", self.notifications)
    }

    /// Posts a notification with these headers.
    pub(crate) async fn notify(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        send(reqwest::Method::POST, &self.webhook(), headers, body).await
    }

    /// A connection.
    pub(crate) async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.legacy).await.expect("the gateway listens");
        Client::new(stream, self.answers.clone())
    }

    /// The answer to these bytes on a connection of their own.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        self.connect().await.ask(request).await
    }

    /// The answer to a `GET` with this query.
    pub(crate) async fn get(&self, query: &str) -> Answer {
        self.ask(format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")).await
    }

    /// The answer to a `POST` with this query and this form.
    pub(crate) async fn post(&self, query: &str, form: &str) -> Answer {
        self.ask(post(query, form)).await
    }

    /// The answer to a `DeleteCall` with the site's key; `selector` is the rest of the query.
    pub(crate) async fn delete(&self, selector: &str) -> Answer {
        self.get(&self.query(selector)).await
    }

    /// Makes a key with these flags and waits until the gateway knows it.
    pub(crate) async fn new_key(&self, flags: &[&str]) -> Key {
        let key = self.key(flags).await;
        let probe = async || (self.get(&key.query("")).await.code() != -41).then_some(());
        until("the gateway knows a new key", probe).await;
        key
    }

    /// The query of [`Gateway::delete`].
    pub(crate) fn query(&self, selector: &str) -> String {
        self.key.query(selector)
    }

    /// Orders the gateway to stop, and goes on.
    pub(crate) fn order_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is gone only when the gateway is.
            let _ = stop.send(());
        }
    }

    /// Stops the gateway and gives its site back.
    pub(crate) async fn stop(mut self) -> Site {
        self.order_stop();
        let served = soon("the end of the gateway", &mut self.served).await;
        served.expect("the gateway does not panic").expect("the gateway ends well");
        self.site
    }

    /// Waits until the deletion of this id is in `state`; one that was sent may be confirmed by then.
    pub(crate) async fn settles(&self, deletion_id: &str, state: &str) {
        let query = format!("SELECT state FROM deletions WHERE deletion_id = '{deletion_id}'");
        let probe = async || {
            let found: String = self.value(&query);
            (found == state || (state, &*found) == ("sent", "confirmed")).then_some(())
        };
        until(&format!("deletion {deletion_id} is {state}"), probe).await;
    }

    /// How many deletions were recorded.
    pub(crate) fn recorded(&self) -> i64 {
        self.value("SELECT count(*) FROM deletions")
    }

    /// What `/readyz` says.
    pub(crate) async fn readiness(&self) -> String {
        readiness(self.admin).await.1
    }
}

/// What `/readyz` of the admin listener at `admin` says, and whether it is ready.
pub(super) async fn readiness(admin: SocketAddr) -> (bool, String) {
    let url = format!("http://{admin}/readyz");
    let client = reqwest::Client::builder().no_proxy().timeout(super::LONG).build();
    let answer = client.expect("a client can be built").get(url).send().await;
    let answer = answer.expect("it is served");
    (answer.status().is_success(), answer.text().await.expect("it is text"))
}

/// A `POST` with this query and this form.
pub(crate) fn post(query: &str, form: &str) -> String {
    format!(
        "POST /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
}
