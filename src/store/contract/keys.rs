//! Keys: made, rotated, and from where they were used.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{KeyId, TenantId};
use crate::model::rights::Right;
use crate::model::selector::IdentifierKind;
use crate::model::user::FAMILIAR;
use crate::store::access::{AuditEntry, KeyUse, NewKey, Rotated};
use crate::store::error::StoreError;
use crate::store::fixture::{API_KEY, Fixture, NOW, TENANT, entry};
use crate::store::pepper::Hashed;

const SECOND: Duration = Duration::from_secs(1);
const SECRET: &str = "6b1f0000-0000-4000-8000-000000000001";
const OTHER: &str = "6b1f0000-0000-4000-8000-000000000002";

/// A key with every limit that there is.
fn limited(there: &Fixture, secret: &str) -> (NewKey, AuditEntry) {
    let key = NewKey {
        id: KeyId::random(),
        tenant: TenantId::new(TENANT),
        name: "dispatch".to_owned(),
        owner: Some("Jane, 2nd floor".to_owned()),
        secret: there.hashed(Hashed::Key, secret),
        requires_token: true,
        rights: vec![Right::DeleteCall, Right::SeeHolds],
        identifiers: vec![IdentifierKind::NativeId, IdentifierKind::Extension],
        numbers: vec!["+4989*".parse().unwrap(), "7??".parse().unwrap()],
        peers: vec!["192.0.2.0/24".parse().unwrap(), "pbx.example.com".parse().unwrap()],
        post_only: true,
        reason_required: true,
        query_passwords: false,
        weak: true,
        created_at: NOW,
        expires_at: Some(NOW + SECOND * 100),
    };
    (key, entry("keys create", NOW))
}

fn used(key_row: i64, peer: &str, login: &str, at: Timestamp) -> KeyUse {
    KeyUse {
        key_row,
        peer: peer.to_owned(),
        login: login.to_owned(),
        first_used_at: at,
        last_used_at: at,
    }
}

impl Fixture {
    async fn rotated(&self, old: KeyId, until: Timestamp, at: Timestamp) -> Rotated {
        let successor = (KeyId::random(), self.hashed(Hashed::Key, &KeyId::random().to_string()));
        self.store.rotate_key(old, until, successor, entry("keys rotate", at)).await.unwrap()
    }
}

#[tokio::test]
async fn a_key_is_read_as_it_was_made() {
    let there = Fixture::new().await;
    let (new, entry) = limited(&there, SECRET);
    there.store.create_keys(vec![(new.clone(), entry)]).await.unwrap();
    let key = there.store.keys().await.unwrap().remove(1).key;
    assert_eq!((key.id, &key.name, &key.owner), (new.id, &new.name, &new.owner));
    assert_eq!((&key.rights, &key.identifiers), (&new.rights, &new.identifiers));
    assert_eq!((&key.numbers, &key.peers), (&new.numbers, &new.peers));
    assert_eq!((key.created_at, key.expires_at), (NOW, new.expires_at));
    assert_eq!((key.tenant.as_str(), key.tenant_row), (TENANT, there.tenant_row));
    assert!(key.requires_token && key.post_only && key.reason_required && key.weak);
    assert!(!key.query_passwords);
    assert_eq!((key.line_row, key.successor, key.revoked_at), (key.row, None, None));
    let known = there.store.access_snapshot().await.unwrap().keys;
    assert_eq!(known[&new.secret.hash], key);
}

#[tokio::test]
async fn a_secret_that_is_a_keys_already_lets_none_of_the_keys_be_written() {
    let there = Fixture::new().await;
    let known = async |secrets: &[&str]| {
        let hashes = secrets.iter().map(|secret| there.hashed(Hashed::Key, secret).hash);
        there.store.known_secrets(hashes.collect()).await.unwrap()
    };
    assert_eq!(known(&[SECRET, API_KEY, OTHER, API_KEY]).await, [1, 3]);
    let mut elsewhere = limited(&there, SECRET);
    elsewhere.0.tenant = TenantId::new("new.example");
    for last in [API_KEY, SECRET] {
        let keys = vec![elsewhere.clone(), limited(&there, OTHER), limited(&there, last)];
        let written = there.store.create_keys(keys).await;
        assert!(matches!(written, Err(StoreError::Conflict)), "{written:?}");
    }
    assert_eq!(there.store.keys().await.unwrap().len(), 1);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM tenants"), 1);
    assert_eq!(there.recorded(), "");
    let keys = vec![elsewhere, limited(&there, OTHER)];
    there.store.create_keys(keys).await.unwrap();
    assert_eq!(there.recorded(), "keys create, keys create");
}

