//! What is asked of the store when a deletion is requested, and what comes of it.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::access::Checked;
use crate::clock::{Moment, Timestamp};
use crate::config::legacy::{CallField, Mapping};
use crate::id::{CallId, DeletionId, GraphCallId, ProcessId, TenantId};
use crate::model::chain::{AuditEvent, Personal};
use crate::model::deletion::{DeletionKind, DeletionState};
use crate::model::everybody::InTheCall;
use crate::model::key::ApiKey;
use crate::model::number::NumberingPlan;
use crate::model::number::pattern::NumberPattern;
use crate::model::participant::Invited;
use crate::model::plan::{Decision, Operation, Order, Progress, Question};
use crate::model::selector::Selector;

/// A request for a deletion, ready to be decided and recorded.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Who asks. The key's tenant is the call's as well.
    pub(crate) checked: Checked,
    pub(crate) selection: Selection,
    pub(crate) question: Question,
    pub(crate) peer: String,
    pub(crate) reason: Option<String>,
    pub(crate) now: Timestamp,
    /// The same by the steady clock.
    pub(crate) steady: Timestamp,
    pub(crate) deadline: Timestamp,
    /// The first attempt begins with the record when there is room to send it at once.
    pub(crate) lease: Option<Lease>,
    pub(crate) audit: AuditEvent,
    pub(crate) personal: Personal,
}

impl Ask {
    /// When it is asked.
    pub(crate) const fn moment(&self) -> Moment {
        Moment { wall: self.now, steady: self.steady }
    }
}

/// How identifiers are compared: the same for a deletion and for a look-up, so that one finds what
/// the other would end.
#[derive(Clone, Debug)]
pub(crate) struct SelectionRules {
    pub(crate) numbering: NumberingPlan,
    pub(crate) mapping: Mapping,
    pub(crate) match_roster: bool,
}

impl SelectionRules {
    /// Prepares `selector` for the calls that exist for `key`.
    pub(crate) fn select(&self, key: &ApiKey, selector: Selector) -> Selection {
        Selection::new(key.tenant_row, &key.numbers, selector, self)
    }

    /// The same for what a deletion of this kind is to be repeated by.
    pub(crate) fn select_for(
        &self,
        key: &ApiKey,
        selector: Selector,
        kind: &DeletionKind,
    ) -> Selection {
        self.select(key, selector).with(&kind.canonical())
    }
}

/// A selector in the form the store compares, and the calls that it may mean.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) tenant_row: i64,
    /// A call without a number or address that one of these fits does not exist; every call of the
    /// tenant exists when empty.
    pub(crate) patterns: Vec<NumberPattern>,
    /// By which a number in a call is another one for the patterns as well.
    pub(crate) numbering: NumberingPlan,
    pub(crate) selector: Selector,
    /// Every spelling of the number that counts as equal.
    pub(crate) numbers: Vec<String>,
    pub(crate) mapping: Mapping,
    pub(crate) match_roster: bool,
    /// One text for equal selectors.
    pub(crate) canonical: String,
    /// The first half of its SHA-256.
    pub(crate) hash: [u8; 16],
}

impl Selection {
    /// Prepares `selector` for those calls of one tenant that `patterns` leave.
    pub(crate) fn new(
        tenant_row: i64,
        patterns: &[NumberPattern],
        selector: Selector,
        rules: &SelectionRules,
    ) -> Self {
        let SelectionRules { numbering, mapping, match_roster } = rules;
        let numbers = selector
            .extension
            .as_ref()
            .map(|number| numbering.alternatives(number))
            .unwrap_or_default();
        let canonical = selector.canonical();
        Self {
            hash: hash_of(&canonical),
            tenant_row,
            patterns: patterns.to_vec(),
            numbering: numbering.clone(),
            selector,
            numbers,
            mapping: mapping.clone(),
            match_roster: *match_roster,
            canonical,
        }
    }

    /// The same with what else belongs to the selector.
    fn with(mut self, more: &str) -> Self {
        self.canonical.push_str(more);
        self.hash = hash_of(&self.canonical);
        self
    }
}

fn hash_of(canonical: &str) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest(&SHA256, canonical.as_bytes()).as_ref()[..16]);
    hash
}

impl CallField {
    /// The column of `calls` that holds it.
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::GraphCallId => "graph_id",
            Self::CallChainId => "chain_id",
            Self::ThreadId => "thread_id",
            Self::JoinMeetingId => "join_meeting_id",
        }
    }
}

/// A caller's place at a deletion that was asked for by its own key and selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) deletion: DeletionId,
    /// The first caller's is 1, that of one who repeats the request one more.
    pub(crate) number: i64,
}

/// The right to send, until a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) owner: ProcessId,
    pub(crate) until: Timestamp,
}

impl Lease {
    /// One that lasts `length` from `now`.
    pub(crate) fn starting(owner: ProcessId, now: Timestamp, length: Duration) -> Self {
        Self { owner, until: now + length }
    }

    /// The same by a clock that is ahead by so many milliseconds.
    pub(crate) fn moved(self, by: i64) -> Self {
        Self { until: self.until.moved(by), ..self }
    }
}

/// How many steps may be leased: in all, and of single tenants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    pub(crate) all: usize,
    /// Of the tenants that are not named there is room for all.
    pub(crate) tenants: HashMap<TenantId, Share>,
}

/// A tenant's part of the room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// How many of its steps may be leased.
    pub(crate) room: usize,
    /// How many are under way: who has the fewest comes first.
    pub(crate) busy: usize,
    /// What is leased shows whether anything can be sent, and this goes first.
    pub(crate) probe: Option<First>,
}

