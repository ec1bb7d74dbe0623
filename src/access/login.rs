//! Logging in: braked, recognised, and given a token.

use std::time::Duration;

use super::brakes::{Attempt, Braked, Charge};
use super::{Access, CheckedKey};
use crate::model::user::FAMILIAR;
use crate::sessions::NewToken;
use crate::store::access::AuditEntry;
use crate::store::error::StoreError;
use crate::users::passwords::{PasswordError, Place};
use crate::users::{Login, Recognised, UserError};

/// When to come again for whoever found too many waiting: one second is thirty passwords.
const QUEUE: Duration = Duration::from_secs(1);

/// Why somebody was not logged in.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// Unknown, disabled, or another password: which is for the record, never for the caller.
    #[error("the login was not accepted: {0}")]
    Wrong(&'static str),
    /// Too many attempts from this address or with this login, or too many at once. Nothing was
    /// looked at.
    #[error("no login is looked at for {retry_after:?}")]
    Braked { retry_after: Duration },
    /// Key or user changed while the password was verified: check again.
    #[error("access changed")]
    AccessChanged,
    /// It could not be told.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Access {
    /// Logs somebody in with this key: a token for one hour, bound to key and user. `entry` is
    /// recorded with it, the session's id added.
    ///
    /// # Errors
    ///
    /// Nobody was logged in, and nothing recorded.
    pub(crate) async fn log_in(
        &self,
        checked: &CheckedKey,
        login: &Login,
        in_query: bool,
        entry: AuditEntry,
    ) -> Result<NewToken, LoginError> {
        let CheckedKey { key, peer, .. } = checked;
        if in_query {
            self.keys.password_in_query(key);
        }
        let attempt = checked.attempt(login);
        let charge = self.brake(&attempt).await?;
        let user = match self.recognise(&attempt, key.tenant_row, login).await {
            Ok(Recognised::As(user)) => user,
            Ok(Recognised::Nobody(cause)) => return Err(LoginError::Wrong(cause)),
            Err(error) => {
                self.brakes.refund(charge);
                return Err(error.into());
            }
        };
        self.brakes.refund(charge);
        self.brakes.remember(&attempt);
        let name = user.user.login.clone();
        let opened = self.sessions.open(key.id, Some(user), entry).await?;
        let token = opened.ok_or(LoginError::AccessChanged)?;
        self.keys.used(key, *peer, Some(&name));
        Ok(token)
    }

    /// Who a login is. One from a place that is known does not wait behind strangers; the store is asked
    /// whether it is only when that would make a difference.
    async fn recognise(
        &self,
        attempt: &Attempt<'_>,
        tenant_row: i64,
        login: &Login,
    ) -> Result<Recognised, UserError> {
        if !self.brakes.is_familiar(attempt) {
            let recognised = self.users.recognise(tenant_row, login, Place::Elsewhere).await;
            let Err(UserError::Password(PasswordError::Busy)) = recognised else {
                return recognised;
            };
            if !self.has_logged_in(attempt).await? {
                return recognised;
            }
        }
        self.users.recognise(tenant_row, login, Place::Familiar).await
    }

    async fn has_logged_in(&self, attempt: &Attempt<'_>) -> Result<bool, StoreError> {
        let Attempt { peer, key_row, login } = *attempt;
        let is_known = self.users.has_logged_in(key_row, peer, login, FAMILIAR).await?;
        if is_known {
            self.brakes.remember(attempt);
        }
        Ok(is_known)
    }

    /// Lets an attempt through, or not; the store is asked whether its place is known only when
    /// that would make a difference.
    async fn brake(&self, attempt: &Attempt<'_>) -> Result<Charge, LoginError> {
        let braked = match self.brakes.begin(attempt).await {
            Ok(charge) => return Ok(charge),
            Err(braked) => braked,
        };
        if braked.by_others && self.has_logged_in(attempt).await? {
            return self.brakes.begin(attempt).await.map_err(LoginError::from);
        }
        Err(braked.into())
    }
}

impl CheckedKey {
    fn attempt<'a>(&self, login: &'a Login) -> Attempt<'a> {
        Attempt { peer: self.peer, key_row: self.key.row, login: &login.login }
    }
}

impl From<Braked> for LoginError {
    fn from(braked: Braked) -> Self {
        Self::Braked { retry_after: braked.retry_after }
    }
}

impl From<UserError> for LoginError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Password(PasswordError::Busy) => Self::Braked { retry_after: QUEUE },
            UserError::Store(error) => Self::Store(error),
            UserError::Password(PasswordError::Hash(_))
            | UserError::Login(_)
            | UserError::Length(_) => Self::Store(StoreError::unexpected(error)),
        }
    }
}
