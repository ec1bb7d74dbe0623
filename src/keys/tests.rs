use super::*;
use crate::store::fixture::{API_KEY, Fixture, NOW, TENANT};

fn keys(there: &Fixture) -> Keys {
    Keys::new(there.store.clone(), there.pepper.clone(), Clock::manual(NOW))
}

fn operator() -> Operator {
    Operator::of_this_process()
}

fn wish(name: &str) -> KeyWish {
    KeyWish::named(name.to_owned(), TenantId::new(TENANT))
}

#[tokio::test]
async fn a_key_is_found_by_its_secret_as_it_was_when_last_refreshed() {
    let there = Fixture::new().await;
    let keys = keys(&there);
    let secret = Secret::new(API_KEY.to_owned());
    assert!(keys.find(&secret).0.is_none(), "none are known before the first look");
    keys.refresh().await.unwrap();
    assert_eq!(keys.find(&secret).0.unwrap().id, there.key);
    assert!(keys.find(&Secret::new(TENANT.to_owned())).0.is_none());

    there.by_hand("UPDATE keys SET revoked_at = 5");
    assert_eq!(keys.find(&secret).0.unwrap().revoked_at, None);
    keys.refresh().await.unwrap();
    let (key, generation) = keys.find(&secret);
    assert_eq!(key.unwrap().revoked_at, Some(Timestamp(5)));
    assert_eq!(generation, there.store.access_generation().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_shortly_after_a_look_has_its_result_and_does_not_wait() {
    let there = Fixture::new().await;
    let keys = keys(&there);
    let begun = || keys.look.lock().unwrap().as_ref().unwrap().begun;
    keys.look_again().await.unwrap();
    let first = begun();
    keys.look_again().await.unwrap();
    assert_eq!(begun(), first);
    there.by_hand("ALTER TABLE access_generation RENAME TO hidden");
    keys.look_again().await.unwrap();
    tokio::time::advance(LOOK_INTERVAL).await;
    assert!(keys.look_again().await.is_err());
    assert!(keys.look_again().await.is_err(), "what could not be told is not told now either");
    assert!(begun() >= first + LOOK_INTERVAL);
}

#[tokio::test]
async fn a_made_key_has_its_wishes_and_is_revoked_once() {
    let there = Fixture::new().await;
    let keys = keys(&there);
    let wish = KeyWish {
        tenant: TenantId::new("Contoso.example"),
        peers: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        post_only: true,
        reason_required: true,
        query_passwords: false,
        expires_at: Some(Timestamp(9)),
        ..wish("dispatch")
    };
    let (id, secret) = keys.create(&operator(), wish.clone()).await.unwrap();
    assert!(Keys::could_make(&secret));
    keys.refresh().await.unwrap();
    let key = keys.find(&secret).0.unwrap();
    assert_eq!((key.id, key.tenant.as_str()), (id, "contoso.example"));
    assert_eq!((&key.peers, key.expires_at), (&wish.peers, wish.expires_at));
    assert!(key.post_only && key.reason_required && !key.query_passwords && !key.weak);
    assert_eq!(keys.revoke(&operator(), id).await.unwrap(), Revoked::Now { sessions: 0 });
    assert_eq!(keys.revoke(&operator(), id).await.unwrap(), Revoked::Before(NOW));
    assert_eq!(keys.list().await.unwrap().len(), 2);
    let record: String =
        there.look("SELECT CAST(canonical AS TEXT) || personal FROM audit WHERE position = 1");
    for part in ["\"keys create\"", "\"contoso.example\"", &id.to_string(), "\"host\":"] {
        assert!(record.contains(part), "{part} in {record}");
    }
    assert!(!record.contains(secret.expose()));
}

#[tokio::test]
async fn a_key_that_needs_a_token_may_ask_for_one_unless_its_rights_are_named() {
    let there = Fixture::new().await;
    let keys = keys(&there);
    for (requires_token, rights, expected) in [
        (false, vec![], Right::DEFAULT.to_vec()),
        (true, vec![], [&Right::DEFAULT[..], &Right::LOGIN[..]].concat()),
        (true, vec![Right::GetCallId], vec![Right::GetCallId]),
    ] {
        let wish = KeyWish { requires_token, rights, ..wish("dispatch") };
        let (id, _) = keys.create(&operator(), wish).await.unwrap();
        let made = keys.list().await.unwrap().pop().unwrap().key;
        assert_eq!((made.id, &made.rights), (id, &expected));
    }
}

#[tokio::test]
async fn keys_are_imported_with_the_secrets_that_clients_have_and_weak_ones_are_marked() {
    let there = Fixture::new().await;
    let keys = keys(&there);
    let secret = |text: &str| Secret::new(text.to_owned());
    let good = "9b1f4c1e-7a53-4d0e-8f6b-2c9e5d7a1b34";
    let clock = "d9428888-122b-11e1-b85c-61cd3cbb3210";
    let known = keys.known(&[secret(good), secret(API_KEY)]).await.unwrap();
    assert_eq!(known, [1]);
    let wanted = |text| (wish("imported"), secret(text));
    let conflict = keys.import(&operator(), vec![wanted(good), wanted(API_KEY)]).await;
    assert!(matches!(conflict, Err(StoreError::Conflict)), "{conflict:?}");
    let ids = keys.import(&operator(), vec![wanted(good), wanted(clock)]).await.unwrap();
    keys.refresh().await.unwrap();
    for ((text, weak), id) in [(good, false), (clock, true)].into_iter().zip(ids) {
        let key = keys.find(&secret(text)).0.unwrap();
        assert_eq!((key.id, key.weak), (id, weak));
    }
    assert_eq!(there.look::<i64>("SELECT count(*) FROM audit"), 2);
}

#[tokio::test]
async fn a_successor_works_at_once_and_the_old_key_until_the_grace_is_over() {
    let there = Fixture::new().await;
    let keys = keys(&there);
    let hour = Duration::from_hours(1);
    let rotation = keys.rotate(&operator(), there.key, hour).await.unwrap();
    let Rotation::Made { id, secret, old_expires_at } = rotation else { panic!("{rotation:?}") };
    assert_eq!(old_expires_at, NOW + hour);
    keys.refresh().await.unwrap();
    let made = keys.find(&secret).0.unwrap();
    assert_eq!((made.id, made.line_row, made.expires_at), (id, there.key_row, None));
    let old = keys.find(&Secret::new(API_KEY.to_owned())).0.unwrap();
    assert!(old.is_valid_at(NOW) && !old.is_valid_at(NOW + hour));
    let again = keys.rotate(&operator(), there.key, hour).await.unwrap();
    assert!(matches!(again, Rotation::Before(successor) if successor == id), "{again:?}");
    // No grace at all: the old one ends now.
    let at_once = keys.rotate(&operator(), id, Duration::ZERO).await.unwrap();
    assert!(matches!(at_once, Rotation::Made { old_expires_at: NOW, .. }), "{at_once:?}");
    let expired = keys.rotate(&operator(), id, hour).await.unwrap();
    assert!(matches!(expired, Rotation::Before(_)), "{expired:?}");
    let unknown = keys.rotate(&operator(), KeyId::random(), hour).await.unwrap();
    assert!(matches!(unknown, Rotation::Unknown), "{unknown:?}");
}

#[tokio::test(start_paused = true)]
async fn uses_are_written_every_two_seconds_and_once_more_at_the_end() {
    let there = Fixture::new().await;
    let keys = keys(&there);
    keys.refresh().await.unwrap();
    let key = keys.find(&Secret::new(API_KEY.to_owned())).0.unwrap();
    let (stop, stopping) = watch::channel(false);
    let written = || there.look::<i64>("SELECT count(*) FROM key_uses");
    let watch = async {
        keys.used(&key, "192.0.2.7".parse().unwrap(), Some("jane"));
        while written() == 0 {
            tokio::time::sleep(USES_INTERVAL / 4).await;
        }
        keys.password_in_query(&key);
        stop.send_replace(true);
    };
    tokio::join!(keys.clone().run_uses(stopping), watch);
    assert_eq!(written(), 1, "a password is no use");
    assert_eq!(there.look::<i64>("SELECT query_password_uses FROM keys"), 1);
}
