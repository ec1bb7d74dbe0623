//! `calls`: what is imported, and that nothing is when a line is wrong.

use std::fmt::Write as _;

use super::Place;

const CALL: &str = r#"{"graphCallID":"Graph-1","callID":"57DAB8B1-894C-409A-B240-BD8BEAE78896","platformCallID":"p1","nativeID":"n1","meetingID":"m1","direction":"incoming","source":"+4930123456","targets":["8856","tel:+49 30 9;ext=1"],"startedAt":"2026-11-22T05:32:55+01:00","endedAt":"2026-11-22T04:40:00Z","subject":"Lunch"}"#;

fn calls(place: &Place) -> serde_json::Value {
    place.run(&["calls", "list", "--json"]).expect(0).json()
}

#[test]
fn a_call_is_imported_listed_and_shown() {
    let place = Place::ready();
    let none = place.run(&["calls", "list"]).expect(0);
    assert_eq!((none.out.as_str(), none.talk.as_str()), ("", "no calls are known\n"));
    let done = place.run_with(&["calls", "import"], CALL).expect(0);
    assert_eq!(done.out, "");
    assert!(done.talk.starts_with("1 rows: 1 added, 0 merged, "), "{}", done.talk);
    let expected = serde_json::json!([{
        "callID": "57dab8b1-894c-409a-b240-bd8beae78896", "graphCallID": "Graph-1",
        "tenantID": "72f988bf-86f1-41af-91ab-2d7cd011db47", "state": "terminated",
        "startedAt": "2026-11-22T04:32:55.000Z", "endedAt": "2026-11-22T04:40:00.000Z",
        "source": "+4930123456", "targets": ["8856", "tel:+49 30 9;ext=1"], "deletionID": null,
    }]);
    assert_eq!(calls(&place), expected);
    assert_eq!(place.run(&["calls", "list", "--ongoing", "--json"]).expect(0).out, "[]\n");
    let table = place.run(&["calls", "list"]).expect(0).out;
    assert!(table.starts_with("CALL ID  "), "{table}");
    for id in ["57dab8b1894c409ab240bd8beae78896", "Graph-1"] {
        let shown = place.run(&["calls", "show", id, "--json"]).expect(0).json();
        assert_eq!((&shown["meetingID"], &shown["subject"]), (&"m1".into(), &"Lunch".into()));
    }
    let text = place.run(&["calls", "show", "Graph-1"]).expect(0).out;
    assert!(text.contains("\nGraph call id     Graph-1\n"), "{text}");
    assert!(text.contains("\ntargets           8856, tel:+49 30 9;ext=1\n"), "{text}");
    place
        .run(&["calls", "show", "graph-1"])
        .expect_failure(65, "callgate: no call has the id graph-1\n");
}

#[test]
fn csv_and_json_say_the_same() {
    let place = Place::ready();
    let csv = "\u{feff}graphCallID,callID,platformCallID,nativeID,meetingID,direction,source,\
               targets,startedAt,endedAt,subject\r\n\r\nGraph-1,\
               57DAB8B1-894C-409A-B240-BD8BEAE78896,p1,n1,m1,incoming,+4930123456,\
               \"8856;tel:+49 30 9;ext=1\",2026-11-22T05:32:55+01:00,2026-11-22T04:40:00Z,Lunch\r\n";
    place.write("calls.csv", csv);
    place.run(&["calls", "import", "calls.csv"]).expect(0);
    let from_csv = place.run(&["calls", "show", "Graph-1", "--json"]).expect(0).json();
    let other = Place::ready();
    other.run_with(&["calls", "import", "-", "--format", "jsonl"], CALL).expect(0);
    let mut from_json = other.run(&["calls", "show", "Graph-1", "--json"]).expect(0).json();
    for time in ["firstSeenAt", "lastSeenAt"] {
        from_json[time] = from_csv[time].clone();
    }
    assert_eq!(from_csv, from_json);
}

#[test]
fn the_format_is_told_by_the_option_the_name_or_the_first_character() {
    let place = Place::ready();
    for (name, options, text) in [
        ("a.CSV", &[][..], "graphCallID\na\n"),
        ("b.ndjson", &[][..], "{\"graphCallID\":\"b\"}"),
        ("c.txt", &[][..], "\n {\"graphCallID\":\"c\"}"),
        ("d", &[][..], "graphCallID\nd\n"),
        ("e.csv", &["--format", "jsonl"][..], "{\"graphCallID\":\"e\"}"),
    ] {
        place.write(name, text);
        place.run(&[&["calls", "import", name], options].concat()).expect(0);
    }
    assert_eq!(calls(&place).as_array().unwrap().len(), 5);
}

#[test]
fn importing_again_merges_forward_only() {
    let place = Place::ready();
    let ended = r#"{"graphCallID":"g","callID":"c","endedAt":"2026-11-22T04:40:00Z"}"#;
    place.run_with(&["calls", "import"], ended).expect(0);
    let later = r#"{"graphCallID":"g","state":"established","nativeID":"n","source":"8856"}"#;
    let args = ["calls", "import", "--json"];
    let report = place.run_with(&args, format!("{later}\n{later}\n")).expect(0).json();
    assert_eq!(
        (&report["rows"], &report["added"], &report["merged"]),
        (&2.into(), &0.into(), &2.into())
    );
    let call = place.run(&["calls", "show", "g", "--json"]).expect(0).json();
    assert_eq!((&call["state"], &call["callID"]), (&"terminated".into(), &"c".into()));
    assert_eq!((&call["nativeID"], &call["source"]), (&"n".into(), &"8856".into()));
    assert_eq!(call["targets"], serde_json::json!([]));
}

