//! How the statements find calls, and how much they look at.

use rusqlite::StatementStatus;

use super::*;
use crate::config::legacy::{CallField, Mapping};
use crate::model::number::pattern::NumberPattern;
use crate::model::number::{Number, NumberingPlan};
use crate::model::selector::Selector;
use crate::store::admission::SelectionRules;
use crate::store::schema;

/// Every combination of identifiers that says something, a number among them or not, by keys with
/// limits and without.
fn selections() -> Vec<Selection> {
    let numbering = NumberingPlan::new(&["+4930123".to_owned(), "+494098".to_owned()]);
    let mapping = Mapping {
        platform_call_id: vec![CallField::CallChainId],
        native_id: vec![CallField::GraphCallId],
        meeting_id: vec![CallField::ThreadId, CallField::JoinMeetingId],
    };
    let patterns: Vec<NumberPattern> =
        ["+4930*", "*@example.com"].map(|one| one.parse().unwrap()).into();
    let mut selections = Vec::new();
    for bits in 1_u32..128 {
        let id = |bit: u32| (bits & 1 << bit != 0).then(|| "x".to_owned());
        let selector = Selector {
            call_id: id(0),
            platform_call_id: id(1),
            native_id: id(2),
            meeting_id: id(3),
            extension: id(4).map(|_| Number::parse("8856").unwrap()),
            status: None,
        };
        if bits & 0b11111 != 0 {
            let rules = SelectionRules {
                numbering: numbering.clone(),
                mapping: mapping.clone(),
                match_roster: id(5).is_some(),
            };
            let patterns = if id(6).is_some() { &patterns[..] } else { &[] };
            selections.push(Selection::new(1, patterns, selector, &rules));
        }
    }
    selections
}

/// It reads what another step has found: no table.
fn is_bounded_scan(step: &str) -> bool {
    step.starts_with("SCAN (subquery") || step == "SCAN CONSTANT ROW"
}

#[test]
fn no_selector_walks_through_the_calls_of_a_tenant() {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection, std::path::Path::new("memory")).unwrap();
    for selection in selections() {
        let mut statements = Vec::new();
        for among in [Among::All, Among::Ongoing, Among::Ended { since: 5 }] {
            let candidates = Candidates::new(&selection, among);
            let by_end = !matches!(among, Among::All);
            let sources = &candidates.sources;
            let sql = sources.iter().flat_map(|source| {
                [Candidates::count(source), candidates.statement(source, among)]
            });
            let values = || candidates.conditions.values.clone();
            statements.extend(sql.map(|sql| (by_end, Statement { sql, values: values() })));
        }
        statements.extend(since_statement(&selection).map(|statement| (true, statement)));
        for (by_end, statement) in statements {
            let sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
            let mut prepared = connection.prepare(&sql).unwrap();
            let values = statement.values.iter().take(prepared.parameter_count());
            let steps: Vec<String> = prepared
                .query_map(params_from_iter(values), |row| row.get(3))
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            for step in &steps {
                let walks = step.starts_with("SCAN") && !is_bounded_scan(step)
                    || step.contains("(tenant=?)");
                assert!(!walks, "{step}\n{}\n{steps:#?}", statement.sql);
                // Nor through all that a number has ever had, when the end says which.
                let by_number = step.contains("by_number") || step.contains("by_user");
                let is_bounded = !by_number || step.contains("ended_at");
                assert!(!by_end || is_bounded, "{step}\n{}\n{steps:#?}", statement.sql);
            }
        }
    }
}

const RUNNING: &str = "NULL";
const ENDED: &str = "1000 + n";

/// A registry in which each of so many calls is one of the same meeting, of the number 8856, and of
/// another that no other call has; it ended when `end` says.
fn full(calls: i64, end: &str) -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection, std::path::Path::new("memory")).unwrap();
    connection
        .execute_batch(&format!(
            "INSERT INTO tenants (tenant, tenant_id, created_at) VALUES (1, 'tenant', 0); \
             WITH RECURSIVE numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers \
             WHERE n < {calls}) \
             INSERT INTO calls (call, tenant, call_id, graph_id, thread_id, state, first_seen_at, \
             last_seen_at, ended_at) SELECT n, 1, 'our-' || n, 'graph-' || n, 'meeting', \
             'established', 0, 0, {end} FROM numbers; \
             INSERT INTO parties (call, position, tenant, role, kind, raw, normalised, ended_at) \
             SELECT call, 0, 1, 'source', 'number', '', '8856', ended_at FROM calls \
             UNION ALL \
             SELECT call, 1, 1, 'target', 'number', '', '+4989' || (1000000 + call), ended_at \
             FROM calls"
        ))
        .unwrap();
    connection
}

