//! `callgate demo`: simulator, gateway and a fresh database in one process, and one real deletion.
//!
//! Everything is what production runs; only Graph is the simulator. With `--once` it is also the
//! shortest check that a build works.

mod calls;
mod show;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, ensure};
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
use crate::model::rights::Right;
use crate::registry::Registry;
use crate::secret::Secret;
use crate::server::drain;
use crate::simulator::Simulator;
use crate::store::Store;
use crate::store::sqlite::Missing;

/// Where the demo listens when nothing is said and the port is free.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

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
    let address = listeners.legacy.local_addr()?;
    let admin = listeners.admin.local_addr()?;
    let config = configuration(&simulator, folder.path());
    let calls = calls::make(simulator.address()).await?;
    let key = prepare(&config, &calls).await?;

    let (stop, stopped) = oneshot::channel::<()>();
    let gateway = serve(listeners, config, async {
        let _ = stopped.await;
    });
    let session = async {
        let result = round_trip(address, simulator.address(), &key, &calls).await;
        if result.is_ok() && !options.once {
            show::lines_to_paste(address, admin, &simulator.url(), &key, &calls)?;
            drain::signalled().await?;
        }
        let _ = stop.send(());
        result
    };
    let (served, result) = tokio::join!(gateway, session);
    simulator.stop().await;
    served?;
    result
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
    let admin = TcpListener::bind(ANY).await.context("cannot listen on loopback")?;
    Ok(Listeners { legacy, admin })
}

fn configuration(simulator: &Simulator, folder: &Path) -> Config {
    let mut config = Config::defaults();
    config.store.path = folder.join("callgate.db");
    config.store.pepper_file = folder.join("callgate.db.pepper");
    config.graph.base_url = simulator.url();
    config.graph.login_url = simulator.url();
    config.graph.other_host = true;
    config.graph.tenant = Some(TenantConfig {
        id: TenantId::new(TENANT),
        client_id: "2891555a-92ff-42e6-80fa-6e1300c6b5c6".to_owned(),
        client_secret: Secret::new("any secret will do for the simulator".to_owned()),
    });
    config
}

/// Makes the database, the key, and the calls as an import would.
async fn prepare(config: &Config, calls: &[DemoCall]) -> anyhow::Result<Secret<String>> {
    let (store, pepper) =
        Store::open_sqlite(&config.store.path, &config.store.pepper_file, Missing::Create)?;
    let keys = Keys::new(store.clone(), pepper, Clock::System);
    let (_, secret) = keys
        .create(KeyWish {
            name: "demo".to_owned(),
            tenant: TenantId::new(TENANT),
            requires_token: false,
            rights: vec![Right::DeleteCall, Right::SeeCandidates],
            peers: Vec::new(),
            post_only: false,
            reason_required: false,
            expires_at: None,
        })
        .await?;
    let registry = Registry::new(store, Clock::System);
    let tenant = registry.tenant(TenantId::new(TENANT)).await?;
    let calls = calls.iter().map(|call| call.imported(tenant)).collect::<Result<_, _>>()?;
    registry.import(calls).await?;
    Ok(secret)
}

/// One deletion over TCP, shown, and checked on both sides.
async fn round_trip(
    gateway: SocketAddr,
    simulator: SocketAddr,
    key: &Secret<String>,
    calls: &[DemoCall],
) -> anyhow::Result<()> {
    let call = calls.first().context("the demo has no calls")?;
    let target = format!(
        "/verba/api?action=DeleteCall&apiKey={}&extension={}&status=ongoing&detail=1",
        key.expose(),
        call.extension
    );
    let answer = get(gateway, &target).await?;
    let received = calls::received(simulator).await?;
    show::exchange(gateway, &target, &answer, &received)?;
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
    Ok(())
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
