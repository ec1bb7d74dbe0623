//! What the record of a new key says of its settings: the options that set them, never a value.

use super::KeyWish;

impl KeyWish {
    /// The options of `callgate keys create` that ask for this, whichever way it came. What is as it
    /// is without an option has none.
    pub(super) fn options(&self) -> Vec<&'static str> {
        [
            (true, "--name"),
            (true, "--tenant"),
            (self.owner.is_some(), "--owner"),
            (self.requires_token, "--requires-token"),
            (!self.peers.is_empty(), "--allow"),
            (!self.rights.is_empty(), "--right"),
            (!self.identifiers.is_empty(), "--identifier"),
            (!self.numbers.is_empty(), "--numbers"),
            (self.post_only, "--post-only"),
            (self.reason_required, "--reason-required"),
            (!self.query_passwords, "--no-query-passwords"),
            (self.expires_at.is_some(), "--expires"),
        ]
        .into_iter()
        .filter_map(|(is_set, option)| is_set.then_some(option))
        .collect()
    }
}
