//! What goes into the store and comes out of it besides the journal's own business.

use crate::clock::{Moment, Timestamp};
use crate::id::{CallId, DeletionId, GraphCallId, TenantId};
use crate::model::call::{CallState, Direction, Party};
use crate::model::change::{CallChange, EndReason};
use crate::model::deletion::DeletionState;
use crate::model::end_reason::{CallEnd, OurPart};
use crate::model::participant::Invited;
use crate::model::plan::Progress;

/// A call as an import describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportedCall {
    /// The store's number of its tenant.
    pub(crate) tenant_row: i64,
    pub(crate) call_id: Option<CallId>,
    pub(crate) graph_id: GraphCallId,
    pub(crate) platform_call_id: Option<String>,
    pub(crate) native_id: Option<String>,
    pub(crate) meeting_id: Option<String>,
    pub(crate) direction: Option<Direction>,
    pub(crate) state: CallState,
    pub(crate) parties: Vec<Party>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) subject: Option<String>,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImportReport {
    pub(crate) added: usize,
    pub(crate) merged: usize,
}

/// What became known of calls of one tenant at once, such as by one notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallNews {
    pub(crate) tenant: TenantId,
    /// The app that owns the calls.
    pub(crate) app_id: Option<String>,
    pub(crate) changes: Vec<CallChange>,
    /// When it came.
    pub(crate) now: Moment,
}

/// What came of [`CallNews`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// All of it is on disk; so many of the changes said something that was not known.
    Merged { changed: usize },
    /// One of the calls is known as another tenant's: nothing was changed.
    OtherTenant,
}

/// A call in a list.
#[derive(Clone, Debug)]
pub(crate) struct CallRow {
    pub(crate) call_id: String,
    pub(crate) graph_id: String,
    pub(crate) tenant: String,
    pub(crate) state: String,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) source: Option<String>,
    pub(crate) targets: Vec<String>,
    /// The deletion that Graph has taken.
    pub(crate) deletion_id: Option<String>,
}

/// A call with all that is known of it.
#[derive(Clone, Debug)]
pub(crate) struct CallDetails {
    pub(crate) row: CallRow,
    pub(crate) direction: Option<String>,
    pub(crate) chain_id: Option<String>,
    pub(crate) thread_id: Option<String>,
    pub(crate) join_meeting_id: Option<String>,
    pub(crate) platform_call_id: Option<String>,
    pub(crate) native_id: Option<String>,
    pub(crate) meeting_id: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) app_id: Option<String>,
    /// Our own place in the roster, where Graph has told it.
    pub(crate) my_participant_id: Option<String>,
    pub(crate) first_seen_at: Timestamp,
    pub(crate) last_seen_at: Timestamp,
    pub(crate) answered_at: Option<Timestamp>,
    /// Why it ended, in Graph's words, as far as was told.
    pub(crate) end: EndReason,
    /// What our deletions have to do with its end.
    pub(crate) ours: OurPart,
    /// When Graph is asked whether it still has the call; none once it has ended.
    pub(crate) look_at: Option<Timestamp>,
    /// When Graph last said whether it has the call.
    pub(crate) looked_at: Option<Timestamp>,
    /// Who is or was in it, in the order they joined.
    pub(crate) roster: Vec<ParticipantDetails>,
    /// Whom we asked into it, in that order.
    pub(crate) invitations: Vec<InvitationDetails>,
}

/// One who is or was in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParticipantDetails {
    pub(crate) participant_id: String,
    /// The number or address as it came.
    pub(crate) raw: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) display_name: Option<String>,
    /// That of an application.
    pub(crate) app_id: Option<String>,
    /// When this one was told of as being in it; none when only the leaving was told.
    pub(crate) joined_at: Option<Timestamp>,
    pub(crate) left_at: Option<Timestamp>,
    pub(crate) sequence: Option<i64>,
}

/// One whom we asked into a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvitationDetails {
    pub(crate) deletion_id: String,
    /// Whether Graph has taken it.
    pub(crate) state: DeletionState,
    pub(crate) user_id: String,
    pub(crate) operation_id: Option<String>,
    pub(crate) participant_id: Option<String>,
    pub(crate) invited_at: Timestamp,
    /// The user may still join: the call goes on, and he is neither known on its roster nor was taken
    /// back.
    pub(crate) is_pending: bool,
    /// Graph took it, and nobody joins by it, for this reason, as far as Graph gives one.
    pub(crate) failed: Option<EndReason>,
}

/// A deletion in a list.
#[derive(Clone, Debug)]
pub(crate) struct DeletionRow {
    /// The store's own number of it.
    pub(crate) row: i64,
    pub(crate) deletion_id: DeletionId,
    pub(crate) state: DeletionState,
    pub(crate) call_id: Option<String>,
    pub(crate) graph_call_id: Option<String>,
    pub(crate) tenant: String,
    pub(crate) key_id: Option<String>,
    pub(crate) kind: String,
    pub(crate) scope: String,
    /// The participant who is removed, or the user who is invited.
    pub(crate) target: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) settled_at: Option<Timestamp>,
    /// When the end of its call became known after Graph had taken it.
    pub(crate) confirmed_at: Option<Timestamp>,
    pub(crate) deadline_at: Timestamp,
    /// Why it ended without success; of one that is open, why it is tried again.
    pub(crate) failure: Option<String>,
    /// While it is open or armed.
    pub(crate) waiting: Option<Waiting>,
}

/// Of a deletion that is open or armed, what it waits for.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    /// A request of it is under way.
    pub(crate) is_being_sent: bool,
    /// When it is tried next, whatever else keeps it back.
    pub(crate) next_attempt_at: Option<Timestamp>,
    /// What an operator can do about the failure.
    pub(crate) hint: Option<String>,
    /// The number whose next call it is armed for.
    pub(crate) armed_for: Option<String>,
}

/// A deletion with its steps.
#[derive(Clone, Debug)]
pub(crate) struct DeletionDetails {
    pub(crate) row: DeletionRow,
    pub(crate) peer: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) abandoned_at: Option<Timestamp>,
    /// The end of its call, when that is known.
    pub(crate) end: Option<CallEnd>,
    /// Of `scope=all`, once Graph has said who is in the call: how far it got.
    pub(crate) progress: Option<Progress>,
    /// Of an invitation that Graph took.
    pub(crate) invited: Option<Invited>,
    pub(crate) parameters: OrderParameters,
    pub(crate) steps: Vec<StepDetails>,
}

/// What is sent beside the ids of call and target.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrderParameters {
    /// Of a rejection.
    pub(crate) reject_reason: Option<String>,
    /// Of an invitation: the user's tenant, Graph's id of the call that the user leaves, and what
    /// Graph sends back.
    pub(crate) user_tenant: Option<String>,
    pub(crate) replaces: Option<String>,
    pub(crate) client_context: Option<String>,
}

/// One Graph operation of a deletion.
#[derive(Clone, Debug)]
pub(crate) struct StepDetails {
    pub(crate) position: i64,
    pub(crate) operation: String,
    pub(crate) target: Option<String>,
    pub(crate) state: String,
    /// Why it ended without success; of one that is open, why it is tried again.
    pub(crate) failure: Option<String>,
    pub(crate) next_attempt_at: Option<Timestamp>,
    pub(crate) attempts: Vec<AttemptDetails>,
}

/// One request to Graph.
#[derive(Clone, Debug)]
pub(crate) struct AttemptDetails {
    pub(crate) number: i64,
    pub(crate) started_at: Timestamp,
    pub(crate) answered_at: Option<Timestamp>,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) client_request_id: Option<String>,
    pub(crate) effect_possible: bool,
}
