//! People who log in: made, disabled, and recognised by login and password.

pub(crate) mod passwords;

use std::net::IpAddr;
use std::time::Duration;

use self::passwords::{Known, PasswordError, Passwords, Place};
use crate::clock::Clock;
use crate::id::TenantId;
use crate::model::user::{self, Role, User};
use crate::operator::Operator;
use crate::secret::Secret;
use crate::store::Store;
use crate::store::access::{AuditEntry, NewUser, UserChanged, UserWithPassword};
use crate::store::error::StoreError;

/// What a new password must have, in bytes.
const SHORTEST: usize = 8;
/// And no more: whoever sends a longer one has mistaken it for something else.
const LONGEST: usize = 1024;

/// The users. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    store: Store,
    clock: Clock,
    passwords: Passwords,
}

/// What somebody logs in with.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) login: String,
    pub(crate) password: Secret<String>,
}

/// Why a user was neither made, changed nor recognised.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum UserError {
    /// Nobody can have this login.
    #[error("{0}")]
    Login(&'static str),
    /// Nobody may have a password of this length.
    #[error("a password has 8 to 1,024 bytes; this one has {0}")]
    Length(usize),
    /// The password could not be hashed, or too many wait for that already.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who a login is.
#[derive(Clone, Debug)]
pub(crate) enum Recognised {
    /// This user.
    As(UserWithPassword),
    /// Nobody: `unknown_login`, `wrong_password`, `disabled` or `unusable_hash`. Which is for the record, never for
    /// the caller.
    Nobody(&'static str),
}

impl Users {
    /// The users of `store`.
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, passwords: Passwords::new() }
    }

    /// Makes a user; gives false when the login is taken in that tenant.
    ///
    /// # Errors
    ///
    /// No user was made.
    pub(crate) async fn create(
        &self,
        operator: &Operator,
        tenant: TenantId,
        login: Login,
        role: Role,
    ) -> Result<bool, UserError> {
        let name = user::login(&login.login).map_err(UserError::Login)?;
        let password_hash = self.hash(&login.password).await?;
        let mut entry = self.entry(operator, "users create", &tenant, &name);
        entry.event.cause = Some(role.as_str());
        entry.event.parameters = vec!["--tenant", "--role"];
        let user = NewUser { tenant, login: name, role, password_hash, created_at: entry.at };
        Ok(self.store.create_user(user, entry).await?)
    }

    /// All users, by tenant and login.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn list(&self) -> Result<Vec<User>, StoreError> {
        self.store.users().await
    }

    /// Disables a user, which ends their sessions for good, or enables them again.
    ///
    /// # Errors
    ///
    /// The user is as before.
    pub(crate) async fn set_disabled(
        &self,
        operator: &Operator,
        tenant: TenantId,
        login: &str,
        disabled: bool,
    ) -> Result<UserChanged, StoreError> {
        let command = if disabled { "users disable" } else { "users enable" };
        let entry = self.entry(operator, command, &tenant, login);
        self.store.set_user_disabled(tenant, login.to_owned(), disabled, entry).await
    }

    /// Gives a user another password, which ends their sessions for good, so many; none when nobody
    /// has this login.
    ///
    /// # Errors
    ///
    /// The user is as before.
    pub(crate) async fn set_password(
        &self,
        operator: &Operator,
        tenant: TenantId,
        login: Login,
    ) -> Result<Option<usize>, UserError> {
        let password_hash = self.hash(&login.password).await?;
        let entry = self.entry(operator, "users passwd", &tenant, &login.login);
        Ok(self.store.set_password(tenant, login.login, password_hash, entry).await?)
    }

    /// Who this login is among the users of a tenant. A login that nobody has takes as long as one
    /// whose password is wrong, and so does one that is disabled, or whose hash was changed by hand into
    /// something that is none.
    ///
    /// # Errors
    ///
    /// It could not be told.
    pub(crate) async fn recognise(
        &self,
        tenant_row: i64,
        login: &Login,
        place: Place,
    ) -> Result<Recognised, UserError> {
        let found = self.store.user(tenant_row, login.login.clone()).await?;
        let known = found.as_ref().map(|user| Known::read(&user.password_hash));
        let is_usable = !matches!(known, Some(None));
        let known = known.flatten().unwrap_or_else(Known::nobody);
        let is_right = self.passwords.verify(&login.password, known, place).await?;
        Ok(match found {
            Some(user) if !is_usable => {
                let row = user.user.row;
                tracing::error!(user.row = row, "the password hash of user {row} cannot be used");
                Recognised::Nobody("unusable_hash")
            }
            None => Recognised::Nobody("unknown_login"),
            Some(_) if !is_right => Recognised::Nobody("wrong_password"),
            Some(user) if user.user.disabled_at.is_some() => Recognised::Nobody("disabled"),
            Some(user) => Recognised::As(user),
        })
    }

    /// Whether this login has succeeded with this key from this address in the last `within`.
    ///
    /// # Errors
    ///
    /// It could not be told.
    pub(crate) async fn has_logged_in(
        &self,
        key_row: i64,
        peer: IpAddr,
        login: &str,
        within: Duration,
    ) -> Result<bool, StoreError> {
        let since = self.clock.now() - within;
        self.store.has_used(key_row, peer.to_string(), login.to_owned(), since).await
    }

    /// Fills the queue of strangers until what it gives is dropped.
    #[cfg(test)]
    pub(crate) fn crowd(&self) -> Vec<tokio::sync::OwnedSemaphorePermit> {
        self.passwords.crowd()
    }

    async fn hash(&self, password: &Secret<String>) -> Result<String, UserError> {
        check_length(password.expose())?;
        Ok(self.passwords.hash(password).await?)
    }

    fn entry(
        &self,
        operator: &Operator,
        command: &str,
        tenant: &TenantId,
        login: &str,
    ) -> AuditEntry {
        let mut entry = operator.entry(command, self.clock.now());
        entry.event.tenant = Some(tenant.to_string());
        entry.personal.subject = Some(login.to_owned());
        entry
    }
}

