//! Access, registry and audit chain.

use std::time::Duration;

use rusqlite::types::Value;

use crate::clock::Timestamp;
use crate::id::{CallId, SessionId};
use crate::model::call::CallState;
use crate::model::chain::{Personal, chained, hex};
use crate::secret::Secret;
use crate::store::Refused;
use crate::store::admission::Admission;
use crate::store::fixture::{API_KEY, Fixture, NOW, by_call_id, event};
use crate::store::pepper::Hashed;
use crate::store::records::NewSession;

/// Position, count, canonical bytes, salt, personal part, digest and link of a record.
type Row = (i64, i64, Vec<u8>, Vec<u8>, String, Vec<u8>, Vec<u8>);

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn nothing_is_admitted_on_a_check_that_access_has_outlived() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let ask = there.ask(by_call_id("a"), NOW).await;
    there.store.revoke_key(there.key, NOW).await.unwrap();
    let admission = there.store.admit(ask, |_| ()).await.unwrap();
    assert!(matches!(admission, Admission::AccessChanged));
    assert_eq!(there.look::<i64>("SELECT count(*) FROM deletions"), 0);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM audit"), 0);
}

#[tokio::test]
async fn whatever_takes_access_away_by_whatever_hand_moves_the_generation() {
    let there = Fixture::new().await;
    there.by_hand(&format!(
        "INSERT INTO users (tenant, login, role, password_hash, created_at) \
         VALUES ({}, 'alice', 'caller', '', 0)",
        there.tenant_row
    ));
    let token = Secret::new("0b5d0000-0000-4000-8000-000000000001".to_owned());
    make_session(&there, &token, NOW + SECOND).await.unwrap();
    for (statement, moves) in [
        ("UPDATE keys SET last_used_at = 5", false),
        ("UPDATE keys SET revoked_at = 5", true),
        ("UPDATE keys SET revoked_at = NULL", true),
        ("UPDATE keys SET peers = '192.0.2.0/24'", true),
        ("UPDATE keys SET rights = 'GetCallID'", true),
        ("UPDATE users SET disabled_at = 5", true),
        ("UPDATE sessions SET released_at = 5", true),
        ("DELETE FROM sessions", true),
        ("DELETE FROM users", true),
        ("DELETE FROM keys", true),
    ] {
        let before = there.store.access_generation().await.unwrap();
        there.by_hand(statement);
        let after = there.store.access_generation().await.unwrap();
        assert_eq!(after > before, moves, "{statement}");
    }
}

async fn make_session(
    there: &Fixture,
    token: &Secret<String>,
    expires_at: Timestamp,
) -> Option<SessionId> {
    let session = NewSession {
        id: SessionId::random(),
        key: there.key,
        pepper: there.pepper.fingerprint().to_owned(),
        hash: there.pepper.hash(Hashed::Token, token),
        created_at: NOW,
        expires_at,
    };
    there.store.create_session(session).await.unwrap()
}

#[tokio::test]
async fn a_session_is_made_for_a_valid_key_and_found_by_its_token_only() {
    let there = Fixture::new().await;
    let token = Secret::new("0b5d0000-0000-4000-8000-000000000001".to_owned());
    let id = make_session(&there, &token, NOW + SECOND).await.unwrap();
    let hash = |what, value: &str| there.pepper.hash(what, &Secret::new(value.to_owned()));
    let found = there.store.session(hash(Hashed::Token, token.expose())).await.unwrap().unwrap();
    assert_eq!((found.id, found.key_row, found.login), (id, there.key_row, None));
    assert_eq!(there.store.session(hash(Hashed::Token, API_KEY)).await.unwrap(), None);
    assert_eq!(there.store.session(hash(Hashed::Key, token.expose())).await.unwrap(), None);

    there.by_hand("UPDATE keys SET expires_at = 1");
    let other = Secret::new("0b5d0000-0000-4000-8000-000000000002".to_owned());
    assert_eq!(make_session(&there, &other, NOW + SECOND).await, None);
    there.by_hand("UPDATE keys SET expires_at = NULL, revoked_at = 1");
    assert_eq!(make_session(&there, &other, NOW + SECOND).await, None);
}

