//! Users and sessions, and when a check still stands.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{SessionId, TenantId};
use crate::model::user::Role;
use crate::store::access::{NewSession, NewUser, Revoked, UserChanged, UserWithPassword};
use crate::store::admission::Admission;
use crate::store::fixture::{API_KEY, Fixture, NOW, TENANT, by_call_id, entry};
use crate::store::pepper::Hashed;

const SECOND: Duration = Duration::from_secs(1);
const TOKEN: &str = "0b5d0000-0000-4000-8000-000000000001";
const OTHER: &str = "0b5d0000-0000-4000-8000-000000000002";

impl Fixture {
    /// Makes a user whose password hash is `password`.
    async fn make_user(&self, login: &str, password: &str) -> bool {
        let user = NewUser {
            tenant: TenantId::new(TENANT),
            login: login.to_owned(),
            role: Role::Caller,
            password_hash: password.to_owned(),
            created_at: NOW,
        };
        self.store.create_user(user, entry("users create", NOW)).await.unwrap()
    }

    async fn user(&self, login: &str) -> UserWithPassword {
        self.store.user(self.tenant_row, login.to_owned()).await.unwrap().unwrap()
    }

    async fn make_session(&self, token: &str, user: Option<UserWithPassword>) -> Option<SessionId> {
        let session = NewSession {
            id: SessionId::random(),
            key: self.key,
            user,
            secret: self.hashed(Hashed::Token, token),
            created_at: NOW,
            expires_at: NOW + SECOND,
        };
        self.store.create_session(session, entry("RequestToken", NOW)).await.unwrap()
    }

    /// Whether the token could be used now.
    async fn is_running(&self, token: &str) -> bool {
        let hash = self.hashed(Hashed::Token, token).hash;
        let session = self.store.session(hash).await.unwrap().unwrap();
        let listed = self.store.sessions(NOW).await.unwrap();
        let key = self.checked(self.key_row, None).await.key;
        let runs = session.is_valid_for(&key, NOW);
        assert_eq!(runs, listed.iter().any(|one| one.id == session.id), "listed as it is");
        runs
    }

    async fn set_disabled(&self, disabled: bool) -> UserChanged {
        let (tenant, login) = (TenantId::new(TENANT), "ALICE".to_owned());
        let entry = entry("users disable", NOW);
        self.store.set_user_disabled(tenant, login, disabled, entry).await.unwrap()
    }

    /// The actions in the audit chain, in order.
    pub(super) fn recorded(&self) -> String {
        self.look(
            "SELECT coalesce(group_concat(one, ', '), '') FROM \
             (SELECT json_extract(CAST(canonical AS TEXT), '$.action') AS one FROM audit \
             ORDER BY position)",
        )
    }
}

#[tokio::test]
async fn nothing_is_admitted_on_a_check_that_access_has_outlived() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let ask = there.ask(by_call_id("a"), NOW).await;
    there.revoke().await;
    let admission = there.store.admit(ask, |_| ()).await.unwrap();
    assert!(matches!(admission, Admission::AccessChanged));
    assert_eq!(there.look::<i64>("SELECT count(*) FROM deletions"), 0);
    assert_eq!(there.recorded(), "keys revoke");
}

