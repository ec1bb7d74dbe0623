//! Small random registries, in the database and as plain values.

use rusqlite::{Connection, params};

use super::super::{calls, create_private, open_writer};
use super::deletions::Recorded;
use super::people::{self, OnRoster};
use crate::clock::Timestamp;
use crate::id::{CallId, DeletionId, GraphCallId};
use crate::model::call::{Call, CallState, Party};
use crate::model::deletion::{DeletionKind, REPEATED_BY_THE_STACK};
use crate::model::number::Number;
use crate::model::selector::{Selector, StatusWord};
use crate::store::fixture::NOW;
use crate::store::records::ImportedCall;
use crate::store::schema;

pub(super) const IDS: [&str; 11] = [
    "x",
    "X",
    " 57dab8b1-894c-409a-b240-bd8beae78896",
    "urn:uuid:57dab8b1-894c-409a-b240-bd8beae78896",
    "{57dab8b1894c409ab240bd8beae78896}",
    "19:meeting@thread.v2",
    "57dab8b1-894c-409a-b240-bd8beae78896",
    "57DAB8B1-894C-409A-B240-BD8BEAE78896",
    "{57DAB8B1-894C-409A-B240-BD8BEAE78896}",
    "57dab8b1894c409ab240bd8beae78896",
    "2a3b4c5d-0000-4000-8000-123456789abc",
];
pub(super) const NUMBERS: [&str; 8] = [
    "8856",
    "+49 30 1238856",
    "0049301238856",
    "+494098856",
    "77",
    "+493012377",
    "sip:Alice@example.com",
    "8a34a46b-3d17-4adc-8dce-dc4e7d572698",
];
pub(super) const PREFIXES: [&str; 2] = ["+4930123", "+494098"];
pub(super) const STATUSES: [&str; 6] =
    ["ongoing", "last", "ongoing,last", "last,ongoing", "next,last", "ongoing,next"];
/// Two tenants with two keys each; the keys of tenant n are 2n-1 and 2n.
pub(super) const TENANTS: i64 = 2;

pub(in crate::store::sqlite) fn database(folder: &tempfile::TempDir) -> Connection {
    let path = folder.path().join("model.db");
    create_private(&path).unwrap();
    let mut connection = open_writer(&path).unwrap();
    schema::migrate(&mut connection, &path).unwrap();
    connection.execute("INSERT INTO peppers VALUES ('p', 0, NULL)", ()).unwrap();
    for tenant in 1..=TENANTS {
        connection
            .execute("INSERT INTO tenants (tenant, tenant_id, created_at) VALUES (?1, 'tenant-' || ?1, 0)", [tenant])
            .unwrap();
        for key in [tenant * 2 - 1, tenant * 2] {
            connection
                .execute(
                    "INSERT INTO keys (key, key_id, tenant, name, pepper, hash, requires_token, \
                     rights, created_at) VALUES (?1, 'key-' || ?1, ?2, 'key', 'p', zeroblob(?1), 0, \
                     '', 0)",
                    [key, tenant],
                )
                .unwrap();
        }
    }
    connection
}

/// Random numbers that are the same at each run.
pub(in crate::store::sqlite) struct Dice(u64);

