//! Every form that is in a document or was seen, and variants of each: the files in
//! `tests/fixtures/notifications`, with what is read of each beside it.

mod properties;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::model::call::CallState;
use crate::model::change::{InvitationChange, Participant};

/// The fixtures: name and body.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let mut fixtures: Vec<_> = files("json")
        .into_iter()
        .map(|name| {
            let body = fs::read(folder().join(format!("{name}.json"))).unwrap();
            (name, body)
        })
        .collect();
    fixtures.sort();
    assert!(fixtures.len() > 80, "the folder is there");
    fixtures
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/notifications")
}

/// The names of the files that end in `extension`.
fn files(extension: &str) -> BTreeSet<String> {
    let names = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .filter_map(|name| Some(name.to_str()?.strip_suffix(&format!(".{extension}"))?.to_owned()))
        .collect()
}

fn said(body: &str) -> Notifications {
    match read(body.as_bytes()) {
        Ok(Delivery::Notifications(notifications)) => notifications,
        other => unreachable!("{other:?}: {body}"),
    }
}

/// One entry about `/communications/calls/c`.
fn about_call(data: &str) -> String {
    format!(
        r#"{{"value":[{{"changeType":"updated","resourceUrl":"/communications/calls/c","resourceData":{data}}}]}}"#
    )
}

#[test]
fn every_form_is_read_as_it_says_beside_it() {
    for (name, body) in fixtures() {
        insta::with_settings!({
            snapshot_path => folder(),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(name, shown(&read(&body)));
        });
    }
}

#[test]
fn every_expectation_has_its_form() {
    assert_eq!(files("snap"), files("json"));
}

/// `data` at `/app/calls/c`, `deleted`.
fn deleted(data: &str) -> String {
    format!(
        r#"{{"value":[{{"changeType":"deleted","resource":"/app/calls/c","resourceData":{data}}}]}}"#
    )
}

#[test]
fn only_the_call_itself_ends_by_being_deleted() {
    let is_ended = |body: &str| said(body).changes.iter().any(|one| one.deleted || one.created);
    for call in ["null", "{}", "[]", "[{}]", r#"{"id":"c"}"#, r##"{"@odata.type":"#x.call"}"##] {
        assert!(is_ended(&deleted(call)), "{call}");
    }
    for other in [
        r##"{"@odata.type":"#microsoft.graph.playPromptOperation","id":"o"}"##,
        r#"{"clientContext":"x","status":"completed"}"#,
        r##"{"@odata.type":"#microsoft.graph.participant","id":"p"}"##,
        r#"{"id":"p","info":{"identity":{}}}"#,
        r#"{"id":"p","isInLobby":false}"#,
        r#"{"id":"p","rosterSequenceNumber":7}"#,
        r#"[{"id":"p","info":{"identity":{}}}]"#,
        r#"[{"id":"p","removedState":{}},{"id":"q","removedState":{}}]"#,
        r#"{"call":{"id":"c","state":"established"}}"#,
    ] {
        assert!(!is_ended(&deleted(other)), "{other}");
        assert!(!is_ended(&deleted(other).replace("deleted", "created")), "{other}");
    }
}

#[test]
fn an_entry_with_a_path_that_is_not_understood_says_nothing() {
    for url in [
        "\"/communications/calls/c/participants/%0a\"",
        "\"/communications/onlineMeetings/c\"",
        "\"/communications/calls/c/d==\"",
        "7",
        "{}",
    ] {
        for names in [["resource", "resourceUrl"], ["resourceUrl", "resource"]] {
            let body = format!(
                r#"{{"value":[{{"changeType":"deleted","{}":"/app/calls/c","{}":{url}}}]}}"#,
                names[0], names[1]
            );
            let said = said(&body);
            assert_eq!((said.changes.len(), said.ignored), (0, 1), "{body}");
        }
    }
}

#[test]
fn calls_in_a_list_are_deleted_each_by_its_own_id() {
    let body = r##"{"value":[{"changeType":"deleted","resource":"/app/calls","resourceData":
        [{"id":"a"},{"@odata.type":"#x.participant","id":"p"},{"state":"terminated"},7]}]}"##;
    let said = said(body);
    assert_eq!((said.changes.len(), said.ignored), (1, 3));
    assert_eq!((said.changes[0].graph_id.0.as_str(), said.changes[0].deleted), ("a", true));
}

