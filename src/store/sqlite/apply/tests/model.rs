//! The model: what was delivered of one call, and what has to be known of it therefore.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::history::{History, RESULTS, WORDS};
use crate::clock::Timestamp;
use crate::model::call::{CallState, Direction};
use crate::model::change::{CallChange, EndReason, Participant, RosterChange};

/// States in the order of a call's life.
const LIFE: [&str; 10] = [
    "incoming",
    "establishing",
    "ringing",
    "established",
    "hold",
    "transferring",
    "transferAccepted",
    "redirecting",
    "terminating",
    "terminated",
];
/// Whether in the call, number, user, and the call's end.
type Entry = (bool, Option<String>, Option<String>, Option<i64>);
const MINUTE: i64 = 60_000;

/// How many calls of a kind were met.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ended: u64,
    living: u64,
    confirmed: u64,
    overtaken: u64,
    rosters: u64,
    left: u64,
}

impl Seen {
    pub(super) fn is_enough(&self, least: u64) -> bool {
        let Self { ended, living, confirmed, overtaken, rosters, left } = *self;
        [ended, living, confirmed, overtaken, rosters, left].iter().all(|count| *count >= least)
    }
}

/// All that was delivered of one call, with when.
#[derive(Debug)]
pub(super) struct Delivered<'a> {
    history: &'a History,
    changes: Vec<(CallChange, Timestamp)>,
    /// A deletion that Graph took before the call's end was known.
    deleted: bool,
}

impl<'a> Delivered<'a> {
    pub(super) fn new(history: &'a History) -> Self {
        Self { history, changes: Vec::new(), deleted: false }
    }

    pub(super) fn add(&mut self, change: &CallChange, now: Timestamp) {
        self.changes.push((change.clone(), now));
    }

    /// Writes a deletion that Graph has taken, if the call can have one.
    pub(super) fn delete(&mut self, connection: &Connection, now: Timestamp) {
        if self.deleted || self.changes.is_empty() || self.ended_at().is_some() {
            return;
        }
        self.deleted = true;
        connection
            .prepare_cached(
                "INSERT INTO deletions (deletion_id, tenant, kind, selector, selector_hash, scope, \
                 call, state, created_at, deadline_at) SELECT ?1, tenant, 'DeleteCall', '', x'', \
                 'leg', call, 'sent', ?2, 0 FROM calls WHERE graph_id = ?1",
            )
            .unwrap()
            .execute(params![self.history.graph_id, now.0])
            .unwrap();
    }

    fn rank(change: &CallChange) -> usize {
        let word = change.state.map_or("incoming", CallState::as_str);
        let word = if change.deleted { "terminated" } else { word };
        LIFE.iter().position(|known| *known == word).unwrap()
    }

    /// When something of which `is` holds was delivered first.
    fn first(&self, is: impl Fn(&CallChange) -> bool) -> Option<i64> {
        self.changes.iter().filter(|(change, _)| is(change)).map(|(_, at)| at.0).min()
    }

    fn ended_at(&self) -> Option<i64> {
        self.first(|change| Self::rank(change) == 9)
    }

    pub(super) fn check(&self, connection: &Connection, met: &mut Seen, seed: u64) {
        assert_eq!(self.found(connection), self.expected(), "seed {seed}: {self:#?}");
        assert_eq!(
            self.found_parties(connection),
            self.expected_parties(),
            "seed {seed}: {self:#?}"
        );
        let found = self.found_roster(connection);
        let roster = self.expected_roster(&found);
        assert_eq!(found, roster, "seed {seed}: {self:#?}");
        let ended_at = self.ended_at();
        met.ended += u64::from(ended_at.is_some());
        met.living += u64::from(ended_at.is_none());
        let late = self.changes.iter().any(|(_, at)| ended_at.is_some_and(|end| at.0 > end));
        met.overtaken += u64::from(late);
        met.confirmed += u64::from(self.deleted && ended_at.is_some());
        met.rosters += u64::from(!roster.is_empty());
        met.left += u64::from(roster.values().any(|one| !one.0));
    }