#[test]
fn one_wrong_line_and_nothing_is_imported() {
    let place = Place::ready();
    place.write(
        "calls.jsonl",
        "{\"graphCallID\":\"a\",\"callID\":\"1\"}\n\
         \n\
         {\"graphCallID\":\"b\",\"state\":\"ended\"}\n\
         {\"callID\":\"c\"}\n\
         {\"graphCallID\":\"d\",\"callID\":\"1\"}\n\
         {\"graphCallID\":\"a\",\"callID\":\"2\"}\n\
         {\"graphCallID\":\"e\",\"caller\":\"8856\"}\n",
    );
    place.run(&["calls", "import", "calls.jsonl"]).expect_failure(
        65,
        "callgate: calls.jsonl, line 3: `state`: no call state of Graph's: expected one of \
         incoming, establishing, ringing, established, hold, transferring, transferAccepted, \
         redirecting, terminating, terminated\n\
         callgate: calls.jsonl, line 4: `graphCallID`: is missing\n\
         callgate: calls.jsonl, line 5: `callID`: line 1 has it for another graphCallID\n\
         callgate: calls.jsonl, line 6: `graphCallID`: line 1 has it with another callID\n\
         callgate: calls.jsonl, line 7: `caller`: unknown field\n\
         callgate: calls.jsonl: 5 wrong in all, nothing was imported\n",
    );
    assert_eq!(calls(&place), serde_json::json!([]));
    let tenants: i64 =
        place.sqlite().query_row("SELECT count(*) FROM tenants", (), |row| row.get(0)).unwrap();
    assert_eq!(tenants, 0);
}

#[test]
fn a_call_id_of_another_known_call_is_a_conflict() {
    let place = Place::ready();
    place.run_with(&["calls", "import"], r#"{"graphCallID":"a","callID":"1"}"#).expect(0);
    let lines = "{\"graphCallID\":\"b\",\"callID\":\"2\"}\n{\"graphCallID\":\"c\",\"callID\":\"1\"}\n\
                 {\"graphCallID\":\"d\",\"callID\":\"1\",\"tenantID\":\"fabrikam.example\"}\n\
                 {\"graphCallID\":\"a\",\"nativeID\":\"1\"}\n";
    place.run_with(&["calls", "import"], lines).expect_failure(
        65,
        "callgate: standard input, line 2: `callID`: another call in the registry has it\n\
         callgate: standard input: 1 wrong in all, nothing was imported\n",
    );
    assert_eq!(calls(&place).as_array().unwrap().len(), 1);
}

#[test]
fn twenty_wrong_lines_are_named_and_the_rest_is_counted() {
    let place = Place::ready();
    let ended = place.run_with(&["calls", "import"], "{}\n".repeat(25)).expect(65);
    let lines: Vec<_> = ended.talk.lines().collect();
    assert_eq!(lines.len(), 21);
    assert_eq!(lines[19], "callgate: standard input, line 20: `graphCallID`: is missing");
    assert_eq!(
        lines[20],
        "callgate: standard input: and 5 more; 25 wrong in all, nothing was imported"
    );
}

#[test]
fn a_quote_that_is_not_closed_swallows_no_lines() {
    let place = Place::ready();
    place.write("calls.csv", "graphCallID,subject\na,x\nb,\"y\nc,z\n");
    let ended = place.run(&["calls", "import", "calls.csv"]).expect(65);
    assert!(ended.talk.starts_with("callgate: calls.csv, line 3: a quote"), "{}", ended.talk);
}

#[test]
fn many_batches_beside_a_running_serve_lose_and_double_nothing() {
    let place = Place::ready();
    let lock = std::fs::File::create(place.path("callgate.db.lock")).unwrap();
    lock.lock().unwrap();
    let mut text = String::new();
    for index in 0..3000 {
        writeln!(
            text,
            "{{\"graphCallID\":\"g{index}\",\"callID\":\"c{index}\",\"source\":\"{index}\"}}"
        )
        .unwrap();
    }
    let report = place.run_with(&["calls", "import", "--json"], &text).expect(0).json();
    assert_eq!((&report["rows"], &report["added"]), (&3000.into(), &3000.into()));
    let again = place.run_with(&["calls", "import", "--json"], &text).expect(0).json();
    assert_eq!((&again["added"], &again["merged"]), (&0.into(), &3000.into()));
    let list = place.run(&["calls", "list", "--limit", "2999"]).expect(0);
    assert_eq!(list.out.lines().count(), 3000);
    assert_eq!(list.talk, "these are the newest 2999; --limit shows more\n");
    let parties: i64 =
        place.sqlite().query_row("SELECT count(*) FROM parties", (), |row| row.get(0)).unwrap();
    assert_eq!(parties, 3000);
}
