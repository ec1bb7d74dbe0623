//! A store for tests: a fresh SQLite file with one tenant and one key, and a second connection that
//! plays the operator's hand.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::FromSql;
use tempfile::TempDir;

use super::Store;
use super::access::{AuditEntry, Checked, HashedSecret, NewKey, Rotated};
use super::admission::{
    Admission, Ask, AttemptEnd, Decided, Lease, Leased, Next, Selection, SelectionRules,
};
use super::pepper::{Digest, Hashed, Pepper};
use super::records::ImportedCall;
use super::sqlite::Missing;
use crate::clock::{Moment, Timestamp};
use crate::config::legacy::{CallField, Mapping};
use crate::id::{CallId, DeletionId, GraphCallId, KeyId, ProcessId, TenantId};
use crate::model::call::{CallState, Party};
use crate::model::chain::{AuditEvent, Personal};
use crate::model::deletion::{DeletionKind, DeletionState, Scope};
use crate::model::key::ApiKey;
use crate::model::number::{Number, NumberingPlan};
use crate::model::plan::Question;
use crate::model::rights::Right;
use crate::model::selector::{Selector, StatusWord};
use crate::secret::Secret;

/// When tests begin.
pub(crate) const NOW: Timestamp = Timestamp(1_790_000_000_000);
/// How long a deletion is tried.
pub(crate) const DEADLINE: Duration = Duration::from_hours(1);
/// How long a lease lasts.
pub(crate) const LEASE: Duration = Duration::from_secs(70);
/// The secret of the one key.
pub(crate) const API_KEY: &str = "74c8eea0-50c6-40b2-9f3e-252ed501c3c8";
/// The one tenant.
pub(crate) const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

