//! Which calls a selector matches.
//!
//! The statements are put together from fixed pieces; every value is bound, none is ever text of
//! the statement.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use crate::clock::Timestamp;
use crate::config::legacy::CallField;
use crate::id::{CallId, GraphCallId, canonical_guid};
use crate::model::call::Call;
use crate::model::number::masked;
use crate::model::plan::{Ambiguity, Match, Matches};
use crate::model::selector::StatusWord;
use crate::store::admission::Selection;
use crate::store::error::StoreError;

const CALL: &str = "SELECT c.call, c.call_id, c.graph_id, c.state, c.started_at, c.ended_at, c.last_seen_at FROM calls AS c WHERE ";

/// When a call ended: as it was told, or else when Graph took our deletion of it.
const END: &str = "coalesce(c.ended_at, \
                   (SELECT settled_at FROM deletions WHERE deletion = c.deleted_by))";

/// The calls that all identifiers of `selection` and the status word match.
pub(super) fn matching(
    connection: &Connection,
    selection: &Selection,
    word: Option<StatusWord>,
) -> Result<Matches, StoreError> {
    let statement = match word {
        None => calls(selection, Among::All),
        Some(StatusWord::Ongoing) => calls(selection, Among::Ongoing),
        Some(StatusWord::Last) => {
            let latest = latest_end(selection);
            let end: Option<i64> = connection
                .prepare_cached(&latest.sql)?
                .query_row(params_from_iter(&latest.values), |row| row.get(0))?;
            let Some(end) = end else { return Ok(Matches::default()) };
            calls(selection, Among::EndedAt(end))
        }
        // Nothing that exists can match the word that arms a deletion.
        Some(StatusWord::Next) => return Ok(Matches::default()),
    };
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    let mut rows = prepared.query(params_from_iter(&statement.values))?;
    let mut matches = Matches::default();
    while let Some(row) = rows.next()? {
        matches.count += 1;
        if matches.calls.len() < Ambiguity::LISTED {
            matches.calls.push(read_match(row)?);
        }
    }
    if matches.count > 1 {
        for one in &mut matches.calls {
            one.other_party = other_party(connection, one.row, &selection.numbers)?;
        }
    }
    Ok(matches)
}

/// The calls among which a selector looks.
#[derive(Clone, Copy, Debug)]
enum Among {
    All,
    /// Those that have not ended and that Graph has taken no deletion of.
    Ongoing,
    /// Those of which [`END`] is this.
    EndedAt(i64),
}

/// A statement with the values that are bound in it.
#[derive(Debug)]
struct Statement {
    sql: String,
    values: Vec<Value>,
}

/// Finds the calls, at most one more than are counted.
fn calls(selection: &Selection, among: Among) -> Statement {
    let mut conditions = Conditions::new(selection.tenant_row);
    identifiers(&mut conditions, selection);
    match among {
        Among::All => number(&mut conditions, places(selection), selection, &[""]),
        Among::Ongoing => {
            let places = places(selection).map(Place::still_there);
            number(&mut conditions, places, selection, &["AND ended_at IS NULL"]);
            conditions.add("c.ended_at IS NULL AND c.deleted_by IS NULL");
        }
        Among::EndedAt(end) => {
            let end = conditions.bind(Value::Integer(end));
            // Two look-ups: an OR would lead through all calls of the number.
            let ended = format!("AND ended_at = {end}");
            let also = [&ended, "AND ended_at IS NULL"];
            number(&mut conditions, places(selection), selection, &also);
            conditions.add(&format!("{END} = {end}"));
        }
    }
    // In the order they became known, so that the candidates that are listed are always the same.
    conditions.statement(CALL, &format!(" ORDER BY c.call LIMIT {}", Ambiguity::COUNTED + 1))
}

