//! Whatever a body is, reading it ends, and what is read was said.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;

use super::*;
use crate::model::call::CallState;

/// Names that are understood, in several cases, and one that is not.
const NAMES: &str = "value Value changeType resource resourceUrl resourceData id @odata.id \
    @odata.type state callState STATE direction resultInfo code subcode message terminationReason \
    source targets identity phone user guest encrypted application displayName callRoutes original \
    final participants participant deltaParticipants sequenceNumber info removedState call \
    participantId tenantId myParticipantId status clientContext other";

const WORDS: &str = "created Deleted updated incoming Terminated established hold ended c-1 c-5 \
    +49301238856 8:orgid:x #microsoft.graph.call #microsoft.graph.participant \
    #microsoft.graph.deltaParticipants #microsoft.graph.participantLeftNotification \
    #microsoft.graph.inviteParticipantsOperation o completed Failed p-7";

const PATHS: &str = "/communications/calls/c-1 /app/calls/c-2 /applications/a/calls/c%2F3 \
    /communications/calls/c-1/participants /communications/calls/c-1/participants/p-1 \
    /communications/calls/c-1/operations/o /communications/calls /communications/calls/.. \
    https://graph.microsoft.com/v1.0/communications/calls/c-4 /me/calls/c-6";

/// What is done to a document at one place.
#[derive(Clone, Debug)]
enum Mutation {
    Remove,
    Double,
    Shout,
    Replace(Value),
    Nest,
    Wrap,
}

fn one_of(words: &'static str) -> impl Strategy<Value = &'static str> {
    select(words.split_whitespace().collect::<Vec<_>>())
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => one_of(WORDS).prop_map(Value::from),
        2 => one_of(PATHS).prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(6, 60, 6, |inner| {
        let members = vec((one_of(NAMES), inner.clone()), 0..7);
        prop_oneof![
            1 => vec(inner, 0..4).prop_map(Value::from),
            3 => members.prop_map(Value::from_iter),
        ]
    })
}

/// Trees where calls are described, and elsewhere.
fn delivery() -> impl Strategy<Value = Value> {
    let entry = (one_of(WORDS), one_of(PATHS), tree()).prop_map(
        |(word, path, data)| json!({"changeType": word, "resourceUrl": path, "resourceData": data}),
    );
    let entries = vec(prop_oneof![3 => entry, 1 => tree()], 0..4);
    prop_oneof![3 => entries.prop_map(|entries| json!({"value": entries})), 1 => tree()]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        Just(Mutation::Remove),
        Just(Mutation::Double),
        Just(Mutation::Shout),
        leaf().prop_map(Mutation::Replace),
        Just(Mutation::Nest),
        Just(Mutation::Wrap),
    ]
}

/// The pointers to everything in a document but the document itself.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    let mut add = |name: &str, value: &Value| {
        let place = format!("{here}/{}", name.replace('~', "~0").replace('/', "~1"));
        places(value, &place, found);
        found.push(place);
    };
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| add(&at.to_string(), item));
        }
        Value::Object(members) => members.iter().for_each(|(name, value)| add(name, value)),
        _ => {}
    }
}

fn mutate(document: &mut Value, place: &str, mutation: &Mutation) {
    let (parent, name) = place.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    let target = document.pointer_mut(place).unwrap();
    match mutation {
        Mutation::Replace(value) => *target = value.clone(),
        Mutation::Nest => *target = json!({"value": target.take()}),
        Mutation::Wrap => *target = json!([target.take()]),
        Mutation::Remove | Mutation::Double | Mutation::Shout => {
            let copies = match mutation {
                Mutation::Remove => 0,
                Mutation::Shout => 1,
                _ => 2,
            };
            match document.pointer_mut(parent).unwrap() {
                Value::Array(items) => {
                    let item = items.remove(name.parse().unwrap());
                    items.extend(std::iter::repeat_n(item, copies));
                }
                Value::Object(members) => {
                    let value = members.remove(&name).unwrap();
                    let names = [name.to_uppercase(), name].into_iter().take(copies);
                    members.extend(names.map(|name| (name, value.clone())));
                }
                _ => unreachable!("only these have places in them"),
            }
        }
    }
}

/// Every text and number in a document.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.trim().to_owned()),
        Value::Number(number) => found.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        _ => {}
    }
}

/// Holds for every document: what is read of it was said in it.
fn check(document: &Value) {
    let body = document.to_string();
    let has_value = document
        .as_object()
        .is_none_or(|members| members.keys().any(|name| name.eq_ignore_ascii_case("value")));
    let delivery = read(body.as_bytes()).unwrap();
    let Delivery::Notifications(said) = delivery else {
        assert!(delivery == Delivery::PreGraph && !has_value, "{body}");
        return;
    };
    assert!(has_value, "{body}");
    let mut found = Vec::new();
    texts(document, &mut found);
    let is_said = |word: &str| found.iter().any(|text| text.eq_ignore_ascii_case(word));
    for change in said.changes {
        let GraphCallId(id) = &change.graph_id;
        assert!(is_call_id(id), "{id:?}: {body}");
        let holds_id = |text: &String| {
            let decoded = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
            text == id || decoded.contains(id.as_str())
        };
        assert!(found.iter().any(holds_id), "{id}: {body}");
        if let Some(state) = change.state {
            let is_word = |text: &String| text.parse::<CallState>().is_ok_and(|one| one == state);
            assert!(found.iter().any(is_word), "{state}: {body}");
        }
        assert!(!change.created || is_said("created"), "{body}");
        assert!(!change.deleted || is_said("deleted"), "{body}");
        for party in &change.parties {
            assert!(found.contains(&party.raw), "{party:?}: {body}");
        }
        if let Some(own) = &change.my_participant_id {
            assert!(found.contains(own), "{own}: {body}");
        }
        if let Some(invitation) = &change.invitation {
            if let Some(participant) = &invitation.participant_id {
                assert!(found.contains(participant), "{participant}: {body}");
            }
            let operation = |text: &String| text.contains(&invitation.operation_id);
            assert!(found.iter().any(operation), "{invitation:?}: {body}");
            assert!(change.roster.is_none() && !change.deleted, "{body}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn text_that_resembles_json_never_panics(
        text in r#"([\[\]{}:,"]|\\u?[dD]?[89a-fA-F]{0,3}|"value"|-?[0-9][eE]?|null|.){0,60}"#,
    ) {
        let _ = read(text.as_bytes());
        let _ = read(format!(r#"{{"value":["{text}"]}}"#).as_bytes());
    }

    #[test]
    fn what_is_read_of_any_document_was_said_in_it(document in delivery()) {
        check(&document);
    }

    #[test]
    fn what_is_read_of_a_damaged_form_was_said_in_it(
        (_, body) in select(fixtures()),
        mutations in vec((any::<Index>(), mutation()), 1..6),
    ) {
        let Some(mut document) = json::parse(&body) else { return Ok(()) };
        for (place, mutation) in mutations {
            let mut found = Vec::new();
            places(&document, "", &mut found);
            if !found.is_empty() {
                mutate(&mut document, &found[place.index(found.len())], &mutation);
            }
        }
        check(&document);
    }

    #[test]
    fn a_form_that_was_cut_or_changed_on_the_way_never_panics(
        (_, mut body) in select(fixtures()),
        at in any::<Index>(),
        byte in any::<u8>(),
    ) {
        if !body.is_empty() {
            let at = at.index(body.len());
            let _ = read(&body[..at]);
            body[at] = byte;
        }
        let _ = read(&body);
    }
}