/// A store in a folder that is removed with this.
pub(crate) struct Fixture {
    // Dropped before the folder that it lives in.
    pub(crate) store: Store,
    pub(crate) pepper: Pepper,
    pub(crate) process: ProcessId,
    pub(crate) tenant_row: i64,
    pub(crate) key: KeyId,
    pub(crate) key_row: i64,
    folder: TempDir,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, pepper) = open(folder.path(), Missing::Create);
        let tenant_row = store.tenant(TenantId::new(TENANT), NOW).await.unwrap();
        let mut fixture = Self {
            store,
            pepper,
            process: ProcessId::random(),
            tenant_row,
            key: KeyId::random(),
            key_row: 0,
            folder,
        };
        (fixture.key, fixture.key_row) = fixture.make_key(API_KEY).await;
        fixture
    }

    /// Makes another key of the tenant.
    pub(crate) async fn make_key(&self, secret: &str) -> (KeyId, i64) {
        let id = KeyId::random();
        let key = NewKey {
            id,
            tenant: TenantId::new(TENANT),
            name: "telephones".to_owned(),
            owner: None,
            secret: self.hashed(Hashed::Key, secret),
            requires_token: false,
            rights: Right::DEFAULT.to_vec(),
            identifiers: Vec::new(),
            numbers: Vec::new(),
            peers: Vec::new(),
            post_only: false,
            reason_required: false,
            query_passwords: true,
            weak: false,
            created_at: NOW,
            expires_at: None,
        };
        self.store.create_keys(vec![(key, entry("keys create", NOW))]).await.unwrap();
        self.drop_last_record();
        (id, self.look(&format!("SELECT key FROM keys WHERE key_id = '{id}'")))
    }

    /// A secret as the store holds it.
    pub(crate) fn hashed(&self, what: Hashed, secret: &str) -> HashedSecret {
        HashedSecret {
            pepper: self.pepper.fingerprint().to_owned(),
            hash: self.pepper.hash(what, &Secret::new(secret.to_owned())),
        }
    }

    /// Makes a successor of a key, and gives its number; the old key counts for an hour longer.
    pub(crate) async fn rotate(&self, old: KeyId, secret: &str) -> i64 {
        let id = KeyId::random();
        let successor = (id, self.hashed(Hashed::Key, secret));
        let until = NOW + Duration::from_hours(1);
        let entry = entry("keys rotate", NOW);
        let rotated = self.store.rotate_key(old, until, successor, entry).await.unwrap();
        assert!(matches!(rotated, Rotated::Now { .. }), "{rotated:?}");
        self.look(&format!("SELECT key FROM keys WHERE key_id = '{id}'"))
    }

    /// Revokes the one key at [`NOW`].
    pub(crate) async fn revoke(&self) {
        self.store.revoke_key(self.key, entry("keys revoke", NOW)).await.unwrap();
    }

    /// A key, and the session if there is one, as they stand now.
    pub(crate) async fn checked(&self, key_row: i64, session: Option<Digest>) -> Checked {
        let snapshot = self.store.access_snapshot().await.unwrap();
        let session = match session {
            Some(hash) => self.store.session(hash).await.unwrap().map(Arc::new),
            None => None,
        };
        let generation = snapshot.generation;
        let key = snapshot.keys.into_values().find(|key| key.row == key_row).unwrap();
        Checked { generation, key, session }
    }

    /// The database.
    pub(crate) fn path(&self) -> PathBuf {
        database(self.folder.path())
    }

    /// A connection of somebody else's.
    pub(crate) fn other_hand(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// Changes something by hand.
    pub(crate) fn by_hand(&self, sql: &str) {
        self.other_hand().execute_batch(sql).unwrap();
    }

    /// The one value that `sql` gives.
    pub(crate) fn look<T: FromSql>(&self, sql: &str) -> T {
        self.other_hand().query_row(sql, (), |row| row.get(0)).unwrap()
    }

    /// Makes a call that runs, from `number` to somebody.
    pub(crate) async fn call(&self, graph_id: &str, number: &str) {
        self.import(self.imported(graph_id, number)).await;
    }

    pub(crate) async fn import(&self, call: ImportedCall) {
        self.import_at(vec![call], NOW).await;
    }

    /// Imports calls at `now`.
    pub(crate) async fn import_at(&self, calls: Vec<ImportedCall>, now: Timestamp) {
        self.store.import_calls(calls, entry("calls import", now)).await.unwrap();
        self.drop_last_record();
    }

    /// Forgets the record of what was only prepared for a test.
    fn drop_last_record(&self) {
        self.by_hand("DELETE FROM audit WHERE position = (SELECT max(position) FROM audit)");
    }

    pub(crate) fn imported(&self, graph_id: &str, number: &str) -> ImportedCall {
        let party = |role, raw: &str| Party {
            role,
            kind: "number",
            raw: raw.to_owned(),
            normalised: Number::parse(raw).unwrap().normalised,
            display_name: None,
        };
        ImportedCall {
            tenant_row: self.tenant_row,
            call_id: Some(CallId::new(&format!("our-{graph_id}"))),
            graph_id: GraphCallId(graph_id.to_owned()),
            platform_call_id: None,
            native_id: None,
            meeting_id: None,
            direction: None,
            state: CallState::Established,
            parties: vec![party("source", number), party("target", "+4989111")],
            started_at: Some(NOW - Duration::from_mins(1)),
            ended_at: None,
            subject: None,
        }
    }

    /// A request by the one key, without a lease.
    pub(crate) async fn ask(&self, selector: Selector, now: Timestamp) -> Ask {
        Ask {
            checked: self.checked(self.key_row, None).await,
            question: Question {
                kind: DeletionKind::DeleteCall(Scope::Leg),
                now,
                status: selector.status.clone(),
                may_arm: false,
                dry_run: false,
                ended_is_success: false,
                client_id: None,
                sees_candidates: false,
            },
            selection: Selection::new(self.tenant_row, &[], selector, &selection_rules()),
            peer: "192.0.2.7".to_owned(),
            reason: None,
            now,
            steady: now,
            deadline: now + DEADLINE,
            lease: None,
            audit: event(),
            personal: Personal { peer: Some("192.0.2.7".to_owned()), ..Personal::default() },
        }
    }

    pub(crate) async fn admit(&self, ask: Ask) -> Decided {
        match self.store.admit(ask, |_| ()).await.unwrap() {
            Admission::Decided(decided) => *decided,
            Admission::AccessChanged => panic!("access has not changed"),
        }
    }

    /// Admits the deletion of the call with this Graph id, its first attempt begun at `now`.
    pub(crate) async fn begin(&self, graph_id: &str, now: Timestamp) -> Leased {
        let ask = self.ask(by_call_id(graph_id), now).await;
        self.admit(Ask { lease: Some(self.lease(now)), ..ask }).await.leased.unwrap()
    }

    /// Records the deletion of the call with this Graph id; nothing is begun.
    pub(crate) async fn record(&self, graph_id: &str, now: Timestamp) -> DeletionId {
        let ask = self.ask(by_call_id(graph_id), now).await;
        self.admit(ask).await.recorded.unwrap()
    }

    pub(crate) fn lease(&self, now: Timestamp) -> Lease {
        Lease::starting(self.process, now, LEASE)
    }

    /// Has the store see that at the moment `steady` somebody set the clock to `wall`.
    pub(crate) async fn set_clock(&self, steady: Timestamp, wall: Timestamp) {
        let (moment, lease) = (Moment { wall, steady }, self.lease(wall));
        self.store.lease_due(moment, lease, 0, Vec::new()).await.unwrap();
    }

    /// Waits until everything that was queued before is done.
    pub(crate) async fn flush(&self) {
        self.store.tenant(TenantId::new(TENANT), NOW).await.unwrap();
    }
}

