//! Whether the time of an answer tells why a key or a login was refused: `scripts/timing`, release
//! build, on a quiet machine.
//!
//! In each round every kind of refusal is asked for once, in an order that is drawn anew, one after the
//! other on one connection. What is compared is the difference of two answers of the same round,
//! so that whatever disturbs a whole round disturbs no comparison. If two kinds take equally long, a
//! difference is as likely to be negative as positive, so the mean of all of them without the tenth
//! that is farthest from zero is distributed around zero, and its standard error is known. A kind that
//! is known to differ shows each time that a difference would be seen.

#[path = "timing/statistics.rs"]
mod statistics;
#[expect(dead_code, unused_imports, reason = "it is there for all other tests as well")]
mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpSocket;
use tokio::time::Instant;
use uuid::Uuid;

use self::statistics::{Comparison, compare};
use crate::support::{Process, Site};

/// Rounds for keys. The first ones warm up and do not count.
const KEY_ROUNDS: u32 = 20_000;
/// Rounds for logins, each of which costs a password hash.
const LOGIN_ROUNDS: u32 = 150;
/// What nobody measures over a network is no oracle, whatever the statistics say of it.
const NEGLIGIBLE: Duration = Duration::from_micros(5);

/// One kind of refusal: the request of a round.
struct Kind {
    name: &'static str,
    request: Box<dyn Fn(u32) -> String>,
}

/// Where the rounds come from.
#[derive(Clone, Copy, Debug)]
enum Connections {
    /// One address: after some rounds its bad keys are braked.
    One,
    /// Each round from an address of its own, so that nothing is braked.
    OneForEachRound,
}

#[tokio::test]
async fn no_time_tells_why_a_key_was_refused() {
    let site = Site::new().await;
    let revoked = site.key(&[]).await;
    site.run(&["keys", "revoke", &revoked.id]).await;
    let expired = site.key(&[]).await;
    site.change(&format!("UPDATE keys SET expires_at = 1 WHERE key_id = '{}'", expired.id));
    let elsewhere = site.key(&["--allow", "192.0.2.1"]).await;
    let gateway = Process::start(&site, &["-q"]).await;
    let kinds = [
        Kind { name: "unknown", request: Box::new(|_| with_key(&Uuid::new_v4().to_string())) },
        Kind { name: "revoked", request: Box::new(move |_| with_key(&revoked.secret)) },
        Kind { name: "expired", request: Box::new(move |_| with_key(&expired.secret)) },
        Kind { name: "wrong address", request: Box::new(move |_| with_key(&elsewhere.secret)) },
        // As unknown as the first, but with 6 KB more to read.
        Kind {
            name: "control: long",
            request: Box::new(|_| {
                with_key(&format!("{}&x={}", Uuid::new_v4(), "%41".repeat(2000)))
            }),
        },
    ];
    for connections in [Connections::One, Connections::OneForEachRound] {
        let times = measure(gateway.legacy, &kinds, KEY_ROUNDS, connections).await;
        judge(&format!("{connections:?}"), &kinds, &times);
    }
}

#[tokio::test]
async fn no_time_tells_whether_a_login_exists() {
    let site = Site::new().await;
    let key = site.key(&["--requires-token"]).await;
    site.run_with_input(&["users", "create", "user0"], "the right password\n").await;
    for number in 1..LOGIN_ROUNDS + LOGIN_ROUNDS / 10 {
        // A login of its own for each round, so that none is braked.
        site.change(&format!(
            "INSERT INTO users (tenant, login, folded, role, password_hash, created_at) \
             SELECT tenant, 'user{number}', 'user{number}', role, password_hash, created_at \
             FROM users WHERE login = 'user0'"
        ));
    }
    let gateway = Process::start(&site, &["-q"]).await;
    let secret = key.secret;
    let log_in = move |login: &str| {
        let credentials = STANDARD.encode(format!("{login}:a wrong password"));
        format!(
            "GET /verba/api?action=RequestToken&apiKey={secret} HTTP/1.1\r\nHost: a\r\n\
             Authorization: Basic {credentials}\r\n\r\n"
        )
    };
    let (known, unknown, control) = (log_in.clone(), log_in.clone(), log_in);
    let kinds = [
        Kind { name: "known", request: Box::new(move |round| known(&format!("user{round}"))) },
        Kind { name: "unknown", request: Box::new(move |round| unknown(&format!("none{round}"))) },
        // The right to log in comes before the login: no password is looked at.
        Kind {
            name: "control: bad key",
            request: Box::new(move |_| {
                control("nobody").replace("apiKey=", &format!("apiKey={}&x=", Uuid::new_v4()))
            }),
        },
    ];
    let connections = Connections::OneForEachRound;
    let times = measure(gateway.legacy, &kinds, LOGIN_ROUNDS, connections).await;
    judge("logins", &kinds, &times);
}

