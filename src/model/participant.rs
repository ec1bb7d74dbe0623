//! Single people in a call: whom a request names, whom it invites, and who is not ourselves.

use super::change::EndReason;
use super::number::Number;
use crate::id::TenantId;

/// Whom a request to remove one participant names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ParticipantSelector {
    /// `participantID`: Graph's id of one in this call, as it came.
    Id(String),
    /// `participant`: a number or a user id, which is looked up on the roster.
    Known(Number),
}

/// Whom a call is to be joined by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invitation {
    /// As it came.
    pub(crate) user_id: String,
    /// The user's tenant, where it is not the call's.
    pub(crate) user_tenant: Option<TenantId>,
    /// The call that the user is in and leaves for this one: as the caller named it, and Graph's id of it
    /// once the call is found.
    pub(crate) replaces: Option<String>,
    pub(crate) context: Option<ClientContext>,
}

/// A text that Graph sends back with everything about an invitation; 256 characters at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientContext(String);

/// An invitation that Graph took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invited {
    /// Graph's id of the operation.
    pub(crate) operation_id: String,
    /// The id that the invited one has in the call, where Graph said so.
    pub(crate) participant_id: Option<String>,
    /// Nobody joins by it, for this reason, as far as Graph gives one.
    pub(crate) failed: Option<EndReason>,
}

impl ParticipantSelector {
    /// One text for all that mean the same; compared and stored, never logged.
    pub(crate) fn canonical(&self) -> String {
        match self {
            Self::Id(id) => format!("participantID={}:{id};", id.len()),
            Self::Known(number) => {
                format!("participant={}:{};", number.normalised.len(), number.normalised)
            }
        }
    }
}

impl Invitation {
    /// One text for all that are the same; compared and stored, never logged.
    pub(crate) fn canonical(&self) -> String {
        let parts = [
            ("userID", Some(self.normalised())),
            ("tenantID", self.user_tenant.as_ref().map(ToString::to_string)),
            ("replacesCallID", self.replaces.clone()),
            ("clientContext", self.context.as_ref().map(|context| context.0.clone())),
        ];
        let part = |(name, value): (&str, Option<String>)| {
            value.map(|value| format!("{name}={}:{value};", value.len()))
        };
        parts.into_iter().filter_map(part).collect()
    }

    /// Whom it is about, as the invitations into one call are compared by: the user of another tenant is
    /// another one, and one who leaves another call for it is asked for something else.
    pub(crate) fn target(&self) -> String {
        let parts = [
            ("tenantID", self.user_tenant.as_ref().map(ToString::to_string)),
            ("replacesCallID", self.replaces.clone()),
        ];
        let part = |(name, value): (&str, Option<String>)| {
            value.map(|value| format!("{name}={}:{value};", value.len()))
        };
        parts.into_iter().filter_map(part).collect::<String>() + &self.normalised()
    }

    /// The user's id as it is compared: like those of a roster.
    pub(crate) fn normalised(&self) -> String {
        Number::parse(&self.user_id)
            .map_or_else(|_error| self.user_id.to_lowercase(), |number| number.normalised)
    }
}

impl ClientContext {
    /// In characters (Graph's reference of `participant: invite`).
    pub(crate) const LONGEST: usize = 256;

    /// None when the text is longer than Graph takes.
    pub(crate) fn new(text: &str) -> Option<Self> {
        (text.chars().count() <= Self::LONGEST).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