/// What goes first in a probe. They take turns, so that neither keeps the other back for as long as more
/// of it comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// What may not wait.
    EndsSoon,
    /// What has time, and of that what was tried least.
    HasTime,
}

impl First {
    /// Whose turn is next.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::EndsSoon => Self::HasTime,
            Self::HasTime => Self::EndsSoon,
        }
    }
}

impl From<usize> for Room {
    /// Room for so many, of whatever tenants.
    fn from(all: usize) -> Self {
        Self { all, tenants: HashMap::new() }
    }
}

/// What came of an [`Ask`].
#[derive(Clone, Debug)]
pub(crate) enum Admission {
    /// Key, session or user changed since the caller was checked: check again and ask again.
    AccessChanged,
    /// It was decided, and recorded when the decision is to admit.
    Decided(Box<Decided>),
}

/// A decision, and what was written with it.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    /// The deletion that was recorded now.
    pub(crate) recorded: Option<DeletionId>,
    /// The asker's place among the callers of the deletion, when it was asked for by the same key
    /// and selector: only its last caller's going away means that a repeat joins it.
    pub(crate) claim: Option<i64>,
    /// Its first attempt, when it was leased with the record.
    pub(crate) leased: Option<Leased>,
    /// The deletion of everybody's leg that gave way to it.
    pub(crate) superseded: Option<Settled>,
    /// Nothing of the deletion that was recorded or joined is under way, and its tenant is paused, or Graph asked to
    /// wait for longer than it is tried.
    pub(crate) kept_back: bool,
    /// The calls of an ambiguous answer that Graph is asked about, in the store's own numbers: those
    /// that are listed, and none for a dry run.
    pub(crate) candidates: Vec<i64>,
}

/// A step that this process may send now, its attempt on disk as started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leased {
    pub(crate) step: StepRef,
    /// The lease's number; with an older one nothing can be settled.
    pub(crate) fence: i64,
    /// The number of this attempt, from 1.
    pub(crate) attempt: i64,
    pub(crate) deletion_id: DeletionId,
    pub(crate) tenant: TenantId,
    pub(crate) call_id: CallId,
    pub(crate) graph_id: GraphCallId,
    /// The app that the call was told of to, where it was told of.
    pub(crate) app_id: Option<String>,
    pub(crate) order: Order,
    /// It is of `scope=all`, whose steps are several: nobody is told that the deletion is over before
    /// that is settled.
    pub(crate) is_part: bool,
    /// An earlier attempt may have taken effect.
    pub(crate) earlier_effect_possible: bool,
    /// That of the step: nothing of it is sent later.
    pub(crate) deadline: Timestamp,
}

/// A step in the store's own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StepRef {
    pub(crate) deletion: i64,
    pub(crate) position: i64,
}

/// A wait that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) not_before: Timestamp,
    /// The login asked for it, so it holds for the tenant; otherwise Graph did, of one deletion.
    pub(crate) by_login: bool,
}

/// How an attempt ended, as it is written.
#[derive(Clone, Debug)]
pub(crate) struct AttemptEnd {
    pub(crate) answered_at: Timestamp,
    /// The same by the steady clock.
    pub(crate) steady: Timestamp,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    /// What an operator can do about the error.
    pub(crate) hint: Option<String>,
    /// How long is to be waited, where that was asked for.
    pub(crate) asked: Option<Asked>,
    pub(crate) request_id: Option<String>,
    pub(crate) client_request_id: Option<String>,
    pub(crate) date: Option<String>,
    pub(crate) diagnostic: Option<String>,
    pub(crate) effect_possible: bool,
    pub(crate) next: Next,
}

impl AttemptEnd {
    /// When the answer came.
    pub(crate) const fn moment(&self) -> Moment {
        Moment { wall: self.answered_at, steady: self.steady }
    }

    /// The same by another clock, which says `now` at the moment of the answer.
    pub(crate) fn seen_from(mut self, now: Timestamp) -> Self {
        let by = now.ahead_of(self.answered_at);
        if let Next::At(at) = &mut self.next {
            *at = at.moved(by);
        }
        if let Some(asked) = &mut self.asked {
            asked.not_before = asked.not_before.moved(by);
        }
        self.answered_at = now;
        self
    }
}

/// What follows an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The step is over.
    Over {
        state: DeletionState,
        /// Why it ended without success, in our words.
        failure: Option<String>,
        /// Graph says that it has no such call.
        call_is_gone: bool,
    },
    /// It is tried again then.
    At(Timestamp),
    /// The call cannot be rejected any more: it is hung up.
    Replan,
    /// Graph took the invitation.
    Invited(Invited),
    /// Who is in the call: all others are removed, and then our leg ends.
    RemoveAll(InTheCall),
}

/// What was known before an answer came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Before {
    /// An earlier attempt of the deletion may have taken effect.
    pub(crate) effect_possible: bool,
    /// The call was answered.
    pub(crate) call_answered: bool,
}

/// A deletion that is over, for those who wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) deletion_id: DeletionId,
    pub(crate) state: DeletionState,
    pub(crate) failure: Option<String>,
    /// What was sent last, or was to be sent.
    pub(crate) operation: Option<Operation>,
    /// Of `scope=all`: how far it got.
    pub(crate) progress: Option<Progress>,
    /// Of an invitation that Graph took.
    pub(crate) invited: Option<Invited>,
}