/// Opens the store in `folder`.
pub(crate) fn open(folder: &Path, missing: Missing) -> (Store, Pepper) {
    Store::open_sqlite(&database(folder), &folder.join("pepper"), missing).unwrap()
}

/// The database in `folder`.
pub(crate) fn database(folder: &Path) -> PathBuf {
    folder.join("callgate.db")
}

/// The rules of every configuration that says nothing.
pub(crate) fn selection_rules() -> SelectionRules {
    let numbering = NumberingPlan::default();
    SelectionRules { numbering, mapping: mapping(), match_roster: false }
}

pub(crate) fn mapping() -> Mapping {
    Mapping {
        platform_call_id: vec![CallField::CallChainId],
        native_id: vec![CallField::GraphCallId],
        meeting_id: vec![CallField::ThreadId, CallField::JoinMeetingId],
    }
}

pub(crate) fn nothing_selected() -> Selector {
    Selector {
        call_id: None,
        platform_call_id: None,
        native_id: None,
        meeting_id: None,
        extension: None,
        status: None,
    }
}

pub(crate) fn by_call_id(id: &str) -> Selector {
    Selector { call_id: Some(id.to_owned()), ..nothing_selected() }
}

pub(crate) fn by_number(number: &str, status: &str) -> Selector {
    Selector {
        extension: Some(Number::parse(number).unwrap()),
        status: Some(StatusWord::list(status).unwrap()),
        ..nothing_selected()
    }
}

pub(crate) fn event() -> AuditEvent {
    AuditEvent {
        action: "DeleteCall".to_owned(),
        decision: "refused",
        result: "not_found",
        tenant: Some(TENANT.to_owned()),
        parameters: vec!["callID"],
        ..AuditEvent::default()
    }
}

/// A key that may do everything, as it is checked.
pub(crate) fn api_key(row: i64, tenant_row: i64) -> ApiKey {
    ApiKey {
        row,
        id: KeyId::random(),
        tenant_row,
        tenant: TenantId::new(TENANT),
        name: "telephones".to_owned(),
        owner: None,
        requires_token: false,
        rights: Right::DEFAULT.to_vec(),
        identifiers: Vec::new(),
        numbers: Vec::new(),
        peers: Vec::new(),
        post_only: false,
        reason_required: false,
        query_passwords: true,
        weak: false,
        successor: None,
        line_row: row,
        created_at: NOW,
        expires_at: None,
        revoked_at: None,
    }
}

/// The record of a command.
pub(crate) fn entry(command: &str, at: Timestamp) -> AuditEntry {
    let event = AuditEvent {
        action: command.to_owned(),
        decision: "allowed",
        result: "done",
        ..AuditEvent::default()
    };
    AuditEntry { at, count: 1, event, personal: Personal::default() }
}

/// An attempt that was answered with `status` and leads to `next`.
pub(crate) fn answered(at: Timestamp, status: u16, next: Next) -> AttemptEnd {
    AttemptEnd {
        answered_at: at,
        steady: at,
        status: Some(status),
        error: None,
        hint: None,
        asked: None,
        request_id: Some("request".to_owned()),
        client_request_id: Some("client".to_owned()),
        date: None,
        diagnostic: None,
        effect_possible: status >= 500,
        next,
    }
}

pub(crate) fn over(state: DeletionState, failure: Option<&str>, call_is_gone: bool) -> Next {
    Next::Over { state, failure: failure.map(str::to_owned), call_is_gone }
}

/// How many of something `scripts/reliability` asks for; none when it does not.
pub(crate) fn asked_for<T: FromStr<Err: Debug>>(name: &str) -> Option<T> {
    #[expect(clippy::disallowed_methods, reason = "only scripts/reliability sets it")]
    let asked = std::env::var(name).ok();
    asked.map(|text| text.parse().expect("a number is asked for"))
}
