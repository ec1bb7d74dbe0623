//! `keys rotate`: a successor, and a while for the old key.

use std::time::Duration;

use super::Place;

/// Both keys as they are listed.
fn keys(place: &Place) -> (serde_json::Value, serde_json::Value) {
    let keys = place.keys();
    (keys[0].clone(), keys[1].clone())
}

fn time(text: &serde_json::Value) -> jiff::Timestamp {
    text.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_rotated_key_goes_on_for_its_grace_and_its_successor_is_as_it_was() {
    let place = Place::ready();
    let flags = "--owner Jane --allow 192.0.2.0/24 --right DeleteCall --identifier callID \
                 --numbers +4930* --post-only --reason-required --no-query-passwords";
    let id = place.key(&flags.split_whitespace().collect::<Vec<_>>());
    let made = place.run(&["keys", "rotate", &id, "--grace", "2d"]).expect(0);
    assert_eq!((made.out.trim_end().len(), made.out.lines().count()), (36, 1));
    assert!(!made.talk.contains(made.out.trim_end()), "{}", made.talk);
    let (old, new) = keys(&place);
    assert_eq!((&old["state"], &new["state"]), (&"rotated".into(), &"valid".into()));
    assert_eq!(old["successorID"], new["id"]);
    let grace = time(&old["expiresAt"]).duration_since(time(&new["createdAt"]));
    let days = Duration::from_hours(48);
    assert!(grace.unsigned_abs().abs_diff(days) < Duration::from_mins(1), "{old} {new}");
    for same in [
        "name",
        "owner",
        "tenantID",
        "rights",
        "identifiers",
        "numbers",
        "allow",
        "postOnly",
        "requiresToken",
        "reasonRequired",
        "queryPasswords",
    ] {
        assert_eq!(old[same], new[same], "{same}");
    }
    assert_eq!(new["expiresAt"], serde_json::Value::Null);
    let until = old["expiresAt"].as_str().unwrap().split('.').next().unwrap();
    let news = format!("key {id} goes on until {until}Z; `callgate keys show {id}` says who");
    assert!(made.talk.contains(&news), "{}", made.talk);
}

#[test]
fn who_still_uses_a_rotated_key_is_listed() {
    let place = Place::ready();
    let id = place.key(&[]);
    place.run(&["keys", "rotate", &id]).expect(0);
    let made: i64 = place
        .sqlite()
        .query_row("SELECT created_at FROM keys WHERE key = 2", (), |row| row.get(0))
        .unwrap();
    let use_at = |at: i64| {
        let used = "INSERT OR REPLACE INTO key_uses (key, folded, peer, login, first_used_at, \
                    last_used_at) VALUES (1, 'jane', '192.0.2.7', 'jane', ?1, ?1)";
        place.sqlite().execute(used, [at]).unwrap();
        place.sqlite().execute("UPDATE keys SET last_used_at = ?1 WHERE key = 1", [at]).unwrap();
        place.run(&["keys", "list"]).expect(0).out.lines().nth(1).unwrap().to_owned()
    };
    let before = use_at(made - 1);
    assert!(before.contains("  rotated  ") && !before.contains(" by "), "{before}");
    let after = use_at(made + 1000);
    let day = jiff::Timestamp::from_millisecond(made + 1000).unwrap().strftime("%F").to_string();
    assert!(after.ends_with(&format!("  {day} by 192.0.2.7 jane")), "{after}");
}

#[test]
fn a_grace_does_not_make_a_key_last_longer_and_none_ends_it_at_once() {
    let place = Place::ready();
    let id = place.key(&["--expires", "2h"]);
    let before = place.keys()[0]["expiresAt"].clone();
    let json = place.run(&["keys", "rotate", &id, "--grace", "7d", "--json"]).expect(0).json();
    let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["id", "name", "rotatedExpiresAt", "rotatedID", "secret"]);
    assert_eq!((&json["rotatedID"], &json["rotatedExpiresAt"]), (&id.as_str().into(), &before));
    let second = json["id"].as_str().unwrap();
    assert_eq!(json["name"], "phones");
    let ended = place.run(&["keys", "rotate", second, "--grace", "0s"]).expect(0).talk;
    assert!(ended.ends_with(&format!("\nkey {second} has ended\n")), "{ended}");
    assert_eq!(place.keys()[1]["state"], "expired");
}

#[test]
fn what_cannot_be_rotated_is_refused_with_the_reason() {
    let place = Place::ready();
    let id = place.key(&[]);
    place.run(&["keys", "rotate", &id]).expect(0);
    let successor = place.keys()[1]["id"].as_str().unwrap().to_owned();
    place.run(&["keys", "rotate", &id]).expect_failure(
        65,
        &format!("callgate: key {id} has a successor already, {successor}: rotate that one\n"),
    );
    place.run(&["keys", "revoke", &successor]).expect(0);
    let talk = place.run(&["keys", "rotate", &successor]).expect(65).talk;
    assert!(talk.contains("is revoked or expired"), "{talk}");
    let nobody = "00000000-0000-0000-0000-000000000000";
    place.run(&["keys", "rotate", nobody]).expect_failure(
        65,
        &format!("callgate: no key has the id {nobody}; see `callgate keys list`\n"),
    );
    for grace in ["soon", "-1d", "400d"] {
        place.run(&["keys", "rotate", &id, &format!("--grace={grace}")]).expect(64);
    }
    assert_eq!(place.keys().as_array().unwrap().len(), 2);
    // Rotating is recorded for the old key and for the new one.
    let records = place.audit();
    let actions: Vec<_> = records.iter().map(|(event, _)| &event["action"]).collect();
    assert_eq!(actions, ["keys create", "keys rotate", "keys rotate", "keys revoke"]);
    let of: Vec<_> = records.iter().map(|(event, _)| event["key_id"].as_str().unwrap()).collect();
    assert_eq!(of, [&id, &id, &successor, &successor]);
    // Each of the two names the other, and no other record names anybody besides.
    let names = |name: &str| -> Vec<_> {
        records.iter().map(|(event, _)| event[name].as_str().unwrap_or_default()).collect()
    };
    assert_eq!(names("successor_id"), ["", &successor, "", ""]);
    assert_eq!(names("predecessor_id"), ["", "", &id, ""]);
    assert_eq!(records[1].0["parameters"], serde_json::json!(["--grace"]));
}

#[test]
fn a_secret_of_a_successor_that_nobody_read_can_be_had_anew() {
    let place = Place::ready();
    let id = place.key(&[]);
    let talk = place.run_unread(&["keys", "rotate", &id]).expect(70).talk;
    let (_, advice) = talk.split_once("run `callgate ").expect("it says what to do");
    let advice: Vec<_> = advice.split('`').next().unwrap().split(' ').collect();
    assert_eq!(place.run(&advice).expect(0).out.trim_end().len(), 36);
    let keys = place.keys();
    let states: Vec<_> = keys.as_array().unwrap().iter().map(|key| &key["state"]).collect();
    assert_eq!(states, ["rotated", "expired", "valid"]);
}
