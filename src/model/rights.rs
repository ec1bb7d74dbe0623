//! What an API key may do.

use std::fmt;
use std::str::FromStr;

/// One right of a key: an action by its name, or a permission within actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Right {
    /// `DeleteCall`
    DeleteCall,
    /// `RejectCall`
    RejectCall,
    /// `GetCallID`
    GetCallId,
    /// `GetCallInformation`
    GetCallInformation,
    /// `GetDeletion`
    GetDeletion,
    /// `RequestToken`
    RequestToken,
    /// `ReleaseToken`
    ReleaseToken,
    /// `Notify`: to post copies of Graph's call notifications.
    Notify,
    /// Candidates are listed when an identifier is ambiguous.
    SeeCandidates,
    /// Refusals by a legal hold name the hold.
    SeeHolds,
}

impl Right {
    const NAMES: [(Self, &'static str); 10] = [
        (Self::DeleteCall, "DeleteCall"),
        (Self::RejectCall, "RejectCall"),
        (Self::GetCallId, "GetCallID"),
        (Self::GetCallInformation, "GetCallInformation"),
        (Self::GetDeletion, "GetDeletion"),
        (Self::RequestToken, "RequestToken"),
        (Self::ReleaseToken, "ReleaseToken"),
        (Self::Notify, "Notify"),
        (Self::SeeCandidates, "see-candidates"),
        (Self::SeeHolds, "see-holds"),
    ];

    /// What a key gets when nothing is said.
    pub(crate) const DEFAULT: [Self; 4] =
        [Self::DeleteCall, Self::GetCallId, Self::GetCallInformation, Self::GetDeletion];

    /// What a key gets besides when it needs a token.
    pub(crate) const LOGIN: [Self; 2] = [Self::RequestToken, Self::ReleaseToken];

    /// Its name on the command line and in the database.
    pub(crate) fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(right, _)| *right == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no right, or none yet.
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown right: expected one of DeleteCall, RejectCall, GetCallID, GetCallInformation, \
         GetDeletion, RequestToken, ReleaseToken, Notify, see-candidates, see-holds"
)]
pub(crate) struct UnknownRight;

impl FromStr for Right {
    type Err = UnknownRight;

    fn from_str(name: &str) -> Result<Self, UnknownRight> {
        Self::NAMES
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(right, _)| *right)
            .ok_or(UnknownRight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_right_is_read_back_from_its_name_and_named_in_the_error() {
        for (right, name) in Right::NAMES {
            assert_eq!(name.to_lowercase().parse::<Right>().unwrap(), right);
            assert!(UnknownRight.to_string().contains(name), "{name}");
        }
    }

    #[test]
    fn a_new_key_may_neither_notify_nor_reject() {
        assert!(!Right::DEFAULT.contains(&Right::Notify));
        assert!(!Right::DEFAULT.contains(&Right::RejectCall));
    }
}
