//! People who log in, as values; their passwords are not in here.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::clock::Timestamp;

/// How long a place where a login succeeded is known as such.
pub(crate) const FAMILIAR: Duration = Duration::from_hours(30 * 24);

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The store's own number of them.
    pub(crate) row: i64,
    pub(crate) tenant: String,
    /// As it was made; compared as [`folded`].
    pub(crate) login: String,
    pub(crate) role: Role,
    pub(crate) created_at: Timestamp,
    pub(crate) disabled_at: Option<Timestamp>,
}

/// What somebody may do, each more than the one before. Every role may use the legacy API, with the
/// rights of the key that is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Logs in to the legacy API.
    #[default]
    Caller,
    /// Reads records.
    Auditor,
    /// Changes everything.
    Admin,
}

impl Role {
    const ALL: [Self; 3] = [Self::Caller, Self::Auditor, Self::Admin];

    /// Its word on the command line and in the database.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no role.
#[derive(Debug, thiserror::Error)]
#[error("expected one of caller, auditor, admin")]
pub(crate) struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == word).ok_or(UnknownRole)
    }
}

/// A login that can be sent in `Authorization: Basic`: 1 to 128 characters, no colon, nothing that
/// cannot be seen, no blank around it.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn login(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.chars().count() > 128 {
        Err("a login has 1 to 128 characters")
    } else if text.contains(':') {
        Err("a login has no colon, because `Authorization: Basic` ends it there")
    } else if text.trim() != text || text.chars().any(char::is_control) {
        Err("a login has no blanks around it and no control characters")
    } else {
        Ok(text.to_owned())
    }
}

/// What logins are compared by: two that differ in case only, or in how a letter and its accent are
/// put together, are one.
pub(crate) fn folded(login: &str) -> String {
    let composed = ComposingNormalizerBorrowed::new_nfc();
    composed.normalize(&composed.normalize(login).to_lowercase()).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn logins_are_compared_without_case_in_any_language() {
        for (one, other) in [
            ("Jane", "JANE"),
            ("Jörg", "JÖRG"),
            ("Ülli", "ülli"),
            ("ÉMILE", "e\u{301}mile"),
            ("ΟΔΟΣ", "οδος"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        assert_ne!(folded("jorg"), folded("jörg"));
    }

    proptest! {
        #[test]
        fn what_is_folded_stays_so(login in ".{0,20}") {
            let once = folded(&login);
            prop_assert_eq!(folded(&once), once);
        }
    }

    #[test]
    fn a_login_is_what_basic_can_carry() {
        for text in ["jane", "jane@example.com", "CONTOSO\\jane", "Jürgen Groß", "a"] {
            assert_eq!(login(text).as_deref(), Ok(text));
        }
        for text in ["", "a:b", " jane", "jane\n", "ja\u{0}ne", &"x".repeat(129)] {
            assert!(login(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_role_is_read_back_and_ordered() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>().unwrap(), role);
        }
        assert!(Role::Caller < Role::Auditor && Role::Auditor < Role::Admin);
        assert!("root".parse::<Role>().is_err());
    }
}
