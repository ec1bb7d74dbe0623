//! `keys` and `tokens`.

use std::process::Stdio;

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
                --reason-required --allow 192.0.2.7/24 --allow ::1 --right deletecall \
                --right see-candidates --expires 2099-01-31T00:00:00+01:00 --json";
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
        "id": made["id"], "name": "PBX", "state": "valid", "tenantID": "fabrikam.example",
        "rights": ["DeleteCall", "see-candidates"], "allow": ["192.0.2.0/24", "::1"],
        "requiresToken": true, "postOnly": true, "reasonRequired": true,
        "createdAt": pbx["createdAt"], "expiresAt": "2099-01-30T23:00:00.000Z", "revokedAt": null,
    });
    assert_eq!(*pbx, expected);

    let table = place.run(&["keys", "list"]).expect(0).out;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3);
    let column = lines[0].find("STATE").unwrap();
    assert!(lines[1..].iter().all(|line| line[column..].starts_with("valid")), "{table}");
    assert!(lines[2].contains("token,post,reason  192.0.2.0/24,::1  2099-01-30T23:00:00Z"));
}

#[test]
fn what_makes_no_key_is_refused_with_what_would() {
    let place = Place::ready();
    for (args, talk) in [
        (&["--name", "ab"][..], "a name has 3 to 128 characters, this one has 2"),
        (&["--name", "abc", "--right", "All"][..], "unknown right: expected one of DeleteCall"),
        (&["--name", "abc", "--allow", "pbx.example.com"][..], "host names cannot be used"),
        (&["--name", "abc", "--allow", "192.0.2.0/33"][..], "expected an address such as"),
        (&["--name", "abc", "--expires", "soon"][..], "expected a date and time"),
        (&["--name", "abc", "--expires", "2020-01-01T00:00:00Z"][..], "lies in the past"),
        (&["--name", "abc", "--expires", "0d"][..], "lies in the past"),
        (&["--name", "abc", "--tenant", "common"][..], "expected the tenant's GUID"),
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
fn a_revoked_key_stays_listed_and_cannot_be_revoked_twice() {
    let place = Place::ready();
    let made = place.run(&["keys", "create", "--name", "phones", "--json"]).expect(0).json();
    let id = made["id"].as_str().unwrap();
    let revoked = place.run(&["keys", "revoke", id]).expect(0);
    assert_eq!((revoked.out.as_str(), revoked.talk), ("", format!("key {id} is revoked\n")));
    assert_eq!(place.run(&["keys", "list", "--json"]).expect(0).json()[0]["state"], "revoked");
    let failure =
        format!("callgate: no key that could be revoked has the id {id}; see `keys list`\n");
    place.run(&["keys", "revoke", id]).expect_failure(65, &failure);
}

#[test]
fn a_secret_that_nobody_read_is_no_quiet_end() {
    let place = Place::ready();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place
        .command(&["keys", "create", "--name", "phones"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(70));
    assert!(talk.starts_with("callgate: nobody read the secret of key "), "{talk}");
    assert!(talk.contains("run `callgate keys revoke "), "{talk}");
}

#[test]
fn a_token_stands_alone_on_standard_output_and_lasts_an_hour() {
    let place = Place::ready();
    let args = ["keys", "create", "--name", "phones", "--requires-token", "--json"];
    let key = place.run(&args).expect(0).json();
    let id = key["id"].as_str().unwrap();
    let made = place.run(&["tokens", "create", "--key", id]).expect(0);
    assert_eq!(made.out.trim_end().len(), GUID);
    let json = place.run(&["tokens", "create", "--key", id, "--json"]).expect(0).json();
    let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["expiresAt", "id", "token"]);
    let (lasts, expires): (i64, i64) = place
        .sqlite()
        .query_row(
            "SELECT expires_at - created_at, expires_at FROM sessions WHERE session_id = ?1",
            [json["id"].as_str().unwrap()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(lasts, 3_600_000);
    let printed: jiff::Timestamp = json["expiresAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(printed.as_millisecond(), expires);

    place.run(&["keys", "revoke", id]).expect(0);
    let failure = format!("callgate: no valid key has the id {id}; see `callgate keys list`\n");
    place.run(&["tokens", "create", "--key", id]).expect_failure(65, &failure);
}

#[test]
fn a_key_that_needs_no_token_is_said_to_need_none() {
    let place = Place::ready();
    let key = place.run(&["keys", "create", "--name", "phones", "--json"]).expect(0).json();
    let made = place.run(&["tokens", "create", "--key", key["id"].as_str().unwrap()]).expect(0);
    assert!(made.talk.ends_with("the key needs no token: what is sent with it is ignored\n"));
}
