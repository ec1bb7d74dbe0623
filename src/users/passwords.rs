//! Passwords: hashed with argon2id, on few threads and with a limit to who waits for them.
//!
//! A hash takes 19 MiB and some twenty milliseconds of a core. Without a limit whoever sends logins
//! would take memory and cores from everybody else. Strangers wait for each other first, so that
//! whoever is known is behind one of them at most. The memory is kept and used again: an allocator
//! that gets such blocks back from ever other threads gives little of it to the system.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::secret::Secret;

/// So many are hashed at once at most: it is not what this machine is for.
const THREADS: usize = 2;
/// So many wait at most who are known.
const WAITING: usize = 64;
/// So many strangers wait at most; the last of them for less than a second.
const STRANGERS_WAITING: usize = 16;
/// In KiB; with [`PASSES`] and [`LANES`] the least that OWASP recommends.
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// In bytes. Less might be met by chance.
const HASH: usize = 32;

/// What the password of a login that nobody has is verified against: it takes as long as any other,
/// and no password has this hash.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$Y2FsbGdhdGUgbm9ib2R5IQ$\
                                 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The one place where passwords are hashed. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    /// Those that wait who are known, and those that are hashed.
    places: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    /// One stranger at a time gets as far as waiting for a thread.
    stranger: Arc<Semaphore>,
    threads: Arc<Semaphore>,
    buffers: Arc<Buffers>,
}

/// From where a login comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A place where the login has succeeded before, or the command line.
    Familiar,
    /// Anywhere else.
    Elsewhere,
}

/// Why a password was neither hashed nor verified.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    /// So many are being hashed that another would wait too long.
    #[error("too many passwords are being checked")]
    Busy,
    /// It could not be hashed.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
}

/// A PHC string that passwords can be verified against, for no more than a hash of ours costs.
#[derive(Clone, Debug)]
pub(super) struct Known {
    params: Params,
    salt: Salt,
    hash: Output,
}

/// Held while a password is hashed, also when nobody waits for it any more.
#[derive(Debug)]
struct Turn {
    _place: OwnedSemaphorePermit,
    _stranger: Option<OwnedSemaphorePermit>,
    _thread: OwnedSemaphorePermit,
}

/// The memory that is not in use: never more of them than there are threads.
#[derive(Debug, Default)]
struct Buffers(Mutex<Vec<Vec<Block>>>);

impl Passwords {
    /// None is being hashed.
    pub(crate) fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::with(cores.div_ceil(2).min(THREADS), WAITING, STRANGERS_WAITING)
    }

    fn with(threads: usize, waiting: usize, strangers_waiting: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(threads + waiting)),
            strangers: Arc::new(Semaphore::new(1 + strangers_waiting)),
            stranger: Arc::new(Semaphore::new(1)),
            threads: Arc::new(Semaphore::new(threads)),
            buffers: Arc::default(),
        }
    }

    /// The PHC string of a password, with a salt of its own.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) async fn hash(&self, password: &Secret<String>) -> Result<String, PasswordError> {
        let mut salt = [0; 16];
        rand::fill(&mut salt).map_err(failed)?;
        let salt = Salt::new(&salt).map_err(failed)?;
        let params = Params::new(MEMORY, PASSES, LANES, Some(HASH)).map_err(failed)?;
        let password = password.clone();
        self.work(Place::Familiar, move |buffers| {
            let hash = buffers.hash(&params, &salt, &password)?;
            let text = PasswordHash {
                algorithm: ARGON2ID_IDENT,
                version: Some(Version::V0x13.into()),
                params: ParamsString::try_from(&params).map_err(failed)?,
                salt: Some(salt),
                hash: Some(Output::new(&hash).map_err(failed)?),
            };
            Ok(text.to_string())
        })
        .await
    }

    /// Whether a hash is that of this password. How long it takes does not depend on it.
    ///
    /// # Errors
    ///
    /// It could not be told.
    pub(super) async fn verify(
        &self,
        password: &Secret<String>,
        known: Known,
        from: Place,
    ) -> Result<bool, PasswordError> {
        let password = password.clone();
        self.work(from, move |buffers| {
            let hash = buffers.hash(&known.params, &known.salt, &password)?;
            Ok(verify_slices_are_equal(&hash, known.hash.as_bytes()).is_ok())
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        from: Place,
        work: impl FnOnce(&Buffers) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = self.turn(from).await?;
        let buffers = Arc::clone(&self.buffers);
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&buffers)
        });
        done.await.map_err(failed)?
    }

    async fn turn(&self, from: Place) -> Result<Turn, PasswordError> {
        let places = if from == Place::Familiar { &self.places } else { &self.strangers };
        let place = Arc::clone(places).try_acquire_owned();
        let place = place.map_err(|_none| PasswordError::Busy)?;
        let stranger = match from {
            Place::Familiar => None,
            Place::Elsewhere => {
                Some(Arc::clone(&self.stranger).acquire_owned().await.map_err(failed)?)
            }
        };
        let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(failed)?;
        Ok(Turn { _place: place, _stranger: stranger, _thread: thread })
    }

    /// As many strangers as may wait, until they are dropped.
    #[cfg(test)]
    pub(super) fn crowd(&self) -> Vec<OwnedSemaphorePermit> {
        let next = || Arc::clone(&self.strangers).try_acquire_owned().ok();
        std::iter::from_fn(next).collect()
    }
}