/// From now on this call is one that exists for the key.
fn let_exist(connection: &Connection, call: i64) {
    connection
        .execute(
            "UPDATE parties SET normalised = '+49301' WHERE call = ?1 AND position = 1",
            [call],
        )
        .unwrap();
}

/// By a key with twenty patterns of which one fits a call that was let exist, and none any other.
fn limited(number: Option<&str>, meeting: Option<&str>) -> Selection {
    let prefixes = ["+4970", "+4971", "+4972"].map(str::to_owned);
    let rules = SelectionRules {
        numbering: NumberingPlan::new(&prefixes),
        mapping: Mapping {
            platform_call_id: Vec::new(),
            native_id: Vec::new(),
            meeting_id: vec![CallField::ThreadId],
        },
        match_roster: true,
    };
    let patterns: Vec<NumberPattern> =
        (0..20).map(|n| format!("+49{}*", 30 + n).parse().unwrap()).collect();
    let selector = Selector {
        call_id: None,
        platform_call_id: None,
        native_id: None,
        meeting_id: meeting.map(str::to_owned),
        extension: number.map(|number| Number::parse(number).unwrap()),
        status: None,
    };
    Selection::new(1, &patterns, selector, &rules)
}

/// What SQLite did for one look, in steps of its machine.
fn steps(connection: &Connection, selection: &Selection, word: Option<StatusWord>) -> i32 {
    connection.flush_prepared_statement_cache();
    let matches = matching(connection, selection, word).unwrap();
    assert!(matches.count == 0 && matches.is_cut, "{word:?}: {matches:?}");
    let among = match word {
        None => Among::All,
        Some(StatusWord::Last) => Among::Ended { since: 5 },
        Some(_) => Among::Ongoing,
    };
    let candidates = Candidates::new(selection, among);
    let mut statements: Vec<_> =
        since_statement(selection).map(|one| one.sql).into_iter().collect();
    statements.push(Limits::new(selection).sql().to_owned());
    for source in &candidates.sources {
        statements.push(Candidates::count(source));
        statements.push(candidates.statement(source, among));
    }
    // The statements stand in the cache with what they have done.
    let done =
        |sql: &String| connection.prepare_cached(sql).unwrap().get_status(StatementStatus::VmStep);
    statements.iter().map(done).sum()
}

#[test]
fn a_look_costs_no_more_however_many_calls_a_number_or_a_meeting_has_had() {
    let (number, meeting) = (Some("8856"), Some("meeting"));
    for (end, of, word) in [
        (ENDED, limited(number, None), Some(StatusWord::Last)),
        (RUNNING, limited(number, None), Some(StatusWord::Ongoing)),
        (ENDED, limited(None, meeting), None),
        (ENDED, limited(None, meeting), Some(StatusWord::Last)),
        (RUNNING, limited(None, meeting), Some(StatusWord::Ongoing)),
        (RUNNING, limited(number, meeting), Some(StatusWord::Ongoing)),
    ] {
        let few = steps(&full(12_000, end), &of, word);
        let many = steps(&full(24_000, end), &of, word);
        assert!(few > 1_000 && many <= few + few / 100, "{word:?}: {few} {many}");
        assert!(many < 1_000_000, "{word:?}: {many}");
    }
}

