//! Who is accepted, who is not, and what of it they can tell.

mod login;

use std::time::Duration;

use super::*;
use crate::access::hosts::Resolver;
use crate::access::hosts::tests::Table;
use crate::clock::Clock;
use crate::id::TenantId;
use crate::sessions::{LIFETIME, NewToken};
use crate::store::fixture::{API_KEY, Fixture, NOW, TENANT, entry};
use crate::users::Login;
use crate::users::tests::make;

const PEER: &str = "192.0.2.7";
const OTHER_KEY: &str = "6b1f0000-0000-4000-8000-000000000001";

/// Access to the store of a fixture, known to be as it is now.
struct There {
    access: Access,
    keys: Keys,
    sessions: Sessions,
    users: Users,
    dns: Table,
}

impl There {
    async fn new(there: &Fixture) -> Self {
        let keys = Keys::new(there.store.clone(), there.pepper.clone(), Clock::manual(NOW));
        let sessions = Sessions::new(there.store.clone(), there.pepper.clone(), Clock::manual(NOW));
        let users = Users::new(there.store.clone(), Clock::manual(NOW));
        let dns = Table::default();
        let hosts = Hosts::new(Resolver::Table(dns.clone()));
        let access = Access::new(keys.clone(), sessions.clone(), users.clone(), hosts);
        access.refresh().await.unwrap();
        Self { access, keys, sessions, users, dns }
    }

    async fn check(&self, api_key: &str, peer: &str) -> Result<CheckedKey, AccessError> {
        let secret = Secret::new(api_key.to_owned());
        self.access.check_key(Some(&secret), peer.parse().unwrap(), NOW).await
    }

    /// In one word: `accepted`, `hosts`, or the cause.
    async fn word(&self, api_key: &str, peer: &str) -> &'static str {
        match self.check(api_key, peer).await {
            Ok(_) => "accepted",
            Err(AccessError::Key(refusal)) => refusal.cause,
            Err(AccessError::Hosts(_)) => "hosts",
            Err(error) => panic!("{error}"),
        }
    }

    async fn make_user(&self) {
        assert!(make(&self.users, "Jane", "hunter22").await.unwrap());
    }

    async fn log_in(&self, name: &str, password: &str, peer: &str) -> Result<NewToken, LoginError> {
        self.log_in_with(API_KEY, name, password, peer).await
    }

    async fn log_in_with(
        &self,
        api_key: &str,
        name: &str,
        password: &str,
        peer: &str,
    ) -> Result<NewToken, LoginError> {
        let checked = self.check(api_key, peer).await.unwrap();
        let entry = entry("RequestToken", NOW);
        self.access.log_in(&checked, &login(name, password), false, entry).await
    }
}

fn login(login: &str, password: &str) -> Login {
    Login { login: login.to_owned(), password: Secret::new(password.to_owned()) }
}

/// Who acts with the one key of `there`, for the tests of what takes an actor.
pub(crate) async fn actor(there: &Fixture) -> Actor {
    let there = There::new(there).await;
    let checked = there.check(API_KEY, PEER).await.unwrap();
    there.access.check_token(checked, Token::Absent, false, NOW).await.unwrap()
}

#[tokio::test]
async fn a_key_is_accepted_while_it_is_valid_and_from_where_it_may_be_used() {
    for (change, expected) in [
        ("last_used_at = 5", "accepted"),
        ("peers = '192.0.2.0/24 2001:db8::/32'", "accepted"),
        ("peers = '198.51.100.0/24'", "address"),
        ("expires_at = 1790000000001", "accepted"),
        ("expires_at = 1790000000000", "expired"),
        ("revoked_at = 5", "revoked"),
        ("revoked_at = 5, expires_at = 5, peers = '198.51.100.0/24'", "revoked"),
        ("expires_at = 5, peers = 'lost.example'", "expired"),
        ("hash = zeroblob(32)", "unknown"),
    ] {
        let fixture = Fixture::new().await;
        fixture.by_hand(&format!("UPDATE keys SET {change}"));
        let there = There::new(&fixture).await;
        assert_eq!(there.word(API_KEY, PEER).await, expected, "{change}");
        assert_eq!(there.word(API_KEY, "::ffff:192.0.2.7").await, expected, "{change}");
    }
}

