//! `keys create`, `keys list`, `keys show` and `keys revoke`.

use super::Place;

const GUID: usize = 36;

#[test]
fn the_secret_stands_alone_on_standard_output() {
    let place = Place::ready();
    let made = place.run(&["keys", "create", "--name", "phones"]).expect(0);
    assert_eq!(made.out.trim_end().len(), GUID);
    assert_eq!(made.out.lines().count(), 1);
    assert!(!made.talk.contains(made.out.trim_end()), "{}", made.talk);
    let quiet = place.run(&["keys", "create", "--name", "phones", "-q"]).expect(0);
    assert_eq!(quiet.talk, "");
    let json = place.run(&["keys", "create", "--name", "phones", "--json"]).expect(0).json();
    let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["id", "name", "secret"]);
    assert_eq!(json["name"], "phones");
}

#[test]
fn what_a_key_was_given_is_listed() {
    let place = Place::ready();
    let empty = place.run(&["keys", "list"]).expect(0);
    assert_eq!(empty.out, "");
    assert_eq!(empty.talk, "there are no keys: `callgate keys create` makes one\n");
    assert_eq!(place.run(&["keys", "list", "--json"]).expect(0).out, "[]\n");

    place.run(&["keys", "create", "--name", "phones"]).expect(0);
    let args = "keys create --name PBX --tenant FABRIKAM.example --requires-token --post-only \
                --reason-required --allow 192.0.2.0/24 --allow ::1 --allow 127.0.0.1 \
                --right deletecall --right see-candidates --owner Jane --identifier callid \
                --identifier extension --numbers +4930* --no-query-passwords --expires 2099-01-31T00:00:00+01:00 --json";
    let made = place.run(&args.split_whitespace().collect::<Vec<_>>()).expect(0).json();
    let keys = place.run(&["keys", "list", "--json"]).expect(0).json();
    let (phones, pbx) = (&keys[0], &keys[1]);
    assert_eq!(phones["tenantID"], "72f988bf-86f1-41af-91ab-2d7cd011db47");
    assert_eq!(phones["expiresAt"], serde_json::Value::Null);
    assert_eq!(
        phones["rights"],
        serde_json::json!(["DeleteCall", "GetCallID", "GetCallInformation", "GetDeletion"])
    );
    let expected = serde_json::json!({
        "id": made["id"], "name": "PBX", "owner": "Jane", "state": "valid",
        "tenantID": "fabrikam.example", "rights": ["DeleteCall", "see-candidates"],
        "identifiers": ["callID", "extension"], "numbers": ["+4930*"],
        "allow": ["192.0.2.0/24", "::1", "127.0.0.1"],
        "requiresToken": true, "postOnly": true, "reasonRequired": true, "queryPasswords": false,
        "weak": false, "createdAt": pbx["createdAt"], "expiresAt": "2099-01-30T23:00:00.000Z",
        "revokedAt": null, "successorID": null, "lastUsedAt": null, "queryPasswordUses": 0,
        "uses": [],
    });
    assert_eq!(*pbx, expected);

    let table = place.run(&["keys", "list"]).expect(0).out;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3);
    let column = lines[0].find("STATE").unwrap();
    assert!(lines[1..].iter().all(|line| line[column..].starts_with("valid")), "{table}");
    assert!(lines[1].contains("  -                 default "), "its tenant is ours: {table}");
    assert!(lines[2].contains("  fabrikam.example  "), "{table}");
    let shown = "  token,post,reason,from,numbers,ids,no-query  2099-01-30  -";
    assert!(lines[2].ends_with(shown), "{table}");

    let id = made["id"].as_str().unwrap();
    assert_eq!(place.run(&["keys", "show", id, "--json"]).expect(0).json(), expected);
    let shown = place.run(&["keys", "show", id]).expect(0).out;
    for fact in [
        "owner                   Jane\n",
        "identifiers             callID, extension\n",
        "numbers                 +4930*\n",
        "from                    192.0.2.0/24, ::1, 127.0.0.1\n",
        "passwords in the query  refused\n",
        "last used               never\n",
    ] {
        assert!(shown.contains(fact), "{fact}: {shown}");
    }
    assert!(!shown.contains("weak") && !shown.contains("successor"), "{shown}");
}