#[test]
fn a_call_under_the_path_of_another_one_is_left_out() {
    let body = |path: &str, data: &str| {
        format!(
            r#"{{"value":[{{"changeType":"deleted","resourceUrl":"/communications/calls/{path}","resourceData":{data}}}]}}"#
        )
    };
    let call = r#"{"id":"ab/cd==","state":"terminated"}"#;
    for path in ["ab/cd==", "ab", "other", "ab/operations/o", "ab/participants"] {
        let said = said(&body(path, call));
        assert_eq!((said.changes.len(), said.ignored), (0, 1), "{path}");
    }
    let said = said(&body("ab%2Fcd==", call));
    assert_eq!((said.changes[0].graph_id.0.as_str(), said.changes[0].deleted), ("ab/cd==", true));
}

#[test]
fn the_tenant_of_a_leg_that_is_another_call_is_not_the_calls() {
    let leg = |id: &str| {
        about_call(&format!(
            r##"{{"@odata.type":"#x.participantLeftNotification","participantId":"p","call":{{"id":"{id}","tenantId":"t"}}}}"##
        ))
    };
    assert_eq!(said(&leg("other")).tenants, []);
    assert_eq!(said(&leg("c")).tenants, [TenantId::new("t")]);
}

#[test]
fn a_removal_without_a_number_has_none() {
    let data = r#"{"info":{"identity":{"phone":{"id":"500"}}},"removedState":{}}"#;
    let body = about_call(data).replace("calls/c", "calls/c/participants/p");
    let change = said(&body).changes.remove(0);
    let Some(RosterChange::Delta { sequence, participants }) = change.roster else {
        unreachable!("one of them changed")
    };
    assert_eq!((sequence, participants[0].removed, participants[0].sequence), (None, true, None));
}