/// Finds when the most recently ended call that matches has ended.
fn latest_end(selection: &Selection) -> Statement {
    let mut conditions = Conditions::new(selection.tenant_row);
    identifiers(&mut conditions, selection);
    if conditions.has_identifiers() || selection.numbers.is_empty() {
        number(&mut conditions, places(selection), selection, &[""]);
        return conditions.statement(&format!("SELECT max({END}) FROM calls AS c WHERE "), "");
    }
    // One step in the index for each spelling, however many calls the number has had, and then
    // those of which no end was told.
    let ends: Vec<_> = selection
        .numbers
        .iter()
        .flat_map(|number| {
            let number = conditions.bind(Value::Text(number.clone()));
            places(selection).map(move |Place { table, column, .. }| {
                format!(
                    "SELECT * FROM (SELECT ended_at AS at FROM {table} WHERE tenant = ?1 AND \
                     {column} = {number} AND ended_at IS NOT NULL \
                     ORDER BY ended_at DESC LIMIT 1) UNION ALL \
                     SELECT settled_at FROM {table} AS p CROSS JOIN calls AS c ON c.call = p.call \
                     CROSS JOIN deletions AS d ON d.deletion = c.deleted_by \
                     WHERE p.tenant = ?1 AND {column} = {number} AND p.ended_at IS NULL"
                )
            })
        })
        .collect();
    let sql = format!("SELECT max(at) FROM ({})", ends.join(" UNION ALL "));
    Statement { sql, values: conditions.values }
}

fn identifiers(conditions: &mut Conditions, selection: &Selection) {
    let selector = &selection.selector;
    let mapping = &selection.mapping;
    if let Some(id) = &selector.call_id {
        let canonical = canonical_guid(id);
        let raw = conditions.bind(Value::Text(id.clone()));
        let key = match canonical {
            Some(canonical) if canonical != *id => conditions.bind(Value::Text(canonical)),
            _ => raw.clone(),
        };
        conditions.add_calls(&[
            format!("call_id = {key}"),
            format!("graph_id IN ({raw}, {key})"),
            format!("graph_key = {key}"),
        ]);
    }
    for (value, column, fields) in [
        (&selector.platform_call_id, "platform_call_id", &mapping.platform_call_id),
        (&selector.native_id, "native_id", &mapping.native_id),
        (&selector.meeting_id, "meeting_id", &mapping.meeting_id),
    ] {
        if let Some(value) = value {
            let bound = conditions.bind(Value::Text(value.clone()));
            let columns =
                std::iter::once(column).chain(fields.iter().map(|field| CallField::column(*field)));
            let parts: Vec<_> = columns.map(|column| format!("{column} = {bound}")).collect();
            conditions.add_calls(&parts);
        }
    }
}

/// The number is one of the call's; each of `also` is an alternative of what must hold besides.
fn number(
    conditions: &mut Conditions,
    places: impl Iterator<Item = Place>,
    selection: &Selection,
    also: &[&str],
) {
    if selection.numbers.is_empty() {
        return;
    }
    let spellings: Vec<_> = selection
        .numbers
        .iter()
        .map(|number| conditions.bind(Value::Text(number.clone())))
        .collect();
    let spellings = spellings.join(", ");
    // Beside an identifier, the few calls that it names are looked at, and not the many of a number.
    let narrows = conditions.has_identifiers();
    let parts: Vec<_> = places
        .flat_map(|place| also.iter().map(move |also| (place, also)))
        .map(|(Place { table, column, also: always }, also)| {
            let condition = format!("{column} IN ({spellings}) {also}{always}");
            if narrows {
                format!("EXISTS (SELECT 1 FROM {table} WHERE call = c.call AND +{condition})")
            } else {
                format!("SELECT call FROM {table} WHERE tenant = ?1 AND {condition}")
            }
        })
        .collect();
    conditions.add(&if narrows {
        format!("({})", parts.join(" OR "))
    } else {
        format!("c.call IN ({})", parts.join(" UNION ALL "))
    });
}

/// Where numbers are looked up: a table, the column of it, each with an index of its own.
#[derive(Clone, Copy)]
struct Place {
    table: &'static str,
    column: &'static str,
    /// What must hold of the row besides.
    also: &'static str,
}

impl Place {
    const PARTIES: Self = Self { table: "parties", column: "normalised", also: "" };
    const ROSTER: [Self; 2] = [
        Self { table: "roster", column: "normalised", also: "" },
        Self { table: "roster", column: "user_id", also: "" },
    ];

    /// Without those who have left.
    fn still_there(self) -> Self {
        let also = if self.table == "roster" { " AND left_at IS NULL" } else { "" };
        Self { also, ..self }
    }
}