/// Compares every pair of kinds. The last one is the control, which must differ from all others.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the figures are what this test is run for")]
fn judge(what: &str, kinds: &[Kind], times: &[Vec<Duration>]) {
    let control = kinds.len() - 1;
    for (kind, times) in kinds.iter().zip(times) {
        println!("{what}: {} takes {:?} in the middle", kind.name, statistics::median(times));
    }
    let mut told_apart = Vec::new();
    for second in 1..kinds.len() {
        for first in 0..second {
            let Comparison { difference, noise } = compare(&times[first], &times[second]);
            let (one, other) = (kinds[first].name, kinds[second].name);
            let line = format!(
                "{what}: {one} and {other} differ by {difference:+.2} µs, noise {noise:.2} µs"
            );
            println!("{line}");
            let differs = difference.abs() > noise;
            if second == control {
                assert!(differs, "a difference that is there was not seen: {line}");
            } else if differs && difference.abs() > NEGLIGIBLE.as_secs_f64() * 1e6 {
                told_apart.push(line);
            }
        }
    }
    assert!(told_apart.is_empty(), "the time tells them apart: {told_apart:#?}");
}

/// How long each answer took, by kind and round.
async fn measure(
    gateway: SocketAddr,
    kinds: &[Kind],
    rounds: u32,
    connections: Connections,
) -> Vec<Vec<Duration>> {
    let mut times = vec![Vec::new(); kinds.len()];
    let mut order: Vec<usize> = (0..kinds.len()).collect();
    let warming_up = rounds / 10;
    let mut stream = None;
    let (control, mut refusal) = (kinds.len() - 1, None);
    for round in 0..warming_up + rounds {
        if stream.is_none() || matches!(connections, Connections::OneForEachRound) {
            stream = Some(connect(gateway, round).await);
        }
        let stream = stream.as_mut().expect("it was just made");
        shuffle(&mut order);
        for &kind in &order {
            let (time, body) = ask(stream, &(kinds[kind].request)(round));
            if kind != control {
                assert_eq!(
                    refusal.get_or_insert_with(|| body.clone()),
                    &body,
                    "one answer for all"
                );
            }
            if round >= warming_up {
                times[kind].push(time);
            }
        }
    }
    times
}

/// Draws an order.
fn shuffle(order: &mut [usize]) {
    for (last, byte) in (1..order.len()).rev().zip(Uuid::new_v4().into_bytes()) {
        order.swap(last, usize::from(byte) % (last + 1));
    }
}

/// A connection from the loopback address of this number, over which one answer has come already.
async fn connect(gateway: SocketAddr, number: u32) -> TcpStream {
    let [_, high, middle, low] = (number + 1).to_be_bytes();
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    let own = SocketAddr::from((Ipv4Addr::new(127, 100 + high, middle, low), 0));
    socket.bind(own).expect("all of 127.0.0.0/8 is this machine");
    let stream = socket.connect(gateway).await.expect("the gateway listens");
    let mut stream = stream.into_std().expect("it is a socket");
    // Nothing else runs here, and to wait by blocking is the most exact.
    stream.set_nonblocking(false).expect("it is a socket");
    stream.set_nodelay(true).expect("it is a socket");
    ask(&mut stream, "GET /verba/api HTTP/1.1\r\nHost: a\r\n\r\n");
    stream
}

/// How long an answer took, and its body.
fn ask(stream: &mut TcpStream, request: &str) -> (Duration, String) {
    let mut buffer = [0; 8192];
    let mut read = 0;
    let asked = Instant::now();
    stream.write_all(request.as_bytes()).expect("the connection is whole");
    loop {
        let more = stream.read(&mut buffer[read..]).expect("the connection is whole");
        let time = asked.elapsed();
        assert_ne!(more, 0, "closed in the middle: {request}");
        read += more;
        let answer = std::str::from_utf8(&buffer[..read]).expect("text");
        if let Some((head, body)) = answer.split_once("\r\n\r\n")
            && head.to_lowercase().contains(&format!("content-length: {}", body.len()))
        {
            return (time, body.to_owned());
        }
    }
}

fn with_key(key: &str) -> String {
    format!("GET /verba/api?action=DeleteCall&apiKey={key}&callID=1 HTTP/1.1\r\nHost: a\r\n\r\n")
}
