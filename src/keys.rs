//! API keys: made, listed, rotated, revoked, and found by the keyed hash of what a caller sent.
//!
//! The secret of a key exists in the clear once, when it is made.

mod options;
mod uses;
pub(crate) mod weak;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use self::uses::Uses;
use self::weak::weakness;
use crate::clock::{Clock, Timestamp};
use crate::id::{KeyId, TenantId};
use crate::model::key::{ApiKey, Peer};
use crate::model::number::pattern::NumberPattern;
use crate::model::rights::Right;
use crate::model::selector::IdentifierKind;
use crate::operator::Operator;
use crate::secret::Secret;
use crate::store::Store;
use crate::store::access::{
    AccessSnapshot, AuditEntry, HashedSecret, KeyReport, NewKey, Revoked, Rotated,
};
use crate::store::error::StoreError;
use crate::store::pepper::{Hashed, Pepper};

/// Between two looks for keys that are not in memory: whoever guesses keys, however many at once,
/// costs the store this much and no more.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How often it is written from where keys were used.
const USES_INTERVAL: Duration = Duration::from_secs(2);

/// All keys, held in memory while their generation stands.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    store: Store,
    pepper: Pepper,
    clock: Clock,
    snapshot: Arc<RwLock<Arc<AccessSnapshot>>>,
    look: Arc<Mutex<Option<Look>>>,
    uses: Arc<Uses>,
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
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct KeyWish {
    /// 3 to 128 characters.
    pub(crate) name: String,
    pub(crate) owner: Option<String>,
    pub(crate) tenant: TenantId,
    pub(crate) requires_token: bool,
    /// [`Right::DEFAULT`] when empty, and [`Right::LOGIN`] besides for one that needs a token.
    pub(crate) rights: Vec<Right>,
    /// All when empty.
    pub(crate) identifiers: Vec<IdentifierKind>,
    /// Every call when empty.
    pub(crate) numbers: Vec<NumberPattern>,
    /// Everywhere when empty.
    pub(crate) peers: Vec<Peer>,
    pub(crate) post_only: bool,
    pub(crate) reason_required: bool,
    pub(crate) query_passwords: bool,
    pub(crate) expires_at: Option<Timestamp>,
}

impl KeyWish {
    /// A key with this name that may do what every new key may.
    pub(crate) const fn named(name: String, tenant: TenantId) -> Self {
        Self {
            name,
            owner: None,
            tenant,
            requires_token: false,
            rights: Vec::new(),
            identifiers: Vec::new(),
            numbers: Vec::new(),
            peers: Vec::new(),
            post_only: false,
            reason_required: false,
            query_passwords: true,
            expires_at: None,
        }
    }

    fn effective_rights(&self) -> Vec<Right> {
        if !self.rights.is_empty() {
            return self.rights.clone();
        }
        let login = if self.requires_token { &Right::LOGIN[..] } else { &[] };
        [&Right::DEFAULT[..], login].concat()
    }
}

/// What came of rotating a key.
#[derive(Debug)]
pub(crate) enum Rotation {
    /// The successor, its secret, and until when the old key counts.
    Made { id: KeyId, secret: Secret<String>, old_expires_at: Timestamp },
    /// It has a successor already.
    Before(KeyId),
    /// It is revoked or expired.
    NotValid,
    /// No key has this id.
    Unknown,
}

impl Keys {
    /// None are known before the first [`Keys::refresh`].
    pub(crate) fn new(store: Store, pepper: Pepper, clock: Clock) -> Self {
        Self {
            store,
            pepper,
            clock,
            snapshot: Arc::default(),
            look: Arc::default(),
            uses: Arc::default(),
        }
    }

    /// Makes a key. The secret is a GUID of 128 random bits and is not kept.
    ///
    /// # Errors
    ///
    /// No key was made.
    pub(crate) async fn create(
        &self,
        operator: &Operator,
        wish: KeyWish,
    ) -> Result<(KeyId, Secret<String>), StoreError> {
        let secret = random_secret()?;
        let now = self.clock.now();
        let options = wish.options();
        let key = self.new_key(wish, &secret, false, now);
        let id = key.id;
        let entry = recorded(operator.entry("keys create", now), &key, options);
        self.store.create_keys(vec![(key, entry)]).await?;
        Ok((id, secret))
    }

    /// Makes keys with secrets (canonical) that clients have already: all of them or none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when a secret is a key's already, or there twice. No key was made.
    pub(crate) async fn import(
        &self,
        operator: &Operator,
        keys: Vec<(KeyWish, Secret<String>)>,
    ) -> Result<Vec<KeyId>, StoreError> {
        let now = self.clock.now();
        let keys: Vec<_> = keys
            .into_iter()
            .map(|(wish, secret)| {
                let options = wish.options();
                let key = self.new_key(wish, &secret, weakness(&secret).is_some(), now);
                let entry = recorded(operator.entry("keys import", now), &key, options);
                (key, entry)
            })
            .collect();
        let ids = keys.iter().map(|(key, _)| key.id).collect();
        self.store.create_keys(keys).await?;
        Ok(ids)
    }

