//! The names of all keys: what can be set, what is secret, and what this version does not have.
//!
//! It knows names only. It never sees a value, so nothing that it returns can hold a secret.

use std::borrow::Cow;

use crate::id::canonical_guid;

/// Every key that can be set, in the order of `defaults.toml`.
pub(super) const AVAILABLE: &[&str] = &[
    "listen.address",
    "listen.max_connections",
    "listen.header_timeout",
    "listen.idle_timeout",
    "listen.drain",
    "listen.trusted_proxies",
    "admin.address",
    "store.url",
    "store.pepper_file",
    "graph.cloud",
    "graph.base_url",
    "graph.login_url",
    "graph.tenant_id",
    "graph.client_id",
    "graph.client_secret",
    "graph.client_secret_file",
    "graph.certificate_file",
    "graph.key_file",
    "graph.federated_token_file",
    "graph.managed_identity",
    "graph.api",
    "graph.concurrency",
    "graph.rate",
    "graph.request_timeout",
    "graph.deadline",
    "graph.proxy",
    "graph.ca_file",
    "graph.allow_other_host",
    "notifications.address",
    "notifications.max_connections",
    "notifications.path",
    "notifications.forward_url",
    "notifications.forward_timeout",
    "notifications.openid_urls",
    "notifications.issuers",
    "notifications.audiences",
    "legacy.paths",
    "legacy.wait",
    "legacy.on_pending",
    "legacy.on_ended",
    "legacy.codes",
    "legacy.http_status",
    "legacy.basic_challenge",
    "legacy.match_roster",
    "legacy.mapping.platform_call_id",
    "legacy.mapping.native_id",
    "legacy.mapping.meeting_id",
    "numbering.prefixes",
    "limits.request_line",
    "limits.headers",
    "limits.body",
    "limits.value",
    "log.format",
    "log.level",
];

/// Keys of the contract that belong to something this version does not have.
const NOT_BUILT: &[&str] = &["store.direct_url"];

/// The section of the further tenants: each is a section of its own, named by the tenant's GUID.
pub(super) const TENANTS: &str = "graph.tenants";

/// The keys of `graph` that a further tenant has as well.
pub(super) const OF_A_TENANT: &[&str] = &[
    "cloud",
    "base_url",
    "login_url",
    "client_id",
    "client_secret",
    "client_secret_file",
    "certificate_file",
    "key_file",
    "federated_token_file",
    "managed_identity",
    "api",
];

/// What each variable's name begins with.
pub(super) const VARIABLE_PREFIX: &str = "CALLGATE_";

/// The longest unknown name that is compared with the known ones.
const LONGEST_COMPARED: usize = 80;

/// The name of a key. Those of further tenants are made of the tenant's id, all others are listed.
pub(super) type Key = Cow<'static, str>;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A key that can be set, in its one spelling.
    Available(Key),
    /// A key of the contract that this version does not have.
    NotBuilt(&'static str),
    /// The name of a section, which has no value itself.
    Section,
    /// A key of a further tenant that is not named by its GUID.
    NoTenant,
    /// None of these.
    Unknown {
        /// The key that was probably meant.
        suggestion: Option<Key>,
    },
}

