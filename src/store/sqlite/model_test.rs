//! The resolution in SQL against one written anew in plain Rust: on thousands of small random
//! registries both must lead every selector to the same decision.

mod registry;

use std::sync::Arc;

pub(super) use self::registry::Dice;
use self::registry::{Known, PREFIXES, Recorded, Registry, nothing, selector};
pub(super) use self::registry::{database, imported};
use super::{admit, calls};
use crate::clock::Timestamp;
use crate::model::deletion::{
    DeletionKind, DeletionState, REPEATED_BY_THE_CALLER, REPEATED_BY_THE_STACK,
};
use crate::model::number::pattern::NumberPattern;
use crate::model::number::{NumberingPlan, masked};
use crate::model::plan::{
    Ambiguity, Decision, Earlier, Match, Matches, Question, Refusal, View, decide,
};
use crate::model::selector::{Selector, StatusWord};
use crate::store::access::Checked;
use crate::store::admission::{Admission, Ask, Selection, SelectionRules};
use crate::store::fixture::{DEADLINE, NOW, api_key, event, selection_rules};

/// How many registries are made, and how many selectors each is asked.
const REGISTRIES: u64 = 2_000;
const SELECTORS: usize = 10;
/// What the calls of a key are limited to.
const PATTERNS: [&str; 11] = [
    "88*",
    "8*",
    "+4930*",
    "+49*77",
    "7?",
    "8??6",
    "*@example.com",
    "a*@e*.com",
    "8a34*",
    "*1238856",
    "0*",
];

#[test]
fn the_sql_and_a_naive_reference_decide_alike() {
    let folder = tempfile::tempdir().unwrap();
    let connection = database(&folder);
    let mut decided = [0; 8];
    for seed in 0..REGISTRIES {
        let mut dice = Dice::new(seed);
        connection.execute_batch("BEGIN").unwrap();
        let mut registry = Registry::default();
        let selectors: Vec<_> = (0..SELECTORS).map(|_| selector(&mut dice)).collect();
        registry.fill(&connection, &mut dice, &selectors);
        for selector in selectors {
            let case = format!("seed {seed}: {selector:?}\n{registry:#?}");
            let ask = ask(&mut dice, selector);
            connection.execute_batch("SAVEPOINT one").unwrap();
            let by_sql = match admit::admit(&connection, &ask).unwrap() {
                Admission::Decided(decided) => sorted(decided.decision),
                Admission::AccessChanged => panic!("access has not changed"),
            };
            connection.execute_batch("ROLLBACK TO one; RELEASE one").unwrap();
            let by_hand = decide(&ask.question, &mut Naive { registry: &registry, ask: &ask });
            assert_eq!(by_sql, sorted(by_hand.unwrap()), "{case}");
            decided[kind(&by_sql)] += 1;
        }
        connection.execute_batch("ROLLBACK").unwrap();
    }
    // Every kind of decision was met often enough to mean something.
    assert!(decided.iter().all(|count| *count >= 100), "{decided:?}");
}

#[test]
fn counting_and_listing_stop_where_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let connection = database(&folder);
    for n in 0..Ambiguity::COUNTED + 20 {
        let mut call = imported(1, &format!("call-{n}"));
        call.meeting_id = Some("m".to_owned());
        assert!(
            calls::Inserts::prepare(&connection).unwrap().insert(&connection, &call, NOW).unwrap()
        );
    }
    let mut ask =
        ask(&mut Dice::new(0), Selector { meeting_id: Some("m".to_owned()), ..nothing() });
    ask.selection.tenant_row = 1;
    ask.selection.patterns.clear();
    let matches = super::resolve::matching(&connection, &ask.selection, None).unwrap();
    assert_eq!(matches.count, Ambiguity::COUNTED + 1);
    assert_eq!(matches.calls.len(), Ambiguity::LISTED);
}

fn ask(dice: &mut Dice, selector: Selector) -> Ask {
    let prefixes: Vec<_> =
        PREFIXES.iter().filter(|_| dice.one_in(2)).map(ToString::to_string).collect();
    let rules = SelectionRules {
        numbering: NumberingPlan::new(&prefixes),
        match_roster: dice.one_in(2),
        ..selection_rules()
    };
    let tenant_row = 1 + i64::from(dice.one_in(2));
    let key = api_key(tenant_row * 2 - i64::from(dice.one_in(2)), tenant_row);
    Ask {
        // Four keys were made, each of which moved it.
        checked: Checked { generation: 5, key: Arc::new(key), session: None },
        question: Question {
            kind: DeletionKind::DeleteCall,
            now: NOW,
            status: selector.status.clone(),
            dry_run: dice.one_in(4),
            ended_is_success: dice.one_in(3),
            sees_candidates: !dice.one_in(4),
        },
        selection: Selection::new(tenant_row, &patterns(dice), selector, &rules),
        peer: prefixes.join(" "),
        reason: None,
        now: NOW,
        deadline: NOW + DEADLINE,
        lease: None,
        audit: event(),
        personal: crate::model::chain::Personal::default(),
    }
}