#[tokio::test]
async fn a_refusal_names_its_key_for_the_record_and_says_nothing_of_it() {
    let fixture = Fixture::new().await;
    fixture.by_hand("UPDATE keys SET revoked_at = 5, name = 'dispatch'");
    let there = There::new(&fixture).await;
    let Err(AccessError::Key(refusal)) = there.check(API_KEY, PEER).await else { panic!() };
    assert_eq!(refusal.key.as_ref().unwrap().id, fixture.key);
    let shown = AccessError::Key(refusal).to_string();
    assert_eq!(shown, "the API key was not accepted: revoked");

    for (sent, cause) in [(None, "missing"), (Some("x"), "malformed"), (Some(OTHER_KEY), "unknown")]
    {
        let secret = sent.map(|text| Secret::new(text.to_owned()));
        let checked = there.access.check_key(secret.as_ref(), PEER.parse().unwrap(), NOW).await;
        let Err(AccessError::Key(refusal)) = checked else { panic!("{cause}") };
        assert_eq!((refusal.cause, refusal.key.is_none()), (cause, true));
    }
}

#[tokio::test]
async fn a_key_may_be_used_from_where_its_names_are_now() {
    let fixture = Fixture::new().await;
    fixture.by_hand("UPDATE keys SET peers = '198.51.100.0/24 pbx.example.com'");
    let there = There::new(&fixture).await;
    there.dns.set("pbx.example.com", &[PEER]);
    assert_eq!(there.word(API_KEY, PEER).await, "accepted", "asked for on the spot");
    assert_eq!(there.word(API_KEY, "192.0.2.8").await, "address");
    there.dns.set("pbx.example.com", &["192.0.2.8"]);
    assert_eq!(there.word(API_KEY, PEER).await, "accepted");
    there.access.resolve_hosts(NOW).await;
    assert_eq!(there.word(API_KEY, PEER).await, "address");
    assert_eq!(there.word(API_KEY, "192.0.2.8").await, "accepted");
    assert_eq!(there.word(API_KEY, "198.51.100.1").await, "accepted");
}

#[tokio::test]
async fn while_its_names_have_no_addresses_nobody_knows_whether_a_key_may_be_used() {
    let fixture = Fixture::new().await;
    fixture.by_hand("UPDATE keys SET peers = '198.51.100.0/24 pbx.example.com'");
    let there = There::new(&fixture).await;
    assert_eq!(there.word(API_KEY, "198.51.100.1").await, "accepted", "networks need no names");
    assert_eq!(there.word(API_KEY, PEER).await, "hosts");
    there.access.resolve_hosts(NOW).await;
    let Err(AccessError::Hosts(key)) = there.check(API_KEY, PEER).await else { panic!() };
    assert_eq!(key.id, fixture.key);
    there.dns.set("pbx.example.com", &[PEER]);
    there.access.resolve_hosts(NOW).await;
    assert_eq!(there.word(API_KEY, PEER).await, "accepted");
}

#[tokio::test]
async fn a_key_that_another_process_made_counts_at_once() {
    let fixture = Fixture::new().await;
    let there = There::new(&fixture).await;
    fixture.make_key(OTHER_KEY).await;
    assert_eq!(there.word(OTHER_KEY, PEER).await, "accepted");
}

#[tokio::test]
async fn every_key_that_could_be_one_and_is_not_accepted_takes_the_same_way() {
    for change in [
        "hash = zeroblob(32)",
        "revoked_at = 5",
        "expires_at = 5",
        "peers = '198.51.100.0/24'",
        "peers = 'pbx.example.com'",
    ] {
        let fixture = Fixture::new().await;
        fixture.by_hand(&format!("UPDATE keys SET {change}"));
        let there = There::new(&fixture).await;
        fixture.by_hand("ALTER TABLE access_generation RENAME TO hidden");
        // Whoever looked is told that looking failed.
        let checked = there.check(API_KEY, PEER).await;
        assert!(matches!(checked, Err(AccessError::Store(_))), "{change}: {checked:?}");
    }
}