#[tokio::test]
async fn a_key_that_cannot_be_read_closes_the_door_for_itself_only() {
    let there = Fixture::new().await;
    let (bad, _) = there.make_key("6b1f0000-0000-4000-8000-000000000001").await;
    there.by_hand(&format!("UPDATE keys SET peers = 'everywhere' WHERE key_id = '{bad}'"));
    let keys = there.store.keys().await.unwrap();
    assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [there.key]);
}

#[tokio::test]
async fn a_call_is_shown_by_either_id_in_any_tenant() {
    let there = Fixture::new().await;
    there.call("57DAB8B1894C409AB240BD8BEAE78896", "100").await;
    for id in [
        "our-57DAB8B1894C409AB240BD8BEAE78896",
        "57DAB8B1894C409AB240BD8BEAE78896",
        "57dab8b1-894c-409a-b240-bd8beae78896",
    ] {
        // As an id that is no GUID it is compared to the letter.
        let found = there.store.call(CallId::new(id)).await.unwrap();
        assert_eq!(found.len(), 1, "{id}");
        assert_eq!(found[0].row.targets, ["+4989111"]);
    }
}

#[tokio::test]
async fn the_audit_chain_verifies_when_it_is_computed_anew() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.record("a", NOW).await;
    let refused = Refused {
        at: NOW + SECOND,
        count: 3,
        event: event(),
        personal: Personal { selector: Some("callID=1:x;".to_owned()), ..Personal::default() },
    };
    there.store.record_refusals(vec![refused.clone(), refused.clone()]).await.unwrap();

    let connection = there.other_hand();
    let rows: Vec<Row> = connection
        .prepare("SELECT position, count, canonical, salt, personal, digest, link FROM audit ORDER BY position")
        .unwrap()
        .query_map((), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(rows.iter().map(|row| (row.0, row.1)).collect::<Vec<_>>(), [(1, 1), (2, 3), (3, 3)]);
    assert_ne!(rows[1].3, rows[2].3, "each record has a salt of its own");
    let mut previous = Vec::new();
    for (position, _, canonical, salt, personal, digest, link) in rows {
        use aws_lc_rs::digest::{SHA256, digest as hash};
        assert_eq!(hash(&SHA256, &canonical).as_ref(), digest);
        assert_eq!(hash(&SHA256, &[previous, digest].concat()).as_ref(), link);
        let hidden = hex(hash(&SHA256, &[&salt, personal.as_bytes()].concat()).as_ref());
        let text = String::from_utf8(canonical).unwrap();
        assert!(text.contains(&hidden) && text.contains(&format!("\"position\":{position}")));
        previous = link;
    }
    let first: Vec<u8> = there.look("SELECT link FROM audit WHERE position = 1");
    let again = chained(
        2,
        refused.at,
        3,
        &refused.event,
        &refused.personal,
        &there.look::<Vec<u8>>("SELECT salt FROM audit WHERE position = 2"),
        &first,
    );
    assert_eq!(again.link, there.look::<Vec<u8>>("SELECT link FROM audit WHERE position = 2"));
}

#[tokio::test]
async fn an_allowed_decision_is_in_the_chain_and_a_refused_one_is_left_to_its_recorder() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.admit(there.ask(by_call_id("nobody"), NOW).await).await;
    assert_eq!(there.look::<i64>("SELECT count(*) FROM audit"), 0);
    let deletion = there.record("a", NOW).await;
    let canonical: Vec<u8> = there.look("SELECT canonical FROM audit");
    let canonical = String::from_utf8(canonical).unwrap();
    for part in ["\"allowed\"", "\"admitted\"", "our-a", &deletion.to_string()] {
        assert!(canonical.contains(part), "{part} in {canonical}");
    }
    assert_eq!(there.look::<Value>("SELECT tenant FROM audit"), Value::Integer(there.tenant_row));
}

#[tokio::test]
async fn an_import_only_moves_a_call_forward() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let mut ended = there.imported("a", "200");
    ended.state = CallState::Terminated;
    ended.ended_at = Some(NOW);
    there.import(ended).await;
    there.call("a", "100").await;
    let call = there.store.call(CallId::new("a")).await.unwrap().remove(0);
    assert_eq!((call.row.state.as_str(), call.row.ended_at), ("terminated", Some(NOW)));
    let ends = "SELECT count(*) FROM parties WHERE ended_at IS NOT NULL";
    assert_eq!(there.look::<i64>(ends), 3, "the new party too");
}
