//! Values that must not be printed: credentials, and the URI of a request that carries them.

use std::fmt;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use hyper::Uri;
use uuid::Uuid;

/// A credential. It has no `Display`, no `Serialize` and no `Deref`, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides `value`.
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }

    /// The hidden value, for the one place that needs it.
    pub(crate) const fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<String> {
    /// 128 random bits, printed as a GUID in canonical form: no bit of it says how it was made.
    ///
    /// # Errors
    ///
    /// When the operating system has no random bits.
    pub(crate) fn random_guid() -> Result<Self, Unspecified> {
        let mut bits = [0; 16];
        rand::fill(&mut bits)?;
        Ok(Self(Uuid::from_bytes(bits).hyphenated().to_string()))
    }

    /// `text` holds it, whatever its case and its dashes. An empty one is in every text.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let plain = |text: &str| text.to_lowercase().replace('-', "");
        plain(text).contains(&plain(&self.0))
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The URI of a request. Legacy clients carry key, token and password in it, so it prints nothing
/// of itself; what may be logged is the matched route and the known parameter names.
pub(crate) struct SafeUri(Uri);

impl SafeUri {
    /// Hides `uri`.
    pub(crate) const fn new(uri: Uri) -> Self {
        Self(uri)
    }

    /// The hidden URI, for the parser.
    pub(crate) const fn expose(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Debug for SafeUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_a_text_in_each_of_its_spellings() {
        let secret = Secret::new("74c8eea0-50c6-40b2-9f3e-252ed501c3c8".to_owned());
        for text in [secret.expose().to_uppercase(), secret.expose().replace('-', "")] {
            assert!(secret.is_in(&format!("nativeID=32:{text};")), "{text}");
        }
        assert!(!secret.is_in("74c8eea0-50c6-40b2-9f3e"));
    }

    #[test]
    fn a_random_guid_is_canonical_and_all_its_bits_are_random() {
        let (mut ones, mut zeros) = (0, 0);
        for _ in 0..200 {
            let secret = Secret::random_guid().unwrap();
            let bits = Uuid::try_parse(secret.expose()).unwrap();
            assert_eq!(bits.hyphenated().to_string(), *secret.expose());
            (ones, zeros) = (ones | bits.as_u128(), zeros | !bits.as_u128());
        }
        assert_eq!((ones, zeros), (u128::MAX, u128::MAX), "each bit was seen as 1 and as 0");
    }

    #[test]
    fn neither_prints_what_it_hides() {
        let secret = Secret::new("74c8eea0");
        let uri = SafeUri::new(Uri::from_static("/verba/api?apiKey=74c8eea0"));
        assert_eq!(format!("{secret:?} {uri:?}"), "(hidden) (hidden)");
    }
}
