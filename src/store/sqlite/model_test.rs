//! The resolution in SQL against one written anew in plain Rust: on thousands of small random
//! registries both must lead every selector to the same decision.

mod deletions;
mod naive;
mod people;
mod registry;

use std::fmt;
use std::sync::Arc;

use self::naive::Naive;
pub(super) use self::registry::Dice;
use self::registry::{PREFIXES, Registry, nothing, selector};
pub(super) use self::registry::{database, imported};
use super::{admit, calls};
use crate::model::deletion::{DeletionKind, Scope};
use crate::model::number::NumberingPlan;
use crate::model::number::pattern::NumberPattern;
use crate::model::plan::{Ambiguity, Decision, Question, Refusal, decide};
use crate::model::selector::Selector;
use crate::store::access::Checked;
use crate::store::admission::{Admission, Ask, SelectionRules};
use crate::store::fixture::{DEADLINE, NOW, api_key, asked_for, event, selection_rules};

/// How many selectors are asked for, when the environment does not say, and how many of each registry.
const ASKED: usize = 20_000;
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
    let asked = asked_for("RELIABILITY_QUERIES").unwrap_or(ASKED);
    let mut decided = [0; 12];
    each(
        asked,
        |_| {},
        |by_sql, by_hand, case| {
            assert_eq!(by_sql, by_hand, "{case}");
            decided[outcome(by_sql)] += 1;
        },
    );
    // Every kind of decision was met often enough to mean something.
    assert!(decided.iter().all(|count| *count >= 100), "{decided:?}");
}

#[test]
fn a_reference_that_forgets_a_rule_is_noticed() {
    type Forget = fn(&mut Ask);
    let forget: [(&str, Forget); 5] = [
        ("the tenant", |ask| ask.selection.tenant_row = 3 - ask.selection.tenant_row),
        ("what the key is limited to", |ask| ask.selection.patterns.clear()),
        ("the status", |ask| ask.question.status = None),
        ("which app we are", |ask| ask.question.client_id = None),
        ("that it was a dry run", |ask| ask.question.dry_run = false),
    ];
    for (what, forget) in forget {
        let mut differ = 0;
        each(ASKED / 10, forget, |by_sql, by_hand, _| differ += usize::from(by_sql != by_hand));
        assert!(differ > 0, "it makes no difference to forget {what}");
    }
}

