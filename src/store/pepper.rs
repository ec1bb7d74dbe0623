//! The pepper: the secret that turns keys and tokens into the hashes the database holds.
//!
//! It lives in a file of its own, so that a copy of the database alone recognises nothing.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use aws_lc_rs::{digest, hmac, rand};
use tempfile::NamedTempFile;

use super::error::OpenError;
use crate::model::chain::hex;
use crate::secret::Secret;

const LENGTH: usize = 32;

/// The loaded pepper.
#[derive(Clone, Debug)]
pub(crate) struct Pepper {
    key: Secret<hmac::Key>,
    fingerprint: String,
}

/// What the database holds of a key or token: HMAC-SHA-256 under the pepper.
pub(crate) type Digest = [u8; 32];

/// What a hash is of; a key never collides with a token of the same spelling.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hashed {
    /// An API key.
    Key,
    /// A session token.
    Token,
}

impl Pepper {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`OpenError::Pepper`] when it is missing, unreadable, or not 64 hexadecimal digits.
    pub(crate) fn load(path: &Path) -> Result<Self, OpenError> {
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => failed(
                path,
                &"there is no such file; put back the one that was made with the database, or no \
                  key is recognised",
            ),
            _ => failed(path, &error),
        })?;
        let bytes = unhex(text.trim())
            .ok_or_else(|| failed(path, &"expected 64 hexadecimal digits on one line"))?;
        Ok(Self::new(&bytes))
    }

    /// Makes the file, readable by its owner only, with a fresh pepper; reads one that is there.
    /// What was made is on disk, whole, before this returns: hashes are made with it at once.
    ///
    /// # Errors
    ///
    /// [`OpenError::Pepper`] when it can be neither made nor read.
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, OpenError> {
        if path.try_exists().unwrap_or(false) {
            return Self::load(path);
        }
        let mut bytes = [0; LENGTH];
        rand::fill(&mut bytes).map_err(|error| failed(path, &error))?;
        match create(path, &hex(&bytes)) {
            Ok(()) => Ok(Self::new(&bytes)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(failed(path, &error)),
        }
    }

    fn new(bytes: &[u8; LENGTH]) -> Self {
        let hash = digest::digest(&digest::SHA256, bytes);
        Self {
            key: Secret::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)),
            fingerprint: hex(&hash.as_ref()[..8]),
        }
    }

    /// What names this pepper in the database; says nothing of its value.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The hash of a canonical key or token.
    pub(crate) fn hash(&self, what: Hashed, value: &Secret<String>) -> Digest {
        let mut context = hmac::Context::with_key(self.key.expose());
        context.update(match what {
            Hashed::Key => b"key:",
            Hashed::Token => b"token:",
        });
        context.update(value.expose().as_bytes());
        let mut digest = [0; LENGTH];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }
}

/// Makes a private file of one line that is there whole or not at all, even after a power cut.
fn create(path: &Path, line: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(folder)?;
    writeln!(file, "{line}")?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    File::open(folder)?.sync_all()
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> OpenError {
    OpenError::Pepper { path: path.display().to_string(), message: error.to_string() }
}

fn unhex(text: &str) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    if text.len() != 2 * LENGTH || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_made_pepper_is_private_and_hashes_the_same_when_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callgate.db.pepper");
        let made = Pepper::load_or_create(&path).unwrap();
        let read = Pepper::load_or_create(&path).unwrap();
        let secret = Secret::new("74c8eea0-50c6-40b2-9f3e-252ed501c3c8".to_owned());
        assert_eq!(made.fingerprint(), read.fingerprint());
        assert_eq!(made.hash(Hashed::Key, &secret), read.hash(Hashed::Key, &secret));
        assert_ne!(made.hash(Hashed::Key, &secret), made.hash(Hashed::Token, &secret));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_pepper_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pepper");
        for text in ["", "74c8", &"g".repeat(64), &"é".repeat(32)] {
            fs::write(&path, text).unwrap();
            assert!(Pepper::load(&path).is_err(), "{text:?}");
        }
    }
}