impl Known {
    /// Reads a PHC string; gives none when it is no argon2id or would cost more than ours.
    pub(super) fn read(text: &str) -> Option<Self> {
        let read = PasswordHash::new(text).ok()?;
        let params = Params::try_from(&read).ok()?;
        let is_ours = read.algorithm == ARGON2ID_IDENT
            && read.version == Some(Version::V0x13.into())
            && params.m_cost() <= MEMORY
            && params.t_cost() <= PASSES
            && params.p_cost() <= LANES
            && params.keyid().is_empty();
        let (salt, hash) = (read.salt?, read.hash?);
        (is_ours && salt.len() >= argon2::MIN_SALT_LEN && hash.len() == HASH).then_some(Self {
            params,
            salt,
            hash,
        })
    }

    /// That of [`NOBODY`].
    pub(super) fn nobody() -> Self {
        Self::read(NOBODY).expect("it is a hash as ours are")
    }
}

impl Buffers {
    /// Hashes on a thread of the caller's, who has a turn.
    fn hash(
        &self,
        params: &Params,
        salt: &Salt,
        password: &Secret<String>,
    ) -> Result<[u8; HASH], PasswordError> {
        let mut blocks = self.held().pop().unwrap_or_default();
        blocks.resize(params.block_count().max(blocks.len()), Block::new());
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let mut hash = [0; HASH];
        let memory = &mut blocks[..params.block_count()];
        let password = password.expose().as_bytes();
        let hashed = argon2.hash_password_into_with_memory(password, salt, &mut hash, memory);
        self.held().push(blocks);
        hashed.map_err(failed)?;
        Ok(hash)
    }

    fn held(&self) -> MutexGuard<'_, Vec<Vec<Block>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None of these errors says anything of the password or its hash.
fn failed(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Hash(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_verified_by_its_hash_and_no_other_is() {
        let passwords = Passwords::new();
        let (hash, again) = (
            passwords.hash(&secret("Grüße hunter2")).await.unwrap(),
            passwords.hash(&secret("Grüße hunter2")).await.unwrap(),
        );
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, again, "each has its own salt");
        let known = Known::read(&hash).unwrap();
        let verify = async |text| {
            passwords.verify(&secret(text), known.clone(), Place::Elsewhere).await.unwrap()
        };
        assert!(verify("Grüße hunter2").await);
        for wrong in ["Grüße hunter", "grüße hunter2", "", "Grüße hunter2 "] {
            assert!(!verify(wrong).await, "{wrong}");
        }
    }

    #[tokio::test]
    async fn nobody_has_a_hash_that_costs_as_much_as_any() {
        let passwords = Passwords::new();
        assert!(
            !passwords
                .verify(&secret("hunter22"), Known::nobody(), Place::Elsewhere)
                .await
                .unwrap()
        );
        let somebody = passwords.hash(&secret("hunter22")).await.unwrap();
        let [nobody, somebody] = [NOBODY, &somebody].map(|hash| PasswordHash::new(hash).unwrap());
        assert_eq!((nobody.algorithm, nobody.version), (somebody.algorithm, somebody.version));
        assert_eq!(nobody.params, somebody.params);
        assert_eq!(nobody.salt.unwrap().len(), somebody.salt.unwrap().len());
        assert_eq!(nobody.hash.unwrap().len(), somebody.hash.unwrap().len());
    }

    #[tokio::test]
    async fn a_hash_that_another_program_made_is_verified() {
        // By the other interface of the library, with less memory.
        let argon2 = Params::new(1 << 14, 2, 1, Some(HASH)).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, argon2);
        let text =
            argon2::PasswordHasher::hash_password_with_salt(&argon2, b"password", b"somesalt");
        let known = Known::read(&text.unwrap().to_string()).unwrap();
        let passwords = Passwords::new();
        assert!(passwords.verify(&secret("password"), known, Place::Elsewhere).await.unwrap());
    }

