//! A flood of bad keys beside a good client: `cargo bench --bench bad_keys`, or with arguments behind
//! `--`: `--requests 200000 --addresses 1000`.
//!
//! The real program in a process of its own, with a database on disk and its log in a file. From each
//! loopback address one connection sends its share of the requests, each with a key that nobody has,
//! each as soon as the last one is answered; 256 connections at a time. Beside them a good
//! client looks a call up at a steady pace on a connection of its own, in a thread of its own; its
//! latency counts from when a request was due, so that a stall is not hidden. The measurement fails
//! when that client's p99 or the program's memory goes beyond its limit, and always when an answer is
//! not the one answer to a bad key, or the audit chain does not count every one of them. Without
//! `--bench` (in the tests) it is a short run that holds nothing against the limits.

mod flood;
mod good;
mod site;

use std::error::Error;
use std::time::Duration;

use self::flood::Flood;
use self::good::{GoodClient, Latencies};
use self::site::Site;

/// What the good client's p99 may be while the flood lasts.
const LATENCY_LIMIT: Duration = Duration::from_millis(50);
/// What the program's memory may grow by.
const MEMORY_LIMIT_KIB: u64 = 64 * 1024;

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
struct Wish {
    requests: u32,
    addresses: u16,
    /// How long the good client is alone before the flood.
    calm: Duration,
    has_limits: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut wish = if arguments.iter().any(|argument| argument == "--bench") {
        Wish { requests: 200_000, addresses: 1000, calm: Duration::from_secs(5), has_limits: true }
    } else {
        let calm = Duration::from_millis(200);
        Wish { requests: 2000, addresses: 50, calm, has_limits: false }
    };
    for pair in arguments.windows(2) {
        match pair[0].as_str() {
            "--requests" => wish.requests = pair[1].parse()?,
            "--addresses" => wish.addresses = pair[1].parse()?,
            _ => {}
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(wish))
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
async fn measure(wish: Wish) -> Result<(), Box<dyn Error>> {
    let site = Site::start().await?;
    let good = GoodClient::start(&site)?;
    tokio::time::sleep(wish.calm).await;
    let alone = good.so_far()?;
    let before = site.memory_kib("VmRSS")?;
    let flood = Flood { address: site.address, requests: wish.requests, addresses: wish.addresses };
    let flooded = flood.run().await?;
    let beside = good.so_far()?;
    let peak = site.memory_kib("VmHWM")?;
    let counted = site.bad_keys_recorded(flooded.answered).await?;
    let after = site.memory_kib("VmRSS")?;
    good.stop()?;

    println!("{}", Latencies::HEADER);
    println!("{}", alone.line("good client, alone"));
    println!("{}", beside.line("good client, beside the flood"));
    let rate = f64::from(flooded.answered) / flooded.elapsed.as_secs_f64();
    println!(
        "bad keys: {} from {} addresses in {:.1} s, {rate:.0}/s; not the one answer: {}; in the \
         audit chain: {counted}",
        flooded.answered,
        wish.addresses,
        flooded.elapsed.as_secs_f64(),
        flooded.other
    );
    println!(
        "memory: {before} KiB before, {peak} KiB at most, {after} KiB after; log: {} lines",
        site.log_lines()?
    );
    if flooded.other != 0 {
        return Err("a bad key was answered in another way than the rest".into());
    }
    if counted != i64::from(flooded.answered) {
        return Err("the audit chain does not count every bad key".into());
    }
    if wish.has_limits && beside.percentile(99) > LATENCY_LIMIT {
        return Err(format!("the good client's p99 is beyond {LATENCY_LIMIT:?}").into());
    }
    if wish.has_limits && peak.saturating_sub(before) > MEMORY_LIMIT_KIB {
        return Err(format!("memory grew by more than {MEMORY_LIMIT_KIB} KiB").into());
    }
    Ok(())
}