#[tokio::test]
async fn a_check_stands_until_its_own_key_session_or_user_changes_by_whatever_hand() {
    for (change, stands) in [
        ("UPDATE sessions SET released_at = 5 WHERE session = 2", true),
        ("DELETE FROM sessions WHERE session = 2", true),
        ("UPDATE keys SET revoked_at = 5 WHERE key = 2", true),
        ("UPDATE users SET disabled_at = 5 WHERE user = 2", true),
        ("UPDATE users SET role = 'admin' WHERE user = 1", true),
        ("UPDATE keys SET last_used_at = 5, query_password_uses = 7", true),
        ("UPDATE keys SET revoked_at = 5 WHERE key = 1", false),
        ("UPDATE keys SET rights = 'GetCallID' WHERE key = 1", false),
        ("UPDATE keys SET expires_at = 5 WHERE key = 1", false),
        ("UPDATE keys SET peers = 'pbx.example.com' WHERE key = 1", false),
        ("UPDATE keys SET numbers = '+49*' WHERE key = 1", false),
        ("UPDATE keys SET numbers = '*' WHERE key = 1", false),
        ("UPDATE keys SET hash = zeroblob(32) WHERE key = 1", false),
        ("DELETE FROM keys WHERE key = 1", false),
        ("UPDATE sessions SET released_at = 5 WHERE session = 1", false),
        ("UPDATE sessions SET hash = zeroblob(32) WHERE session = 1", false),
        ("DELETE FROM sessions WHERE session = 1", false),
        ("UPDATE users SET disabled_at = 5 WHERE user = 1", false),
        ("UPDATE users SET password_hash = 'other' WHERE user = 1", false),
        ("DELETE FROM users WHERE user = 1", false),
    ] {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        there.make_key("6b1f0000-0000-4000-8000-000000000001").await;
        for (login, token) in [("alice", TOKEN), ("bob", OTHER)] {
            assert!(there.make_user(login, "hash").await);
            there.make_session(token, Some(there.user(login).await)).await.unwrap();
        }
        let mut ask = there.ask(by_call_id("a"), NOW).await;
        let token = there.hashed(Hashed::Token, TOKEN).hash;
        ask.checked = there.checked(there.key_row, Some(token)).await;
        // As in the shell, where foreign keys are not enforced.
        there.by_hand(&format!("PRAGMA foreign_keys = OFF; {change}"));
        let admission = there.store.admit(ask, |_| ()).await.unwrap();
        assert_eq!(matches!(admission, Admission::Decided(_)), stands, "{change}");
        let users = "SELECT coalesce(group_concat(session || ' ' || user), '') FROM deletions";
        let expected = if stands { "1 1" } else { "" };
        assert_eq!(there.look::<String>(users), expected, "{change}");
    }
}

