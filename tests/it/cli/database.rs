//! `check` and `migrate`, deletions, and databases that cannot be used.

use std::fs::File;

use super::Place;

/// One of each command that needs a database.
const NEEDS_DATABASE: [&[&str]; 5] = [
    &["keys", "list"],
    &["keys", "create", "--name", "phones"],
    &["calls", "list"],
    &["calls", "import", "-"],
    &["deletions", "list"],
];

#[test]
fn without_a_database_a_command_says_what_makes_one_and_makes_none() {
    let place = Place::configured();
    for args in NEEDS_DATABASE {
        place.run(args).expect_failure(
            78,
            "callgate: there is no database at callgate.db: create it with `callgate migrate` or \
             `callgate serve`\n",
        );
    }
    let check = place.run(&["check"]).expect(0);
    assert!(check.out.contains("database: none at callgate.db yet"), "{}", check.out);
    place.run(&["migrate", "--check"]).expect_failure(
        78,
        "callgate: callgate.db: there is no database yet: `callgate migrate` or `callgate serve` \
         makes it\n",
    );
    assert_eq!(place.files(), ["callgate.toml", "secret"]);
}

#[test]
fn a_new_database_is_made_without_a_backup_and_then_nothing_is_pending() {
    let place = Place::empty();
    let made = place.run(&["migrate"]).expect(0);
    assert_eq!(made.out, "");
    assert_eq!(
        made.talk,
        "callgate.db: made, with schema version 9; its pepper is in callgate.db.pepper, keep a \
         copy of that apart\n"
    );
    let files = place.files();
    assert!(!files.iter().any(|name| name.contains("backup")), "{files:?}");
    for args in [&["migrate"][..], &["migrate", "--check"][..]] {
        let again = place.run(args).expect(0);
        assert_eq!(again.talk, "callgate.db: schema version 9, nothing is pending\n");
    }
}

#[test]
fn an_older_schema_is_refused_and_backed_up_before_it_is_changed() {
    let place = Place::ready();
    place.run(&["keys", "create", "--name", "phones"]).expect(0);
    // A history that no program can continue: what matters is what is there afterwards.
    place.sqlite().execute("UPDATE refinery_schema_history SET version = version - 8", ()).unwrap();
    let refused = "callgate: the schema is at version 1, this program needs 9: run `callgate \
                   migrate`\n";
    place.run(&["keys", "list"]).expect_failure(78, refused);
    place.run(&["check"]).expect(78);
    let pending = place.run(&["migrate", "--check"]).expect(78);
    assert!(pending.talk.starts_with("callgate: callgate.db: schema version 1, this program"));
    let before = place.files();
    let failed = place.run(&["migrate"]);
    assert!(failed.talk.starts_with("the database as it was is in callgate.db.v1.2"), "{failed:?}");
    failed.expect(69);
    let backup = place.files().into_iter().find(|name| !before.contains(name)).unwrap();
    assert!(backup.ends_with("Z.backup"), "{backup}");
    let copy = rusqlite::Connection::open(place.path(&backup)).unwrap();
    let keys: i64 = copy.query_row("SELECT count(*) FROM keys", (), |row| row.get(0)).unwrap();
    assert_eq!(keys, 1);
}

#[test]
fn a_newer_schema_is_refused() {
    let place = Place::ready();
    place
        .sqlite()
        .execute_batch(
            "UPDATE schema_tolerance SET oldest_program = 99; \
             UPDATE refinery_schema_history SET version = 99 WHERE version = 9",
        )
        .unwrap();
    let talk = "callgate: the schema is at version 99 and needs a newer program than this one, \
                which knows 9\n";
    for args in [&["keys", "list"][..], &["migrate"][..], &["migrate", "--check"][..]] {
        place.run(args).expect_failure(78, talk);
    }
}

#[test]
fn the_schema_is_not_changed_under_a_running_serve() {
    let place = Place::empty();
    let lock = File::create(place.path("callgate.db.lock")).unwrap();
    lock.lock().unwrap();
    place.run(&["migrate"]).expect_failure(
        69,
        "callgate: another `callgate serve` uses the database at callgate.db\n",
    );
    assert_eq!(place.files(), ["callgate.db.lock"]);
}