#[tokio::test]
async fn a_successor_is_as_the_old_key_which_counts_for_a_while_longer() {
    let there = Fixture::new().await;
    let (new, entry) = limited(&there, SECRET);
    there.store.create_keys(vec![(new.clone(), entry)]).await.unwrap();
    let until = NOW + SECOND * 10;
    assert_eq!(
        there.rotated(new.id, until, NOW + SECOND).await,
        Rotated::Now { old_expires_at: until }
    );
    let keys = there.store.keys().await.unwrap();
    let (old, made) = (&keys[1].key, &keys[2].key);
    assert_eq!((old.successor, old.expires_at), (Some(made.id), Some(until)));
    let expected = crate::model::key::ApiKey {
        row: made.row,
        id: made.id,
        successor: None,
        line_row: old.row,
        // Its secret was made here.
        weak: false,
        created_at: NOW + SECOND,
        expires_at: new.expires_at,
        ..(**old).clone()
    };
    assert_eq!(**made, expected);
    assert!(made.id != new.id && made.row != old.row);
    assert_eq!(there.recorded(), "keys create, keys rotate, keys rotate");
    let both: String = there.look(
        "SELECT group_concat(json_extract(CAST(canonical AS TEXT), '$.key_id')) FROM audit \
         WHERE position > 1",
    );
    assert_eq!(both, format!("{},{}", new.id, made.id), "the record names the old and the new");
    // The third of the line belongs to the first.
    there.rotated(made.id, until, NOW + SECOND * 2).await;
    let lines: Vec<_> = there.store.keys().await.unwrap();
    assert!(lines[1..].iter().all(|key| key.key.line_row == old.row));
}

#[tokio::test]
async fn only_a_valid_key_without_a_successor_is_rotated() {
    let there = Fixture::new().await;
    let until = NOW + SECOND * 10;
    assert_eq!(there.rotated(KeyId::random(), until, NOW).await, Rotated::Unknown);
    for (end, until, expected) in [
        (NOW + SECOND, until, Rotated::Now { old_expires_at: NOW + SECOND }),
        (until + SECOND, until, Rotated::Now { old_expires_at: until }),
        (NOW, until, Rotated::NotValid),
    ] {
        there.by_hand(&format!("UPDATE keys SET successor = NULL, expires_at = {}", end.0));
        there.by_hand("DELETE FROM keys WHERE key > 1");
        assert_eq!(there.rotated(there.key, until, NOW).await, expected, "{end}");
    }
    there.by_hand("UPDATE keys SET expires_at = NULL, revoked_at = 5");
    assert_eq!(there.rotated(there.key, until, NOW).await, Rotated::NotValid);
    there.by_hand("UPDATE keys SET revoked_at = NULL; DELETE FROM audit");
    there.rotated(there.key, until, NOW).await;
    let successor = there.store.keys().await.unwrap()[1].key.id;
    let before = there.look::<i64>("SELECT count(*) FROM audit");
    assert_eq!(there.rotated(there.key, until, NOW).await, Rotated::Before(successor));
    assert_eq!(there.look::<i64>("SELECT count(*) FROM audit"), before);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM keys"), 2);
}

#[tokio::test]
async fn a_key_whose_limits_cannot_be_read_closes_the_door_for_itself_only() {
    for (column, value) in [
        ("peers", "every-where-"),
        ("peers", "192.0.2.0/24 192.0.2.0/33"),
        ("identifier_kinds", "extension everything"),
        ("numbers", "+49* *"),
    ] {
        let there = Fixture::new().await;
        let (bad, _) = there.make_key(SECRET).await;
        there.by_hand(&format!("UPDATE keys SET {column} = '{value}' WHERE key_id = '{bad}'"));
        let keys = there.store.keys().await.unwrap();
        let ids: Vec<_> = keys.iter().map(|report| report.key.id).collect();
        assert_eq!(ids, [there.key], "{column} {value}");
        assert_eq!(there.store.access_snapshot().await.unwrap().keys.len(), 1);
    }
}

