//! Session tokens of the legacy API: made for one key, valid for one hour, found by keyed hash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::id::{KeyId, SessionId};
use crate::model::key::Session;
use crate::secret::Secret;
use crate::store::Store;
use crate::store::access::{AuditEntry, HashedSecret, NewSession, SessionRow, UserWithPassword};
use crate::store::error::StoreError;
use crate::store::pepper::{Digest, Hashed, Pepper};

/// How long a token lasts from when it was made, however much it is used.
pub(crate) const LIFETIME: Duration = Duration::from_hours(1);

/// Sessions that are remembered at most; past it the memory starts anew.
const REMEMBERED: usize = 65_536;

/// By the hash of its token, each session and the generation it was read in.
type Known = HashMap<Digest, (i64, Arc<Session>)>;

/// The sessions.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    store: Store,
    pepper: Pepper,
    clock: Clock,
    known: Arc<Mutex<Known>>,
}

/// A token that was made; it is not kept.
#[derive(Debug)]
pub(crate) struct NewToken {
    pub(crate) id: SessionId,
    pub(crate) token: Secret<String>,
    pub(crate) expires_at: Timestamp,
}

impl Sessions {
    /// None are remembered yet.
    pub(crate) fn new(store: Store, pepper: Pepper, clock: Clock) -> Self {
        Self { store, pepper, clock, known: Arc::default() }
    }

    /// Makes a token for a key, and for a user when there is one; gives none when there is no such
    /// key, it is not valid, or the user is not as they were read. `entry` is recorded with it, the
    /// session's id added.
    ///
    /// # Errors
    ///
    /// No token was made.
    pub(crate) async fn open(
        &self,
        key: KeyId,
        user: Option<UserWithPassword>,
        mut entry: AuditEntry,
    ) -> Result<Option<NewToken>, StoreError> {
        let token = Secret::random_guid()
            .map_err(|_unspecified| StoreError::Other("there are no random bits".to_owned()))?;
        let now = self.clock.now();
        let session = NewSession {
            id: SessionId::random(),
            key,
            user,
            secret: HashedSecret {
                pepper: self.pepper.fingerprint().to_owned(),
                hash: self.pepper.hash(Hashed::Token, &token),
            },
            created_at: now,
            expires_at: now + LIFETIME,
        };
        let expires_at = session.expires_at;
        entry.event.session_id = Some(session.id.to_string());
        let made = self.store.create_session(session, entry).await?;
        Ok(made.map(|id| NewToken { id, token, expires_at }))
    }

    /// Ends a session; gives false when none of this id was running. `entry` is recorded with it, the
    /// ids of session, key and tenant added.
    ///
    /// # Errors
    ///
    /// The session is as it was.
    pub(crate) async fn end(&self, id: SessionId, entry: AuditEntry) -> Result<bool, StoreError> {
        self.store.end_session(id, entry).await
    }

    /// The sessions that are running, the newest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn list(&self) -> Result<Vec<SessionRow>, StoreError> {
        self.store.sessions(self.clock.now()).await
    }

    /// The session that `token` (canonical) opened, as it is in `generation`.
    ///
    /// # Errors
    ///
    /// Whether there is one could not be told.
    pub(crate) async fn find(
        &self,
        token: &Secret<String>,
        generation: i64,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let hash = self.pepper.hash(Hashed::Token, token);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        if let Some((seen_in, session)) = known
            && seen_in == generation
        {
            return Ok(Some(session));
        }
        let Some(session) = self.store.session(hash).await?.map(Arc::new) else { return Ok(None) };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(hash, (generation, Arc::clone(&session)));
        Ok(Some(session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{Fixture, NOW, TENANT, entry};

    #[tokio::test]
    async fn a_session_is_read_again_when_access_has_changed() {
        let there = Fixture::new().await;
        let sessions = Sessions::new(there.store.clone(), there.pepper.clone(), Clock::manual(NOW));
        let open = async |key| sessions.open(key, None, entry("RequestToken", NOW)).await.unwrap();
        let NewToken { id, token, expires_at } = open(there.key).await.unwrap();
        let generation = there.store.access_generation().await.unwrap();
        let found = sessions.find(&token, generation).await.unwrap().unwrap();
        assert_eq!((found.id, found.expires_at, expires_at), (id, NOW + LIFETIME, NOW + LIFETIME));

        there.by_hand("UPDATE sessions SET released_at = 5");
        let known = sessions.find(&token, generation).await.unwrap().unwrap();
        assert_eq!(known.released_at, None, "remembered while its generation stands");
        let generation = there.store.access_generation().await.unwrap();
        let anew = sessions.find(&token, generation).await.unwrap().unwrap();
        assert!(anew.released_at.is_some());
        let unknown = Secret::new(TENANT.to_owned());
        assert!(sessions.find(&unknown, generation).await.unwrap().is_none());
        assert!(open(KeyId::random()).await.is_none());
    }

    #[tokio::test]
    async fn a_session_is_listed_and_recorded_by_its_id_and_never_by_its_token() {
        let there = Fixture::new().await;
        let sessions = Sessions::new(there.store.clone(), there.pepper.clone(), Clock::manual(NOW));
        let made = sessions.open(there.key, None, entry("RequestToken", NOW)).await.unwrap();
        let NewToken { id, token, .. } = made.unwrap();
        let listed = sessions.list().await.unwrap();
        assert_eq!((listed.len(), listed[0].id, listed[0].key_id), (1, id, there.key));
        assert!(sessions.end(id, entry("tokens revoke", NOW)).await.unwrap());
        assert!(!sessions.end(id, entry("tokens revoke", NOW)).await.unwrap());
        assert!(sessions.list().await.unwrap().is_empty());
        let records: String =
            there.look("SELECT group_concat(CAST(canonical AS TEXT) || personal) FROM audit");
        assert_eq!(records.matches(&id.to_string()).count(), 2, "{records}");
        assert!(!records.contains(token.expose()));
    }
}
