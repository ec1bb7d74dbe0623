//! What the demo prints: the story of one call, and lines to paste.

use std::io::{self, Write};
use std::net::SocketAddr;

use serde_json::Value;

use super::Stage;
use super::calls::{ANN, BOB, DemoCall, RINGING, Reason, Received, Sent};

/// Shows how the registry came to know the call.
pub(super) fn call(rings: &Value, runs: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "Somebody calls. Microsoft Graph (the simulator) notifies callgate, signed:\n")?;
    for (what, known) in [("it rings", rings), ("it is answered", runs)] {
        let text = |name: &str| known[name].as_str().unwrap_or_default().to_owned();
        writeln!(out, "  {what:<14}  {}  {}", text("callID"), text("state"))?;
    }
    writeln!(out)
}

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
    writeln!(out, "\nGraph received:\n")?;
    for Received { method, path, status } in received {
        writeln!(out, "  {method:<6} {path}  ->  {}", answered(*status))?;
    }
    Ok(())
}

/// Shows what Graph told about the call, and what callgate makes of its end.
pub(super) fn end(told: &[Sent], deletion: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\nand told, one notification a line:\n")?;
    for one in told {
        let state = one.state.as_deref().unwrap_or_default();
        let reason = one.reason.as_ref();
        let end = reason.map(|Reason { code, subcode }| format!(" {code}/{subcode}"));
        let what = format!("{state}{}", end.unwrap_or_default());
        writeln!(out, "  {:<8} {what:<20}  ->  {}", one.change_type, answered(one.status))?;
    }
    let text = |name: &str| deletion[name].as_str().unwrap_or_default().to_owned();
    writeln!(
        out,
        "\nGetDeletion says: {}, {} ({})",
        text("state"),
        text("endVerdict").replace('_', " "),
        text("endMeaning")
    )?;
    writeln!(out, "\nOur leg of the call has ended. No recording was erased.")
}

fn answered(status: Option<u16>) -> String {
    status.map_or_else(|| "no answer".to_owned(), |status| status.to_string())
}

/// Prints commands to try, each with what it shows.
pub(super) fn lines_to_paste(
    stage: &Stage,
    deletion: &Value,
    calls: &[(String, DemoCall)],
) -> io::Result<()> {
    let Stage { gateway, admin, simulator, key, .. } = stage;
    let base = format!("http://{gateway}{}", stage.query("DeleteCall"));
    let mut next = calls.iter();
    let mut call = || next.next().unwrap_or(&calls[0]);
    let lines = [
        ("by callID: code 0", format!("&callID={}", call().0)),
        ("by platformCallID: code 0", format!("&platformCallID={}", call().1.chain_id)),
        ("by nativeID: code 0", format!("&nativeID={}", call().1.graph_id)),
        ("by meetingID: code 0", format!("&meetingID={}", call().1.thread_id)),
        (
            "by extension, its ongoing call or else the last one: code 0",
            format!("&extension={}&status=ongoing,last", call().1.extension),
        ),
        (
            "XML with the detail: the outcome is sent",
            format!("&extension={}&status=ongoing&detail=1", call().1.extension),
        ),
        (
            "JSON: code 0, outcome sent",
            format!("&extension={}&status=ongoing&responseType=JSON", call().1.extension),
        ),
        (
            "HTML: a page for people",
            format!("&extension={}&status=ongoing&responseType=HTML", call().1.extension),
        ),
        ("TEXT: OK", format!("&extension={}&status=ongoing&responseType=TEXT", call().1.extension)),
        (
            "an ambiguous extension: code 2 with its two calls, and nothing is sent",
            "&extension=8899&status=ongoing&detail=1".to_owned(),
        ),
        (
            "a dry run: code 0 with the outcome would_send, and nothing is sent",
            format!("&callID={}&dryRun=1&detail=1", calls[10].0),
        ),
    ];
    let mut out = io::stdout().lock();
    writeln!(out, "\nTry it; the simulator holds a call for each of these lines:")?;
    for (what, selector) in lines {
        writeln!(out, "\n  # {what}\n  curl -s '{base}{selector}'")?;
    }
    for (what, action, id) in [
        ("what is known of the first call, and why it ended", "GetCallInformation", "callID"),
        ("where its deletion stands: confirmed, ended_by_us", "GetDeletion", "deletionID"),
    ] {
        let value = deletion[id].as_str().unwrap_or_default();
        let url = format!("http://{gateway}{}&{id}={value}&detail=1", stage.query(action));
        writeln!(out, "\n  # {what}\n  curl -s '{url}'")?;
    }
    writeln!(
        out,
        "\n  # by POST, which keeps the key out of logs: code 0\n  \
         curl -s -d 'action=DeleteCall&apiKey={}&callID={}' http://{gateway}/verba/api",
        key.expose(),
        calls[9].0
    )?;
    writeln!(
        out,
        "\n  # what Graph received: keys and a login were fetched, and one DELETE came for each call, with its 204"
    )?;
    writeln!(out, "  curl -s http://{simulator}/sim/requests")?;
    writeln!(
        out,
        "\n  # what Graph told callgate of its calls\n  curl -s http://{simulator}/sim/notifications"
    )?;
    writeln!(out, "\n  # is it ready?\n  curl -s http://{admin}/readyz")
}

/// Prints commands about a call that rings, and about people in the call `group`.
pub(super) fn lines_about_people(stage: &Stage, group: &str) -> io::Result<()> {
    let Stage { gateway, simulator, .. } = stage;
    let url = |action, rest: &str| format!("'http://{gateway}{}{rest}'", stage.query(action));
    let mut out = io::stdout().lock();
    writeln!(out, "\nFor each of these a key needs a right of its own, which this one has:")?;
    writeln!(
        out,
        "\n  # a call rings and is rejected: code 0\n  \
         curl -s -o /dev/null -d '{{\"state\":\"incoming\",\"source\":\"+49301234199\",\
         \"targets\":[\"{RINGING}\"]}}' http://{simulator}/sim/calls; sleep 1; curl -s {}",
        url("RejectCall", &format!("&extension={RINGING}&status=ongoing"))
    )?;
    for (what, action, rest) in [
        (
            "one of three is removed from a call: code 0",
            "DeleteParticipant",
            format!("&participantID={ANN}"),
        ),
        (
            "a user is invited into it: code 0 with Graph's operation",
            "InviteParticipant",
            format!("&userID={BOB}"),
        ),
        (
            "everybody is removed from it, and then our leg ends: code 0",
            "DeleteCall",
            "&scope=all&detail=1".to_owned(),
        ),
    ] {
        let url = url(action, &format!("&callID={group}{rest}"));
        writeln!(out, "\n  # {what}\n  curl -s {url}")?;
    }
    writeln!(out, "\nServing until Ctrl-C.")?;
    out.flush()
}
