//! The gateway inside another program, on free ports, against the simulator.
//!
//! ```sh
//! cargo run --example embedded
//! ```
//!
//! The host program brings the listeners and says when to stop; the gateway starts no process,
//! reads no variable beyond what `Config::load` reads, and leaves nothing running.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use callgate::{Config, Listeners, Options, Simulator, serve};
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let graph = Simulator::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;

    // As `callgate serve --set …` would be told; a file is named by `Options::file`.
    let config = Config::load(&Options {
        file: None,
        set: vec![
            "listen.address=127.0.0.1:0".to_owned(),
            "notifications.address=127.0.0.1:0".to_owned(),
            "admin.address=127.0.0.1:0".to_owned(),
            format!("store.url=sqlite:{}", folder.path().join("callgate.db").display()),
            format!("graph.base_url={}", graph.url()),
            format!("graph.login_url={}", graph.url()),
            format!("notifications.openid_urls={}/v1/.well-known/OpenIdConfiguration", graph.url()),
            "graph.allow_other_host=true".to_owned(),
        ],
    })?;

    // Bound here, so that the ports are known before anything is served.
    let listeners = Listeners::bind(&config).await?;
    let legacy = format!("http://{}/verba/api", listeners.legacy.local_addr()?);
    println!("{legacy}\n");

    let (stop, stopped) = oneshot::channel::<()>();
    let gateway = serve(listeners, config, async {
        // Dropping `stop` stops the gateway as well: it never outlives its host.
        let _ = stopped.await;
    });
    let host = async {
        // Whatever the host program does meanwhile. Here: one request.
        let result = ask(&legacy).await;
        drop(stop);
        result
    };
    // Both run in this task; `serve` ends when everything has been answered and written.
    let (served, asked) = tokio::join!(gateway, host);
    served?;
    asked?;
    graph.stop().await;
    println!("stopped");
    Ok(())
}

async fn ask(legacy: &str) -> Result<(), Box<dyn Error>> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    // Nobody has made a key in this database (`callgate keys create` does), so this is -41.
    let request = format!("{legacy}?action=DeleteCall&apiKey=none&extension=8856&status=ongoing");
    let answer = client.get(request).send().await?.text().await?;
    println!("{answer}");
    if answer.contains("code=\"-41\"") { Ok(()) } else { Err("an unknown key was let in".into()) }
}