#[tokio::test]
async fn whatever_takes_access_away_by_whatever_hand_moves_the_generation() {
    let there = Fixture::new().await;
    assert!(there.make_user("alice", "hash").await);
    there.make_session(TOKEN, None).await.unwrap();
    for (statement, moves) in [
        ("UPDATE keys SET last_used_at = 5", false),
        ("UPDATE keys SET query_password_uses = 5", false),
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

#[tokio::test]
async fn a_session_is_made_for_a_valid_key_and_found_by_its_token_only() {
    let there = Fixture::new().await;
    let id = there.make_session(TOKEN, None).await.unwrap();
    let hash = |what, value: &str| there.hashed(what, value).hash;
    let found = there.store.session(hash(Hashed::Token, TOKEN)).await.unwrap().unwrap();
    assert_eq!((found.id, found.key_row, found.login), (id, there.key_row, None));
    assert_eq!(there.store.session(hash(Hashed::Token, API_KEY)).await.unwrap(), None);
    assert_eq!(there.store.session(hash(Hashed::Key, TOKEN)).await.unwrap(), None);

    there.by_hand("UPDATE keys SET expires_at = 1");
    assert_eq!(there.make_session(OTHER, None).await, None);
    there.by_hand("UPDATE keys SET expires_at = NULL, revoked_at = 1");
    assert_eq!(there.make_session(OTHER, None).await, None);
    assert_eq!(there.recorded(), "RequestToken");
}

#[tokio::test]
async fn a_user_is_found_by_login_without_case_in_their_own_tenant() {
    let there = Fixture::new().await;
    assert!(there.make_user("Alice", "hash").await);
    assert!(!there.make_user("aLICE", "other").await, "the login is taken");
    let found = there.user("ALICE").await;
    assert_eq!((found.user.login.as_str(), found.password_hash.as_str()), ("Alice", "hash"));
    assert_eq!((found.user.tenant.as_str(), found.user.role), (TENANT, Role::Caller));
    let other = there.store.tenant(TenantId::new("other.example"), NOW).await.unwrap();
    assert!(there.store.user(other, "alice".to_owned()).await.unwrap().is_none());
    assert_eq!(there.store.users().await.unwrap(), [found.user]);
    assert_eq!(there.recorded(), "users create", "what changed nothing is not recorded");
}

#[tokio::test]
async fn a_login_with_an_accent_is_one_however_it_is_written() {
    let there = Fixture::new().await;
    assert!(there.make_user("Jörg", "hash").await);
    for login in ["JÖRG", "jörg", "jo\u{308}rg"] {
        assert!(!there.make_user(login, "other").await, "{login} is taken");
        assert_eq!(there.user(login).await.user.login, "Jörg", "as it was made");
    }
}

#[tokio::test]
async fn a_login_whose_user_changed_while_the_password_was_verified_opens_nothing() {
    for change in [
        "UPDATE users SET password_hash = 'other'",
        "UPDATE users SET disabled_at = 5",
        "UPDATE users SET tenant = (SELECT max(tenant) FROM tenants)",
        "DELETE FROM users",
    ] {
        let there = Fixture::new().await;
        there.store.tenant(TenantId::new("other.example"), NOW).await.unwrap();
        assert!(there.make_user("alice", "hash").await);
        let verified = there.user("alice").await;
        there.by_hand(change);
        assert_eq!(there.make_session(TOKEN, Some(verified)).await, None, "{change}");
        assert_eq!(there.look::<i64>("SELECT count(*) FROM sessions"), 0);
        assert_eq!(there.recorded(), "users create", "{change}");
    }
}

#[tokio::test]
async fn disabling_a_user_ends_their_sessions_and_enabling_does_not_bring_them_back() {
    let there = Fixture::new().await;
    assert_eq!(there.set_disabled(true).await, UserChanged::Unknown);
    assert!(there.make_user("alice", "hash").await);
    there.make_session(TOKEN, Some(there.user("alice").await)).await.unwrap();
    there.make_session(OTHER, None).await.unwrap();
    assert!(there.is_running(TOKEN).await);
    assert_eq!(there.set_disabled(false).await, UserChanged::Before);
    assert_eq!(there.set_disabled(true).await, UserChanged::Now { sessions: 1 });
    assert_eq!(there.set_disabled(true).await, UserChanged::Before);
    assert!(!there.is_running(TOKEN).await);
    assert!(there.is_running(OTHER).await, "nobody's in particular");
    assert_eq!(there.set_disabled(false).await, UserChanged::Now { sessions: 0 });
    assert!(!there.is_running(TOKEN).await);
    let expected = "users create, RequestToken, RequestToken, users disable, users disable";
    assert_eq!(there.recorded(), expected);
}

#[tokio::test]
async fn whatever_hand_shuts_a_user_or_a_key_the_sessions_do_not_come_back() {
    for (shut, reopen) in [
        ("UPDATE users SET disabled_at = 5", "UPDATE users SET disabled_at = NULL"),
        ("UPDATE users SET password_hash = 'new'", "UPDATE users SET password_hash = 'hash'"),
        ("UPDATE keys SET revoked_at = 5", "UPDATE keys SET revoked_at = NULL"),
    ] {
        let there = Fixture::new().await;
        assert!(there.make_user("alice", "hash").await);
        there.make_session(TOKEN, Some(there.user("alice").await)).await.unwrap();
        there.by_hand(shut);
        there.by_hand(reopen);
        assert!(!there.is_running(TOKEN).await, "{shut}");
    }
}

#[tokio::test]
async fn another_password_ends_the_sessions_that_the_old_one_opened() {
    let there = Fixture::new().await;
    let set = async |hash: &str| {
        let (tenant, login) = (TenantId::new(TENANT), "alice".to_owned());
        let entry = entry("users passwd", NOW);
        there.store.set_password(tenant, login, hash.to_owned(), entry).await.unwrap()
    };
    assert_eq!(set("new").await, None);
    assert!(there.make_user("alice", "hash").await);
    there.make_session(TOKEN, Some(there.user("alice").await)).await.unwrap();
    assert_eq!(set("new").await, Some(1));
    assert!(!there.is_running(TOKEN).await);
    there.make_session(OTHER, Some(there.user("alice").await)).await.unwrap();
    assert!(there.is_running(OTHER).await);
}

#[tokio::test]
async fn a_key_is_revoked_once_with_its_sessions() {
    let there = Fixture::new().await;
    let revoke = async |at: Timestamp| {
        there.store.revoke_key(there.key, entry("keys revoke", at)).await.unwrap()
    };
    there.make_session(TOKEN, None).await.unwrap();
    there.make_session(OTHER, None).await.unwrap();
    there.by_hand("UPDATE sessions SET expires_at = 5 WHERE session = 2");
    assert_eq!(revoke(NOW).await, Revoked::Now { sessions: 1 });
    assert_eq!(revoke(NOW + SECOND).await, Revoked::Before(NOW));
    let unknown = there.store.revoke_key(crate::id::KeyId::random(), entry("keys revoke", NOW));
    assert_eq!(unknown.await.unwrap(), Revoked::Unknown);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM sessions WHERE released_at IS NULL"), 0);
    assert_eq!(there.recorded(), "RequestToken, RequestToken, keys revoke");
    let record: String = there.look("SELECT CAST(canonical AS TEXT) FROM audit WHERE position = 3");
    assert!(record.contains(&there.key.to_string()) && record.contains(TENANT), "{record}");
}

#[tokio::test]
async fn a_session_is_ended_once_and_the_record_says_which() {
    let there = Fixture::new().await;
    let end = async |id| there.store.end_session(id, entry("ReleaseToken", NOW)).await.unwrap();
    let id = there.make_session(TOKEN, None).await.unwrap();
    assert!(!end(SessionId::random()).await);
    assert!(end(id).await);
    assert!(!end(id).await);
    assert!(!there.is_running(TOKEN).await);
    let expired = there.make_session(OTHER, None).await.unwrap();
    there.by_hand(&format!("UPDATE sessions SET expires_at = {} WHERE session = 2", NOW.0));
    assert!(!end(expired).await, "it had ended by itself");
    assert_eq!(there.recorded(), "RequestToken, ReleaseToken, RequestToken");
    let record: String = there.look("SELECT CAST(canonical AS TEXT) FROM audit WHERE position = 2");
    for part in [id.to_string(), there.key.to_string(), TENANT.to_owned()] {
        assert!(record.contains(&part), "{part} in {record}");
    }
}

#[tokio::test]
async fn sessions_that_expired_long_ago_are_removed_as_new_ones_are_opened() {
    let there = Fixture::new().await;
    there.make_session(TOKEN, None).await.unwrap();
    there.by_hand("UPDATE sessions SET expires_at = created_at - 86400000");
    let generation = there.store.access_generation().await.unwrap();
    there.make_session(OTHER, None).await.unwrap();
    assert_eq!(there.look::<i64>("SELECT count(*) FROM sessions"), 2, "for not quite a day");
    there.by_hand("UPDATE sessions SET expires_at = created_at - 86400001 WHERE session = 1");
    let before = there.store.access_generation().await.unwrap();
    assert!(before > generation);
    there.make_session("0b5d0000-0000-4000-8000-000000000003", None).await.unwrap();
    assert_eq!(there.look::<String>("SELECT group_concat(session) FROM sessions"), "2,3");
    assert_eq!(there.store.access_generation().await.unwrap(), before, "nothing cached is wrong");
    there.by_hand("DELETE FROM sessions WHERE session = 2");
    assert!(there.store.access_generation().await.unwrap() > before);
}