#[test]
fn another_pepper_is_refused() {
    let place = Place::ready();
    place.write("callgate.db.pepper", format!("{}\n", "ab".repeat(32)));
    for args in NEEDS_DATABASE.iter().copied().chain([&["check", "-q"][..]]) {
        place.run(args).expect_failure(
            78,
            "callgate: the pepper in callgate.db.pepper is not the one this database was made \
             with: no key would be recognised; put the right file there\n",
        );
    }
}

#[test]
fn a_damaged_database_is_74() {
    let place = Place::ready();
    place.run(&["migrate"]).expect(0);
    let connection = place.sqlite();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(connection);
    let mut bytes = std::fs::read(place.path("callgate.db")).unwrap();
    bytes[4096..].fill(0x55);
    place.write("callgate.db", bytes);
    let talk = "callgate: the database at callgate.db is damaged; restore a backup\n";
    for args in [&["keys", "list"][..], &["check", "-q"][..], &["migrate"][..]] {
        place.run(args).expect_failure(74, talk);
    }
}

#[test]
fn the_file_of_something_else_is_refused_and_left_as_it_is() {
    let place = Place::configured();
    let talk = "callgate: the file at callgate.db is no callgate database: name the right one as \
                `store.url`, or put a backup in its place\n";
    let other = rusqlite::Connection::open(place.path("callgate.db")).unwrap();
    other.execute_batch("CREATE TABLE t (n)").unwrap();
    drop(other);
    for text in [std::fs::read(place.path("callgate.db")).unwrap(), b"Dear diary".repeat(20)] {
        place.write("callgate.db", &text);
        for args in [&["calls", "list"][..], &["check", "-q"][..], &["migrate"][..]] {
            place.run(args).expect_failure(78, talk);
            assert_eq!(std::fs::read(place.path("callgate.db")).unwrap(), text, "{args:?}");
        }
        assert!(!place.path("callgate.db.pepper").exists());
    }
}

#[test]
fn check_says_what_it_found_and_changes_nothing() {
    let place = Place::ready();
    place.run(&["keys", "create", "--name", "phones"]).expect(0);
    let before = std::fs::read(place.path("callgate.db")).unwrap();
    let found = place.run(&["check"]).expect(0);
    assert_eq!(
        found.out,
        "configuration: callgate.toml\n\
         database: callgate.db, schema version 9\n\
         pepper: callgate.db.pepper, the right one\n\
         keys: 1 not revoked\n"
    );
    assert_eq!(std::fs::read(place.path("callgate.db")).unwrap(), before);

    let found = place.run(&["check", "--json", "--set", "graph.client_id="]).expect(78).json();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(found[0]["level"], "error");
    assert!(found[0]["text"].as_str().unwrap().starts_with("`graph.client_id` "), "{found}");

    let bare = Place::empty().run(&["check"]).expect(0);
    assert!(bare.talk.starts_with("callgate: warning: no tenant is configured"), "{}", bare.talk);
}

#[test]
fn check_prints_every_fault_on_a_line_of_its_own() {
    let args = ["check", "--set", "foo=1", "--set", "listen.address=x", "--set", "legacy.wait=x"];
    let ended = Place::empty().run(&args).expect(78);
    assert_eq!(ended.out, "");
    assert_eq!(ended.talk.lines().count(), 3, "{}", ended.talk);
    assert!(ended.talk.lines().all(|line| line.starts_with("callgate: `")), "{}", ended.talk);
}

