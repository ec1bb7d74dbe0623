//! `keys import`: all lines or none, and no secret in what is said.

use std::fmt::Write as _;

use super::Place;
use crate::support::{Gateway, until};

const RANDOM: &str = "0f5c2b7e-6b0a-4d3e-9a61-3f1f6c2d8e47";
const OTHER: &str = "b84d0f0c-2f44-4f0b-8d37-51a6e2c09d13";
/// The sample of the recorder's documentation.
const WELL_KNOWN: &str = "74c8eea0-50c6-40b2-9f3e-252ed501c3c8";

#[test]
fn keys_that_clients_have_are_taken_over_in_any_spelling() {
    let place = Place::ready();
    let file = format!(
        "\u{feff}name,KEY,rights,queryPasswords\r\n\
         \"front desk, 1st floor\",{{{}}},DeleteCall;GetDeletion,no\r\n\r\n\
         old phones,{},,\r\n",
        RANDOM.to_uppercase(),
        WELL_KNOWN.replace('-', "")
    );
    place.write("keys.csv", file);
    let checked = place.run(&["keys", "import", "keys.csv", "--dry-run", "--json"]).expect(0);
    let json = checked.json();
    assert_eq!((&json[0]["id"], &json[0]["weak"]), (&serde_json::Value::Null, &false.into()));
    assert_eq!(json[1]["weak"], true);
    assert!(json[1]["weakness"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
    assert_eq!(place.keys(), serde_json::json!([]), "a dry run writes nothing");

    let imported = place.run(&["keys", "import", "keys.csv"]).expect(0);
    let keys = place.keys();
    let (desk, phones) = (&keys[0], &keys[1]);
    assert_eq!(desk["name"], "front desk, 1st floor");
    assert_eq!(desk["rights"], serde_json::json!(["DeleteCall", "GetDeletion"]));
    assert_eq!((&desk["weak"], &desk["queryPasswords"]), (&false.into(), &false.into()));
    assert_eq!((&phones["weak"], &phones["queryPasswords"]), (&true.into(), &true.into()));
    assert!(imported.out.contains(phones["id"].as_str().unwrap()), "{imported:?}");
    assert!(imported.talk.starts_with("2 keys imported"), "{imported:?}");
    assert!(imported.talk.contains("\n1 of them weak"), "{imported:?}");
    let list = place.run(&["keys", "list"]).expect(0).out;
    assert!(list.contains("  weak   default  "), "{list}");
    let said = format!("{checked:?}{imported:?}{list}{keys}").to_lowercase().replace('-', "");
    for secret in [RANDOM, WELL_KNOWN] {
        assert!(!said.contains(&secret.replace('-', "")), "{said}");
    }
    let records = place.audit();
    assert!(records.iter().all(|(event, _)| event["action"] == "keys import"), "{records:?}");
    assert!(records.iter().all(|(_, personal)| personal["host"].is_string()), "{records:?}");
    assert!(!records.is_empty());
}

#[tokio::test]
async fn an_imported_key_works_as_its_clients_spell_it_and_its_rotation_tells_who_they_are() {
    let gateway = Gateway::start().await;
    let file = gateway.folder().join("keys.csv");
    std::fs::write(&file, format!("key,name\n{RANDOM},phones\n")).unwrap();
    let import = ["keys", "import", "--json", file.to_str().unwrap()];
    let imported: serde_json::Value = serde_json::from_str(&gateway.run(&import).await).unwrap();
    let id = imported[0]["id"].as_str().unwrap();
    let look = format!("action=GetCallID&callID=nothing&apiKey=%7B{}%7D", RANDOM.to_uppercase());
    let probe = async || (gateway.get(&look).await.code() != -41).then_some(());
    until("the gateway knows an imported key", probe).await;

    gateway.run(&["keys", "rotate", id]).await;
    let used_by = async || {
        assert_ne!(gateway.get(&look).await.code(), -41, "it goes on for its grace");
        let list = gateway.run(&["keys", "list"]).await;
        let line = list.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
        line.ends_with(" by 127.0.0.1").then_some(line)
    };
    let line = until("the list tells who still uses the key", used_by).await;
    assert!(line.contains("  rotated  "), "{line}");
    gateway.run(&["keys", "revoke", id]).await;
    assert_eq!(gateway.get(&look).await.code(), -41);
}

#[test]
fn everything_that_is_wrong_is_listed_by_line_and_nothing_is_written() {
    let place = Place::ready();
    place.run_with(&["keys", "import"], format!("key,name\n{OTHER},phones\n")).expect(0);
    let lines = format!(
        "name,key,rights\n\
         phones,{RANDOM},\n\
         ab,6f0e3f4a-98a2-4f36-8c11-0d3a2f1b5c77,\n\
         phones,{RANDOM},\n\
         phones,{},All\n\
         phones,12345,\n\
         \"two\nlines\",d9b1c6f2-7a54-4e8e-b0f3-92c4d16e8a05,\n\
         {RANDOM},phones,\n\
         phones,{OTHER},\n\
         phones,{RANDOM}\n",
        "1c9f7b3d-5e20-4a6c-8f14-7d2b90e3a6f8"
    );
    let ended = place.run_with(&["keys", "import", "-"], lines).expect(65);
    assert_eq!(ended.out, "");
    let expected = [
        "line 3: name: a name has 3 to 128 characters, this one has 2",
        "line 4: key: the same as in line 2",
        "line 5: rights: unknown right: ",
        "line 6: key: expected a GUID",
        "line 7: name: a name has no control characters",
        "line 9: key: expected a GUID",
        "line 10: key: is a key already, see `callgate keys list`",
        "line 11: expected 3 columns as in the first line, found 2",
    ];
    let said: Vec<_> = ended.talk.lines().collect();
    for (line, expected) in said.iter().zip(expected) {
        assert!(line.starts_with(&format!("callgate: standard input, {expected}")), "{line}");
    }
    assert_eq!(said.len(), expected.len() + 1, "{ended:?}");
    assert_eq!(said[8], "callgate: standard input: 8 wrong in all, nothing was imported");
    assert!(!ended.talk.contains("12345") && !ended.talk.contains(RANDOM), "{}", ended.talk);
    assert_eq!(place.keys().as_array().unwrap().len(), 1);
}

#[test]
fn a_key_that_stands_where_it_would_be_shown_is_refused_and_not_looked_up() {
    let place = Place::ready();
    let name = format!("{RANDOM}.example.com");
    let lines = format!(
        "key,name,allow,owner\n\
         {RANDOM},phones,{name},{}\n\
         {OTHER},{},,the key of {RANDOM}\n",
        RANDOM.to_uppercase(),
        RANDOM.replace('-', "")
    );
    let ended = place.run_with(&["keys", "import"], lines).expect(65);
    let said: Vec<_> = ended.talk.lines().collect();
    assert_eq!(
        said,
        [
            "callgate: standard input, line 2: allow: contains the key",
            "callgate: standard input, line 2: owner: contains the key",
            "callgate: standard input, line 3: name: contains the key of line 2",
            "callgate: standard input, line 3: owner: contains the key of line 2",
            "callgate: standard input: 4 wrong in all, nothing was imported",
        ]
    );
    assert_eq!(place.keys(), serde_json::json!([]));
}

#[test]
fn all_that_is_wrong_with_a_line_is_said_at_once_and_its_key_is_a_key() {
    let place = Place::ready();
    let lines = format!("key,name,rights\n{RANDOM},ab,All\n{RANDOM},phones,\n");
    let ended = place.run_with(&["keys", "import"], lines).expect(65);
    let problems = ["line 2: name: ", "line 2: rights: ", "line 3: key: the same as in line 2"];
    for (said, problem) in ended.talk.lines().zip(problems) {
        assert!(said.starts_with(&format!("callgate: standard input, {problem}")), "{said}");
    }
    assert_eq!(ended.talk.lines().count(), 4, "{ended:?}");
}

#[test]
fn a_file_that_is_none_is_refused_without_a_word_of_it() {
    let place = Place::ready();
    for (input, talk) in [
        (&b""[..], "line 1: there are no keys"),
        (b"key,name\n", "line 1: there are no keys"),
        (b"0f5c2b7e-6b0a-4d3e-9a61-3f1f6c2d8e47,phones\n", "line 1: column 1 is unknown"),
        (b"key;name\n", "line 1: separate the columns with commas"),
        (b"key,name,colour\n", "line 1: column 3 `colour` is unknown"),
        (b"key,na\xffme\n", "line 1: not valid UTF-8"),
        (b"key,name\n0f5c2b7e-6b0a-4d3e-9a61-3f1f6c2d8e47,pho\xffnes\n", "line 2: not valid UTF-8"),
        (b"key,name\n0f5c2b7e-6b0a-4d3e-9a61-3f1f6c2d8e47", "line 2: expected 2 columns"),
        (b"key,name\n0f5c2b7e-6b0a-4d3e", "line 2: expected 2 columns"),
        (b"key,name\n\"0f5c2b7e-6b0a-4d3e-9a61-3f1f6c2d8e47,phones\n", "line 2: a quote is not"),
        (b"\0\0\0\0", "line 1: column 1 is unknown"),
    ] {
        let ended = place.run_with(&["keys", "import"], input).expect(65);
        let expected = format!("callgate: standard input, {talk}");
        assert!(ended.talk.starts_with(&expected), "{ended:?}");
        assert!(!ended.talk.contains("0f5c"), "{ended:?}");
    }
    assert_eq!(place.keys(), serde_json::json!([]));
    let bare = Place::empty();
    bare.run(&["migrate"]).expect(0);
    let ended = bare.run_with(&["keys", "import"], format!("key,name\n{RANDOM},phones\n"));
    assert!(ended.expect(65).talk.contains("line 2: tenantID: name the tenant, or configure"));
}

#[test]
fn ten_megabytes_of_wrong_lines_are_counted_and_a_hundred_named() {
    let place = Place::ready();
    let mut file = "key,name\n".to_owned();
    while file.len() < 10 << 20 {
        writeln!(file, "0f5c2b7e-6b0a-4d3e-9a61-3f1f6c2d8e4,a name of some length").unwrap();
    }
    let wrong = file.lines().count() - 1;
    let ended = place.run_with(&["keys", "import"], &file).expect(65);
    assert_eq!(ended.talk.lines().count(), 101);
    let last = format!("and {} more; {wrong} wrong in all, nothing was imported", wrong - 100);
    assert!(ended.talk.trim_end().ends_with(&last), "{}", ended.talk.lines().last().unwrap());
    let cell = format!("key,name\n{RANDOM},{}\n", "x".repeat(10 << 20));
    let talk = place.run_with(&["keys", "import"], cell).expect(65).talk;
    assert!(talk.contains("this one has 10485760") && talk.len() < 1000, "{}", talk.len());
    assert_eq!(place.keys(), serde_json::json!([]));
}

#[test]
fn many_keys_are_imported_at_once_and_too_many_are_not() {
    let place = Place::ready();
    let mut file = "name,guid\n".to_owned();
    let add = |file: &mut String, count: u32| {
        for number in 0..count {
            writeln!(file, "phone {number},{}", uuid::Uuid::new_v4()).unwrap();
        }
    };
    add(&mut file, 2000);
    let json = place.run_with(&["keys", "import", "--json"], &file).expect(0).json();
    assert_eq!(json.as_array().unwrap().len(), 2000);
    assert_eq!(json[1999]["name"], "phone 1999");
    let again = place.run_with(&["keys", "import"], &file).expect(65);
    assert!(again.talk.contains("2000 wrong in all, nothing was imported"));

    let mut file = "name,guid\n".to_owned();
    add(&mut file, 20_000);
    let talk = place.run_with(&["keys", "import"], &file).expect(65).talk;
    let named = "callgate: standard input, line 10002: more than 10000 keys: split the file\n";
    assert!(talk.starts_with(named), "{talk}");
    assert_eq!(place.keys().as_array().unwrap().len(), 2000);
}
