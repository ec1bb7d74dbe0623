//! Notifications per second: `cargo bench --bench notifications`, or with arguments behind `--`:
//! `--secs 5 --connections 32 --rate 5000 --rounds 3`.
//!
//! The real program in a process of its own, with a database on disk, takes single-call
//! notifications (the v1.0 form, two parties, signed) over loopback. The load generator is this
//! process. Each round measures callgate as fast as it goes, callgate at a fixed rate (its latency
//! counts from when a request was due, so that a stall is not hidden), and the limit in the same
//! run: a bare hyper server that reads the body and answers 202. What was answered 202 is then
//! counted in the database. Without `--bench` (in the tests) it is one short round.

mod load;
mod servers;

use std::time::Duration;

use self::load::{Load, Report};
use self::servers::{Gateway, Limit};

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
struct Wish {
    secs: f64,
    connections: usize,
    rate: u32,
    rounds: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == servers::LIMIT) {
        return servers::limit();
    }
    let measuring = arguments.iter().any(|argument| argument == "--bench");
    let secs = if measuring { 5.0 } else { 0.3 };
    let rounds = if measuring { 3 } else { 1 };
    let mut wish = Wish { secs, connections: 32, rate: 5000, rounds };
    for pair in arguments.windows(2) {
        match pair[0].as_str() {
            "--secs" => wish.secs = pair[1].parse()?,
            "--connections" => wish.connections = pair[1].parse()?,
            "--rate" => wish.rate = pair[1].parse()?,
            "--rounds" => wish.rounds = pair[1].parse()?,
            _ => {}
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(wish))
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
async fn measure(wish: Wish) -> Result<(), Box<dyn std::error::Error>> {
    let duration = Duration::from_secs_f64(wish.secs);
    println!("{}", Report::HEADER);
    for _ in 0..wish.rounds {
        let limit = Limit::start().await?;
        let load = Load { address: limit.address, token: "none".to_owned(), duration };
        println!("{}", load.as_fast_as_it_goes(wish.connections).await?.line("limit, hyper"));
        drop(limit);

        let gateway = Gateway::start().await?;
        let token = gateway.token().await?;
        let load = Load { address: gateway.address, token, duration };
        let fast = load.as_fast_as_it_goes(wish.connections).await?;
        println!("{}", fast.line("callgate, as fast as it goes"));
        let paced = load.at_rate(wish.connections, wish.rate).await?;
        println!("{}", paced.line(&format!("callgate at {}/s", wish.rate)));
        let (answered, memory) = (fast.taken + paced.taken, gateway.memory_kib()?);
        let recorded = gateway.stop_and_count().await?;
        println!("  answered 202: {answered}, in the database: {recorded}, memory {memory} KiB");
        if answered != recorded {
            return Err("a notification that was answered 202 is not in the database".into());
        }
    }
    Ok(())
}