#[tokio::test]
async fn the_latest_twenty_places_of_each_key_are_kept() {
    let there = Fixture::new().await;
    let (_, other) = there.make_key(SECRET).await;
    let place = |n: u32| used(there.key_row, &format!("192.0.2.{n}"), "", NOW + SECOND * n);
    there.store.note_uses((1..=15).map(place).collect()).await.unwrap();
    there.store.note_uses(vec![used(other, "192.0.2.1", "jane", NOW)]).await.unwrap();
    there.store.note_uses((10..=30).map(place).collect()).await.unwrap();
    let reports = there.store.keys().await.unwrap();
    let peers: Vec<_> = reports[0].uses.iter().map(|one| one.peer.clone()).collect();
    let expected: Vec<_> = (11..=30).rev().map(|n| format!("192.0.2.{n}")).collect();
    assert_eq!(peers, expected, "the latest first");
    assert_eq!(reports[0].last_used_at, Some(NOW + SECOND * 30));
    assert_eq!(reports[1].uses, [used(other, "192.0.2.1", "jane", NOW)]);
    assert_eq!(reports[1].last_used_at, Some(NOW));
}

#[tokio::test]
async fn a_use_moves_no_generation_and_is_remembered_by_address_and_login() {
    let there = Fixture::new().await;
    let before = there.store.access_generation().await.unwrap();
    let later = used(there.key_row, "::1", "JÖRG", NOW + SECOND);
    there.store.note_uses(vec![later]).await.unwrap();
    there
        .store
        .note_query_passwords(vec![(there.key_row, 3), (there.key_row + 7, 1)])
        .await
        .unwrap();
    there.store.note_query_passwords(vec![(there.key_row, 2)]).await.unwrap();
    // What comes late does not turn the time back.
    let earlier = used(there.key_row, "::1", "Jörg", NOW);
    there.store.note_uses(vec![earlier]).await.unwrap();
    assert_eq!(there.store.access_generation().await.unwrap(), before);
    let report = there.store.keys().await.unwrap().remove(0);
    assert_eq!((report.last_used_at, report.query_password_uses), (Some(NOW + SECOND), 5));
    assert_eq!(report.uses.len(), 1);
    assert_eq!((report.uses[0].first_used_at, report.uses[0].last_used_at), (NOW, NOW + SECOND));
    for (row, peer, login, since, expected) in [
        (there.key_row, "::1", "jörg", NOW + SECOND, true),
        (there.key_row, "::1", "jörg", NOW + SECOND * 2, false),
        (there.key_row, "::2", "jörg", NOW, false),
        (there.key_row, "::1", "", NOW, false),
        (there.key_row + 1, "::1", "jörg", NOW, false),
    ] {
        let known = there.store.has_used(row, peer.to_owned(), login.to_owned(), since);
        assert_eq!(known.await.unwrap(), expected, "{row} {peer} {login} {since}");
    }
}

#[tokio::test]
async fn places_where_somebody_logged_in_are_forgotten_by_age_and_by_a_quota_of_their_own() {
    let there = Fixture::new().await;
    let has_used = async |login: &str| {
        let (peer, login) = ("::1".to_owned(), login.to_owned());
        there.store.has_used(there.key_row, peer, login, NOW).await.unwrap()
    };
    there.store.note_uses(vec![used(there.key_row, "::1", "jane", NOW)]).await.unwrap();
    let stranger = |n: u32| used(there.key_row, &format!("192.0.2.{n}"), "", NOW + SECOND * n);
    there.store.note_uses((1..=30).map(stranger).collect()).await.unwrap();
    let others = (1..=999).map(|n| {
        let login = format!("user{}", n / 20);
        used(there.key_row, &format!("2001:db8::{n:x}"), &login, NOW + SECOND)
    });
    there.store.note_uses(others.collect()).await.unwrap();
    assert!(has_used("jane").await, "1,000 places of logins");
    assert_eq!(there.look::<i64>("SELECT count(*) FROM key_uses"), 1020);
    assert_eq!(there.store.keys().await.unwrap()[0].uses.len(), 20, "those that are shown");
    let one_more = used(there.key_row, "2001:db8::", "john", NOW + SECOND);
    there.store.note_uses(vec![one_more]).await.unwrap();
    assert!(!has_used("jane").await);

    there.store.note_uses(vec![used(there.key_row, "::1", "jane", NOW)]).await.unwrap();
    let later = NOW + FAMILIAR + SECOND * 2;
    let own = (1..=21).map(|n| used(there.key_row, &format!("192.0.2.{n}"), "john", later));
    there.store.note_uses(own.collect()).await.unwrap();
    let left = "SELECT group_concat(DISTINCT login) || ' ' || count(*) FROM key_uses \
                WHERE login <> ''";
    assert_eq!(there.look::<String>(left), "john 20", "all others are too old");
}