/// None for half of the keys.
fn patterns(dice: &mut Dice) -> Vec<NumberPattern> {
    let count = dice.roll(4).saturating_sub(1);
    (0..count).map(|_| PATTERNS[dice.roll(PATTERNS.len())].parse().unwrap()).collect()
}

/// The reference: no SQL, no index, nothing of the resolution's own code.
struct Naive<'a> {
    registry: &'a Registry,
    ask: &'a Ask,
}

impl Naive<'_> {
    /// With `now`, those of the roster count who have not left.
    fn matches(&self, known: &Known, now: bool) -> bool {
        let Selection { selector, tenant_row, match_roster, .. } = &self.ask.selection;
        let is = |asked: &Option<String>, fields: &[Option<&String>]| {
            asked.as_ref().is_none_or(|asked| fields.contains(&Some(asked)))
        };
        let Known { call, chain, thread, join_meeting, platform, native, meeting, .. } = known;
        let by_call_id = selector.call_id.as_ref().is_none_or(|asked| {
            let same =
                |ours: &str| ours == asked || guid(ours).is_some() && guid(ours) == guid(asked);
            same(call.call_id.as_str()) || same(&call.graph_id.0)
        });
        let by_number = selector.extension.as_ref().is_none_or(|asked| {
            let parties = known.parties.iter().map(|party| &party.normalised);
            let roster = known.roster.iter().filter(|one| *match_roster && !(now && one.left));
            let roster = roster.flat_map(|one| [&one.number, &one.user]).flatten();
            parties.chain(roster).any(|number| self.equal(&asked.normalised, number))
        });
        known.tenant == *tenant_row
            && self.exists(known)
            && by_call_id
            && by_number
            && is(&selector.platform_call_id, &[platform.as_ref(), chain.as_ref()])
            && is(&selector.native_id, &[native.as_ref(), Some(&call.graph_id.0)])
            && is(&selector.meeting_id, &[meeting.as_ref(), thread.as_ref(), join_meeting.as_ref()])
    }

    /// One who is or was in the call fits a pattern, or is, under another number, one who does.
    fn exists(&self, known: &Known) -> bool {
        let Selection { patterns, match_roster, .. } = &self.ask.selection;
        let prefixes = || self.ask.peer.split(' ').filter(|prefix| !prefix.is_empty());
        let fits = |number: &str| {
            let fits = |form: &str| patterns.iter().any(|pattern| pattern.fits(form));
            let longer = |prefix| format!("{prefix}{number}");
            let shorter = |prefix| number.strip_prefix(prefix).filter(|rest| short(rest));
            fits(number)
                || short(number) && prefixes().any(|prefix| fits(&longer(prefix)))
                || !short(number) && prefixes().filter_map(shorter).any(fits)
        };
        let parties = known.parties.iter().map(|party| &party.normalised);
        let roster = known.roster.iter().filter(|_| *match_roster);
        let roster = roster.flat_map(|one| [&one.number, &one.user]).flatten();
        patterns.is_empty() || parties.chain(roster).any(|number| fits(number))
    }

    /// A short number is a long one that is a prefix and it; all others are equal to themselves.
    fn equal(&self, one: &str, other: &str) -> bool {
        // The prefixes that are in force travel in a field that resolving does not read.
        let prefixes = || self.ask.peer.split(' ').filter(|prefix| !prefix.is_empty());
        one == other
            || short(one) && prefixes().any(|prefix| format!("{prefix}{one}") == other)
            || short(other) && prefixes().any(|prefix| format!("{prefix}{other}") == one)
    }

    fn by_selector(&self, since: Timestamp, abandoned_only: bool) -> Option<Earlier> {
        let wanted = |one: &&Recorded| {
            one.by_delete_call
                && one.key == self.ask.checked.key.row
                && one.selector == self.ask.selection.canonical
                && one.created_at > since
                && (one.abandoned || !abandoned_only)
        };
        let all = self.registry.deletions.iter().filter(wanted);
        all.max_by_key(|one| (one.created_at, one.row)).map(|one| self.told(one))
    }

    fn told(&self, one: &Recorded) -> Earlier {
        let call_id = self.registry.calls[one.call].call.call_id.clone();
        Earlier { deletion_id: one.id, call_id, state: one.state, operation: None }
    }

    fn shown(&self, known: &Known, several: bool) -> Match {
        let other = known.parties.iter().find(|party| {
            let asked = self.ask.selection.selector.extension.as_ref();
            party.kind != "application"
                && asked.is_none_or(|asked| !self.equal(&asked.normalised, &party.normalised))
        });
        let other_party = other.filter(|_| several).map(|party| masked(&party.normalised));
        Match { row: known.row, call: known.call.clone(), other_party }
    }

    fn known(&self, call: &Match) -> usize {
        self.registry.calls.iter().position(|known| known.row == call.row).unwrap()
    }
}

