//! `deletions list`, `export`, `retry` and `cancel`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Place;

/// The id of the nth deletion.
fn id(nth: usize) -> String {
    format!("0192f3a0-0000-7000-8000-{nth:012}")
}

/// A place with one deletion for each of these states, each of a call of its own, an hour apart; the
/// first one was recorded first, and each had one attempt unless it is open.
fn recorded(states: &[&str]) -> Place {
    let place = Place::ready();
    let lines =
        (1..=states.len()).map(|n| format!("{{\"graphCallID\":\"g{n}\",\"callID\":\"c{n}\"}}\n"));
    place.run_with(&["calls", "import"], lines.collect::<String>()).expect(0);
    let mut sql = String::new();
    for (nth, state) in (1..).zip(states) {
        let (at, id) = (1_800_000_000_000_i64 + 3_600_000 * nth, id(usize::try_from(nth).unwrap()));
        let step = if *state == "confirmed" { "sent" } else { state };
        let (next, settled) = if *state == "open" { (at, 0) } else { (0, at) };
        writeln!(
            sql,
            "INSERT INTO deletions (deletion, deletion_id, tenant, kind, selector, selector_hash, \
             scope, reason, call, state, failure, created_at, deadline_at, settled_at) VALUES \
             ({nth}, '{id}', 1, 'DeleteCall', 's', x'00', 'leg', 'a, \"b\"' || char(10) || 'c', \
             {nth}, '{state}', 'refused', {at}, {at} + 86400000, nullif({settled}, 0)); \
             INSERT INTO steps (deletion, position, tenant, operation, state, attempts, \
             next_attempt_at, deadline_at) VALUES ({nth}, 1, 1, 'hang-up', '{step}', 1, \
             nullif({next}, 0), {at} + 86400000);"
        )
        .unwrap();
        if *state != "open" {
            let answer = if *state == "failed" { 403 } else { 204 };
            writeln!(
                sql,
                "INSERT INTO attempts (deletion, position, number, tenant, started_at, answered_at, \
                 status, request_id, effect_possible) VALUES ({nth}, 1, 1, 1, {at}, {at}, {answer}, \
                 'request-{nth}', 0);"
            )
            .unwrap();
        }
    }
    place.sqlite().execute_batch(&sql).unwrap();
    place
}

/// The numbers of the listed deletions.
#[track_caller]
fn listed(place: &Place, args: &str) -> Vec<usize> {
    let args: Vec<_> =
        ["deletions", "list", "--json"].into_iter().chain(args.split_whitespace()).collect();
    let json = place.run(&args).expect(0).json();
    let number = |one: &Value| one["id"].as_str().unwrap()[24..].parse().unwrap();
    json.as_array().unwrap().iter().map(number).collect()
}

