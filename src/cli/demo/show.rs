//! What the demo prints: the exchange, and lines to paste.

use std::io::{self, Write};
use std::net::SocketAddr;

use super::calls::{DemoCall, Received};
use crate::secret::Secret;

/// Shows what was sent, what came back, and what Graph received.
pub(super) fn exchange(
    gateway: SocketAddr,
    target: &str,
    answer: &str,
    received: &[Received],
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "A legacy client sends to http://{gateway}:\n\n  GET {target} HTTP/1.1\n")?;
    writeln!(out, "callgate answers:\n")?;
    for line in answer.lines() {
        writeln!(out, "{}", format!("  {line}").trim_end())?;
    }
    writeln!(out, "\nMicrosoft Graph (the simulator) received:\n")?;
    for Received { method, path, status } in received {
        let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        writeln!(out, "  {method:<6} {path}  ->  {status}")?;
    }
    writeln!(out, "\nOur leg of the call has ended. No recording was erased.")
}

/// Prints commands to try, each with what it shows.
pub(super) fn lines_to_paste(
    gateway: SocketAddr,
    admin: SocketAddr,
    simulator: &str,
    key: &Secret<String>,
    calls: &[DemoCall],
) -> io::Result<()> {
    let base = format!("http://{gateway}/verba/api?action=DeleteCall&apiKey={}", key.expose());
    let mut next = calls.iter().skip(1);
    let mut call = || next.next().unwrap_or(&calls[0]);
    let lines = [
        ("by callID: code 0", format!("&callID={}", call().call_id)),
        ("by platformCallID: code 0", format!("&platformCallID={}", call().platform_call_id)),
        ("by nativeID: code 0", format!("&nativeID={}", call().native_id)),
        ("by meetingID: code 0", format!("&meetingID={}", call().meeting_id)),
        (
            "by extension, its ongoing call or else the last one: code 0",
            format!("&extension={}&status=ongoing,last", call().extension),
        ),
        (
            "XML with the detail: the outcome is sent",
            format!("&extension={}&status=ongoing&detail=1", call().extension),
        ),
        (
            "JSON: code 0, outcome sent",
            format!("&extension={}&status=ongoing&responseType=JSON", call().extension),
        ),
        (
            "HTML: a page for people",
            format!("&extension={}&status=ongoing&responseType=HTML", call().extension),
        ),
        ("TEXT: OK", format!("&extension={}&status=ongoing&responseType=TEXT", call().extension)),
        (
            "an ambiguous extension: code 2 with its two calls, and nothing is sent",
            "&extension=8899&status=ongoing&detail=1".to_owned(),
        ),
        (
            "a dry run: code 0 with the outcome would_send, and nothing is sent",
            format!("&callID={}&dryRun=1&detail=1", calls[11].call_id),
        ),
    ];
    let mut out = io::stdout().lock();
    writeln!(out, "\nTry it; the simulator holds a call for each of these lines:")?;
    for (what, selector) in lines {
        writeln!(out, "\n  # {what}\n  curl -s '{base}{selector}'")?;
    }
    writeln!(
        out,
        "\n  # by POST, which keeps the key out of logs: code 0\n  \
         curl -s -d 'action=DeleteCall&apiKey={}&callID={}' http://{gateway}/verba/api",
        key.expose(),
        calls[10].call_id
    )?;
    writeln!(
        out,
        "\n  # what Graph received: a login, and one DELETE for each code 0 with its 204"
    )?;
    writeln!(out, "  curl -s {simulator}/sim/requests")?;
    writeln!(out, "\n  # is it ready?\n  curl -s http://{admin}/readyz")?;
    writeln!(out, "\nServing until Ctrl-C.")?;
    out.flush()
}
