//! Values that must not be printed: credentials, and the URI of a request that carries them.

use std::fmt;

use hyper::Uri;

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
    fn neither_prints_what_it_hides() {
        let secret = Secret::new("74c8eea0");
        let uri = SafeUri::new(Uri::from_static("/verba/api?apiKey=74c8eea0"));
        assert_eq!(format!("{secret:?} {uri:?}"), "(hidden) (hidden)");
    }
}
