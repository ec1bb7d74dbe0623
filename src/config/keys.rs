//! The names of all keys: what can be set, what is secret, and what this version does not have.
//!
//! It knows names only. It never sees a value, so nothing that it returns can hold a secret.

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
    "graph.api",
    "graph.concurrency",
    "graph.request_timeout",
    "graph.deadline",
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
const NOT_BUILT: &[&str] = &[
    "store.direct_url",
    "graph.certificate_file",
    "graph.key_file",
    "graph.federated_token_file",
    "graph.managed_identity",
    "graph.tenants",
    "graph.rate",
    "graph.proxy",
    "graph.ca_file",
];

/// What each variable's name begins with.
pub(super) const VARIABLE_PREFIX: &str = "CALLGATE_";

/// The longest unknown name that is compared with the known ones.
const LONGEST_COMPARED: usize = 80;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A key that can be set.
    Available(&'static str),
    /// A key of the contract that this version does not have.
    NotBuilt(&'static str),
    /// The name of a section, which has no value itself.
    Section,
    /// None of these.
    Unknown {
        /// The key that was probably meant.
        suggestion: Option<&'static str>,
    },
}

/// What `name`, with dots between its parts, stands for.
pub(super) fn meaning(name: &str) -> Meaning {
    let is_within = |section: &str| {
        name.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some(key) = AVAILABLE.iter().find(|key| **key == name) {
        return Meaning::Available(key);
    }
    if let Some(key) = NOT_BUILT.iter().find(|key| is_within(key)) {
        return Meaning::NotBuilt(key);
    }
    let holds = |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    if AVAILABLE.iter().chain(NOT_BUILT).any(|key| holds(key)) {
        return Meaning::Section;
    }
    Meaning::Unknown { suggestion: nearest(name) }
}

/// The key whose variable is called `variable`, or what else that name stands for.
pub(super) fn meaning_of_variable(variable: &str) -> Meaning {
    let name = variable.strip_prefix(VARIABLE_PREFIX).unwrap_or(variable);
    let dotted = name.replace("__", ".").to_ascii_lowercase();
    match meaning(&dotted) {
        Meaning::Available(key) if variable_of(key) != variable => {
            Meaning::Unknown { suggestion: Some(key) }
        }
        Meaning::Section => Meaning::Unknown { suggestion: None },
        other => other,
    }
}

/// The name of the variable that sets `key`.
pub(super) fn variable_of(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// Whether `key`'s value is a credential.
pub(super) fn is_secret(key: &str) -> bool {
    key == "graph.client_secret"
}

/// Whether an error may show what `key` was set to. Apart from the secret itself, the keys beside
/// it may not: a secret that was put there by mistake would end in a log. Nor may the bot's
/// address: its query may hold a credential.
pub(super) fn may_be_shown(key: &str) -> bool {
    const HIDDEN: &[&str] = &[
        "graph.client_secret_file",
        "graph.client_id",
        "notifications.forward_url",
        "notifications.audiences",
    ];
    !is_secret(key) && !HIDDEN.contains(&key)
}

/// The available key that `name` was probably meant to be: spelled nearly the same, or the only
/// one with the same last part.
fn nearest(name: &str) -> Option<&'static str> {
    if name.len() > LONGEST_COMPARED {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    let (distance, key) =
        AVAILABLE.iter().map(|key| (edit_distance(&name, key), *key)).min_by_key(|pair| pair.0)?;
    if distance <= 3.min(name.len() / 4) {
        return Some(key);
    }
    let last_part = |key: &str| key.rsplit('.').next().map(str::to_owned);
    let mut same_last_part = AVAILABLE.iter().filter(|key| last_part(key) == last_part(&name));
    match (same_last_part.next(), same_last_part.next()) {
        (Some(key), None) => Some(key),
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
            assert_eq!(meaning(name), Meaning::Unknown { suggestion }, "{name}");
        }
        assert_eq!(meaning(&"x".repeat(100_000)), Meaning::Unknown { suggestion: None });
    }

    #[test]
    fn a_variable_is_known_in_its_exact_spelling_only() {
        let native_id = "legacy.mapping.native_id";
        assert_eq!(variable_of(native_id), "CALLGATE_LEGACY__MAPPING__NATIVE_ID");
        for key in AVAILABLE {
            assert_eq!(meaning_of_variable(&variable_of(key)), Meaning::Available(key));
        }
        for (name, suggestion) in [
            ("CALLGATE_LISTEN_ADDRESS", Some("listen.address")),
            ("CALLGATE_listen__address", Some("listen.address")),
            ("CALLGATE_LEGACY_MAPPING_NATIVE_ID", Some(native_id)),
            ("CALLGATE_LISTEN.ADDRESS", Some("listen.address")),
            ("CALLGATE_LISTEN", None),
            ("CALLGATE_", None),
        ] {
            assert_eq!(meaning_of_variable(name), Meaning::Unknown { suggestion }, "{name}");
        }
    }

    #[test]
    fn what_is_not_built_yet_is_known_as_such() {
        let tenant = "graph.tenants.57dab8b1.client_id";
        assert_eq!(meaning(tenant), Meaning::NotBuilt("graph.tenants"));
        assert_eq!(meaning("graph.tenants"), Meaning::NotBuilt("graph.tenants"));
        assert_eq!(meaning("graph.proxy"), Meaning::NotBuilt("graph.proxy"));
        assert_eq!(meaning("notifications"), Meaning::Section);
        let variable = "CALLGATE_GRAPH__TENANTS__57DAB8B1__CLIENT_ID";
        assert_eq!(meaning_of_variable(variable), Meaning::NotBuilt("graph.tenants"));
    }

    #[test]
    fn a_key_is_in_one_list_only() {
        for key in AVAILABLE {
            assert!(!NOT_BUILT.contains(key), "{key}");
        }
    }
}
