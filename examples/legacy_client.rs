//! What an old client sends, and what it gets: one GET, everything in the query string.
//!
//! ```sh
//! cargo run --example legacy_client -- http://127.0.0.1:8080/verba/api KEY extension=8856 status=ongoing
//! ```
//!
//! It ends with 0 when the call was deleted, or is certain to be.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(key)) = (arguments.next(), arguments.next()) else {
        return Err("usage: legacy_client URL KEY NAME=VALUE...".into());
    };
    let (address, path) = address_and_path(&url).ok_or("the URL must be http://HOST:PORT/PATH")?;
    let mut parameters = vec!["action=DeleteCall".to_owned()];
    for argument in arguments {
        let (name, value) = argument.split_once('=').ok_or("a parameter is NAME=VALUE")?;
        parameters.push(format!("{name}={}", escaped(value)));
    }
    let target = format!("{path}?{}", parameters.join("&"));
    println!("GET {target}&apiKey=... HTTP/1.0\n");

    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {target}&apiKey={} HTTP/1.0\r\nHost: {address}\r\n\r\n", escaped(&key))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    print!("{answer}");

    // Like most clients of this API: the code decides, and the HTTP status is 200 either way.
    let done = answer.contains("<Response code=\"0\"");
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn address_and_path(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let slash = rest.find('/')?;
    Some(rest.split_at(slash))
}

/// Percent-encodes all but what may stand in a query string anywhere. Above all `+`, which a server
/// would read as a blank.
fn escaped(value: &str) -> String {
    let escape = |byte| match char::from(byte) {
        plain if plain.is_ascii_alphanumeric() || "-._~".contains(plain) => plain.to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(escape).collect()
}