fn places(selection: &Selection) -> impl Iterator<Item = Place> {
    let roster = Place::ROSTER.into_iter().filter(|_| selection.match_roster);
    std::iter::once(Place::PARTIES).chain(roster)
}

/// The first number or address of the call that is not the one that was asked for, masked.
fn other_party(
    connection: &Connection,
    call: i64,
    asked: &[String],
) -> Result<Option<String>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT normalised FROM parties WHERE call = ?1 AND kind <> 'application' \
         ORDER BY position",
    )?;
    let mut rows = statement.query([call])?;
    while let Some(row) = rows.next()? {
        let number: String = row.get(0)?;
        if !asked.contains(&number) {
            return Ok(Some(masked(&number)));
        }
    }
    Ok(None)
}

fn read_match(row: &Row<'_>) -> Result<Match, StoreError> {
    let state: String = row.get(3)?;
    let call = Call {
        call_id: CallId::new(&row.get::<_, String>(1)?),
        graph_id: GraphCallId(row.get(2)?),
        state: state.parse().map_err(StoreError::unexpected)?,
        started_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
        ended_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        last_seen_at: Timestamp(row.get(6)?),
    };
    Ok(Match { row: row.get(0)?, call, other_party: None })
}

/// Conditions on `calls AS c` that must all hold, and the values bound in them.
struct Conditions {
    parts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn new(tenant_row: i64) -> Self {
        // The plus keeps SQLite from walking through all calls of the tenant: it takes the first
        // column of an index for more selective than the list of calls that the others lead to.
        Self { parts: vec!["+c.tenant = ?1".to_owned()], values: vec![Value::Integer(tenant_row)] }
    }

    /// The placeholder of a value.
    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    fn add(&mut self, part: &str) {
        self.parts.push(part.to_owned());
    }

    /// The call is one of those that any of `alternatives` holds for, each by its own index.
    fn add_calls(&mut self, alternatives: &[String]) {
        let parts: Vec<_> = alternatives
            .iter()
            .map(|one| format!("SELECT call FROM calls WHERE tenant = ?1 AND {one}"))
            .collect();
        self.add(&format!("c.call IN ({})", parts.join(" UNION ALL ")));
    }

    /// There is a condition besides the tenant.
    fn has_identifiers(&self) -> bool {
        self.parts.len() > 1
    }

    fn statement(self, select: &str, limit: &str) -> Statement {
        Statement {
            sql: format!("{select}{}{limit}", self.parts.join(" AND ")),
            values: self.values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::legacy::Mapping;
    use crate::model::number::{Number, NumberingPlan};
    use crate::model::selector::Selector;
    use crate::store::schema;

    /// Every combination of identifiers that says something, a number among them or not.
    fn selections() -> Vec<Selection> {
        let numbering = NumberingPlan::new(&["+4930123".to_owned(), "+494098".to_owned()]);
        let mapping = Mapping {
            platform_call_id: vec![CallField::CallChainId],
            native_id: vec![CallField::GraphCallId],
            meeting_id: vec![CallField::ThreadId, CallField::JoinMeetingId],
        };
        let mut selections = Vec::new();
        for bits in 1_u32..64 {
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
                let roster = id(5).is_some();
                selections.push(Selection::new(1, selector, &numbering, &mapping, roster));
            }
        }
        selections
    }

    #[test]
    fn no_selector_walks_through_the_calls_of_a_tenant() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection, std::path::Path::new("memory")).unwrap();
        for selection in selections() {
            for (by_end, statement) in [
                (false, calls(&selection, Among::All)),
                (true, calls(&selection, Among::Ongoing)),
                (true, calls(&selection, Among::EndedAt(5))),
                (true, latest_end(&selection)),
            ] {
                let sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
                let mut prepared = connection.prepare(&sql).unwrap();
                let steps: Vec<String> = prepared
                    .query_map(params_from_iter(&statement.values), |row| row.get(3))
                    .unwrap()
                    .collect::<Result<_, _>>()
                    .unwrap();
                for step in &steps {
                    let walks = step.starts_with("SCAN") && !step.starts_with("SCAN (subquery")
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
}