fn states(place: &Place) -> Vec<String> {
    let sqlite = place.sqlite();
    let mut all = sqlite.prepare("SELECT state FROM deletions ORDER BY deletion").unwrap();
    all.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_list_is_narrowed_by_every_filter() {
    let place = recorded(&["failed", "open", "sent", "failed"]);
    let key = place.key(&[]);
    place
        .sqlite()
        .execute_batch(
            "UPDATE deletions SET key = 1, kind = 'RejectCall' WHERE deletion = 2; \
             INSERT INTO tenants (tenant_id, created_at) VALUES ('fabrikam.example', 1)",
        )
        .unwrap();
    for (args, expected) in [
        ("", vec![4, 3, 2, 1]),
        ("--state failed", vec![4, 1]),
        ("--state failed --state open", vec![4, 2, 1]),
        ("--kind rejectcall", vec![2]),
        (&format!("--key {key}"), vec![2]),
        ("--tenant 72F988BF-86F1-41AF-91AB-2D7CD011DB47", vec![4, 3, 2, 1]),
        ("--tenant fabrikam.example", vec![]),
        ("--call c3", vec![3]),
        ("--call g3", vec![3]),
        ("--since 2027-01-15T11:00:00Z", vec![4, 3]),
        ("--until 2027-01-15T11:00:00Z", vec![2, 1]),
        ("--since 2027-01-15T11:00:00Z --until 2027-01-15T12:00:00+00:00 --state sent", vec![3]),
        ("--until 5200w", vec![]),
    ] {
        assert_eq!(listed(&place, args), expected, "{args}");
    }
}

#[test]
fn a_list_goes_on_where_the_page_before_ended() {
    let place = recorded(&["failed", "open", "failed"]);
    let first = place.run(&["deletions", "list", "--limit", "2"]).expect(0);
    assert_eq!(first.out.lines().count(), 3);
    assert_eq!(first.talk, format!("there are more: the next page is --before {}\n", id(2)));
    let next = place.run(&["deletions", "list", "--limit", "2", "--before", &id(2)]).expect(0);
    assert!(next.out.contains(&id(1)) && next.out.lines().count() == 2, "{}", next.out);
    assert_eq!(next.talk, "");
    let nowhere = place.run(&["deletions", "list", "--before", &id(9)]);
    nowhere.expect_failure(65, &format!("callgate: no deletion has the id {}\n", id(9)));
}

#[test]
fn wrong_filters_are_64() {
    let place = recorded(&[]);
    for (args, talk) in [
        (&["deletions", "list", "--since", "yesterday"][..], "how long ago, such as 30m"),
        (&["deletions", "list", "--kind", "delete"][..], "expected one of DeleteCall, RejectCall"),
        (&["deletions", "export", "--state", "done"][..], "expected one of armed, open"),
        (&["deletions", "list", "--since", "1d", "--until", "2d"][..], "is not before --until"),
        (&["deletions", "retry", &id(1), "--state", "failed"][..], "cannot be used with"),
        (&["deletions", "cancel", "x"][..], "expected an id as `deletions list` shows it"),
    ] {
        let ended = place.run(args).expect(64);
        assert!(ended.talk.contains(talk), "{args:?}: {}", ended.talk);
        assert_eq!(ended.out, "", "{args:?}");
    }
}

#[test]
fn an_export_has_every_attempt_as_json_lines_and_as_csv() {
    let place = recorded(&["failed", "open"]);
    let lines = place.run(&["deletions", "export"]).expect(0);
    let lines: Vec<Value> =
        lines.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["id"], &lines[1]["id"]), (&json!(id(2)), &json!(id(1))));
    assert_eq!(lines[1]["steps"][0]["attempts"][0]["requestID"], "request-1");
    let rows = place.run(&["deletions", "export", "--format", "csv"]).expect(0);
    let mut reader = csv::Reader::from_reader(rows.out.as_bytes());
    let names = reader.headers().unwrap().clone();
    let cells: Vec<_> = reader.records().map(Result::unwrap).collect();
    let cell = |row: usize, name: &str| &cells[row][names.iter().position(|n| n == name).unwrap()];
    assert_eq!(cells.len(), 2);
    assert_eq!(
        (cell(0, "state"), cell(0, "attempt"), cell(0, "operation")),
        ("open", "", "hang-up")
    );
    assert_eq!((cell(1, "requestID"), cell(1, "status")), ("request-1", "403"));
    assert_eq!(cell(1, "reason"), "a, \"b\"\u{fffd}c");
    // A step that was not tried yet says when it will be, beside the one that was.
    place.run(&["deletions", "retry", &id(1)]).expect(0);
    place.sqlite().execute("DELETE FROM steps WHERE deletion = 2", ()).unwrap();
    let rows = place.run(&["deletions", "export", "--format", "csv"]).expect(0);
    let mut reader = csv::Reader::from_reader(rows.out.as_bytes());
    let cells: Vec<_> = reader.records().map(Result::unwrap).collect();
    let cell = |row: usize, name: &str| &cells[row][names.iter().position(|n| n == name).unwrap()];
    let steps: Vec<_> =
        (0..cells.len()).map(|row| [cell(row, "position"), cell(row, "attempt")]).collect();
    assert_eq!(steps, [["", ""], ["1", "1"], ["2", ""]]);
    assert_eq!((cell(2, "stepState"), cell(2, "startedAt")), ("open", ""));
    assert!(!cell(2, "nextAttemptAt").is_empty(), "{}", rows.out);
    let none = place.run(&["deletions", "export", "--state", "held"]).expect(0);
    assert_eq!((none.out.as_str(), none.talk.as_str()), ("", "there are no such deletions\n"));
}