impl Dice {
    pub(in crate::store::sqlite) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides` (splitmix64).
    pub(in crate::store::sqlite) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let mixed = mixed ^ (mixed >> 31);
        usize::try_from(mixed % u64::try_from(sides).unwrap()).unwrap()
    }

    pub(in crate::store::sqlite) fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    pub(super) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    pub(super) fn maybe_id(&mut self, sides: usize) -> Option<String> {
        self.one_in(sides).then(|| self.pick(&IDS).to_owned())
    }
}

pub(super) fn nothing() -> Selector {
    Selector {
        call_id: None,
        platform_call_id: None,
        native_id: None,
        meeting_id: None,
        extension: None,
        status: None,
    }
}

pub(super) fn selector(dice: &mut Dice) -> Selector {
    let mut selector = Selector {
        call_id: dice.maybe_id(5),
        platform_call_id: dice.maybe_id(6),
        native_id: dice.maybe_id(6),
        meeting_id: dice.maybe_id(5),
        extension: None,
        status: dice.one_in(2).then(|| StatusWord::list(dice.pick(&STATUSES)).unwrap()),
    };
    if selector.names().iter().all(|name| *name == "status") || dice.one_in(4) {
        selector.extension = Some(Number::parse(dice.pick(&NUMBERS)).unwrap());
        let status = || StatusWord::list(dice.pick(&STATUSES)).unwrap();
        selector.status = Some(selector.status.take().unwrap_or_else(status));
    }
    selector
}

pub(in crate::store::sqlite) fn imported(tenant_row: i64, graph_id: &str) -> ImportedCall {
    ImportedCall {
        tenant_row,
        call_id: None,
        graph_id: GraphCallId(graph_id.to_owned()),
        platform_call_id: None,
        native_id: None,
        meeting_id: None,
        direction: None,
        state: CallState::Established,
        parties: Vec::new(),
        started_at: Some(NOW),
        ended_at: None,
        subject: None,
    }
}

/// What the database holds, as plain values.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) calls: Vec<Known>,
    pub(super) deletions: Vec<Recorded>,
    pub(super) holds: Vec<(i64, &'static str, String)>,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) row: i64,
    pub(super) tenant: i64,
    pub(super) call: Call,
    pub(super) chain: Option<String>,
    pub(super) thread: Option<String>,
    pub(super) join_meeting: Option<String>,
    pub(super) platform: Option<String>,
    pub(super) native: Option<String>,
    pub(super) meeting: Option<String>,
    pub(super) parties: Vec<Party>,
    pub(super) roster: Vec<OnRoster>,
    /// Our own place in it.
    pub(super) ours: Option<String>,
    /// When Graph took the deletion that is noted at the call.
    pub(super) deleted_at: Option<Timestamp>,
}

impl Registry {
    pub(super) fn fill(
        &mut self,
        connection: &Connection,
        dice: &mut Dice,
        asked: &[(Selector, DeletionKind)],
    ) {
        for _ in 0..dice.roll(9) {
            self.add_call(connection, dice);
        }
        for _ in 0..dice.roll(8) {
            self.add_deletion(connection, dice, asked);
        }
        for _ in 0..dice.roll(6) / 4 {
            self.add_hold(connection, dice);
        }
    }

    /// Names one of the calls by its id, with its tenant, or, half of the time, none.
    pub(super) fn call_id(&self, dice: &mut Dice) -> Option<(Selector, i64)> {
        if self.calls.is_empty() || dice.one_in(2) {
            return None;
        }
        let known = &self.calls[dice.roll(self.calls.len())];
        let call_id = Some(known.call.call_id.to_string());
        Some((Selector { call_id, ..nothing() }, known.tenant))
    }

    fn add_call(&mut self, connection: &Connection, dice: &mut Dice) {
        let tenant = 1 + i64::from(dice.one_in(3));
        let mut call = imported(tenant, dice.pick(&IDS));
        let call_id = CallId::new(dice.pick(&IDS));
        if self.calls.iter().any(|known| {
            known.tenant == tenant
                && (known.call.graph_id == call.graph_id || known.call.call_id == call_id)
        }) {
            return;
        }
        call.call_id = Some(call_id.clone());
        call.platform_call_id = dice.maybe_id(4);
        call.native_id = dice.maybe_id(4);
        call.meeting_id = dice.maybe_id(4);
        for _ in 0..=dice.roll(2) {
            let raw = dice.pick(&NUMBERS);
            let normalised = Number::parse(raw).unwrap().normalised;
            let role = if call.parties.is_empty() { "source" } else { "target" };
            if call.parties.iter().any(|one| (one.role, &one.normalised) == (role, &normalised)) {
                continue;
            }
            let kind = if dice.one_in(6) { "application" } else { "number" };
            let raw = raw.to_owned();
            call.parties.push(Party { role, kind, raw, normalised, display_name: None });
        }
        // Few instants, so that calls often end together.
        let ended_at =
            dice.one_in(2).then(|| NOW + REPEATED_BY_THE_STACK * (1 + u32::from(dice.one_in(2))));
        let ends_later = dice.one_in(2);
        call.ended_at = ended_at.filter(|_| !ends_later);
        assert!(
            calls::Inserts::prepare(connection).unwrap().insert(connection, &call, NOW).unwrap()
        );
        let row =
            connection.query_row("SELECT max(call) FROM calls", (), |row| row.get(0)).unwrap();
        let roster = people::roster(connection, dice, (row, tenant), call.ended_at);
        let state = match (ended_at, dice.roll(6)) {
            (Some(_), _) => CallState::Terminated,
            (None, 0 | 1) => CallState::Terminating,
            (None, 2) => CallState::Incoming,
            (None, _) => CallState::Established,
        };
        let last_seen_at = Timestamp(NOW.0 - [0, 60_000, 60_001][dice.roll(3)]);
        let known = Known {
            row,
            tenant,
            chain: dice.maybe_id(3),
            thread: dice.maybe_id(3),
            join_meeting: dice.maybe_id(4),
            platform: call.platform_call_id,
            native: call.native_id,
            meeting: call.meeting_id,
            parties: call.parties,
            roster,
            ours: dice.one_in(4).then(|| people::id(dice)),
            deleted_at: None,
            call: Call {
                call_id,
                graph_id: call.graph_id,
                app_id: dice.one_in(2).then(|| dice.pick(&people::APPS).to_owned()),
                state,
                started_at: Some(NOW),
                ended_at,
                last_seen_at,
                rings_until: None,
            },
        };
        connection
            .prepare_cached(
                "UPDATE calls SET chain_id = ?2, thread_id = ?3, join_meeting_id = ?4, state = ?5, \
                 ended_at = ?6, last_seen_at = ?7, app_id = ?8, my_participant_id = ?9 WHERE call = ?1",
            )
            .unwrap()
            .execute(params![
                row,
                known.chain,
                known.thread,
                known.join_meeting,
                state.as_str(),
                ended_at.map(|at| at.0),
                last_seen_at.0,
                known.call.app_id,
                known.ours
            ])
            .unwrap();
        self.calls.push(known);
    }

    fn add_hold(&mut self, connection: &Connection, dice: &mut Dice) {
        let kinds = ["all", "call", "platform_call", "native", "meeting", "number"];
        let kind = dice.pick(&kinds);
        let value = if kind == "number" {
            Number::parse(dice.pick(&NUMBERS)).unwrap().normalised
        } else {
            dice.pick(&IDS).to_owned()
        };
        let tenant = 1 + i64::from(dice.one_in(2));
        let lifted = dice.one_in(4);
        connection
            .execute(
                "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at, lifted_at) \
                 VALUES (?1, ?2, ?3, ?4, 'somebody', 0, ?5)",
                params![DeletionId::random().to_string(), tenant, kind, value, lifted.then_some(1)],
            )
            .unwrap();
        if !lifted {
            self.holds.push((tenant, kind, value));
        }
    }
}