#[test]
fn what_makes_no_key_is_refused_with_what_would() {
    let place = Place::ready();
    for (args, talk) in [
        (&["--name", "ab"][..], "a name has 3 to 128 characters, this one has 2"),
        (&["--name", "abc", "--right", "All"][..], "unknown right: expected one of DeleteCall"),
        (&["--name", "abc", "--allow", "pbx.example.com/24"][..], "or a host name such as"),
        (&["--name", "abc", "--owner", " "][..], "an owner has 1 to 256 characters"),
        (&["--name", "abc", "--identifier", "number"][..], "expected one of callID"),
        (&["--name", "abc", "--numbers", "*"][..], "'--numbers <PATTERN>'"),
        (&["--name", "abc", "--allow", "192.0.2.0/33"][..], "expected an address such as"),
        (&["--name", "abc", "--allow", "10.0.0.1/8"][..], "write 10.0.0.0/8 for the network, or"),
        (&["--name", "abc", "--expires", "soon"][..], "expected a date and time"),
        (&["--name", "abc", "--expires", "2020-01-01T00:00:00Z"][..], "lies in the past"),
        (&["--name", "abc", "--expires", "0d"][..], "lies in the past"),
        (&["--name", "abc", "--tenant", "common"][..], "expected the tenant's GUID"),
        (
            &["--name", "abc", "--right", "scope-all"][..],
            "--right: scope-all does nothing without DeleteCall",
        ),
        (
            &[
                "--name",
                "abc",
                "--right",
                "DeleteCall",
                "--right",
                "scope-all:1",
                "--right",
                "scope-all:5",
            ][..],
            "is there twice with different numbers",
        ),
        (&[][..], "--name <NAME>"),
    ] {
        let ended = place.run(&[&["keys", "create"], args].concat()).expect(64);
        assert!(ended.talk.contains(talk), "{args:?}: {}", ended.talk);
    }
    assert_eq!(place.run(&["keys", "list", "--json"]).expect(0).out, "[]\n");
}

#[test]
fn without_any_tenant_it_says_where_to_name_one() {
    let place = Place::empty();
    place.run(&["migrate"]).expect(0);
    place.run(&["keys", "create", "--name", "phones"]).expect_failure(
        64,
        "callgate: a key belongs to one tenant: say which with --tenant ID, or configure \
         graph.tenant_id\n",
    );
}