#[test]
fn an_export_goes_through_all_pages_and_ends_quietly_when_nobody_reads_it() {
    let place = recorded(&["failed"; 450]);
    let all = place.run(&["deletions", "export"]).expect(0).out;
    let ids: Vec<_> = all
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, (1..=450).rev().map(id).collect::<Vec<_>>());
    for format in ["csv", "jsonl"] {
        let unread = place.run_unread(&["deletions", "export", "--format", format]).expect(0);
        assert_eq!(unread.talk, "");
    }
}

#[test]
fn what_is_named_is_retried_together_or_not_at_all() {
    let place = recorded(&["failed", "confirmed", "failed"]);
    let refused = place.run(&["deletions", "retry", &id(1), &id(2), &id(9)]);
    refused.expect_failure(
        65,
        &format!(
            "callgate: deletion {}: Graph has taken it: it is confirmed\ncallgate: deletion {}: no \
             deletion has this id\ncallgate: nothing was changed\n",
            id(2),
            id(9)
        ),
    );
    assert_eq!(states(&place), ["failed", "confirmed", "failed"]);
    let done = place.run(&["deletions", "retry", &id(1), &id(3), &id(1), "--json"]).expect(0);
    assert_eq!(done.talk, "2 deletions are open again\n");
    let expected = json!({"id": id(1), "result": "retried", "notBefore": null, "stateBefore": "failed",
                          "kind": "DeleteCall", "callID": "c1", "reason": null});
    assert_eq!(done.json()[0], expected);
    assert_eq!(states(&place), ["open", "confirmed", "open"]);
    let (event, personal) = place.audit().pop().unwrap();
    assert_eq!(
        (&event["action"], &event["deletion_id"]),
        (&json!("deletions retry"), &json!(id(3)))
    );
    assert!(personal["user"].is_string() && personal["host"].is_string());
}

#[test]
fn a_filter_shows_what_it_would_do_and_does_it_with_yes() {
    let place = recorded(&["failed", "sent", "failed", "open"]);
    let args = ["deletions", "retry", "--since", "5000w", "--state", "failed", "--state", "sent"];
    let shown = place.run(&args).expect(64);
    assert!(shown.out.contains("would be retried"), "{}", shown.out);
    assert!(
        shown.out.contains("refused           Graph has taken it: it is sent"),
        "{}",
        shown.out
    );
    assert_eq!(
        shown.talk,
        "callgate: nothing was changed: 2 of 3 would be retried; repeat the command with --yes\n"
    );
    assert_eq!(states(&place), ["failed", "sent", "failed", "open"]);
    let done = place.run(&[&args[..], &["--yes"]].concat()).expect(0);
    assert_eq!(done.talk, "2 deletions are open again; 1 left as they were\n");
    assert_eq!(states(&place), ["open", "sent", "open", "open"]);
    let (event, _) = place.audit().pop().unwrap();
    assert_eq!(event["parameters"], json!(["--state", "--since"]));
    // One that alone is meant is shown first as well.
    place.run(&["deletions", "cancel", "--call", "c4"]).expect(64);
    assert_eq!(states(&place)[3], "open");
    place.run(&["deletions", "cancel", "--call", "c4", "--yes"]).expect(0);
    assert_eq!(states(&place)[3], "cancelled");
}