impl View for Naive<'_> {
    type Error = std::convert::Infallible;

    fn matching(&mut self, word: Option<StatusWord>) -> Result<Matches, Self::Error> {
        let now = word == Some(StatusWord::Ongoing);
        let mut found: Vec<_> =
            self.registry.calls.iter().filter(|known| self.matches(known, now)).collect();
        match word {
            None => {}
            Some(StatusWord::Ongoing) => {
                found.retain(|known| known.call.ended_at.is_none() && known.deleted_at.is_none());
            }
            Some(StatusWord::Last) => {
                // What was told of the end counts, and only without that our own deletion.
                let end = |known: &Known| known.call.ended_at.or(known.deleted_at);
                let last = found.iter().filter_map(|known| end(known)).max();
                found.retain(|known| last.is_some() && end(known) == last);
            }
            Some(StatusWord::Next) => found.clear(),
        }
        let count = found.len();
        let calls = found.iter().map(|one| self.shown(one, count > 1)).collect();
        Ok(Matches { count, calls, is_cut: false })
    }

    fn abandoned(&mut self) -> Result<Option<Earlier>, Self::Error> {
        Ok(self.by_selector(NOW - REPEATED_BY_THE_STACK, true))
    }

    fn earlier(&mut self) -> Result<Option<Earlier>, Self::Error> {
        Ok(self.by_selector(NOW - REPEATED_BY_THE_CALLER, false))
    }

    fn deletion_of(&mut self, call: &Match) -> Result<Option<Earlier>, Self::Error> {
        let call = self.known(call);
        let counts = |one: &&Recorded| {
            one.call == call
                && (one.by_delete_call && one.state == DeletionState::Open || one.state.is_taken())
        };
        let all = self.registry.deletions.iter().filter(counts);
        let newest = all.max_by_key(|one| (one.state == DeletionState::Open, one.row));
        Ok(newest.map(|one| self.told(one)))
    }

    fn held(&mut self, call: &Match) -> Result<bool, Self::Error> {
        let known = &self.registry.calls[self.known(call)];
        Ok(self.registry.holds.iter().any(|(tenant, kind, value)| {
            let is =
                |fields: &[&Option<String>]| fields.iter().any(|one| one.as_ref() == Some(value));
            let graph_id = &known.call.graph_id.0;
            *tenant == known.tenant
                && match *kind {
                    "all" => true,
                    "call" => {
                        known.call.call_id.as_str() == value
                            || graph_id == value
                            || guid(graph_id).as_ref() == Some(value)
                    }
                    "platform_call" => is(&[&known.platform, &known.chain]),
                    "native" => is(&[&known.native]) || graph_id == value,
                    "meeting" => is(&[&known.meeting, &known.thread, &known.join_meeting]),
                    _ => {
                        known.parties.iter().any(|party| party.normalised == *value)
                            || known.roster.iter().any(|one| one.number.as_ref() == Some(value))
                    }
                }
        }))
    }
}

/// It is dialled inside one site.
fn short(number: &str) -> bool {
    (1..=7).contains(&number.len()) && number.chars().all(|c| c.is_ascii_digit())
}

/// The one spelling of a GUID.
fn guid(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    if digits.len() != 32 {
        return None;
    }
    let plain = digits.to_lowercase();
    let parts = [&plain[..8], &plain[8..12], &plain[12..16], &plain[16..20], &plain[20..]];
    let dashed = parts.join("-");
    let spellings =
        [plain.clone(), dashed.clone(), format!("{{{plain}}}"), format!("{{{dashed}}}")];
    spellings.contains(&text.to_lowercase()).then_some(dashed)
}

/// The decision with its candidates in an order of their own.
fn sorted(mut decision: Decision) -> Decision {
    if let Decision::Refuse { refusal: Refusal::Ambiguous(ambiguity), .. } = &mut decision {
        ambiguity.candidates.sort_by_key(|one| one.call_id.to_string());
    }
    decision
}

fn kind(decision: &Decision) -> usize {
    match decision {
        Decision::Admit { .. } => 0,
        Decision::Join(_) => 1,
        Decision::AlreadyDeleted(_) => 2,
        Decision::Ending { .. } => 3,
        Decision::AlreadyEnded { .. } => 4,
        Decision::WouldSend { .. } => 5,
        Decision::Refuse { refusal: Refusal::Ambiguous(_), .. } => 6,
        Decision::Refuse { .. } => 7,
    }
}
