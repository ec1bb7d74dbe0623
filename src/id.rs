//! Identifiers as types, so that one cannot be passed for another.
//!
//! Ours are UUIDs ([`Id`]); what other systems name (tenants, calls) is text that is compared and
//! never interpreted.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use uuid::Uuid;

/// A UUID that identifies one kind of thing.
pub(crate) struct Id<Kind>(Uuid, PhantomData<fn() -> Kind>);

/// One recorded deletion.
pub(crate) type DeletionId = Id<kind::Deletion>;
/// One API key; public, unlike its secret.
pub(crate) type KeyId = Id<kind::Key>;
/// One session that was opened with a token; public, unlike the token.
pub(crate) type SessionId = Id<kind::Session>;
/// One HTTP request, echoed in `X-Request-Id`.
pub(crate) type RequestId = Id<kind::Request>;
/// One running process: the owner of its leases.
pub(crate) type ProcessId = Id<kind::Process>;

/// What an [`Id`] can identify.
pub(crate) mod kind {
    /// See [`super::DeletionId`].
    pub(crate) enum Deletion {}
    /// See [`super::KeyId`].
    pub(crate) enum Key {}
    /// See [`super::SessionId`].
    pub(crate) enum Session {}
    /// See [`super::RequestId`].
    pub(crate) enum Request {}
    /// See [`super::ProcessId`].
    pub(crate) enum Process {}
}

impl<Kind> Id<Kind> {
    /// A new one that sorts after those made before it (UUID version 7).
    pub(crate) fn sortable() -> Self {
        Self(Uuid::now_v7(), PhantomData)
    }

    /// A new one that says nothing about when it was made (UUID version 4).
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4(), PhantomData)
    }
}

impl<Kind> Clone for Id<Kind> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Kind> Copy for Id<Kind> {}

impl<Kind> PartialEq for Id<Kind> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<Kind> Eq for Id<Kind> {}

impl<Kind> std::hash::Hash for Id<Kind> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<Kind> fmt::Display for Id<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<Kind> fmt::Debug for Id<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<Kind> FromStr for Id<Kind> {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Ok(Self(Uuid::try_parse(text)?, PhantomData))
    }
}

/// The Microsoft Entra tenant a key and a call belong to, in canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TenantId(String);

impl TenantId {
    /// Takes a GUID in any usual spelling, or a domain name, which is compared without case.
    pub(crate) fn new(text: &str) -> Self {
        let text = text.trim();
        Self(canonical_guid(text).unwrap_or_else(|| text.to_lowercase()))
    }

    /// The canonical spelling.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Our id of a call: a GUID in canonical spelling, or, when a recorder's own ids were imported,
/// any other text, compared to the letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallId(String);

impl CallId {
    /// A new one that sorts after those made before it, which keeps a large import fast.
    pub(crate) fn sortable() -> Self {
        Self(Uuid::now_v7().hyphenated().to_string())
    }

    /// Takes what a caller or an import sent.
    pub(crate) fn new(text: &str) -> Self {
        Self(canonical_guid(text).unwrap_or_else(|| text.to_owned()))
    }

    /// The canonical spelling.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Graph's id of a call: opaque, case-sensitive, never interpreted (Graph's call API concepts page).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GraphCallId(pub(crate) String);

impl fmt::Display for GraphCallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The one spelling of a GUID that arrived in upper or lower case, with or without braces and
/// dashes; `None` when `text` is anything else, such as a URN or a GUID between blanks.
pub(crate) fn canonical_guid(text: &str) -> Option<String> {
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    // The parser takes more spellings than these two; they differ in length.
    if !matches!(inner.len(), 32 | 36) {
        return None;
    }
    let uuid = Uuid::try_parse(inner).ok()?;
    Some(uuid.hyphenated().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_spelling_of_a_guid_is_one_value() {
        let canonical = "57dab8b1-894c-409a-b240-bd8beae78896";
        for spelling in [
            "57dab8b1-894c-409a-b240-bd8beae78896",
            "57DAB8B1-894C-409A-B240-BD8BEAE78896",
            "{57dab8b1-894c-409a-b240-bd8beae78896}",
            "57DAB8B1894C409AB240BD8BEAE78896",
            "{57Dab8b1894c409ab240bd8beae78896}",
        ] {
            assert_eq!(canonical_guid(spelling).as_deref(), Some(canonical), "{spelling}");
        }
    }

    #[test]
    fn what_only_resembles_a_guid_is_none() {
        for text in [
            "",
            "{}",
            "57dab8b1-894c-409a-b240",
            "urn:uuid:57dab8b1-894c-409a-b240-bd8beae78896",
            "{urn:uuid:57dab8b1-894c-409a-b240-bd8beae78896}",
            " 57dab8b1894c409ab240bd8beae78896",
            "57dab8b1-894c-409a-b240-bd8beae78896\n",
            "\u{a0}57dab8b1-894c-409a-b240-bd8beae78896",
            "{57dab8b1-894c-409a-b240-bd8beae78896",
            "57dab8b1-894c-409a-b240-bd8beae78896}",
            "{{57dab8b1-894c-409a-b240-bd8beae78896}}",
            "{57dab8b1-894c-409a-b240-bd8beae788}",
            "57dab8b1-894c409ab240bd8beae78896",
            "57dab8b1-894c4-09ab-240b-d8beae78896",
            "57dab8b1894c409ab240bd8beae7889g",
            "57dab8b1894c409ab240bd8beae788\u{e9}",
        ] {
            assert_eq!(canonical_guid(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_tenant_is_taken_without_the_blanks_around_it() {
        let canonical = "57dab8b1-894c-409a-b240-bd8beae78896";
        assert_eq!(TenantId::new(" {57DAB8B1-894C-409A-B240-BD8BEAE78896}\n").as_str(), canonical);
        assert_eq!(TenantId::new(" Contoso.Example ").as_str(), "contoso.example");
    }

    #[test]
    fn a_call_id_that_is_no_guid_keeps_its_case() {
        assert_eq!(CallId::new("Rec-A1").as_str(), "Rec-A1");
    }
}
