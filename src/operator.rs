//! Who runs a command on this machine: the operating system says so.
//!
//! Whoever can write the database file could change it without us; the record says who did it
//! through us.

use nix::unistd::{Uid, User};

use crate::clock::Timestamp;
use crate::model::chain::{AuditEvent, Personal};
use crate::store::access::AuditEntry;

/// Somebody at the command line. What changes keys, users or sessions takes one, so that nothing is
/// changed without a record of who did it.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    user: String,
    host: String,
}

impl Operator {
    /// Whoever runs this process. A user without a name is told by number.
    pub(crate) fn of_this_process() -> Self {
        let uid = Uid::current();
        let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { user: name.unwrap_or_else(|| format!("uid {uid}")), host }
    }

    /// The record of a command, such as `keys create`, that was carried out at `at`. What it changed,
    /// and the options that said how, are to be added.
    pub(crate) fn entry(&self, command: &str, at: Timestamp) -> AuditEntry {
        AuditEntry {
            at,
            count: 1,
            event: AuditEvent {
                action: command.to_owned(),
                decision: "allowed",
                result: "done",
                ..AuditEvent::default()
            },
            personal: Personal {
                user: Some(self.user.clone()),
                host: Some(self.host.clone()),
                ..Personal::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_a_command_says_who_ran_it_and_where() {
        let entry = Operator::of_this_process().entry("keys create", Timestamp(5));
        assert_eq!((entry.event.action.as_str(), entry.event.decision), ("keys create", "allowed"));
        assert!(entry.personal.user.is_some_and(|user| !user.is_empty()));
        assert!(entry.personal.host.is_some_and(|host| !host.is_empty()));
    }
}
