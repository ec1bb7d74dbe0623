//! `users`: made, disabled, enabled, and given another password.

use super::Place;

const PASSWORD: &str = "correct horse battery\n";
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

/// A place with the user `jane`.
fn with_jane() -> Place {
    let place = Place::ready();
    place.run_with(&["users", "create", "jane"], PASSWORD).expect(0);
    place
}

fn users(place: &Place) -> serde_json::Value {
    place.run(&["users", "list", "--json"]).expect(0).json()
}

#[test]
fn a_user_is_made_once_whatever_the_case_of_the_login() {
    let place = Place::ready();
    let empty = place.run(&["users", "list"]).expect(0);
    assert_eq!(empty.talk, "there are no users: `callgate users create` makes one\n");
    let made = place.run_with(&["users", "create", "Jane"], PASSWORD).expect(0);
    let talk = format!("user Jane of tenant {TENANT} is made, with the role caller\n");
    assert_eq!((made.out.as_str(), made.talk), ("", talk));
    let taken = place.run_with(&["users", "create", "JANE"], PASSWORD);
    let talk = format!(
        "callgate: the login JANE is taken in tenant {TENANT}; see `callgate users list`\n"
    );
    taken.expect_failure(65, &talk);
    let args = ["users", "create", "jane", "--tenant", "Fabrikam.example", "--role", "admin"];
    let json = place.run_with(&[&args[..], &["--json"]].concat(), PASSWORD).expect(0).json();
    let expected =
        serde_json::json!({"login": "jane", "tenantID": "fabrikam.example", "role": "admin"});
    assert_eq!(json, expected);

    let listed = users(&place);
    let expected = serde_json::json!({
        "login": "Jane", "role": "caller", "state": "enabled", "tenantID": TENANT,
        "createdAt": listed[0]["createdAt"], "disabledAt": null,
    });
    assert_eq!(listed[0], expected);
    assert_eq!(listed[1]["role"], "admin");
    let table = place.run(&["users", "list"]).expect(0).out;
    assert!(table.starts_with("LOGIN  ROLE    STATE    TENANT "), "{table}");
}

#[test]
fn a_password_is_nowhere_but_hashed_in_the_database() {
    let place = with_jane();
    let hash: String =
        place.sqlite().query_row("SELECT password_hash FROM users", (), |row| row.get(0)).unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    for name in place.files() {
        let bytes = std::fs::read(place.path(&name)).unwrap();
        let password = PASSWORD.trim_end().as_bytes();
        assert!(!bytes.windows(password.len()).any(|window| window == password), "{name}");
    }
}

#[test]
fn what_is_no_password_makes_no_user() {
    let place = Place::ready();
    let create = |input: &[u8]| {
        let ended = place.run_with(&["users", "create", "jane"], input).expect(65);
        assert_eq!(ended.out, "");
        ended.talk
    };
    let none = "callgate: no password: it is the first line of standard input\n";
    assert_eq!(create(b""), none);
    assert_eq!(create(b"\r\nsecond line\n"), none);
    assert_eq!(create(b"gehe\xfcimnisvoll\n"), "callgate: the password is not valid UTF-8\n");
    assert!(create(b"short\n").contains('8'), "too short a one is refused");
    assert!(create(&vec![b'x'; 10 << 20]).contains("the password is longer than"));
    assert_eq!(users(&place), serde_json::json!([]));
    assert!(place.audit().is_empty());
    let bare = Place::empty();
    bare.run(&["migrate"]).expect(0);
    let failure = "callgate: a user belongs to one tenant: say which with --tenant ID, or \
                   configure graph.tenant_id\n";
    bare.run_with(&["users", "create", "jane"], PASSWORD).expect_failure(64, failure);
}