/// What `name`, with dots between its parts, stands for.
pub(super) fn meaning(name: &str) -> Meaning {
    let is_within = |section: &str| {
        name.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some(key) = AVAILABLE.iter().find(|key| **key == name) {
        return Meaning::Available(Key::Borrowed(key));
    }
    if let Some(rest) = name.strip_prefix(TENANTS).and_then(|rest| rest.strip_prefix('.')) {
        return meaning_in_tenants(rest);
    }
    if let Some(key) = NOT_BUILT.iter().find(|key| is_within(key)) {
        return Meaning::NotBuilt(key);
    }
    let holds = |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    if name == TENANTS || AVAILABLE.iter().chain(NOT_BUILT).any(|key| holds(key)) {
        return Meaning::Section;
    }
    Meaning::Unknown { suggestion: nearest(name) }
}

/// What `rest`, which stands behind `graph.tenants.`, stands for.
fn meaning_in_tenants(rest: &str) -> Meaning {
    // Whoever wrote quotes around the id meant the same.
    let guid = |id: &str| canonical_guid(id.trim_matches('"'));
    if guid(rest).is_some() {
        return Meaning::Section;
    }
    let Some((id, last)) = rest.rsplit_once('.') else { return Meaning::NoTenant };
    let Some(id) = guid(id) else { return Meaning::NoTenant };
    if OF_A_TENANT.contains(&last) {
        return Meaning::Available(Key::Owned(of_tenant(&id, last)));
    }
    let near = nearest(&format!("graph.{last}"));
    let last = near.as_deref().and_then(|key| key.strip_prefix("graph."));
    let last = last.filter(|last| OF_A_TENANT.contains(last));
    Meaning::Unknown { suggestion: last.map(|last| Key::Owned(of_tenant(&id, last))) }
}

/// The key `last` of the further tenant `id`.
pub(super) fn of_tenant(id: &str, last: &str) -> String {
    format!("{TENANTS}.{id}.{last}")
}

/// What the keys of the further tenant `id` begin with.
pub(super) fn of_tenants(id: &str) -> String {
    format!("{TENANTS}.{id}")
}

/// The further tenant that has `key`, if it is one of its keys.
pub(super) fn tenant_of(key: &str) -> Option<&str> {
    key.strip_prefix(TENANTS)?.strip_prefix('.')?.split('.').next()
}

/// The key of the list that is like `key`: for one of a further tenant, the first tenant's.
pub(super) fn listed(key: &str) -> Key {
    let last = key.rsplit('.').next().unwrap_or_default();
    match tenant_of(key) {
        Some(_) => Key::Owned(format!("graph.{last}")),
        None => Key::Owned(key.to_owned()),
    }
}

/// The key whose variable is called `variable`, or what else that name stands for.
pub(super) fn meaning_of_variable(variable: &str) -> Meaning {
    let name = variable.strip_prefix(VARIABLE_PREFIX).unwrap_or(variable);
    let mut parts: Vec<_> = name.split("__").map(str::to_ascii_lowercase).collect();
    if let [_, tenants, id, _] = parts.as_mut_slice()
        && tenants == "tenants"
    {
        // No shell takes a dash in the name of a variable.
        *id = id.replace('_', "-");
    }
    match meaning(&parts.join(".")) {
        Meaning::Available(key) if !is_variable_of(variable, &key) => {
            Meaning::Unknown { suggestion: Some(key) }
        }
        Meaning::Section => Meaning::Unknown { suggestion: None },
        other => other,
    }
}

/// The name of the variable that sets `key`.
pub(super) fn variable_of(key: &str) -> String {
    let name = key.replace('.', "__").replace('-', "_").to_ascii_uppercase();
    format!("{VARIABLE_PREFIX}{name}")
}

/// Whether `variable` sets `key`. A tenant's GUID may go without its dashes.
fn is_variable_of(variable: &str, key: &str) -> bool {
    variable == variable_of(key)
        || tenant_of(key).is_some() && variable == variable_of(&key.replace('-', ""))
}

/// Whether `key`'s value is a credential.
pub(super) fn is_secret(key: &str) -> bool {
    listed(key) == "graph.client_secret"
}

/// Whether an error may show what `key` was set to. Apart from the secret itself, the keys beside
/// it may not: a secret that was put there by mistake would end in a log. Nor may the addresses of
/// the bot and of the proxy: they may hold a credential.
pub(super) fn may_be_shown(key: &str) -> bool {
    const HIDDEN: &[&str] = &[
        "graph.client_secret_file",
        "graph.certificate_file",
        "graph.key_file",
        "graph.federated_token_file",
        "graph.managed_identity",
        "graph.client_id",
        "graph.proxy",
        "notifications.forward_url",
        "notifications.audiences",
    ];
    !is_secret(key) && !HIDDEN.contains(&&*listed(key))
}

/// The available key that `name` was probably meant to be: spelled nearly the same, or the only
/// one with the same last part.
fn nearest(name: &str) -> Option<Key> {
    if name.len() > LONGEST_COMPARED {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    let (distance, key) =
        AVAILABLE.iter().map(|key| (edit_distance(&name, key), *key)).min_by_key(|pair| pair.0)?;
    if distance <= 3.min(name.len() / 4) {
        return Some(Key::Borrowed(key));
    }
    let last_part = |key: &str| key.rsplit('.').next().map(str::to_owned);
    let mut same_last_part = AVAILABLE.iter().filter(|key| last_part(key) == last_part(&name));
    match (same_last_part.next(), same_last_part.next()) {
        (Some(key), None) => Some(Key::Borrowed(key)),
        _ => None,
    }
}

/// How many characters must be inserted, removed or replaced to turn one text into the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, character) in from.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let replaced = above[column] + usize::from(character != *other);
            current.push(replaced.min(above[column + 1] + 1).min(current[column] + 1));
        }
        above = current;
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_key_is_told_what_was_probably_meant() {
        for (name, suggestion) in [
            ("listen.adress", Some("listen.address")),
            ("listen.max-connections", Some("listen.max_connections")),
            ("Graph.Tenant_ID", Some("graph.tenant_id")),
            ("client_id", Some("graph.client_id")),
            ("mapping.native_id", Some("legacy.mapping.native_id")),
            ("limits.wait", Some("legacy.wait")),
            ("address", None),
            ("colour", None),
            ("", None),
        ] {
            let suggestion = suggestion.map(Key::Borrowed);
            assert_eq!(meaning(name), Meaning::Unknown { suggestion }, "{name}");
        }
        assert_eq!(meaning(&"x".repeat(100_000)), Meaning::Unknown { suggestion: None });
    }

    #[test]
    fn a_variable_is_known_in_its_exact_spelling_only() {
        let native_id = "legacy.mapping.native_id";
        assert_eq!(variable_of(native_id), "CALLGATE_LEGACY__MAPPING__NATIVE_ID");
        for key in AVAILABLE {
            assert_eq!(meaning_of_variable(&variable_of(key)), Meaning::Available((*key).into()));
        }
        for (name, suggestion) in [
            ("CALLGATE_LISTEN_ADDRESS", Some("listen.address")),
            ("CALLGATE_listen__address", Some("listen.address")),
            ("CALLGATE_LEGACY_MAPPING_NATIVE_ID", Some(native_id)),
            ("CALLGATE_LISTEN.ADDRESS", Some("listen.address")),
            ("CALLGATE_LISTEN", None),
            ("CALLGATE_", None),
        ] {
            let suggestion = suggestion.map(Key::Borrowed);
            assert_eq!(meaning_of_variable(name), Meaning::Unknown { suggestion }, "{name}");
        }
    }

    #[test]
    fn what_is_not_built_yet_is_known_as_such() {
        assert_eq!(meaning("store.direct_url"), Meaning::NotBuilt("store.direct_url"));
        assert_eq!(meaning("notifications"), Meaning::Section);
        let variable = "CALLGATE_STORE__DIRECT_URL";
        assert_eq!(meaning_of_variable(variable), Meaning::NotBuilt("store.direct_url"));
    }

    #[test]
    fn a_further_tenants_keys_are_known_by_its_guid_in_every_spelling() {
        const GUID: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
        let key = Meaning::Available(Key::Owned(format!("graph.tenants.{GUID}.client_secret")));
        for id in [GUID, &GUID.to_uppercase(), &GUID.replace('-', ""), &format!("\"{{{GUID}}}\"")] {
            assert_eq!(meaning(&format!("graph.tenants.{id}.client_secret")), key, "{id}");
            assert_eq!(meaning(&format!("graph.tenants.{id}")), Meaning::Section, "{id}");
        }
        let upper = GUID.to_uppercase();
        for id in [upper.replace('-', "_"), upper.replace('-', "")] {
            let variable = format!("CALLGATE_GRAPH__TENANTS__{id}__CLIENT_SECRET");
            assert_eq!(meaning_of_variable(&variable), key, "{variable}");
        }
        assert_eq!(meaning("graph.tenants"), Meaning::Section);
    }

    #[test]
    fn what_only_resembles_a_further_tenants_key_is_none() {
        const GUID: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
        for name in ["one.client_id", "contoso.example.client_id", "one", "\"a.b\".api", ""] {
            assert_eq!(meaning(&format!("graph.tenants.{name}")), Meaning::NoTenant, "{name}");
        }
        for (last, near) in [
            ("client_secrt", Some("client_secret")),
            ("flavour", None),
            ("deadline", None),
            ("tenant_id", None),
        ] {
            let suggestion = near.map(|near| Key::Owned(of_tenant(GUID, near)));
            let name = of_tenant(GUID, last);
            assert_eq!(meaning(&name), Meaning::Unknown { suggestion }, "{name}");
        }
        let key = of_tenant(GUID, "client_id");
        for id in [GUID.to_uppercase(), GUID.replace('-', "_")] {
            let name = format!("CALLGATE_GRAPH__TENANTS__{id}__CLIENT_ID");
            let suggestion = Some(Key::Owned(key.clone()));
            assert_eq!(meaning_of_variable(&name), Meaning::Unknown { suggestion }, "{name}");
        }
    }

    #[test]
    fn a_further_tenants_secrets_are_secrets() {
        let key = |last| of_tenant("57dab8b1-894c-409a-b240-bd8beae78896", last);
        assert!(is_secret(&key("client_secret")) && !is_secret(&key("client_id")));
        assert!(may_be_shown(&key("api")) && !may_be_shown(&key("client_id")));
        for last in OF_A_TENANT {
            assert!(AVAILABLE.contains(&&*listed(&key(last))), "{last}");
        }
    }

    #[test]
    fn a_key_is_in_one_list_only() {
        for key in AVAILABLE {
            assert!(!NOT_BUILT.contains(key), "{key}");
        }
    }
}
