//! The store: a closed set of databases, and operations that are sentences of our domain.
//!
//! A transaction is inside one operation, never across two. Every operation is all or nothing, and
//! what it reports as done is on disk. Nothing in here knows a legacy code.

pub(crate) mod access;
pub(crate) mod admission;
#[cfg(test)]
mod contract;
pub(crate) mod error;
mod figures;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod lookup;
pub(crate) mod operations;
pub(crate) mod pause;
pub(crate) mod pepper;
pub(crate) mod reconcile;
pub(crate) mod records;
pub(crate) mod schema;
pub(crate) mod sqlite;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use tokio::sync::OwnedSemaphorePermit;

use self::access::AuditEntry;
use self::admission::{
    Admission, Ask, AttemptEnd, Before, Claim, Lease, Leased, Room, Settled, StepRef,
};
use self::error::{OpenError, StoreError};
use self::lookup::{CallLookup, CallReport, DeletionLookup, LookedUp};
use self::pepper::Pepper;
use self::reconcile::{Asking, Look, LookEnd, Looked};
use self::records::{
    Applied, CallDetails, CallNews, CallRow, DeletionDetails, ImportReport, ImportedCall,
};
use self::sqlite::{Missing, Sqlite};
use crate::clock::{Moment, Timestamp};
use crate::health::Health;
use crate::id::{CallId, DeletionId, ProcessId, TenantId};
use crate::model::plan::Found;

/// The open store.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    /// One SQLite file.
    Sqlite(Sqlite),
}

/// What was due.
#[derive(Clone, Debug, Default)]
pub(crate) struct Due {
    /// To be sent now, by whoever asked.
    pub(crate) leased: Vec<Leased>,
    /// Ended without being sent now: past the deadline, or held.
    pub(crate) over: Vec<Settled>,
    /// When the next step is due, leases that may lapse included; but for those tenants that have used
    /// up their own room.
    pub(crate) next: Option<Timestamp>,
    /// Tenants of which steps are due that there was no room for, and how many at least.
    pub(crate) left: Vec<(TenantId, usize)>,
    /// Something due was left alone because its attempt is still under way.
    pub(crate) skipped: bool,
}

/// Where a deletion stands whose caller is about to be answered with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No attempt had begun, and none ever will.
    Withdrawn(Settled),
    /// An attempt has begun.
    Begun,
    /// It was over already.
    Settled(Settled),
}

impl Store {
    /// Opens the SQLite database at `path` and the pepper its hashes were made with.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; a database that existed is as it was.
    pub(crate) fn open_sqlite(
        path: &Path,
        pepper_file: &Path,
        missing: Missing,
    ) -> Result<(Self, Pepper), OpenError> {
        let (sqlite, pepper) = Sqlite::open(path, pepper_file, missing)?;
        Ok((Self::Sqlite(sqlite), pepper))
    }

    /// Keeps some room of the disk for what must be written when it is full, and shows in `health` when it
    /// is full, cannot be written, or the database is damaged. For whoever serves.
    pub(crate) fn keep_reserve(&self, health: Health) {
        match self {
            Self::Sqlite(sqlite) => sqlite.keep_reserve(health),
        }
    }