#[test]
fn a_filter_that_leaves_nothing_out_is_refused() {
    let place = recorded(&["open", "open", "failed"]);
    for (verb, state) in [("cancel", "open"), ("retry", "failed")] {
        for yes in [&[][..], &["--yes"]] {
            let args = [&["deletions", verb, "--since", "5000w"], yes].concat();
            let refused = place.run(&args).expect(65);
            let hint = format!("say so with --state {state}; nothing was changed");
            assert!(refused.talk.contains("this leaves no deletion out"), "{}", refused.talk);
            assert!(refused.talk.contains(&hint), "{}", refused.talk);
        }
    }
    assert_eq!(states(&place), ["open", "open", "failed"]);
    // Who says which state is meant means it, also when there is no other.
    place.run(&["deletions", "cancel", "--state", "open", "--yes"]).expect(0);
    assert_eq!(states(&place), ["cancelled", "cancelled", "failed"]);
    let place = recorded(&["open", "open"]);
    place.run(&["deletions", "cancel", "--state", "open", "--yes"]).expect(0);
    assert_eq!(states(&place), ["cancelled", "cancelled"]);
}

#[test]
fn a_filter_that_matches_nothing_or_nothing_that_can_be_changed_is_65() {
    let place = recorded(&["sent", "sent", "open"]);
    let none = place.run(&["deletions", "retry", "--state", "failed", "--yes"]);
    none.expect_failure(65, "callgate: there are no such deletions; nothing was changed\n");
    for yes in [&[][..], &["--yes"]] {
        let args = [&["deletions", "retry", "--state", "sent"], yes].concat();
        let refused = place.run(&args).expect(65);
        assert_eq!(refused.talk, "callgate: none of them can be retried\n");
        assert!(refused.out.contains("Graph has taken it: it is sent"), "{}", refused.out);
    }
    assert_eq!(states(&place), ["sent", "sent", "open"]);
}

#[test]
fn a_filter_that_names_what_nobody_knows_is_told_from_one_that_finds_nothing() {
    let place = recorded(&["failed"]);
    for args in [&["list", "--json"][..], &["export"], &["retry"], &["cancel", "--yes"]] {
        let nobody = [&["deletions"], args, &["--tenant", "nobody.example"]].concat();
        let text = "callgate: nothing is known of tenant nobody.example\n";
        place.run(&nobody).expect_failure(65, text);
    }
    let unknown = "no such call is known";
    for args in ["list", "export"] {
        let none = place.run(&["deletions", args, "--call", "c2"]).expect(0);
        assert_eq!((none.out.as_str(), none.talk), ("", format!("{unknown}\n")));
    }
    let none = place.run(&["deletions", "cancel", "--call", "c2"]);
    none.expect_failure(65, &format!("callgate: {unknown}; nothing was changed\n"));
    // Of the call that is known there is none of this state.
    let none = place.run(&["deletions", "list", "--call", "g1", "--state", "armed"]).expect(0);
    assert_eq!(none.talk, "there are no such deletions\n");
}

#[test]
fn an_armed_deletion_says_for_which_number_it_waits_and_until_when() {
    let place = recorded(&["failed"]);
    let sql = "UPDATE deletions SET state = 'armed', call = NULL; DELETE FROM steps; \
               INSERT INTO armed (deletion, rules, after_call, tried_for) \
               VALUES (1, '{\"numbers\":[\"8999\",\"+498999\"]}', 0, 1)";
    place.sqlite().execute_batch(sql).unwrap();
    let waits = "it waits for the next call of 8999, until 2027-01-16T09:00:00Z";
    let shown = place.run(&["deletions", "show", &id(1)]).expect(0).out;
    assert!(shown.lines().any(|line| line == format!("waits     {waits}")), "{shown}");
    let listed = place.run(&["deletions", "list"]).expect(0).out;
    assert!(listed.trim_end().ends_with(waits), "{listed}");
    let lines = place.run(&["deletions", "export"]).expect(0).json();
    assert_eq!(lines["waits"], waits);
    // Nobody called until its time was over: there is nothing to try again.
    place.sqlite().execute("UPDATE deletions SET state = 'obsolete'", ()).unwrap();
    let retried = place.run(&["deletions", "retry", &id(1)]).expect(65);
    assert!(
        retried.talk.contains("no call began: its client has to ask again"),
        "{}",
        retried.talk
    );
}

