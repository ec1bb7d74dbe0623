//! A call as the registry knows it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{CallId, GraphCallId};

/// For so long Graph lets a call be rejected that is not for policy recording.
pub(crate) const LONGEST_RINGING: Duration = Duration::from_secs(15);

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Ours.
    #[expect(clippy::struct_field_names, reason = "the same word in code, tables and answers")]
    pub(crate) call_id: CallId,
    /// Graph's.
    pub(crate) graph_id: GraphCallId,
    /// The app that it was told of to, as it was spelled; none where nobody said so.
    pub(crate) app_id: Option<String>,
    /// Graph's word for where it stands.
    pub(crate) state: CallState,
    /// When it began, as far as is known.
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended; none while it has not.
    pub(crate) ended_at: Option<Timestamp>,
    /// When the registry was last told of it.
    pub(crate) last_seen_at: Timestamp,
    /// Until when it can be rejected; none for one that is not known to ring.
    pub(crate) rings_until: Option<Timestamp>,
}

/// Graph's `callState` (schema `v1.0-Prod`), and `ringing` of its beta.
///
/// The order is that of a call's life: a state never moves to an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CallState {
    /// Rings and is not answered.
    Incoming,
    /// Is being set up.
    Establishing,
    /// Rings at the other side (beta).
    Ringing,
    /// Runs.
    Established,
    /// Runs, on hold.
    Hold,
    /// Is being transferred.
    Transferring,
    /// The transfer was accepted.
    TransferAccepted,
    /// Is being redirected.
    Redirecting,
    /// Is being ended.
    Terminating,
    /// Has ended.
    Terminated,
}

impl CallState {
    const WORDS: [(Self, &'static str); 10] = [
        (Self::Incoming, "incoming"),
        (Self::Establishing, "establishing"),
        (Self::Ringing, "ringing"),
        (Self::Established, "established"),
        (Self::Hold, "hold"),
        (Self::Transferring, "transferring"),
        (Self::TransferAccepted, "transferAccepted"),
        (Self::Redirecting, "redirecting"),
        (Self::Terminating, "terminating"),
        (Self::Terminated, "terminated"),
    ];

    /// Graph's word.
    pub(crate) fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(state, _)| *state == self).map_or("", |(_, word)| word)
    }
}

impl fmt::Display for CallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who called whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Somebody called the bot.
    Incoming,
    /// The bot called somebody.
    Outgoing,
}

impl Direction {
    /// Graph's word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        }
    }
}

/// One who called or was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    /// `source`, `target` or `dialled`.
    pub(crate) role: &'static str,
    /// `number`, `user`, `address` or `application`.
    pub(crate) kind: &'static str,
    pub(crate) raw: String,
    pub(crate) normalised: String,
    /// For people; none is compared with it.
    pub(crate) display_name: Option<String>,
}

/// A word that is none of Graph's call states.
#[derive(Debug, thiserror::Error)]
#[error(
    "no call state of Graph's: expected one of incoming, establishing, ringing, established, \
         hold, transferring, transferAccepted, redirecting, terminating, terminated"
)]
pub(crate) struct UnknownState;

impl FromStr for CallState {
    type Err = UnknownState;

    /// Reads Graph's word without case; the 2018 beta wrote `transfer-accepted`.
    fn from_str(word: &str) -> Result<Self, UnknownState> {
        let plain = word.replace('-', "");
        Self::WORDS
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(&plain))
            .map(|(state, _)| *state)
            .ok_or(UnknownState)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read_back_from_its_word_in_any_case() {
        for (state, word) in CallState::WORDS {
            assert_eq!(word.to_uppercase().parse::<CallState>().unwrap(), state);
        }
        assert_eq!("transfer-accepted".parse::<CallState>().unwrap(), CallState::TransferAccepted);
        assert!("ended".parse::<CallState>().is_err());
    }
}