#[test]
fn disabling_ends_sessions_for_good_and_is_undone_by_enabling() {
    let place = with_jane();
    let key = place.key(&["--requires-token"]);
    place.run(&["tokens", "create", "--key", &key, "--user", "JANE"]).expect(0);
    let disabled = place.run(&["users", "disable", "Jane"]).expect(0);
    assert_eq!(disabled.talk, "user Jane is disabled; 1 session ended with it\n");
    assert_eq!(
        place.run(&["users", "disable", "jane"]).expect(0).talk,
        "user jane was disabled before\n"
    );
    let listed = users(&place);
    assert_eq!(listed[0]["state"], "disabled");
    assert!(listed[0]["disabledAt"].is_string());
    let refused = place.run(&["tokens", "create", "--key", &key, "--user", "jane"]);
    refused.expect_failure(65, "callgate: user jane is disabled\n");
    assert_eq!(place.run(&["users", "enable", "jane"]).expect(0).talk, "user jane is enabled\n");
    assert_eq!(place.run(&["tokens", "list", "--json"]).expect(0).out, "[]\n");
}

#[test]
fn another_password_ends_sessions() {
    let place = with_jane();
    let key = place.key(&["--requires-token"]);
    place.run(&["tokens", "create", "--key", &key, "--user", "jane"]).expect(0);
    let changed = place.run_with(&["users", "passwd", "jane"], "another password").expect(0);
    assert_eq!(changed.talk, "user jane has another password; 1 session ended with it\n");
    assert_eq!(place.run(&["tokens", "list", "--json"]).expect(0).out, "[]\n");
    place.run_with(&["users", "passwd", "jane"], "\n").expect(65);
}

#[test]
fn nobody_is_nobody() {
    let place = with_jane();
    for command in ["disable", "enable", "passwd"] {
        for (login, tenant) in [("joe", TENANT), ("jane", "fabrikam.example")] {
            let args = ["users", command, login, "--tenant", tenant];
            let failure = format!(
                "callgate: nobody in tenant {tenant} has the login {login}; see `callgate users \
                 list`\n"
            );
            place.run_with(&args, PASSWORD).expect_failure(65, &failure);
        }
    }
}

#[test]
fn what_was_done_to_whom_is_recorded_with_who_did_it() {
    let place = with_jane();
    place.run(&["users", "disable", "jane"]).expect(0);
    place.run(&["users", "enable", "jane"]).expect(0);
    place.run_with(&["users", "passwd", "jane"], PASSWORD).expect(0);
    place.run(&["users", "disable", "joe"]).expect(65);
    let records = place.audit();
    let actions: Vec<_> = records.iter().map(|(event, _)| event["action"].as_str()).collect();
    let expected = ["users create", "users disable", "users enable", "users passwd"].map(Some);
    assert_eq!(actions, expected);
    let created = &records[0].0;
    assert_eq!(created["cause"], "caller");
    assert_eq!(created["parameters"], serde_json::json!(["--tenant", "--role"]));
    for (_, personal) in &records {
        assert_eq!(personal["subject"], "jane", "{personal}");
        assert!(personal["user"].is_string() && personal["host"].is_string(), "{personal}");
    }
}

#[test]
fn a_password_is_asked_for_twice_at_a_terminal() {
    let place = Place::ready();
    let ask = |typed: &str| {
        // `script` gives the command a terminal of its own.
        let program = env!("CARGO_BIN_EXE_callgate");
        let line = format!("{program} users create jane; echo code $?");
        let mut command = std::process::Command::new("script");
        command.args(["-q", "-e", "-c", &line, "/dev/null"]).current_dir(place.folder.path());
        command.env("CALLGATE_CONFIG", "callgate.toml");
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), typed.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let different = ask("correct horse battery\ncorrect horse batteri\n");
    assert!(different.contains("the two passwords are not the same"), "{different}");
    assert!(different.contains("code 65"), "{different}");
    let short = ask("hunter2\nhunter2\n");
    assert!(short.contains("a password has 8 to 1,024 bytes; this one has 7"), "{short}");
    assert!(!short.contains("Once more: ") && short.contains("code 65"), "{short}");
    let same = ask("correct horse battery\ncorrect horse battery\n");
    assert!(same.contains("Password: ") && same.contains("Once more: "), "{same}");
    assert!(same.contains("is made, with the role caller"), "{same}");
    assert_eq!(users(&place)[0]["login"], "jane");
}