#[test]
fn an_empty_roster_says_nothing() {
    let at_roster = about_call("[]").replace("calls/c", "calls/c/participants");
    let inside = about_call(r#"{"participants":[],"state":"established"}"#);
    for body in [&at_roster, &inside, &inside.replace("updated", "created")] {
        assert_eq!(said(body).changes[0].roster, None, "{body}");
    }
}

#[test]
fn more_than_is_committed_at_once_is_not_taken_at_all() {
    let many = |count: usize, of: &str| vec![of; count].join(",");
    let target = |id: usize| format!(r#"{{"phone":{{"id":"+{}"}}}}"#, 10_000 + id);
    let entries = |count| {
        format!(
            r#"{{"value":[{}]}}"#,
            many(count, r#"{"changeType":"deleted","resource":"/app/calls/c"}"#)
        )
    };
    let listed = |count| {
        let calls = many(count, r#"{"id":"c"}"#);
        format!(r#"{{"value":[{{"resource":"/app/calls","resourceData":[{calls}]}}]}}"#)
    };
    let people = |count| {
        let people: Vec<_> = (1..count).map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
        about_call(&format!(r#"{{"participants":[{}]}}"#, people.join(",")))
    };
    let parties = |count| {
        let targets: Vec<_> = (1..count).map(target).collect();
        about_call(&format!(r#"{{"targets":[{}]}}"#, targets.join(",")))
    };
    let forms: [&dyn Fn(usize) -> String; 4] = [&entries, &listed, &people, &parties];
    for form in forms {
        assert_eq!(said(&form(MOST_ROWS)).ignored, 0);
        assert_eq!(read(form(MOST_ROWS + 1).as_bytes()), Ok(Delivery::TooMuch));
    }
}

#[test]
fn what_a_member_is_nested_in_that_nobody_reads_takes_nothing_away() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let said = said(&about_call(&format!(r#"{{"botData":{deep},"state":"terminated"}}"#)));
    assert_eq!(said.changes[0].state, Some(CallState::Terminated));
}

#[test]
fn a_body_as_large_as_bodies_get_is_read() {
    let many = vec!["[[]]"; 200_000].join(",");
    assert_eq!(said(&format!(r#"{{"value":[{many}]}}"#)).ignored, 200_000);
    let tenants: Vec<_> = (0..50_000).map(|id| format!(r#"{{"tenantId":"{id}"}}"#)).collect();
    let tenants = said(&format!(r#"{{"value":[{}]}}"#, tenants.join(",")));
    assert_eq!((tenants.tenants.len(), tenants.ignored), (MOST_TENANTS, 50_000));
    let name = "\\ud800".repeat(150_000);
    let said = said(&about_call(&format!(r#"{{"subject":"{name}","state":"hold"}}"#)));
    assert!(said.changes[0].state.is_some());
}

/// What was read, for people.
fn shown(delivery: &Result<Delivery, NotJson>) -> String {
    let said = match delivery {
        Err(NotJson) => return "not JSON".to_owned(),
        Ok(Delivery::PreGraph) => return "pre-Graph".to_owned(),
        Ok(Delivery::TooMuch) => return "too much".to_owned(),
        Ok(Delivery::Notifications(said)) => said,
    };
    let mut text = String::new();
    for tenant in &said.tenants {
        writeln!(text, "tenant {tenant}").unwrap();
    }
    for change in &said.changes {
        show_change(&mut text, change).unwrap();
    }
    write!(text, "ignored {}", said.ignored).unwrap();
    text
}

fn show_change(text: &mut String, change: &CallChange) -> std::fmt::Result {
    let mut words = vec![change.graph_id.to_string()];
    words.extend(change.created.then(|| "created".to_owned()));
    words.extend(change.deleted.then(|| "deleted".to_owned()));
    words.extend(change.state.map(|state| state.to_string()));
    writeln!(text, "call {}", words.join(", "))?;
    let identifiers = [
        ("direction", change.direction.map(|direction| direction.as_str().to_owned())),
        ("chain", change.chain_id.clone()),
        ("thread", change.thread_id.clone()),
        ("join meeting", change.join_meeting_id.clone()),
        ("subject", change.subject.clone()),
        ("observed", change.observed.clone()),
        ("own participant", change.my_participant_id.clone()),
    ];
    for (name, value) in identifiers {
        if let Some(value) = value {
            writeln!(text, "  {name} {value}")?;
        }
    }
    for party in &change.parties {
        write!(text, "  {} {} {} = {}", party.role, party.kind, party.raw, party.normalised)?;
        let name = party.display_name.as_ref();
        writeln!(text, "{}", name.map_or(String::new(), |name| format!(", name {name}")))?;
    }
    if let Some(end) = &change.end {
        writeln!(text, "  end {:?}/{:?} {:?} {:?}", end.code, end.subcode, end.message, end.word)?;
    }
    if let Some(InvitationChange { operation_id, participant_id, user_id, failed }) =
        &change.invitation
    {
        let participant_id = participant_id.as_deref().unwrap_or("nobody");
        write!(text, "  invitation {operation_id}: {participant_id}, user {user_id:?}")?;
        let failed =
            failed.as_ref().map(|why| format!(", {:?}/{:?} failed", why.code, why.subcode));
        writeln!(text, "{}", failed.unwrap_or_default())?;
    }
    match &change.roster {
        None => {}
        Some(RosterChange::Left(id)) => writeln!(text, "  left {id}")?,
        Some(RosterChange::Whole(people)) => show_people(text, "everybody", people)?,
        Some(RosterChange::Delta { sequence, participants }) => {
            show_people(text, &format!("delta {sequence:?}"), participants)?;
        }
    }
    Ok(())
}

fn show_people(text: &mut String, name: &str, people: &[Participant]) -> std::fmt::Result {
    writeln!(text, "  {name}:")?;
    people.iter().try_for_each(|one| {
        let removed = if one.removed { "removed " } else { "" };
        let Participant { participant_id, raw, normalised, user_id, display_name, sequence, .. } =
            one;
        let app = one.app_id.as_ref().map_or(String::new(), |app| format!(", app {app}"));
        writeln!(
            text,
            "    {removed}{participant_id}: {raw:?} = {normalised:?}, user {user_id:?}, name {display_name:?}, {sequence:?}{app}"
        )
    })
}