/// Whether a password may be this long.
///
/// # Errors
///
/// [`UserError::Length`] when it may not.
pub(crate) fn check_length(password: &str) -> Result<(), UserError> {
    match password.len() {
        SHORTEST..=LONGEST => Ok(()),
        length => Err(UserError::Length(length)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::fixture::{Fixture, NOW, TENANT};

    fn users(there: &Fixture) -> Users {
        Users::new(there.store.clone(), Clock::manual(NOW))
    }

    fn login(login: &str, password: &str) -> Login {
        Login { login: login.to_owned(), password: Secret::new(password.to_owned()) }
    }

    fn who(recognised: &Recognised) -> &str {
        match recognised {
            Recognised::As(user) => &user.user.login,
            Recognised::Nobody(why) => why,
        }
    }

    /// Makes a user who may call.
    pub(crate) async fn make(users: &Users, name: &str, password: &str) -> Result<bool, UserError> {
        let operator = Operator::of_this_process();
        let tenant = TenantId::new(TENANT);
        users.create(&operator, tenant, login(name, password), Role::Caller).await
    }

    #[tokio::test]
    async fn a_user_is_recognised_by_login_and_password_and_only_while_enabled() {
        let there = Fixture::new().await;
        let users = users(&there);
        let operator = Operator::of_this_process();
        assert!(make(&users, "Jane", "hunter22").await.unwrap());
        assert!(!make(&users, "jane", "another password").await.unwrap(), "it is taken");
        let check = async |name, password| {
            let recognised =
                users.recognise(there.tenant_row, &login(name, password), Place::Elsewhere).await;
            who(&recognised.unwrap()).to_owned()
        };
        assert_eq!(check("Jane", "hunter22").await, "Jane");
        assert_eq!(check("JANE", "hunter22").await, "Jane");
        assert_eq!(check("jane", "another password").await, "wrong_password");
        assert_eq!(check("john", "hunter22").await, "unknown_login");

        let tenant = || TenantId::new(TENANT);
        let disable =
            async |disabled| users.set_disabled(&operator, tenant(), "jane", disabled).await;
        assert!(matches!(disable(true).await, Ok(UserChanged::Now { .. })));
        assert_eq!(check("jane", "hunter22").await, "disabled");
        assert_eq!(check("jane", "hunter2").await, "wrong_password", "verified first");
        assert!(matches!(disable(false).await, Ok(UserChanged::Now { .. })));
        let changed = users.set_password(&operator, tenant(), login("jane", "hunter33")).await;
        assert!(matches!(changed, Ok(Some(_))));
        assert_eq!(check("jane", "hunter22").await, "wrong_password");
        assert_eq!(check("jane", "hunter33").await, "Jane");
    }

    #[tokio::test]
    async fn a_hash_that_cannot_be_used_is_a_wrong_password() {
        let there = Fixture::new().await;
        let users = users(&there);
        assert!(make(&users, "jane", "hunter22").await.unwrap());
        for hash in ["", "hunter22", "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$AAAA"] {
            there.by_hand(&format!("UPDATE users SET password_hash = '{hash}'"));
            let jane = login("jane", "hunter22");
            let recognised = users.recognise(there.tenant_row, &jane, Place::Elsewhere).await;
            assert_eq!(who(&recognised.unwrap()), "unusable_hash", "{hash}");
        }
    }

    #[tokio::test]
    async fn a_user_of_another_tenant_is_nobody_here() {
        let there = Fixture::new().await;
        let users = users(&there);
        assert!(make(&users, "jane", "hunter22").await.unwrap());
        let other = there.store.tenant(TenantId::new("other.example"), NOW).await.unwrap();
        let recognised =
            users.recognise(other, &login("jane", "hunter22"), Place::Elsewhere).await.unwrap();
        assert_eq!(who(&recognised), "unknown_login");
    }

    #[tokio::test]
    async fn a_login_or_password_that_nobody_may_have_makes_no_user() {
        let there = Fixture::new().await;
        let users = users(&there);
        for (name, password, expected) in [
            ("a:b", "hunter22", "a login has no colon"),
            ("", "hunter22", "a login has 1 to 128 characters"),
            ("jane", "hunter2", "a password has 8 to 1,024 bytes; this one has 7"),
            ("jane", &"x".repeat(1025), "a password has 8 to 1,024 bytes; this one has 1025"),
        ] {
            let error = make(&users, name, password).await.unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(users.list().await.unwrap().is_empty());
    }
}