/// Has both decide what random registries are asked, the reference with an `ask` that `forget` has
/// changed.
fn each(
    asked: usize,
    forget: impl Fn(&mut Ask),
    mut compare: impl FnMut(&Decision, &Decision, fmt::Arguments<'_>),
) {
    let folder = tempfile::tempdir().unwrap();
    let connection = database(&folder);
    for seed in 0..u64::try_from(asked.div_ceil(SELECTORS)).unwrap() {
        let mut dice = Dice::new(seed);
        connection.execute_batch("BEGIN").unwrap();
        let mut registry = Registry::default();
        let asked: Vec<_> =
            (0..SELECTORS).map(|_| (selector(&mut dice), people::kind(&mut dice))).collect();
        registry.fill(&connection, &mut dice, &asked);
        for (selector, kind) in asked {
            let known = registry.call_id(&mut dice);
            let tenant = known.as_ref().map(|(_, tenant)| *tenant);
            let selector = known.map_or(selector, |(selector, _)| selector);
            let mut ask = ask(&mut dice, &selector, kind, tenant);
            connection.execute_batch("SAVEPOINT one").unwrap();
            let by_sql = match admit::admit(&connection, &ask).unwrap() {
                Admission::Decided(decided) => sorted(decided.decision),
                Admission::AccessChanged => panic!("access has not changed"),
            };
            connection.execute_batch("ROLLBACK TO one; RELEASE one").unwrap();
            forget(&mut ask);
            let by_hand = decide(&ask.question, &mut Naive { registry: &registry, ask: &ask });
            let kind = &ask.question.kind;
            compare(
                &by_sql,
                &sorted(by_hand.unwrap()),
                format_args!("seed {seed}: {selector:?}, {kind:?}\n{registry:#?}"),
            );
        }
        connection.execute_batch("ROLLBACK").unwrap();
    }
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
    let mut ask = ask(
        &mut Dice::new(0),
        &Selector { meeting_id: Some("m".to_owned()), ..nothing() },
        DeletionKind::DeleteCall(Scope::Leg),
        Some(1),
    );
    ask.selection.patterns.clear();
    let matches = super::resolve::matching(&connection, &ask.selection, None).unwrap();
    assert_eq!(matches.count, Ambiguity::COUNTED + 1);
    assert_eq!(matches.calls.len(), Ambiguity::LISTED);
}

fn ask(dice: &mut Dice, selector: &Selector, kind: DeletionKind, tenant: Option<i64>) -> Ask {
    let prefixes: Vec<_> =
        PREFIXES.iter().filter(|_| dice.one_in(2)).map(ToString::to_string).collect();
    let rules = SelectionRules {
        numbering: NumberingPlan::new(&prefixes),
        match_roster: dice.one_in(2),
        ..selection_rules()
    };
    let tenant_row = tenant.unwrap_or(1 + i64::from(dice.one_in(2)));
    let mut key = api_key(tenant_row * 2 - i64::from(dice.one_in(2)), tenant_row);
    key.numbers = patterns(dice);
    let selection = rules.select_for(&key, selector.clone(), &kind);
    Ask {
        // Four keys were made, each of which moved it.
        checked: Checked { generation: 5, key: Arc::new(key), session: None },
        question: Question {
            kind,
            now: NOW,
            status: selector.status.clone(),
            may_arm: false,
            dry_run: dice.one_in(4),
            ended_is_success: dice.one_in(3),
            client_id: (!dice.one_in(6)).then(|| people::CLIENT.to_owned()),
            sees_candidates: !dice.one_in(4),
        },
        selection,
        peer: prefixes.join(" "),
        reason: None,
        now: NOW,
        steady: NOW,
        deadline: NOW + DEADLINE,
        lease: None,
        audit: event(),
        personal: crate::model::chain::Personal::default(),
    }
}

/// None for most of the keys.
fn patterns(dice: &mut Dice) -> Vec<NumberPattern> {
    let count = dice.roll(6).saturating_sub(3);
    (0..count).map(|_| PATTERNS[dice.roll(PATTERNS.len())].parse().unwrap()).collect()
}

/// The decision with its candidates in an order of their own.
fn sorted(mut decision: Decision) -> Decision {
    if let Decision::Refuse { refusal, .. } = &mut decision {
        match refusal {
            Refusal::Ambiguous(ambiguity) => {
                ambiguity.candidates.sort_by_key(|one| one.call_id.to_string());
            }
            Refusal::NoParticipant(candidates)
            | Refusal::AmbiguousParticipant { candidates, .. } => {
                candidates.sort_by(|one, two| one.participant_id.cmp(&two.participant_id));
            }
            _ => {}
        }
    }
    decision
}

fn outcome(decision: &Decision) -> usize {
    match decision {
        Decision::Admit { .. } => 0,
        Decision::Join(_) => 1,
        Decision::AlreadyDeleted(_) => 2,
        Decision::Ending { .. } => 3,
        Decision::AlreadyEnded { .. } => 4,
        Decision::WouldSend { .. } => 5,
        Decision::Refuse { refusal: Refusal::Ambiguous(_), .. } => 6,
        Decision::Refuse { refusal: Refusal::LegOver, .. } => 7,
        Decision::Refuse { refusal: Refusal::NoParticipant(_), .. } => 8,
        Decision::Refuse { refusal: Refusal::AmbiguousParticipant { .. }, .. } => 9,
        Decision::Refuse { refusal: Refusal::OtherApp, .. } => 10,
        Decision::Refuse { .. } => 11,
        // No key of this test may arm anything.
        Decision::Arm | Decision::JoinArmed(_) | Decision::WouldArm => unreachable!(),
    }
}
