//! `callgate demo`: simulator, gateway and a fresh database in one process, and one real deletion
//! of a call that Graph announced.
//!
//! Everything is what production runs; only Graph is the simulator. With `--once` it is also the
//! shortest check that a build works.

mod calls;
mod show;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, ensure};
use reqwest::Url;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use self::calls::DemoCall;
use super::serve::{Listeners, serve};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::graph::TenantConfig;
use crate::id::TenantId;
use crate::keys::{KeyWish, Keys};
use crate::model::rights::{MostOthers, Right};
use crate::operator::Operator;
use crate::secret::Secret;
use crate::server::drain;
use crate::simulator::Simulator;
use crate::store::Store;
use crate::store::sqlite::Missing;

/// Where the demo listens when nothing is said and the port is free.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const CLIENT: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";

/// How the demo is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DemoOptions {
    /// End after the round trip.
    pub(crate) once: bool,
    /// The legacy API's address.
    pub(crate) listen: Option<SocketAddr>,
}

/// Runs the demo.
///
/// # Errors
///
/// When a part could not start, or anything in the round trip was not as it should be.
pub(crate) async fn run(options: DemoOptions) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("no temporary folder for the database")?;
    let simulator = Simulator::start(ANY).await.context("the simulator could not start")?;
    let listeners = listen(options.listen).await?;
    let config = configuration(&simulator, folder.path())?;
    let stage = Stage {
        gateway: listeners.legacy.local_addr()?,
        notifications: listeners.notifications.local_addr()?,
        admin: listeners.admin.local_addr()?,
        simulator: simulator.address(),
        key: make_key(&config).await?,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let gateway = serve(listeners, config, async {
        let _ = stopped.await;
    });
    let session = async {
        let result = play(&stage, options.once).await;
        let _ = stop.send(());
        result
    };
    let (served, result) = tokio::join!(gateway, session);
    simulator.stop().await;
    served?;
    result
}

/// Where everything is, and the key to it.
#[derive(Debug)]
struct Stage {
    gateway: SocketAddr,
    notifications: SocketAddr,
    admin: SocketAddr,
    simulator: SocketAddr,
    key: Secret<String>,
}

async fn play(stage: &Stage, once: bool) -> anyhow::Result<()> {
    calls::announce(stage.simulator, stage.notifications).await?;
    let deletion = story(stage).await?;
    if once {
        return Ok(());
    }
    let mut others = Vec::new();
    for (number, extension) in calls::OTHERS.into_iter().enumerate() {
        let made = calls::make(stage.simulator, number + 1, extension, "established").await?;
        let call_id = known(stage, &made).await?;
        others.push((call_id, made));
    }
    let group = calls::make_group(stage.simulator).await?;
    let group = known(stage, &group).await?;
    show::lines_to_paste(stage, &deletion, &others)?;
    show::lines_about_people(stage, &group)?;
    Ok(drain::signalled().await.map(drop)?)
}

async fn listen(wished: Option<SocketAddr>) -> anyhow::Result<Listeners> {
    let legacy = match wished {
        Some(address) => TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}: choose another --listen"))?,
        None => match TcpListener::bind(USUAL).await {
            Ok(listener) => listener,
            Err(_taken) => TcpListener::bind(ANY).await.context("cannot listen on loopback")?,
        },
    };
    let any = async || TcpListener::bind(ANY).await.context("cannot listen on loopback");
    Ok(Listeners { legacy, notifications: any().await?, admin: any().await? })
}

fn configuration(simulator: &Simulator, folder: &Path) -> anyhow::Result<Config> {
    let mut config = Config::defaults();
    config.store.path = folder.join("callgate.db");
    config.store.pepper_file = folder.join("callgate.db.pepper");
    config.graph.other_host = true;
    let keys = format!("{}/v1/.well-known/OpenIdConfiguration", simulator.url());
    config.notifications.openid_urls = vec![Url::parse(&keys).context("no URL")?];
    config.notifications.allow_other_host = true;
    config.notifications.audiences = vec![CLIENT.to_owned()];
    let secret = "any secret will do for the simulator";
    let tenant = TenantConfig::at(&simulator.url(), TenantId::new(TENANT), CLIENT, secret);
    config.graph.tenant = Some(tenant);
    Ok(config)
}

