//! From parameters to what is asked: format, action, credentials, and the action's own fields.
//!
//! Each step is one method, called in the order of docs/PROTOCOL.md; an error of an earlier step
//! hides those of later ones. Nothing here looks at a key, a right or a call.

use std::fmt;

use super::LegacyRequest;
use super::error::{GatewayError, ParamError};
use super::params::{Name, Params};
use super::render::{Format, Style, legal};
use crate::id::{DeletionId, canonical_guid};
use crate::model::rights::Right;
use crate::model::selector::Selector;
use crate::secret::Secret;

mod deletion;
mod login;
mod selector;
#[cfg(test)]
mod tests;

pub(crate) use deletion::Deletion;
pub(crate) use login::{SentLogin, TokenRequest, token_request};
use selector::selector;

/// What somebody who acts asks for, with everything that it needs. To log in is asked by
/// [`TokenRequest`], because nobody acts yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Delete(Deletion),
    GetCallId(CallLookup),
    GetCallInformation(CallLookup),
    GetDeletion(DeletionLookup),
    ReleaseToken,
}

/// The fields of `GetCallID` and of `GetCallInformation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallLookup {
    pub(crate) selector: Selector,
}

/// The fields of `GetDeletion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeletionLookup {
    pub(crate) deletion_id: DeletionId,
}

/// The actions by name. A new one is a variant here, its row in [`ActionName::ALL`], its right,
/// its variant of [`Action`] and its reader in [`ActionName::steps`]; the compiler asks for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActionName {
    DeleteCall,
    RejectCall,
    DeleteParticipant,
    InviteParticipant,
    GetCallId,
    GetCallInformation,
    GetDeletion,
    RequestToken,
    ReleaseToken,
}

impl ActionName {
    const ALL: [Self; 9] = [
        Self::DeleteCall,
        Self::RejectCall,
        Self::DeleteParticipant,
        Self::InviteParticipant,
        Self::GetCallId,
        Self::GetCallInformation,
        Self::GetDeletion,
        Self::RequestToken,
        Self::ReleaseToken,
    ];

    /// Its documented spelling.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::DeleteCall => "DeleteCall",
            Self::RejectCall => "RejectCall",
            Self::DeleteParticipant => "DeleteParticipant",
            Self::InviteParticipant => "InviteParticipant",
            Self::GetCallId => "GetCallID",
            Self::GetCallInformation => "GetCallInformation",
            Self::GetDeletion => "GetDeletion",
            Self::RequestToken => "RequestToken",
            Self::ReleaseToken => "ReleaseToken",
        }
    }

    /// The right that a key needs for it.
    pub(crate) const fn right(self) -> Right {
        match self {
            Self::DeleteCall => Right::DeleteCall,
            Self::RejectCall => Right::RejectCall,
            Self::DeleteParticipant => Right::DeleteParticipant,
            Self::InviteParticipant => Right::InviteParticipant,
            Self::GetCallId => Right::GetCallId,
            Self::GetCallInformation => Right::GetCallInformation,
            Self::GetDeletion => Right::GetDeletion,
            Self::RequestToken => Right::RequestToken,
            Self::ReleaseToken => Right::ReleaseToken,
        }
    }

    /// What is done after the key was accepted.
    pub(crate) const fn steps(self) -> Steps {
        match self {
            Self::DeleteCall => {
                Steps::act(|params| deletion::delete_call(params).map(Action::Delete))
            }
            Self::RejectCall => {
                Steps::act(|params| deletion::reject_call(params).map(Action::Delete))
            }
            Self::DeleteParticipant => {
                Steps::act(|params| deletion::delete_participant(params).map(Action::Delete))
            }
            Self::InviteParticipant => {
                Steps::act(|params| deletion::invite_participant(params).map(Action::Delete))
            }
            Self::GetCallId => Steps::act(|params| call_query(params).map(Action::GetCallId)),
            Self::GetCallInformation => {
                Steps::act(|params| call_query(params).map(Action::GetCallInformation))
            }
            Self::GetDeletion => {
                Steps::act(|params| deletion_query(params).map(Action::GetDeletion))
            }
            Self::RequestToken => Steps::LogIn,
            Self::ReleaseToken => Steps::Act {
                always_with_token: true,
                read: |params| params.switch(Name::Detail).map(|_| Action::ReleaseToken),
            },
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an action does with a key that was accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Steps {
    /// Logs somebody in. A token that is sent is not looked at.
    LogIn,
    /// Acts for whoever the key is, or whose token comes with it.
    Act {
        /// Whatever the key needs; else whoever uses a key that needs a token has to send one.
        always_with_token: bool,
        /// Step 6: the action's own parameters, after the caller was found to have the right to it.
        /// It is an error when one that the action reads is missing, malformed or contradictory;
        /// those that it does not read are not looked at.
        read: Reader,
    },
}

/// Reads the parameters of an action.
pub(crate) type Reader = fn(&Params) -> Result<Action, ParamError>;

impl Steps {
    const fn act(read: Reader) -> Self {
        Self::Act { always_with_token: false, read }
    }
}

/// What the caller proves itself with, in canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// None also when it was malformed: there is one answer for every key that is not accepted.
    pub(crate) api_key: Option<Secret<String>>,
    pub(crate) token: Token,
    /// The passwords, and `Authorization: Basic`, which holds one.
    others: Vec<Secret<String>>,
}

impl Credentials {
    /// All that was sent, for those who must not write it down.
    pub(crate) fn sent(&self) -> Vec<Secret<String>> {
        let token = match &self.token {
            Token::Sent(token) => Some(token.clone()),
            Token::Absent | Token::Malformed => None,
        };
        self.api_key.iter().cloned().chain(token).chain(self.others.iter().cloned()).collect()
    }
}

/// The token that came with a request. One that the key does not need is ignored, whatever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// None was sent: a key that needs one is answered so.
    Absent,
    /// One was sent that cannot be one, or two different ones: answered like one that is unknown.
    Malformed,
    /// To be looked up.
    Sent(Secret<String>),
}