#[test]
fn a_deletion_is_listed_and_shown_with_what_graph_said() {
    let place = Place::ready();
    let none = place.run(&["deletions", "list"]).expect(0);
    assert_eq!((none.out.as_str(), none.talk.as_str()), ("", "there are no such deletions\n"));
    let call = r#"{"graphCallID":"g1","callID":"c1"}"#;
    place.run_with(&["calls", "import"], call).expect(0);
    let id = "0192f3a0-0000-7000-8000-000000000001";
    place
        .sqlite()
        .execute_batch(&format!(
            "INSERT INTO deletions (deletion, deletion_id, tenant, kind, peer, selector, \
             selector_hash, scope, reason, call, state, failure, created_at, deadline_at, \
             settled_at) VALUES (1, '{id}', 1, 'delete', '192.0.2.7', 's', x'00', 'leg', \
             'wrong' || char(10) || 'number', 1, 'failed', 'refused', 1800000000000, \
             1800086400000, 1800000001000); \
             INSERT INTO steps (deletion, position, tenant, operation, state, deadline_at) \
             VALUES (1, 1, 1, 'hang-up', 'failed', 1800086400000); \
             INSERT INTO attempts (deletion, position, number, tenant, started_at, answered_at, \
             status, error, request_id, client_request_id, effect_possible) VALUES (1, 1, 1, 1, \
             1800000000000, 1800000001000, 403, '7505', 'req-1', 'client-1', 0)"
        ))
        .unwrap();
    let listed = place.run(&["deletions", "list", "--json", "--state", "failed"]).expect(0).json();
    let expected = serde_json::json!([{
        "id": id, "state": "failed", "callID": "c1", "graphCallID": "g1",
        "tenantID": "72f988bf-86f1-41af-91ab-2d7cd011db47", "keyID": null, "kind": "delete",
        "scope": "leg", "target": null,
        "createdAt": "2027-01-15T08:00:00.000Z", "deadlineAt": "2027-01-16T08:00:00.000Z",
        "settledAt": "2027-01-15T08:00:01.000Z", "failure": "refused", "waits": null,
    }]);
    assert_eq!(listed, expected);
    assert_eq!(
        place.run(&["deletions", "list", "--json", "--state", "open"]).expect(0).out,
        "[]\n"
    );
    let shown = place.run(&["deletions", "show", id, "--json"]).expect(0).json();
    assert_eq!(shown["peer"], "192.0.2.7");
    assert_eq!(shown["steps"][0]["operation"], "hang-up");
    assert_eq!(shown["steps"][0]["attempts"][0]["requestID"], "req-1");
    insta::assert_snapshot!("deletion", place.run(&["deletions", "show", id]).expect(0).out);
    let unknown = "0192f3a0-0000-7000-8000-000000000002";
    place
        .run(&["deletions", "show", unknown])
        .expect_failure(65, &format!("callgate: no deletion has the id {unknown}\n"));
}