#[test]
fn the_last_call_is_sought_among_so_many_of_the_number_and_no_further_back() {
    let last = Some(StatusWord::Last);
    let connection = full(600, ENDED);
    let selection = limited(Some("8856"), None);
    let outside = 600 - i64::try_from(COMPARED).unwrap();
    let_exist(&connection, outside);
    let none = matching(&connection, &selection, last).unwrap();
    assert_eq!((none.count, none.is_cut), (0, true));
    // An older one that has the number in another spelling is not the last one for it.
    let other = "UPDATE parties SET normalised = '+49708856' WHERE call = ?1 AND position = 0";
    connection.execute(other, [outside]).unwrap();
    let none = matching(&connection, &selection, last).unwrap();
    assert_eq!((none.count, none.is_cut), (0, true));
    // What ended before it may be left out.
    let_exist(&connection, outside + 1);
    let found = matching(&connection, &selection, last).unwrap();
    assert_eq!((found.count, found.is_cut, found.calls[0].row), (1, false, outside + 1));
}

#[test]
fn what_our_deletion_ended_before_the_calls_that_are_compared_is_not_the_last_one() {
    let connection = full(600, ENDED);
    let_exist(&connection, 1);
    connection
        .execute_batch(
            "INSERT INTO deletions (deletion, deletion_id, tenant, kind, selector, selector_hash, \
             scope, call, state, created_at, deadline_at, settled_at) \
             VALUES (1, 'x', 1, 'DeleteCall', '', x'', 'leg', 1, 'sent', 0, 0, 1050); \
             UPDATE calls SET ended_at = NULL, deleted_by = 1 WHERE call = 1",
        )
        .unwrap();
    let look = || {
        let selection = limited(Some("8856"), None);
        matching(&connection, &selection, Some(StatusWord::Last)).unwrap()
    };
    // That of another may lie between, of those that were left out.
    assert_eq!((look().count, look().is_cut), (0, true));
    connection.execute("UPDATE deletions SET settled_at = 1150", ()).unwrap();
    assert_eq!((look().count, look().is_cut), (1, false));
}

#[test]
fn a_call_is_not_the_only_one_when_others_were_left_out() {
    for (end, number, meeting, word) in [
        (RUNNING, Some("8856"), None, Some(StatusWord::Ongoing)),
        (RUNNING, None, Some("meeting"), Some(StatusWord::Ongoing)),
        (ENDED, None, Some("meeting"), None),
        // All ended together: the last one may be any of them.
        ("1000", None, Some("meeting"), Some(StatusWord::Last)),
        ("1000", Some("8856"), None, Some(StatusWord::Last)),
    ] {
        let compared = i64::try_from(COMPARED).unwrap();
        for (calls, is_cut) in [(compared, false), (compared + 1, true)] {
            let connection = full(calls, end);
            let_exist(&connection, 1);
            let found = matching(&connection, &limited(number, meeting), word).unwrap();
            assert_eq!((found.count, found.is_cut), (1, is_cut), "{word:?} {calls}");
            // It is listed as a candidate then.
            assert_eq!(found.calls[0].other_party.is_some(), is_cut, "{word:?} {calls}");
        }
    }
}

#[test]
fn the_identifier_that_leads_to_the_fewest_calls_is_followed() {
    let connection = full(12_000, ENDED);
    connection.execute("UPDATE calls SET native_id = 'x' WHERE call = 11999", ()).unwrap();
    let mut selection = limited(None, Some("meeting"));
    selection.patterns.clear();
    selection.selector.native_id = Some("x".to_owned());
    for word in [None, Some(StatusWord::Last)] {
        let found = matching(&connection, &selection, word).unwrap();
        assert_eq!((found.count, found.is_cut, found.calls[0].row), (1, false, 11_999));
    }
    // Of the meeting alone, one that was not followed may have ended last.
    selection.selector.native_id = None;
    let found = matching(&connection, &selection, Some(StatusWord::Last)).unwrap();
    assert_eq!((found.count, found.is_cut), (1, true));
}

#[test]
fn a_meeting_of_very_many_people_is_compared_in_part_only() {
    let connection = full(2, RUNNING);
    let people = format!(
        "WITH RECURSIVE numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers \
         WHERE n < {FOLLOWED}) INSERT INTO roster (call, participant_id, tenant, normalised) \
         SELECT 1, n, 1, '+4989' || n FROM numbers"
    );
    connection.execute(&people, ()).unwrap();
    let_exist(&connection, 2);
    let found = matching(&connection, &limited(Some("8856"), None), Some(StatusWord::Ongoing));
    let found = found.unwrap();
    assert_eq!((found.count, found.is_cut), (0, true));
}