    /// Makes `process` the one that serves: every older lease is void, its step due at once, and
    /// what its callers were still waiting for counts as abandoned. Gives the number of such steps. Waits
    /// go on from the last moment that is on disk, also when the wall clock was set back since.
    pub(crate) async fn take_over(
        &self,
        process: ProcessId,
        now: impl Into<Moment>,
    ) -> Result<usize, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.take_over(process, now.into()).await,
        }
    }

    /// Decides a request for a deletion and records what was decided, in one transaction.
    ///
    /// `committed` runs on the store's own thread after the commit and before the answer, whether
    /// or not anybody still waits, so what was leased is never lost with its caller. Who is gone
    /// before it is decided gets nothing recorded.
    ///
    /// # Errors
    ///
    /// Nothing was decided, nothing recorded, nothing will be sent.
    pub(crate) async fn admit(
        &self,
        ask: Ask,
        committed: impl FnOnce(&Admission) + Send + 'static,
    ) -> Result<Admission, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.admit(ask, committed).await,
        }
    }

    /// Leases steps that are due at `now` as far as there is `room`, each with its attempt on disk as
    /// started; nobody else gets them before the lease ends. Of several tenants, who has the fewest
    /// under way comes first. Ends those that a hold now covers and, whether or not there is room, those
    /// past their deadline. A call that was to be rejected and rings no more is hung up instead; an
    /// invitation that may have been sent ends as unknown. Leaves alone what is in `sending`, whatever
    /// the wall clock says of its lease.
    ///
    /// When the wall clock was set, every wait that has begun is moved by as much before that: to the next
    /// attempt, to the end of a lease, to the next look at a call, to the end of what is armed. No other
    /// deadline is moved.
    pub(crate) async fn lease_due(
        &self,
        now: impl Into<Moment>,
        lease: Lease,
        room: impl Into<Room>,
        sending: Vec<StepRef>,
    ) -> Result<Due, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.lease_due(now.into(), lease, room.into(), sending).await,
        }
    }

    /// Whether an attempt of the deletion before the given one may have taken effect, by all that has
    /// been settled until now, and whether the call was answered, by all that was told of it.
    pub(crate) async fn before(&self, step: StepRef, attempt: i64) -> Result<Before, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.before(step, attempt).await,
        }
    }

    /// How much longer than `now` a call that is to be rejected rings, as far as is known, and the time
    /// of the step lasts. None when either is over: then nothing is sent, and given back, the step is
    /// planned anew.
    pub(crate) async fn still_rings(
        &self,
        step: StepRef,
        now: Timestamp,
    ) -> Result<Option<Duration>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.still_rings(step, now).await,
        }
    }

    /// Writes how an attempt ended and what follows. Gives the deletion when it is over with that;
    /// nothing follows when the lease is no longer the step's. A call that was not rejected in time is
    /// to be hung up after that, as early as `end` says.
    pub(crate) async fn settle(
        &self,
        leased: Leased,
        end: AttemptEnd,
    ) -> Result<Option<Settled>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.settle(leased, end).await,
        }
    }

    /// Makes a leased step due again, at `due`, that was not sent; its attempt had no effect.
    pub(crate) async fn give_back(
        &self,
        leased: Leased,
        now: impl Into<Moment>,
        due: Timestamp,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.give_back(leased, now.into(), due).await,
        }
    }

    /// Cancels a deletion of which no attempt has begun; says where it stands otherwise. `committed`
    /// runs as in [`Store::admit`].
    pub(crate) async fn withdraw(
        &self,
        deletion: DeletionId,
        now: Timestamp,
        committed: impl FnOnce(&Standing) + Send + 'static,
    ) -> Result<Standing, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.withdraw(deletion, now, committed).await,
        }
    }

    /// Where a deletion stands by what is on disk now, whoever changed it. One that a hold covers by now,
    /// or whose deadline has passed, is ended first, unless an attempt is under way; nothing else is
    /// written.
    pub(crate) async fn standing(
        &self,
        deletion: DeletionId,
        now: Timestamp,
    ) -> Result<Settled, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.standing(deletion, now).await,
        }
    }

    /// Queues the note that the last caller of a deletion went away before the answer.
    pub(crate) fn abandon(&self, claim: Claim, now: Timestamp) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.abandon(claim, now),
        }
    }

    /// Queues the note that the last caller of a deletion was told that Graph has not answered yet.
    pub(crate) fn answered(&self, claim: Claim, now: Timestamp) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.answered(claim, now),
        }
    }

    /// Up to `limit` calls that this app is to ask Graph about at this moment, but for those in `under_way`:
    /// those first that a deletion waits for, then what made an answer ambiguous. Calls that were
    /// heard of meanwhile are put off, and so are those of another app, which Graph does not show. None
    /// while the tenant is paused.
    ///
    /// They stay due until [`Store::looked`], also after a crash.
    pub(crate) async fn calls_to_look_at(
        &self,
        app: Asking,
        moment: Moment,
        limit: usize,
        under_way: Vec<i64>,
    ) -> Result<Vec<Look>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.calls_to_look_at(app, moment, limit, under_way).await,
        }
    }

    /// Writes what Graph said when it was asked about a call: one that is gone has ended by now, and
    /// what Graph had taken to end it is confirmed; any other is looked at again.
    pub(crate) async fn looked(
        &self,
        call: i64,
        end: LookEnd,
        moment: Moment,
    ) -> Result<Looked, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.looked(call, end, moment).await,
        }
    }

    /// Told when an ambiguous answer has made something due.
    pub(crate) fn look_wanted(&self) -> Arc<Notify> {
        match self {
            Self::Sqlite(sqlite) => sqlite.look_wanted(),
        }
    }

    /// Told when something that was armed is due, because its call has begun.
    pub(crate) fn fired(&self) -> Arc<Notify> {
        match self {
            Self::Sqlite(sqlite) => sqlite.fired(),
        }
    }

    /// Appends to the audit chain what is not recorded with a change.
    pub(crate) async fn record(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.record(entries).await,
        }
    }

    /// Merges calls into the registry, forward only, all of them with their record, which counts them,
    /// or none.
    pub(crate) async fn import_calls(
        &self,
        calls: Vec<ImportedCall>,
        entry: AuditEntry,
    ) -> Result<ImportReport, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.import_calls(calls, entry).await,
        }
    }

    /// Merges what became known of calls, forward only, all or nothing: unknown calls are added, the
    /// end of a call confirms the deletions that Graph has taken, and its beginning has those fire that
    /// are armed for it ([`Store::fired`]). It may come twice and in any
    /// order. `turn` is given back when this is through, also when its caller has gone away before.
    pub(crate) async fn apply(
        &self,
        news: CallNews,
        turn: OwnedSemaphorePermit,
    ) -> Result<Applied, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.apply(news, turn).await,
        }
    }

    /// The positions of those whose call id belongs to another Graph call already.
    pub(crate) async fn import_conflicts(
        &self,
        calls: Vec<ImportedCall>,
    ) -> Result<Vec<usize>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.import_conflicts(calls).await,
        }
    }

    /// Up to `limit` calls, the newest first.
    pub(crate) async fn calls(
        &self,
        limit: usize,
        ongoing: bool,
    ) -> Result<Vec<CallRow>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.calls(limit, ongoing).await,
        }
    }

    /// All calls of this id, ours or Graph's, in whatever tenant.
    pub(crate) async fn call(&self, id: CallId) -> Result<Vec<CallDetails>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.call(id).await,
        }
    }

    /// A deletion with its steps and attempts.
    pub(crate) async fn deletion(
        &self,
        id: DeletionId,
    ) -> Result<Option<DeletionDetails>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.deletion(id).await,
        }
    }

    /// The one call that a client's selector means, with all that is known of it, as it is at one
    /// moment.
    pub(crate) async fn look_up_call(
        &self,
        look: CallLookup,
    ) -> Result<LookedUp<Found<Box<CallReport>>>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.look_up_call(look).await,
        }
    }

    /// A deletion that was recorded for the key of the one who looks, or for one that it succeeds or
    /// that succeeds it, as it is at one moment.
    pub(crate) async fn look_up_deletion(
        &self,
        look: DeletionLookup,
    ) -> Result<LookedUp<Option<DeletionDetails>>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.look_up_deletion(look).await,
        }
    }

    /// The store's number of a tenant, made when it is new.
    pub(crate) async fn tenant(&self, id: TenantId, now: Timestamp) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.tenant(id, now).await,
        }
    }

    /// The store's number of a tenant that is known.
    pub(crate) async fn find_tenant(&self, id: TenantId) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.find_tenant(id).await,
        }
    }
}
