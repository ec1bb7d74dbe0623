//! API keys: made, listed, revoked, and found by the keyed hash of what a caller sent.
//!
//! The secret of a key exists in the clear once, when it is made.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::id::{KeyId, TenantId};
use crate::model::key::ApiKey;
use crate::model::rights::Right;
use crate::secret::Secret;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::pepper::{Hashed, Pepper};
use crate::store::records::{AccessSnapshot, NewKey};

/// Between two looks for keys that are not in memory: whoever guesses keys, however many at once,
/// costs the store this much and no more.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// All keys, held in memory while their generation stands.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    store: Store,
    pepper: Pepper,
    clock: Clock,
    snapshot: Arc<RwLock<Arc<AccessSnapshot>>>,
    look: Arc<Mutex<Option<Look>>>,
}

/// The last look for keys that were not in memory.
#[derive(Clone, Debug)]
struct Look {
    begun: Instant,
    /// While it lasts, that of the one before.
    result: Result<(), StoreError>,
}

/// What a new key is to be.
#[derive(Clone, Debug)]
pub(crate) struct KeyWish {
    /// 3 to 128 characters.
    pub(crate) name: String,
    pub(crate) tenant: TenantId,
    pub(crate) requires_token: bool,
    /// [`Right::DEFAULT`] when empty.
    pub(crate) rights: Vec<Right>,
    pub(crate) peers: Vec<ipnet::IpNet>,
    pub(crate) post_only: bool,
    pub(crate) reason_required: bool,
    pub(crate) expires_at: Option<Timestamp>,
}

impl Keys {
    /// None are known before the first [`Keys::refresh`].
    pub(crate) fn new(store: Store, pepper: Pepper, clock: Clock) -> Self {
        Self { store, pepper, clock, snapshot: Arc::default(), look: Arc::default() }
    }

    /// Makes a key. The secret is a GUID of 122 random bits and is not kept.
    ///
    /// # Errors
    ///
    /// No key was made.
    pub(crate) async fn create(
        &self,
        wish: KeyWish,
    ) -> Result<(KeyId, Secret<String>), StoreError> {
        let id = KeyId::random();
        let secret = Secret::new(Uuid::new_v4().hyphenated().to_string());
        let rights = if wish.rights.is_empty() { Right::DEFAULT.to_vec() } else { wish.rights };
        let key = NewKey {
            id,
            tenant: wish.tenant,
            name: wish.name,
            pepper: self.pepper.fingerprint().to_owned(),
            hash: self.pepper.hash(Hashed::Key, &secret),
            requires_token: wish.requires_token,
            rights,
            peers: wish.peers,
            post_only: wish.post_only,
            reason_required: wish.reason_required,
            created_at: self.clock.now(),
            expires_at: wish.expires_at,
        };
        self.store.create_key(key).await?;
        Ok((id, secret))
    }

    /// All keys, revoked ones included, in the order they were made.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn list(&self) -> Result<Vec<Arc<ApiKey>>, StoreError> {
        self.store.keys().await
    }

    /// Revokes a key for good; gives false when none of that id was valid.
    ///
    /// # Errors
    ///
    /// The key is as it was.
    pub(crate) async fn revoke(&self, id: KeyId) -> Result<bool, StoreError> {
        self.store.revoke_key(id, self.clock.now()).await
    }

    /// Whether [`Keys::create`] could have made this secret.
    pub(crate) fn could_make(secret: &Secret<String>) -> bool {
        Uuid::try_parse(secret.expose()).is_ok()
    }

    /// The key that `secret` (canonical) is, and the generation this is true in.
    pub(crate) fn find(&self, secret: &Secret<String>) -> (Option<Arc<ApiKey>>, i64) {
        // Found by keyed hash: the time taken says nothing about near misses.
        let hash = self.pepper.hash(Hashed::Key, secret);
        let snapshot = self.current();
        (snapshot.keys.get(&hash).map(Arc::clone), snapshot.generation)
    }

    /// Reads the keys anew when something about access has changed.
    ///
    /// # Errors
    ///
    /// What was known stays known; admission itself looks at the generation.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        if self.store.access_generation().await? == self.current().generation {
            return Ok(());
        }
        let fresh = Arc::new(self.store.access_snapshot().await?);
        let mut held = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        if fresh.generation > held.generation {
            *held = fresh;
        }
        Ok(())
    }

    /// Reads the keys anew for somebody whose key is not in memory: it may have been made a moment
    /// ago. Whoever comes within [`LOOK_INTERVAL`] of a look has its result and does not wait, so
    /// that a key that is guessed is answered as fast as one that is revoked.
    ///
    /// # Errors
    ///
    /// It cannot be told whether there is such a key.
    pub(crate) async fn look_again(&self) -> Result<(), StoreError> {
        let now = Instant::now();
        {
            let mut last = self.look.lock().unwrap_or_else(PoisonError::into_inner);
            let result = match &*last {
                Some(look) if now < look.begun + LOOK_INTERVAL => return look.result.clone(),
                Some(look) => look.result.clone(),
                None => Ok(()),
            };
            *last = Some(Look { begun: now, result });
        }
        let result = self.refresh().await;
        let mut last = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Look { begun: now, result: result.clone() });
        result
    }

    fn current(&self) -> Arc<AccessSnapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{API_KEY, Fixture, NOW, TENANT};

    #[tokio::test]
    async fn a_key_is_found_by_its_secret_as_it_was_when_last_refreshed() {
        let there = Fixture::new().await;
        let keys = Keys::new(there.store.clone(), there.pepper.clone(), Clock::manual(NOW));
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
        let keys = Keys::new(there.store.clone(), there.pepper.clone(), Clock::manual(NOW));
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
        let keys = Keys::new(there.store.clone(), there.pepper.clone(), Clock::manual(NOW));
        let wish = KeyWish {
            name: "dispatch".to_owned(),
            tenant: TenantId::new("Contoso.example"),
            requires_token: true,
            rights: Vec::new(),
            peers: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            post_only: true,
            reason_required: true,
            expires_at: Some(Timestamp(9)),
        };
        let (id, secret) = keys.create(wish.clone()).await.unwrap();
        keys.refresh().await.unwrap();
        let key = keys.find(&secret).0.unwrap();
        assert_eq!((key.id, key.tenant.as_str()), (id, "contoso.example"));
        assert_eq!((&key.peers, key.expires_at), (&wish.peers, wish.expires_at));
        assert_eq!(key.rights, Right::DEFAULT);
        assert!(key.requires_token && key.post_only && key.reason_required);
        assert!(keys.revoke(id).await.unwrap());
        assert!(!keys.revoke(id).await.unwrap());
        assert_eq!(keys.list().await.unwrap().len(), 2);
    }
}