    #[test]
    fn what_is_no_hash_or_costs_more_than_ours_is_refused_before_any_work() {
        let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let with = |params: &str| format!("$argon2id$v=19${params}$Y2FsbGdhdGUgbm9ib2R5IQ${hash}");
        assert!(Known::read(&with("m=19456,t=2,p=1")).is_some());
        assert!(Known::read(&with("m=4096,t=1,p=1")).is_some(), "it costs less");
        for text in [
            String::new(),
            "hunter2".to_owned(),
            "$2b$10$hunter2".to_owned(),
            "$argon2id$v=19$m=19456,t=2,p=1$hunter2".to_owned(),
            with("m=19457,t=2,p=1"),
            with("m=4294967295,t=2,p=1"),
            with("m=19456,t=3,p=1"),
            with("m=19456,t=2,p=2"),
            with("m=19456,t=2,p=1").replace("argon2id", "argon2i"),
            with("m=19456,t=2,p=1").replace("v=19", "v=16"),
            with("m=19456,t=2,p=1").replace("$AAAA", "$"),
        ] {
            assert!(Known::read(&text).is_none(), "{text}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn there_are_never_more_buffers_than_threads() {
        let passwords = Passwords::with(2, WAITING, STRANGERS_WAITING);
        let buffers = || passwords.buffers.held().iter().map(Vec::len).collect::<Vec<_>>();
        assert!(buffers().is_empty(), "none before it is needed");
        let mut hashed = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let passwords = passwords.clone();
            hashed.spawn(async move { passwords.hash(&secret("hunter22")).await.unwrap() });
        }
        hashed.join_all().await;
        let buffers = buffers();
        assert!((1..=2).contains(&buffers.len()), "{buffers:?}");
        assert!(buffers.iter().all(|blocks| *blocks == 19_456), "{buffers:?}");
    }

    #[tokio::test]
    async fn whoever_is_known_is_behind_one_stranger_at_most() {
        let passwords = Passwords::with(1, 1, 2);
        let first = passwords.turn(Place::Elsewhere).await.unwrap();
        let (second, third) = (passwords.turn(Place::Elsewhere), passwords.turn(Place::Elsewhere));
        let (mut second, mut third) = (pin!(second), pin!(third));
        assert!(
            timeout(Duration::ZERO, &mut second).await.is_err()
                && timeout(Duration::ZERO, &mut third).await.is_err()
        );
        assert!(matches!(passwords.turn(Place::Elsewhere).await, Err(PasswordError::Busy)));
        let mut known = pin!(passwords.turn(Place::Familiar));
        assert!(timeout(Duration::ZERO, &mut known).await.is_err());
        drop(first);
        let known = timeout(Duration::ZERO, &mut known).await.expect("it is next").unwrap();
        assert!(timeout(Duration::ZERO, &mut second).await.is_err());
        drop(known);
        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn who_finds_the_queue_full_is_told_at_once_and_who_leaves_it_makes_room() {
        let passwords = Passwords::with(1, 1, 0);
        let first = passwords.turn(Place::Familiar).await.unwrap();
        let waits = timeout(Duration::from_millis(10), async {
            let busy = async {
                tokio::task::yield_now().await;
                passwords.turn(Place::Familiar).await.err()
            };
            tokio::join!(passwords.turn(Place::Familiar), async {
                assert!(matches!(busy.await, Some(PasswordError::Busy)));
            })
        });
        assert!(waits.await.is_err(), "the second waits for the first");
        drop(first);
        assert!(passwords.turn(Place::Familiar).await.is_ok());
    }

    #[tokio::test]
    async fn a_hash_that_nobody_waits_for_keeps_its_turn_until_it_is_through() {
        let passwords = Passwords::with(1, 0, 0);
        let (go, wait) = std::sync::mpsc::channel();
        let work = passwords.work(Place::Familiar, move |_| wait.recv().map_err(failed));
        assert!(timeout(Duration::from_millis(10), work).await.is_err());
        assert!(matches!(passwords.turn(Place::Familiar).await, Err(PasswordError::Busy)));
        go.send(()).unwrap();
        while passwords.turn(Place::Familiar).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