#[test]
fn the_table_of_usual_keys_fits_a_screen() {
    let place = Place::ready();
    place.key(&["--allow", "192.0.2.0/24", "--expires", "90d"]);
    place.key(&["--requires-token", "--allow", "localhost", "--no-query-passwords"]);
    place.key(&["--right", "Notify", "--allow", "192.0.2.9"]);
    let hotline = "--numbers +4930* --identifier extension --reason-required --expires 1w";
    place.key(&hotline.split(' ').collect::<Vec<_>>());
    place.run(&["keys", "rotate", &place.key(&[])]).expect(0);
    place.run(&["keys", "create", "--name", &"ä".repeat(128)]).expect(0);
    let table = place.run(&["keys", "list"]).expect(0).out;
    assert!(!table.contains("TENANT"), "{table}");
    assert!(table.contains("  default  token,from,no-query  "), "{table}");
    assert!(table.contains(&format!("  {}…  valid", "ä".repeat(17))), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
}

#[test]
fn whether_a_key_may_log_in_is_seen_in_its_rights() {
    let place = Place::ready();
    let names = ["DeleteCall", "GetCallID", "GetCallInformation", "GetDeletion"];
    let rights = names.map(|name| ["--right", name]).concat();
    let login = ["--right", "RequestToken", "--right", "ReleaseToken"];
    place.key(&[&rights[..], &["--requires-token"]].concat());
    place.key(&[&rights[..], &login].concat());
    place.key(&login);
    let table = place.run(&["keys", "list"]).expect(0).out;
    for (line, shown) in table.lines().skip(1).zip(["default,no-login", "default,login", "login"]) {
        assert!(line.contains(&format!("  {shown}  ")), "{table}");
    }
}

#[test]
fn a_key_is_made_with_what_it_is_to_know() {
    let place = Place::ready();
    let create = |flags: &[&str]| {
        place.run(&[&["keys", "create", "--name", "phones"], flags].concat()).expect(0).talk
    };
    let other = create(&["--tenant", "fabrikam.example"]);
    assert!(other.contains("tenant fabrikam.example is not configured"), "{other}");
    let host = create(&["--allow", "nowhere.invalid", "--allow", "localhost"]);
    let note = "nowhere.invalid has no address now: the key answers 503 until it has\n";
    assert!(host.ends_with(note) && !host.contains("localhost"), "{host}");
    let asks = create(&["--requires-token"]);
    assert!(
        asks.contains("may ask for one with RequestToken: `callgate users create LOGIN` "),
        "{asks}"
    );
    let given = create(&["--requires-token", "--right", "DeleteCall"]);
    assert!(given.contains("no right to ask for one: `callgate tokens create --key "), "{given}");
    let usual = create(&[]);
    assert_eq!(usual.lines().count(), 1, "{usual}");
    let rights = place.keys()[2]["rights"].clone();
    assert!(rights.as_array().unwrap().contains(&"RequestToken".into()), "{rights}");
}

#[test]
fn uses_are_shown_with_who_it_was() {
    let place = Place::ready();
    let id = place.key(&[]);
    let used = "INSERT INTO key_uses (key, folded, peer, login, first_used_at, last_used_at) \
                VALUES (1, '', '192.0.2.7', '', 1800000000000, 1800000001000), \
                (1, 'jane', '192.0.2.8', 'jane', 1800000000000, 1800000002000)";
    place.sqlite().execute(used, ()).unwrap();
    let counted = "UPDATE keys SET last_used_at = 1800000002000, query_password_uses = 3";
    place.sqlite().execute(counted, ()).unwrap();
    let json = place.run(&["keys", "show", &id, "--json"]).expect(0).json();
    assert_eq!(json["lastUsedAt"], "2027-01-15T08:00:02.000Z");
    assert_eq!(json["queryPasswordUses"], 3);
    assert_eq!(
        json["uses"],
        serde_json::json!([
            {"peer": "192.0.2.8", "login": "jane", "firstUsedAt": "2027-01-15T08:00:00.000Z",
             "lastUsedAt": "2027-01-15T08:00:02.000Z"},
            {"peer": "192.0.2.7", "login": null, "firstUsedAt": "2027-01-15T08:00:00.000Z",
             "lastUsedAt": "2027-01-15T08:00:01.000Z"},
        ])
    );
    let shown = place.run(&["keys", "show", &id]).expect(0).out;
    assert!(shown.contains("allowed, 3 came"), "{shown}");
    let table = "ADDRESS    LOGIN  FIRST USED            LAST USED\n\
                 192.0.2.8  jane   2027-01-15T08:00:00Z  2027-01-15T08:00:02Z\n\
                 192.0.2.7  -      2027-01-15T08:00:00Z  2027-01-15T08:00:01Z\n";
    assert!(shown.ends_with(table), "{shown}");
    let list = place.run(&["keys", "list"]).expect(0).out;
    assert!(list.ends_with("  2027-01-15\n"), "who used a valid key is no news: {list}");
}

#[test]
fn a_revoked_key_stays_listed_and_cannot_be_revoked_twice() {
    let place = Place::ready();
    let id = place.key(&["--requires-token"]);
    let id = id.as_str();
    place.run(&["tokens", "create", "--key", id]).expect(0);
    place.run(&["tokens", "create", "--key", id]).expect(0);
    let revoked = place.run(&["keys", "revoke", id]).expect(0);
    let talk = format!("key {id} is revoked; 2 sessions ended with it\n");
    assert_eq!((revoked.out.as_str(), revoked.talk), ("", talk));
    let key = &place.keys()[0];
    assert_eq!(key["state"], "revoked");
    let since = key["revokedAt"].as_str().unwrap().split('.').next().unwrap();
    let failure = format!("callgate: key {id} is revoked already, since {since}Z\n");
    place.run(&["keys", "revoke", id]).expect_failure(65, &failure);

    let nobody = "00000000-0000-0000-0000-000000000000";
    let failure = format!("callgate: no key has the id {nobody}; see `callgate keys list`\n");
    for args in [&["keys", "revoke", nobody], &["keys", "show", nobody]] {
        place.run(args).expect_failure(65, &failure);
    }
}

#[test]
fn a_secret_that_nobody_read_is_no_quiet_end() {
    let place = Place::ready();
    let ended = place.run_unread(&["keys", "create", "--name", "phones"]).expect(70);
    assert!(ended.talk.starts_with("callgate: nobody read the secret of key "), "{}", ended.talk);
    assert!(ended.talk.contains("run `callgate keys revoke "), "{}", ended.talk);
}

#[test]
fn the_record_of_a_new_key_names_its_settings_and_none_of_their_values() {
    let place = Place::ready();
    place.key(&["--right", "GetCallID", "--allow", "192.0.2.7", "--numbers", "+4930*"]);
    place.key(&["--post-only", "--no-query-passwords", "--requires-token", "--reason-required"]);
    place.key(&["--owner", "Jane", "--identifier", "callID", "--expires", "90d"]);
    let records = place.audit();
    let options: Vec<_> = records.iter().map(|(event, _)| &event["parameters"]).collect();
    let expected = [
        serde_json::json!(["--name", "--tenant", "--allow", "--right", "--numbers"]),
        serde_json::json!([
            "--name",
            "--tenant",
            "--requires-token",
            "--post-only",
            "--reason-required",
            "--no-query-passwords"
        ]),
        serde_json::json!(["--name", "--tenant", "--owner", "--identifier", "--expires"]),
    ];
    assert_eq!(options, expected.iter().collect::<Vec<_>>());
    let all = format!("{records:?}");
    assert!(!all.contains("192.0.2.7") && !all.contains("+4930") && !all.contains("Jane"), "{all}");
}

#[test]
fn what_was_done_is_recorded_with_who_did_it_and_what_failed_is_not() {
    let place = Place::ready();
    let id = place.key(&[]);
    place.run(&["keys", "create", "--name", "ab"]).expect(64);
    place.run(&["keys", "revoke", &id]).expect(0);
    place.run(&["keys", "revoke", &id]).expect(65);
    let records = place.audit();
    let actions: Vec<_> = records.iter().map(|(event, _)| &event["action"]).collect();
    assert_eq!(actions, ["keys create", "keys revoke"]);
    let said = |program: &str, flag: &str| {
        let output = std::process::Command::new(program).arg(flag).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    for (event, personal) in &records {
        assert_eq!(event["key_id"].as_str(), Some(id.as_str()));
        assert_eq!(personal["user"], said("id", "-un"));
        assert_eq!(personal["host"], said("uname", "-n"));
    }
}