#[test]
fn whoever_names_no_deletion_is_told_how_to_and_of_which_states_there_are() {
    let place = recorded(&["failed"]);
    for args in [&["retry"][..], &["cancel", "--yes"]] {
        let nothing = place.run(&[&["deletions"], args].concat()).expect(64);
        for way in ["by their ids", "standard input", "--state", "--tenant", "--until"] {
            assert!(nothing.talk.contains(way), "{way} in {}", nothing.talk);
        }
    }
    for word in ["opne", "pending_approval"] {
        let wrong = place.run(&["deletions", "list", "--state", word]).expect(64);
        assert!(wrong.talk.contains("expected one of armed, open, sent, "), "{}", wrong.talk);
        assert!(!wrong.talk.contains(", pending_approval"), "{}", wrong.talk);
    }
    assert_eq!(states(&place), ["failed"]);
}

#[test]
fn ids_come_from_a_list_and_half_a_list_changes_nothing() {
    let place = recorded(&["failed", "failed"]);
    let list = place.run(&["deletions", "list", "--json"]).expect(0).out;
    let export = place.run(&["deletions", "export"]).expect(0).out;
    let cut = &export[..export.len() - 20];
    place.run_with(&["deletions", "retry", "-"], cut).expect_failure(
        65,
        "callgate: standard input, line 2: the JSON ends too early: expected an object with an `id` on \
         one line, as `deletions export` prints it; nothing was changed\n",
    );
    let half = place.run_with(&["deletions", "retry", "-"], &list[..list.len() - 4]).expect(65);
    assert!(half.talk.contains("standard input, line "), "{}", half.talk);
    let ends = ": the JSON ends too early: expected an array of ids, or of objects with an `id`, as \
                `deletions list --json` prints it; nothing was changed\n";
    assert!(half.talk.ends_with(ends), "{}", half.talk);
    let nothing = place.run_with(&["deletions", "retry", "-"], "\n");
    nothing.expect_failure(65, "callgate: standard input has no ids; nothing was changed\n");
    let many: String = (1..=1001).map(|nth| id(nth) + "\n").collect();
    let many = place.run_with(&["deletions", "retry", "-"], many).expect(65);
    assert!(many.talk.contains("1001 ids are too many"), "{}", many.talk);
    assert_eq!(states(&place), ["failed", "failed"]);

    place.run_with(&["deletions", "retry", "-"], &list).expect(0);
    assert_eq!(states(&place), ["open", "open"]);
    place.run_with(&["deletions", "cancel", "-"], format!("{}\n{}\n", id(1), id(2))).expect(0);
    assert_eq!(states(&place), ["cancelled", "cancelled"]);
}

#[test]
fn what_has_been_sent_is_not_cancelled() {
    let place = recorded(&["sent", "open"]);
    let one = place.run(&["deletions", "cancel", &id(1)]);
    let sent = "Graph has taken it: it is sent";
    one.expect_failure(
        65,
        &format!("callgate: deletion {}: {sent}\ncallgate: nothing was changed\n", id(1)),
    );
    place
        .sqlite()
        .execute("UPDATE steps SET lease_owner = 'x', lease_until = 1 WHERE deletion = 2", ())
        .unwrap();
    let two = place.run(&["deletions", "cancel", &id(2)]).expect(65);
    assert!(two.talk.contains("it is being sent"), "{}", two.talk);
    assert_eq!(states(&place), ["sent", "open"]);
}