    /// The positions of those secrets (canonical) that are a key's already.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn known(&self, secrets: &[Secret<String>]) -> Result<Vec<usize>, StoreError> {
        let hash = |secret| self.pepper.hash(Hashed::Key, secret);
        self.store.known_secrets(secrets.iter().map(hash).collect()).await
    }

    /// Makes a successor with the same rights and limits; the old key counts for `grace` longer.
    ///
    /// # Errors
    ///
    /// Nothing was changed.
    pub(crate) async fn rotate(
        &self,
        operator: &Operator,
        id: KeyId,
        grace: Duration,
    ) -> Result<Rotation, StoreError> {
        let secret = random_secret()?;
        let now = self.clock.now();
        let successor = KeyId::random();
        let mut entry = operator.entry("keys rotate", now);
        entry.event.parameters.push("--grace");
        let made = (successor, self.hashed(&secret));
        Ok(match self.store.rotate_key(id, now + grace, made, entry).await? {
            Rotated::Now { old_expires_at } => {
                Rotation::Made { id: successor, secret, old_expires_at }
            }
            Rotated::Before(other) => Rotation::Before(other),
            Rotated::NotValid => Rotation::NotValid,
            Rotated::Unknown => Rotation::Unknown,
        })
    }

    /// All keys, revoked ones included, in the order they were made.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn list(&self) -> Result<Vec<KeyReport>, StoreError> {
        self.store.keys().await
    }

    /// Revokes a key for good, with its sessions.
    ///
    /// # Errors
    ///
    /// The key is as it was.
    pub(crate) async fn revoke(
        &self,
        operator: &Operator,
        id: KeyId,
    ) -> Result<Revoked, StoreError> {
        self.store.revoke_key(id, operator.entry("keys revoke", self.clock.now())).await
    }

    /// Takes note that a key was used, to be written by [`Keys::write_uses`].
    pub(crate) fn used(&self, key: &ApiKey, peer: IpAddr, login: Option<&str>) {
        self.uses.note(key.row, peer, login, self.clock.now());
    }

    /// Takes note that a password came in a query string, right or wrong.
    pub(crate) fn password_in_query(&self, key: &ApiKey) {
        self.uses.note_query_password(key.row);
    }

    /// Writes what gathers about uses until `shutdown`, and then once more.
    pub(crate) async fn run_uses(self, mut shutdown: watch::Receiver<bool>) {
        let mut interval = tokio::time::interval(USES_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !*shutdown.borrow_and_update() {
            tokio::select! {
                _ = interval.tick() => self.write_uses().await,
                changed = shutdown.changed() => if changed.is_err() { break },
            }
        }
        self.write_uses().await;
    }

    /// Writes what has gathered about uses; what cannot be written now is kept for the next time.
    pub(crate) async fn write_uses(&self) {
        self.uses.write(&self.store).await;
    }

    /// The keys as they are known in memory.
    pub(crate) fn all(&self) -> Vec<Arc<ApiKey>> {
        self.current().keys.values().cloned().collect()
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

    /// What a wish comes to.
    fn new_key(
        &self,
        wish: KeyWish,
        secret: &Secret<String>,
        weak: bool,
        created_at: Timestamp,
    ) -> NewKey {
        NewKey {
            id: KeyId::random(),
            rights: wish.effective_rights(),
            tenant: wish.tenant,
            name: wish.name,
            owner: wish.owner,
            secret: self.hashed(secret),
            requires_token: wish.requires_token,
            identifiers: wish.identifiers,
            numbers: wish.numbers,
            peers: wish.peers,
            post_only: wish.post_only,
            reason_required: wish.reason_required,
            query_passwords: wish.query_passwords,
            weak,
            created_at,
            expires_at: wish.expires_at,
        }
    }

    fn hashed(&self, secret: &Secret<String>) -> HashedSecret {
        HashedSecret {
            pepper: self.pepper.fingerprint().to_owned(),
            hash: self.pepper.hash(Hashed::Key, secret),
        }
    }

    fn current(&self) -> Arc<AccessSnapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn random_secret() -> Result<Secret<String>, StoreError> {
    Secret::random_guid()
        .map_err(|_unspecified| StoreError::Other("there are no random bits".to_owned()))
}

/// The record of a key that is made.
fn recorded(mut entry: AuditEntry, key: &NewKey, options: Vec<&'static str>) -> AuditEntry {
    entry.event.parameters = options;
    entry.event.key_id = Some(key.id.to_string());
    entry.event.tenant = Some(key.tenant.to_string());
    entry
}

#[cfg(test)]
mod tests;
