//! Who is or was in a call, and whom we asked into it, as `calls show` shows them.

use serde::Serialize;

use crate::cli::output::Table;
use crate::model::deletion::DeletionState;
use crate::model::end_reason::in_words;
use crate::model::reconcile::is_same_app;
use crate::store::records::{CallDetails, InvitationDetails, ParticipantDetails};

/// One who is or was in the call.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ParticipantEntry<'a> {
    #[serde(rename = "participantID")]
    id: &'a str,
    /// `joined` or `left`.
    state: &'static str,
    /// It is our own leg, as far as is known.
    is_us: bool,
    /// The number or address as it came.
    number: Option<&'a str>,
    #[serde(rename = "userID")]
    user_id: Option<&'a str>,
    #[serde(rename = "appID")]
    app_id: Option<&'a str>,
    display_name: Option<&'a str>,
    joined_at: Option<String>,
    left_at: Option<String>,
    sequence: Option<i64>,
}

/// One whom we asked into the call.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InvitationEntry<'a> {
    #[serde(rename = "deletionID")]
    deletion_id: &'a str,
    state: &'static str,
    #[serde(rename = "userID")]
    user_id: &'a str,
    #[serde(rename = "operationID")]
    operation_id: Option<&'a str>,
    #[serde(rename = "participantID")]
    participant_id: Option<&'a str>,
    invited_at: String,
    /// May still join.
    is_pending: bool,
    /// Why nobody joins by it, once Graph has said so.
    not_reached: Option<String>,
}

/// Everybody who is or was in the call, and which of them is us: by the id that Graph told, or as the
/// app that the call belongs to.
pub(super) fn roster(call: &CallDetails) -> Vec<ParticipantEntry<'_>> {
    let app = call.app_id.as_deref();
    let is_us = |one: &ParticipantDetails| {
        let is_our_app = |theirs: &str| app.is_some_and(|ours| is_same_app(theirs, ours));
        call.my_participant_id.as_ref() == Some(&one.participant_id)
            || one.app_id.as_deref().is_some_and(is_our_app)
    };
    call.roster.iter().map(|one| ParticipantEntry::new(one, is_us(one))).collect()
}

/// Those who are or were in the call, and then those who are invited and may still join, or of whom
/// Graph said that they cannot; none when that is nobody.
pub(super) fn table(
    roster: &[ParticipantEntry<'_>],
    invitations: &[InvitationEntry<'_>],
) -> Option<Table> {
    let mut table =
        Table::new(&["PARTICIPANT ID", "STATE", "NUMBER", "USER ID", "NAME", "JOINED", "LEFT"]);
    for one in roster {
        table.add(one.cells());
    }
    let told = || invitations.iter().filter(|one| one.is_pending || one.not_reached.is_some());
    for one in told() {
        table.add(one.cells());
    }
    (!roster.is_empty() || told().next().is_some()).then_some(table)
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or_default().to_owned()
}

impl<'a> ParticipantEntry<'a> {
    fn new(details: &'a ParticipantDetails, is_us: bool) -> Self {
        let user_id = details.user_id.as_deref();
        let is_user = |raw: &str| user_id.is_some_and(|user| user.eq_ignore_ascii_case(raw));
        Self {
            id: &details.participant_id,
            state: if details.left_at.is_none() { "joined" } else { "left" },
            is_us,
            number: details.raw.as_deref().filter(|raw| !is_user(raw)),
            user_id,
            app_id: details.app_id.as_deref(),
            display_name: details.display_name.as_deref(),
            joined_at: details.joined_at.map(|at| at.to_string()),
            left_at: details.left_at.map(|at| at.to_string()),
            sequence: details.sequence,
        }
    }

    fn cells(&self) -> [String; 7] {
        let us = if self.is_us { " (us)" } else { "" };
        [
            self.id.to_owned(),
            format!("{}{us}", self.state),
            text(self.number),
            text(self.user_id),
            text(self.display_name),
            text(self.joined_at.as_deref()),
            text(self.left_at.as_deref()),
        ]
    }
}

impl<'a> InvitationEntry<'a> {
    pub(super) fn new(details: &'a InvitationDetails) -> Self {
        Self {
            deletion_id: &details.deletion_id,
            state: details.state.as_str(),
            user_id: &details.user_id,
            operation_id: details.operation_id.as_deref(),
            participant_id: details.participant_id.as_deref(),
            invited_at: details.invited_at.to_string(),
            is_pending: details.is_pending,
            not_reached: details.failed.as_ref().map(in_words),
        }
    }

    /// Who was asked for and may not have been invited is told from who was.
    fn cells(&self) -> [String; 7] {
        let state = if let Some(why) = &self.not_reached {
            format!("not reached {why}").trim_end().to_owned()
        } else if self.state == DeletionState::Open.as_str() {
            "to be invited".to_owned()
        } else if self.state == DeletionState::Unknown.as_str() {
            "perhaps invited".to_owned()
        } else {
            "invited".to_owned()
        };
        let nothing = String::new;
        [
            text(self.participant_id),
            state,
            nothing(),
            self.user_id.to_owned(),
            nothing(),
            nothing(),
            nothing(),
        ]
    }
}