    /// What has to be known of the call, by column; none when nothing was delivered.
    fn expected(&self) -> Option<BTreeMap<&'static str, Value>> {
        let first = self.first(|_| true)?;
        let value = |value: Option<i64>| value.map_or(Value::Null, Value::Integer);
        let text =
            |text: Option<&str>| text.map_or(Value::Null, |text| Value::Text(text.to_owned()));
        let any = |is: &dyn Fn(&CallChange) -> bool| self.first(is).is_some();
        let highest = self.changes.iter().map(|(change, _)| Self::rank(change)).max()?;
        let ended_at = self.ended_at();
        let began =
            any(&|change| change.created || change.state.is_some() && Self::told(change) < 3);
        let answered_at = self.first(|change| (3..7).contains(&Self::told(change)));
        let (beginning, _) = &self.changes[0];
        let announced =
            beginning.created || !beginning.parties.is_empty() || Self::rank(beginning) >= 8;
        let rest = first + if announced { 45 * MINUTE } else { MINUTE };
        let look_at = match (ended_at, self.first(|change| Self::told(change) == 8)) {
            (Some(_), _) => None,
            (None, Some(ending)) => Some((ending + MINUTE).min(rest)),
            (None, None) => Some(rest),
        };
        let ends = self.changes.iter().filter(|(change, _)| Self::rank(change) == 9);
        let ends: Vec<_> = ends.filter_map(|(change, _)| change.end.as_ref()).collect();
        let result = |end: &EndReason| end.code.map(|code| (code, end.subcode));
        let stands = RESULTS.iter().find(|one| ends.iter().any(|end| result(end) == Some(**one)));
        let is_explained = ends
            .iter()
            .any(|end| stands.is_some() && result(end) == stands.copied() && end.message.is_some());
        let word =
            WORDS.iter().find(|one| ends.iter().any(|end| end.word.as_deref() == Some(**one)));
        let direction = self.changes.iter().find_map(|(change, _)| change.direction);
        let chain_id = self.changes.iter().find_map(|(change, _)| change.chain_id.as_deref());
        let confirmed = self.deleted && ended_at.is_some();
        Some(BTreeMap::from([
            ("state", text(Some(LIFE[highest]))),
            ("first_seen_at", value(Some(first))),
            ("last_seen_at", value(self.changes.iter().map(|(_, at)| at.0).max())),
            ("started_at", value(began.then_some(first))),
            ("answered_at", value(answered_at.map(|at| at.min(ended_at.unwrap_or(at))))),
            ("ended_at", value(ended_at)),
            ("look_at", value(look_at)),
            ("direction", text(direction.map(Direction::as_str))),
            ("chain_id", text(chain_id)),
            ("end_code", value(stands.map(|(code, _)| *code))),
            ("end_subcode", value(stands.and_then(|(_, subcode)| *subcode))),
            ("end_message", text(is_explained.then_some("because"))),
            ("end_reason", text(word.copied())),
            (
                "deletion",
                text(self.deleted.then_some(if confirmed { "confirmed" } else { "sent" })),
            ),
            ("confirmed_at", value(ended_at.filter(|_| self.deleted))),
        ]))
    }

    /// As [`Self::rank`], of the state alone; 10 when it says none.
    fn told(change: &CallChange) -> usize {
        change.state.map_or(10, |_| Self::rank(&CallChange { deleted: false, ..change.clone() }))
    }

    fn found(&self, connection: &Connection) -> Option<BTreeMap<&'static str, Value>> {
        const COLUMNS: [&str; 15] = [
            "state",
            "first_seen_at",
            "last_seen_at",
            "started_at",
            "answered_at",
            "ended_at",
            "look_at",
            "direction",
            "chain_id",
            "end_code",
            "end_subcode",
            "end_message",
            "end_reason",
            "deletion",
            "confirmed_at",
        ];
        let mut statement = connection
            .prepare_cached(
                "SELECT c.state, first_seen_at, last_seen_at, started_at, c.answered_at, ended_at, \
                 look_at, direction, chain_id, end_code, end_subcode, end_message, end_reason, \
                 d.state, confirmed_at FROM calls AS c LEFT JOIN deletions AS d ON d.call = c.call \
                 WHERE c.graph_id = ?1",
            )
            .unwrap();
        let mut rows = statement.query([&self.history.graph_id]).unwrap();
        let row = rows.next().unwrap()?;
        let columns = COLUMNS.into_iter().enumerate();
        let found = columns.map(|(at, name)| (name, row.get(at).unwrap())).collect();
        assert!(rows.next().unwrap().is_none(), "there is one row of {}", self.history.graph_id);
        Some(found)
    }

    fn expected_parties(&self) -> BTreeSet<(String, String, Option<i64>)> {
        let parties = self.changes.iter().flat_map(|(change, _)| &change.parties);
        let ended_at = self.ended_at();
        parties.map(|one| (one.role.to_owned(), one.normalised.clone(), ended_at)).collect()
    }

    fn found_parties(&self, connection: &Connection) -> BTreeSet<(String, String, Option<i64>)> {
        let mut statement = connection
            .prepare_cached(
                "SELECT role, normalised, parties.ended_at FROM parties JOIN calls USING (call) \
                 WHERE graph_id = ?1",
            )
            .unwrap();
        let rows = statement
            .query_map([&self.history.graph_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let all: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
        let count = all.len();
        let parties: BTreeSet<_> = all.into_iter().collect();
        assert_eq!(parties.len(), count, "no party is there twice");
        parties
    }

    /// Everybody who was named; `found` where both answers are right.
    fn expected_roster(&self, found: &BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
        let mut roster = BTreeMap::new();
        let told: Vec<_> = self
            .changes
            .iter()
            .filter_map(|(change, _)| Some((change.roster.as_ref()?, taken(change))))
            .collect();
        for one in told.iter().flat_map(|(told, _)| named(told)) {
            let entry = roster.entry(one.participant_id.clone());
            let entry: &mut Entry = entry.or_insert((false, None, None, self.ended_at()));
            entry.1 = entry.1.take().or(one.normalised.clone());
            entry.2 = entry.2.take().or(one.user_id.clone());
        }
        for (id, entry) in &mut roster {
            entry.0 = if self.history.keeps_order {
                told.iter().rev().find_map(|(told, _)| is_in(told, id)) == Some(true)
            } else {
                let is_there = in_any_order(&told, id);
                is_there.unwrap_or_else(|| found.get(id).is_some_and(|one| one.0))
            };
        }
        roster
    }

    fn found_roster(&self, connection: &Connection) -> BTreeMap<String, Entry> {
        let mut statement = connection
            .prepare_cached(
                "SELECT participant_id, left_at IS NULL, normalised, user_id, roster.ended_at \
                 FROM roster JOIN calls USING (call) WHERE graph_id = ?1",
            )
            .unwrap();
        let rows = statement.query_map([&self.history.graph_id], |row| {
            Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }
}

fn named(told: &RosterChange) -> &[Participant] {
    match told {
        RosterChange::Whole(participants) | RosterChange::Delta { participants, .. } => {
            participants
        }
        RosterChange::Left(_) => &[],
    }
}

/// How many events there had been when this was told. The registry cannot know it.
fn taken(change: &CallChange) -> i64 {
    change.subject.as_deref().map_or(0, |text| text.parse().unwrap())
}

/// What news say of one: in the call, or not; none when they do not say.
fn is_in(told: &RosterChange, id: &str) -> Option<bool> {
    let entry = named(told).iter().find(|one| one.participant_id == id);
    match told {
        RosterChange::Left(left) => (left == id).then_some(false),
        RosterChange::Delta { .. } => entry.map(|one| !one.removed),
        RosterChange::Whole(_) => Some(entry.is_some()),
    }
}

/// Whether one is in the call, by news with numbers in any order; none when both answers are right.
///
/// Who was told to be there is not, when a roster without them arrived later that was truly taken
/// later. When it was truly taken earlier, that may show or not.
fn in_any_order(told: &[(&RosterChange, i64)], id: &str) -> Option<bool> {
    let all = told.iter().enumerate();
    let evidence = all.filter_map(|(at, (told, _))| Some((evidence(told, id)?, at)));
    // Of the highest number the first arrival, and "has left" before "is there".
    let ((number, is_there), arrived) =
        evidence.max_by_key(|((number, is_there), at)| (*number, !is_there, Reverse(*at))).unwrap();
    if !is_there {
        return Some(false);
    }
    let wholes = told[arrived..].iter().filter(|(told, _)| matches!(told, RosterChange::Whole(_)));
    let without = wholes.filter(|(told, _)| is_in(told, id) == Some(false));
    match without.map(|(_, taken)| *taken > number).max() {
        Some(true) => Some(false),
        Some(false) => None,
        None => Some(true),
    }
}

/// What news with numbers say of one, and the number by which that counts.
fn evidence(told: &RosterChange, id: &str) -> Option<(i64, bool)> {
    let entry = named(told).iter().find(|one| one.participant_id == id);
    match (told, entry) {
        (RosterChange::Delta { sequence, .. }, entry) => Some(((*sequence)?, !entry?.removed)),
        (RosterChange::Whole(_), Some(entry)) => Some((entry.sequence.unwrap(), true)),
        (_, None) => Some((named(told).iter().filter_map(|one| one.sequence).max()?, false)),
        (RosterChange::Left(_), _) => None,
    }
}
