//! `tokens`: made for a key, listed, and revoked.

use super::Place;

const GUID: usize = 36;

fn sessions(place: &Place) -> serde_json::Value {
    place.run(&["tokens", "list", "--json"]).expect(0).json()
}

#[test]
fn a_token_stands_alone_on_standard_output_and_lasts_an_hour() {
    let place = Place::ready();
    let id = place.key(&["--requires-token"]);
    let id = id.as_str();
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
    let talk = place.run(&["tokens", "create", "--key", id]).expect(65).talk;
    assert!(talk.starts_with(&format!("callgate: no token was made: key {id} is rev")), "{talk}");
    let nobody = "00000000-0000-0000-0000-000000000000";
    let failure = format!("callgate: no key has the id {nobody}; see `callgate keys list`\n");
    place.run(&["tokens", "create", "--key", nobody]).expect_failure(65, &failure);
}

#[test]
fn a_key_that_needs_no_token_is_said_to_need_none() {
    let place = Place::ready();
    let key = place.key(&[]);
    let made = place.run(&["tokens", "create", "--key", &key]).expect(0);
    assert!(made.talk.ends_with("the key needs no token: what is sent with it is ignored\n"));
}

#[test]
fn a_running_session_is_listed_with_whose_it_is_and_revoked_once() {
    let place = Place::ready();
    assert_eq!(place.run(&["tokens", "list"]).expect(0).talk, "no session is running\n");
    place.run_with(&["users", "create", "jane"], "correct horse battery").expect(0);
    let key = place.key(&["--requires-token"]);
    let create = ["tokens", "create", "--json", "--key", &key];
    place.run(&create).expect(0);
    let made = place.run(&[&create[..], &["--user", "Jane"]].concat()).expect(0).json();
    let id = made["id"].as_str().unwrap();
    let listed = sessions(&place);
    let mine = listed.as_array().unwrap().iter().find(|one| one["id"] == id).unwrap();
    let expected = serde_json::json!({
        "id": id, "keyID": key, "keyName": "phones", "login": "jane",
        "createdAt": mine["createdAt"], "expiresAt": made["expiresAt"],
    });
    assert_eq!(*mine, expected);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let table = place.run(&["tokens", "list"]).expect(0).out;
    assert!(!table.contains(made["token"].as_str().unwrap()), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");

    let revoked = place.run(&["tokens", "revoke", id]).expect(0);
    assert_eq!((revoked.out, revoked.talk), (String::new(), format!("session {id} is ended\n")));
    let failure =
        format!("callgate: no running session has the id {id}; see `callgate tokens list`\n");
    place.run(&["tokens", "revoke", id]).expect_failure(65, &failure);
    assert_eq!(sessions(&place).as_array().unwrap().len(), 1);

    let joe = place.run(&[&create[..], &["--user", "joe"]].concat()).expect(65).talk;
    assert!(joe.contains("has the login joe; see `callgate users list`"), "{joe}");
    let records = place.audit();
    let of = |action: &str| {
        let mut found = records.iter().filter(|(event, _)| event["action"] == action);
        found.next_back().unwrap_or_else(|| panic!("{action}: {records:?}"))
    };
    let options = &of("tokens create").0["parameters"];
    assert_eq!(options, &serde_json::json!(["--key", "--user"]));
    for action in ["tokens create", "tokens revoke"] {
        let (event, personal) = of(action);
        assert_eq!((&event["session_id"], &personal["subject"]), (&id.into(), &"jane".into()));
        assert!(personal["user"].is_string() && personal["host"].is_string(), "{personal}");
    }
}

#[test]
fn a_token_that_nobody_read_is_no_quiet_end() {
    let place = Place::ready();
    let key = place.key(&["--requires-token"]);
    let talk = place.run_unread(&["tokens", "create", "--key", &key]).expect(70).talk;
    let id = sessions(&place)[0]["id"].as_str().unwrap().to_owned();
    assert!(talk.contains(&format!("run `callgate tokens revoke {id}`")), "{talk}");
}