#[tokio::test]
async fn while_the_store_fails_a_key_it_may_have_is_not_called_unknown() {
    let fixture = Fixture::new().await;
    let there = There::new(&fixture).await;
    fixture.by_hand("ALTER TABLE access_generation RENAME TO hidden");
    assert!(matches!(there.check(OTHER_KEY, PEER).await, Err(AccessError::Store(_))));
    assert_eq!(there.word("no key of ours", PEER).await, "malformed");
    assert_eq!(there.word(API_KEY, PEER).await, "accepted", "it is in memory");
}

#[tokio::test(start_paused = true)]
async fn many_bad_keys_are_answered_alike_and_brake_no_good_one() {
    let fixture = Fixture::new().await;
    let there = There::new(&fixture).await;
    let mut braked = Vec::new();
    for number in 0..22 {
        let bad = format!("6b1f0000-0000-4000-8000-{number:012}");
        let Err(AccessError::Key(refusal)) = there.check(&bad, PEER).await else { panic!() };
        assert_eq!(refusal.cause, "unknown");
        braked.push(refusal.is_braked);
    }
    assert_eq!(braked.iter().position(|is_braked| *is_braked), Some(20));
    assert_eq!(there.word(API_KEY, PEER).await, "accepted");
    let Err(AccessError::Key(refusal)) = there.check("x", "192.0.2.8").await else { panic!() };
    assert!(!refusal.is_braked, "another address");
}

#[tokio::test]
async fn a_token_counts_for_its_own_key_within_its_hour_and_only_where_one_is_needed() {
    let fixture = Fixture::new().await;
    let (other, _) = fixture.make_key(OTHER_KEY).await;
    fixture.by_hand("UPDATE keys SET requires_token = 1");
    let there = There::new(&fixture).await;
    let open = async |key| {
        let opened = there.sessions.open(key, None, entry("tokens create", NOW)).await;
        opened.unwrap().unwrap()
    };
    let (own, released) = (open(fixture.key).await, open(fixture.key).await);
    assert!(there.sessions.end(released.id, entry("ReleaseToken", NOW)).await.unwrap());
    let (own, released, foreign) = (own.token, released.token, open(other).await.token);
    there.access.refresh().await.unwrap();
    let secret = Secret::new(API_KEY.to_owned());
    let check = async |token, is_needed, now| {
        let checked = there.check(API_KEY, PEER).await.unwrap();
        match there.access.check_token(checked, token, is_needed, now).await {
            Ok(actor) if actor.session().is_some() => "session",
            Ok(_) => "no session",
            Err(AccessError::TokenNeeded) => "needed",
            Err(AccessError::Token(refusal)) => refusal.cause,
            Err(error) => panic!("{error}"),
        }
    };
    let end = NOW + LIFETIME;
    let before = end - Duration::from_millis(1);
    let tokens = [
        (Token::Sent(&own), before, "session"),
        (Token::Sent(&own), end, "expired"),
        (Token::Sent(&released), NOW, "released"),
        (Token::Sent(&foreign), NOW, "foreign"),
        (Token::Sent(&secret), NOW, "unknown"),
        (Token::Malformed, NOW, "malformed"),
        (Token::Absent, NOW, "needed"),
    ];
    for (token, now, expected) in tokens {
        assert_eq!(check(token, false, now).await, expected, "{token:?} {now}");
    }
    fixture.by_hand("UPDATE keys SET requires_token = 0");
    there.access.refresh().await.unwrap();
    for (token, now, expected) in tokens {
        assert_eq!(check(token, false, now).await, "no session", "{token:?}");
        assert_eq!(check(token, true, now).await, expected, "the action needs one: {token:?}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_no_refusal() {
    let fixture = Fixture::new().await;
    fixture.by_hand("UPDATE keys SET requires_token = 1");
    let there = There::new(&fixture).await;
    let secret = Secret::new(API_KEY.to_owned());
    let checked = there.check(API_KEY, PEER).await.unwrap();
    fixture.by_hand("ALTER TABLE sessions RENAME TO elsewhere");
    let nobody = there.access.check_token(checked, Token::Sent(&secret), false, NOW).await;
    assert!(matches!(nobody, Err(AccessError::Store(_))), "{nobody:?}");
}