impl Params {
    /// How to answer, as far as it can be understood; whatever is wrong with it is an error of a
    /// later step, which is itself answered in this style.
    pub(crate) fn style(&self) -> Style {
        let echo = match self.word(Name::Action) {
            Ok(Some(sent)) => ActionName::parse(sent)
                .map_or_else(|| beginning_of(sent), |name| name.as_str().to_owned()),
            Ok(None) | Err(_) => String::new(),
        };
        let on = |name| matches!(self.switch(name), Ok(true));
        Style {
            format: self.format().unwrap_or_default(),
            echo,
            // Without detail a dry run would say nothing.
            detail: on(Name::Detail) || on(Name::DryRun),
        }
    }

    /// Step 1: `responseType`.
    ///
    /// # Errors
    ///
    /// When it is malformed or none of ours; the answer is XML then.
    pub(crate) fn format(&self) -> Result<Format, ParamError> {
        match self.word(Name::ResponseType)? {
            Some(word) => Format::parse(word)
                .ok_or_else(|| takes(Name::ResponseType, "XML, JSON, HTML or TEXT")),
            None => Ok(Format::default()),
        }
    }

    /// Step 2: `action`.
    ///
    /// # Errors
    ///
    /// [`GatewayError::UnknownAction`] when it is missing or none of ours, a parameter error when
    /// it is malformed or contradictory.
    pub(crate) fn action_name(&self) -> Result<ActionName, GatewayError> {
        let word = self.word(Name::Action)?.ok_or(GatewayError::UnknownAction)?;
        ActionName::parse(word).ok_or(GatewayError::UnknownAction)
    }

    /// Steps 3 and 4: what proves the caller. A header is read only when its parameter was not
    /// sent at all.
    pub(crate) fn credentials(&self, request: &LegacyRequest) -> Credentials {
        let api_key = if self.has(Name::ApiKey) {
            self.secret(Name::ApiKey)
        } else {
            from_header(request.api_key_header.as_ref())
        };
        let token = if self.has(Name::Token) {
            self.secret(Name::Token).map_or(Token::Malformed, Token::Sent)
        } else {
            from_header(request.bearer.as_ref()).map_or(Token::Absent, Token::Sent)
        };
        let passwords = self.all(Name::Password).map(str::to_owned);
        let others = passwords.chain(login::of_header(request)).map(Secret::new).collect();
        Credentials { api_key, token, others }
    }

    fn secret(&self, name: Name) -> Option<Secret<String>> {
        let (_, canonical) = self.get_canonical(name, guid).ok()??;
        Some(Secret::new(canonical))
    }

    /// A value that is one of ours whatever its case, so that repeats may differ in it.
    fn word(&self, name: Name) -> Result<Option<&str>, ParamError> {
        let found = self.get_canonical(name, str::to_ascii_lowercase)?;
        Ok(found.map(|(raw, _)| raw))
    }

    fn switch(&self, name: Name) -> Result<bool, ParamError> {
        let Some(word) = self.word(name)? else { return Ok(false) };
        match word.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" => Ok(true),
            "0" | "false" | "no" => Ok(false),
            _ => Err(takes(name, "1, true or yes, and 0, false or no")),
        }
    }
}

fn call_query(params: &Params) -> Result<CallLookup, ParamError> {
    let selector = selector(params)?;
    params.switch(Name::Detail)?;
    Ok(CallLookup { selector })
}

fn deletion_query(params: &Params) -> Result<DeletionLookup, ParamError> {
    let (_, sent) = params
        .get_canonical(Name::DeletionId, guid)?
        .ok_or_else(|| ParamError(format!("Parameter {} is needed.", Name::DeletionId)))?;
    // What is no GUID in one of its usual spellings stayed as it was sent.
    let deletion_id = canonical_guid(&sent).and_then(|canonical| canonical.parse().ok());
    let deletion_id = deletion_id.ok_or_else(|| takes(Name::DeletionId, "the id of a deletion"))?;
    params.switch(Name::Detail)?;
    Ok(DeletionLookup { deletion_id })
}

fn takes(name: Name, words: &str) -> ParamError {
    ParamError(format!("Parameter {name} takes {words}."))
}

/// One value for every spelling of a GUID; anything else is looked up as it is.
fn guid(text: &str) -> String {
    canonical_guid(text).unwrap_or_else(|| text.to_owned())
}

fn from_header(header: Option<&Secret<String>>) -> Option<Secret<String>> {
    let text = header?.expose();
    (!text.is_empty()).then(|| Secret::new(guid(text)))
}

/// What an unknown action is echoed as.
fn beginning_of(text: &str) -> String {
    let beginning: String = text.chars().take(64).collect();
    legal(&beginning).into_owned()
}
