//! What an API key may do.

use std::fmt;
use std::mem;
use std::str::FromStr;

/// One right of a key: an action by its name, or a permission within actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Right {
    /// `DeleteCall`
    DeleteCall,
    /// `RejectCall`
    RejectCall,
    /// `DeleteParticipant`
    DeleteParticipant,
    /// `InviteParticipant`
    InviteParticipant,
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
    /// `next`: `status=next` arms a deletion for a call that has not begun.
    Next,
    /// `scope-all` or `scope-all:N`: a `DeleteCall` may end everybody's leg.
    ScopeAll(MostOthers),
}

/// How many others `scope=all` may remove from a call, from 1 to 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MostOthers(u16);

impl Right {
    const NAMES: [(Self, &'static str); 13] = [
        (Self::DeleteCall, "DeleteCall"),
        (Self::RejectCall, "RejectCall"),
        (Self::DeleteParticipant, "DeleteParticipant"),
        (Self::InviteParticipant, "InviteParticipant"),
        (Self::GetCallId, "GetCallID"),
        (Self::GetCallInformation, "GetCallInformation"),
        (Self::GetDeletion, "GetDeletion"),
        (Self::RequestToken, "RequestToken"),
        (Self::ReleaseToken, "ReleaseToken"),
        (Self::Notify, "Notify"),
        (Self::SeeCandidates, "see-candidates"),
        (Self::SeeHolds, "see-holds"),
        (Self::Next, "next"),
    ];

    /// What a key gets when nothing is said.
    pub(crate) const DEFAULT: [Self; 4] =
        [Self::DeleteCall, Self::GetCallId, Self::GetCallInformation, Self::GetDeletion];

    /// What a key gets besides when it needs a token.
    pub(crate) const LOGIN: [Self; 2] = [Self::RequestToken, Self::ReleaseToken];

    /// It gives what `other` gives, whatever number comes with either.
    pub(crate) fn is_kind_of(self, other: Self) -> bool {
        mem::discriminant(&self) == mem::discriminant(&other)
    }
}

/// Its name on the command line and in the database.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::ScopeAll(MostOthers(most)) = self {
            // Whoever reads the list sees how far the right goes.
            return write!(f, "{SCOPE_ALL}:{most}");
        }
        let name = Self::NAMES.iter().find(|(right, _)| right == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

impl MostOthers {
    const MOST: u16 = 500;

    /// What `scope-all` without a number means.
    pub(crate) const USUAL: Self = Self(50);

    /// The number.
    pub(crate) fn get(self) -> u32 {
        self.0.into()
    }

    fn parse(digits: &str) -> Option<Self> {
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        let number = digits.parse().ok().filter(|number| (1..=Self::MOST).contains(number));
        number.filter(|_| is_plain).map(Self)
    }
}

/// A name that is no right, or none yet.
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown right: expected one of DeleteCall, RejectCall, DeleteParticipant, InviteParticipant, \
         GetCallID, GetCallInformation, GetDeletion, RequestToken, ReleaseToken, Notify, \
         see-candidates, see-holds, next, scope-all, scope-all:N with N from 1 to 500"
)]
pub(crate) struct UnknownRight;

impl FromStr for Right {
    type Err = UnknownRight;

    fn from_str(name: &str) -> Result<Self, UnknownRight> {
        let known = Self::NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
        known.map(|(right, _)| *right).or_else(|| scope_all(name)).ok_or(UnknownRight)
    }
}

const SCOPE_ALL: &str = "scope-all";

fn scope_all(name: &str) -> Option<Right> {
    let (word, digits) = name.split_once(':').map_or((name, None), |(word, n)| (word, Some(n)));
    let most = digits.map_or(Some(MostOthers::USUAL), MostOthers::parse)?;
    word.eq_ignore_ascii_case(SCOPE_ALL).then_some(Right::ScopeAll(most))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_right_is_read_back_from_its_name_and_named_in_the_error() {
        for (right, name) in Right::NAMES {
            assert_eq!(name.to_lowercase().parse::<Right>().unwrap(), right);
            assert!(UnknownRight.to_string().contains(name), "{name}");
        }
    }

    #[test]
    fn a_new_key_may_delete_calls_and_look_and_nothing_else() {
        use Right::{DeleteCall, GetCallId, GetCallInformation, GetDeletion};
        assert_eq!(Right::DEFAULT, [DeleteCall, GetCallId, GetCallInformation, GetDeletion]);
    }

    #[test]
    fn everybody_may_be_removed_up_to_a_number() {
        let most = |text: &str| match text.parse() {
            Ok(Right::ScopeAll(most)) => Some(most.get()),
            _ => None,
        };
        for (text, number) in
            [("scope-all", 50), ("SCOPE-ALL:50", 50), ("scope-all:1", 1), ("scope-all:500", 500)]
        {
            assert_eq!(most(text), Some(number), "{text}");
        }
        for wrong in [
            "scope-all:",
            "scope-all:0",
            "scope-all:501",
            "scope-all:05",
            "scope-all:+5",
            "scope-all:5:5",
            "scope-all 5",
            "scope-all:65537",
            "scopeall",
        ] {
            assert!(wrong.parse::<Right>().is_err(), "{wrong}");
        }
        assert_eq!(Right::ScopeAll(MostOthers::USUAL).to_string(), "scope-all:50");
    }

    proptest! {
        #[test]
        fn what_is_a_right_is_written_so_that_it_is_read_back(
            text in "(scope-all|DeleteCall|\\PC){0,2}:?[0-9]{0,4}",
        ) {
            if let Ok(right) = text.parse::<Right>() {
                prop_assert_eq!(right.to_string().parse::<Right>().unwrap(), right);
            }
        }
    }
}