/// Makes the database and the key.
async fn make_key(config: &Config) -> anyhow::Result<Secret<String>> {
    let (store, pepper) =
        Store::open_sqlite(&config.store.path, &config.store.pepper_file, Missing::Create)?;
    let more = [
        Right::SeeCandidates,
        Right::RejectCall,
        Right::DeleteParticipant,
        Right::InviteParticipant,
        Right::ScopeAll(MostOthers::USUAL),
    ];
    let rights = Right::DEFAULT.into_iter().chain(more).collect();
    let wish = KeyWish { rights, ..KeyWish::named("demo".to_owned(), TenantId::new(TENANT)) };
    let keys = Keys::new(store, pepper, Clock::System);
    let (_, secret) = keys.create(&Operator::of_this_process(), wish).await?;
    Ok(secret)
}

/// A call comes in, is answered and deleted, and its end is told: shown, and checked on both sides.
/// Gives what `GetDeletion` says at the end.
async fn story(stage: &Stage) -> anyhow::Result<Value> {
    let Stage { gateway, simulator, .. } = *stage;
    let call = calls::make(simulator, 0, calls::STORY, "incoming").await?;
    let rings = in_state(stage, &call, "incoming").await?;
    calls::pick_up(simulator, &call).await?;
    let runs = in_state(stage, &call, "established").await?;
    show::call(&rings, &runs)?;

    let target =
        format!("{}&extension={}&status=ongoing&detail=1", stage.query("DeleteCall"), calls::STORY);
    let answer = get(gateway, &target).await?;
    let deletion = answer.split("<DeletionID>").nth(1).and_then(|rest| rest.split('<').next());
    let deletion = deletion.with_context(|| format!("no deletion in {answer}"))?;
    let query = format!("{}&deletionID={deletion}&responseType=JSON", stage.query("GetDeletion"));
    let end =
        calls::until(gateway, &query, |json| (json["state"] == "confirmed").then(|| json.clone()));
    let end = end.await.context("the end of the call was not told")?;
    let received = calls::received(simulator).await?;
    let told = calls::told(simulator, &call).await?;
    show::exchange(gateway, &target, &answer, &received)?;
    show::end(&told, &end)?;

    ensure!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "the answer is not 200");
    ensure!(
        answer.contains("<Response code=\"0\" type=\"DeleteCall\"/>\n"),
        "the answer does not hold the code 0"
    );
    ensure!(answer.contains("<Outcome>sent</Outcome>"), "the outcome is not `sent`");
    let expected = format!("/v1.0/communications/calls/{}", call.graph_id);
    let hung_up: Vec<_> = received.iter().filter(|one| one.method == "DELETE").collect();
    ensure!(hung_up.len() == 1, "Graph received {} DELETE requests", hung_up.len());
    ensure!(hung_up[0].path == expected, "Graph was asked to hang up another call");
    ensure!(hung_up[0].status == Some(204), "Graph did not answer 204");
    ensure!(end["endVerdict"] == "ended_by_us", "the end is not said to be ours: {end}");
    Ok(end)
}

/// What the registry says of the call, once it is in this state.
async fn in_state(stage: &Stage, call: &DemoCall, wanted: &str) -> anyhow::Result<Value> {
    let query = format!(
        "{}&extension={}&status=ongoing&responseType=JSON",
        stage.query("GetCallInformation"),
        call.extension
    );
    calls::until(stage.gateway, &query, |json| (json["state"] == wanted).then(|| json.clone()))
        .await
        .with_context(|| format!("the registry was not told that the call is {wanted}"))
}

/// Our id of the call, once the registry knows it.
async fn known(stage: &Stage, call: &DemoCall) -> anyhow::Result<String> {
    let query =
        format!("{}&nativeID={}&responseType=JSON", stage.query("GetCallID"), call.graph_id);
    let id = calls::until(stage.gateway, &query, |json| Some(json["callID"].as_str()?.to_owned()));
    id.await.context("the registry was not told of a call")
}

impl Stage {
    /// The path and query of an action with the demo's key.
    fn query(&self, action: &str) -> String {
        format!("/verba/api?action={action}&apiKey={}", self.key.expose())
    }
}

/// Sends a plain HTTP/1.1 GET and gives the whole answer.
async fn get(address: SocketAddr, target: &str) -> anyhow::Result<String> {
    exchange(
        address,
        &format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
    .await
}

/// Sends a whole request, and reads until the other side closes.
async fn exchange(address: SocketAddr, request: &str) -> anyhow::Result<String> {
    let mut stream =
        TcpStream::connect(address).await.with_context(|| format!("no connection to {address}"))?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