#[test]
fn the_steps_of_a_deletion_of_everybody_line_up() {
    let place = Place::ready();
    place.run_with(&["calls", "import"], r#"{"graphCallID":"g1","callID":"c1"}"#).expect(0);
    let id = "0192f3a0-0000-7000-8000-000000000001";
    place
        .sqlite()
        .execute_batch(&format!(
            "INSERT INTO deletions (deletion, deletion_id, tenant, kind, selector, selector_hash, scope, \
             most_others, call, state, failure, created_at, deadline_at) VALUES (1, '{id}', 1, \
             'DeleteCall', 's', x'00', 'all', 50, 1, 'failed', 'Graph refused some', 1800000000000, \
             1800086400000); \
             INSERT INTO steps (deletion, position, tenant, operation, target, state, failure, \
             deadline_at) VALUES (1, 1, 1, 'read-roster', NULL, 'sent', NULL, 0), \
             (1, 2, 1, 'remove-participant', 'p-1', 'sent', NULL, 0), \
             (1, 3, 1, 'remove-participant', 'participant-2', 'gone', NULL, 0), \
             (1, 4, 1, 'remove-participant', 'p-3', 'failed', '7504', 0); \
             INSERT INTO attempts (deletion, position, number, tenant, started_at, answered_at, \
             status, request_id, client_request_id, effect_possible) \
             SELECT 1, position, 1, 1, 1800000000000, 1800000001000, 200 + position, \
             'req-' || position, 'client-' || position, 0 FROM steps"
        ))
        .unwrap();
    let shown = place.run(&["deletions", "show", id, "--json"]).expect(0).json();
    assert_eq!((&shown["removed"], &shown["participants"]), (&2.into(), &3.into()));
    assert_eq!(shown["steps"][3]["failure"], "7504");
    insta::assert_snapshot!("everybody", place.run(&["deletions", "show", id]).expect(0).out);
    let listed = place.run(&["deletions", "list"]).expect(0).out;
    assert!(listed.lines().nth(1).expect("a row").contains("everybody"), "{listed}");
}

#[test]
fn what_was_sent_beside_the_ids_is_shown_and_no_scope_where_there_is_none() {
    let place = Place::ready();
    place.run_with(&["calls", "import"], r#"{"graphCallID":"g1","callID":"c1"}"#).expect(0);
    let [rejected, invited] =
        ["1", "2"].map(|last| format!("0192f3a0-0000-7000-8000-00000000000{last}"));
    place
        .sqlite()
        .execute_batch(&format!(
            "INSERT INTO deletions (deletion, deletion_id, tenant, kind, selector, selector_hash, scope, \
             call, state, created_at, deadline_at, target) VALUES \
             (1, '{rejected}', 1, 'RejectCall', 's', x'00', 'leg', 1, 'failed', 0, 1, NULL), \
             (2, '{invited}', 1, 'InviteParticipant', 's', x'01', 'leg', 1, 'failed', 0, 1, 'ann'); \
             INSERT INTO steps (deletion, position, tenant, operation, target, state, deadline_at, \
             reject_reason) VALUES (1, 1, 1, 'reject', NULL, 'failed', 1, 'busy'), \
             (2, 1, 1, 'invite', 'ann', 'failed', 1, NULL); \
             INSERT INTO invitations (deletion, call, tenant, user_id, normalised, user_tenant, \
             replaces, client_context) VALUES (2, 1, 1, 'ann', 'ann', 'contoso.com', 'g0', 'ticket 7')"
        ))
        .unwrap();
    let shown = |id: &str| place.run(&["deletions", "show", id]).expect(0).out;
    for (id, lines) in [
        (&rejected, &["reject reason"][..]),
        (&invited, &["user tenant", "replaces call", "client context"][..]),
    ] {
        let text = shown(id);
        assert!(!text.contains("scope"), "{text}");
        assert!(lines.iter().all(|name| text.lines().any(|line| line.starts_with(name))), "{text}");
    }
    let json = |id: &str| place.run(&["deletions", "show", id, "--json"]).expect(0).json();
    let (rejected, invited) = (json(&rejected), json(&invited));
    assert_eq!((&rejected["rejectReason"], &rejected["scope"]), (&"busy".into(), &().into()));
    let sent = ["userTenantID", "replacesCallID", "clientContext"].map(|name| &invited[name]);
    assert_eq!(sent, ["contoso.com", "g0", "ticket 7"]);
}

#[test]
fn check_warns_of_keys_that_can_do_nothing() {
    let place = Place::ready();
    let other = "57dab8b1-894c-409a-b240-bd8beae78896";
    let mut ids = Vec::new();
    for (name, tenant) in [("ours", None), ("theirs", Some(other)), ("also theirs", Some(other))] {
        let mut args = vec!["keys", "create", "--json", "--name", name];
        args.extend(tenant.into_iter().flat_map(|tenant| ["--tenant", tenant]));
        ids.push(place.run(&args).expect(0).json()["id"].as_str().unwrap().to_owned());
    }
    let found = place.run(&["check"]).expect(0);
    let expected = format!(
        "callgate: warning: tenant {other} is not configured, and these keys of it can do nothing: \
         {}, {}\n",
        ids[1], ids[2]
    );
    assert!(found.talk.contains(&expected), "{}", found.talk);
    assert!(!found.talk.contains(&ids[0]), "{}", found.talk);
    assert!(found.out.contains("keys: 3 not revoked\n"), "{}", found.out);
    place.run(&["keys", "revoke", &ids[1]]).expect(0);
    place.run(&["keys", "revoke", &ids[2]]).expect(0);
    assert!(!place.run(&["check"]).expect(0).talk.contains(other));
}

#[test]
fn check_warns_of_a_federated_token_that_the_login_will_refuse() {
    let place = Place::configured();
    let configuration = std::fs::read_to_string(place.path("callgate.toml")).unwrap();
    let configuration = configuration.replace("client_secret_file", "federated_token_file");
    place.write("callgate.toml", configuration);
    let what =
        "callgate: warning: the federated token for tenant 72f988bf-86f1-41af-91ab-2d7cd011db47";
    // The claims are `{"exp":1000}` and `{"exp":32503680000}`.
    for (token, warning) in [
        ("nonsense", "is no JWT"),
        ("e30.eyJleHAiOjEwMDB9.c2ln", "has expired"),
        ("e30.eyJleHAiOjMyNTAzNjgwMDAwfQ.c2ln", ""),
    ] {
        place.write("secret", token);
        let talk = place.run(&["check"]).expect(0).talk;
        let expected = format!("{what} {warning}");
        assert_eq!(talk.contains(&expected), !warning.is_empty(), "{token}: {talk}");
        assert!(!talk.contains(token), "{talk}");
    }
    place.write("secret", "");
    let talk = place.run(&["check"]).expect(78).talk;
    assert!(
        talk.contains("the file is empty; whoever renews it must put a token into it"),
        "{talk}"
    );
}
