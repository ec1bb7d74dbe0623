//! Which calls a selector matches, among those that exist for its key.
//!
//! The statements are put together from fixed pieces; every value is bound, none is ever text of
//! the statement.

mod conditions;
mod limits;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, Rows, params_from_iter};

use self::conditions::{Conditions, identifiers};
use self::limits::Limits;
use crate::clock::Timestamp;
use crate::id::{CallId, GraphCallId};
use crate::model::call::Call;
use crate::model::number::masked;
use crate::model::plan::{Ambiguity, Match, Matches};
use crate::model::selector::StatusWord;
use crate::store::admission::Selection;
use crate::store::error::StoreError;

/// What is read of a call; when it ended, by [`END`], comes after it.
const CALL: &str = "SELECT c.call, c.call_id, c.graph_id, c.state, c.started_at, c.ended_at, \
                    c.last_seen_at, c.rings_until, c.app_id, ";

/// When a call ended: as it was told, or else when Graph took our deletion of it.
const END: &str = "coalesce(c.ended_at, \
                   (SELECT settled_at FROM deletions WHERE deletion = c.deleted_by))";

/// No more rows than this are followed from an identifier, or from a number, to calls.
const FOLLOWED: usize = 10_000;
/// No more calls than this are held against the patterns of a key.
const COMPARED: usize = 500;

/// The calls that all identifiers of `selection` and the status word match.
///
/// However many calls there are, only so many are looked at: [`FOLLOWED`] of the identifier that
/// leads to the fewest, and of these, by a key with patterns, [`COMPARED`]. When that leaves any
/// out, the answer says so ([`Matches::is_cut`]) unless they cannot matter:
///
/// - without a word, and for `ongoing`, each call that was left out may match as well, so that
///   what was found is never the only one;
/// - for `last`, calls are compared from the one that ended last backwards. What was left out of
///   the comparison ended before all that was compared, and changes nothing once one was found.
///   When none was found, an older one may be meant. What was not even followed may have ended at
///   any time.
pub(super) fn matching(
    connection: &Connection,
    selection: &Selection,
    word: Option<StatusWord>,
) -> Result<Matches, StoreError> {
    let among = match word {
        None => Among::All,
        Some(StatusWord::Ongoing) => Among::Ongoing,
        Some(StatusWord::Last) => Among::Ended { since: since(connection, selection)? },
        // Nothing that exists can match the word that arms a deletion.
        Some(StatusWord::Next) => return Ok(Matches::default()),
    };
    let candidates = Candidates::new(selection, among);
    let (source, is_cut) = candidates.shortest(connection)?;
    let mut matches = Matches { is_cut, ..Matches::default() };
    let mut prepared = connection.prepare_cached(&candidates.statement(source, among))?;
    let mut rows = candidates.query(&mut prepared)?;
    let mut limits = Limits::new(selection);
    let mut latest = None;
    while matches.count <= Ambiguity::COUNTED
        && let Some(row) = rows.next()?
    {
        let end: Option<i64> = row.get(9)?;
        if let Among::Ended { since } = among
            && (end.is_none_or(|end| end < since) || latest.is_some_and(|latest| latest != end))
        {
            break;
        }
        let Some(exists) = limits.exists(connection, row.get(0)?)? else {
            matches.is_cut = true;
            break;
        };
        if exists {
            latest = Some(end);
            matches.count += 1;
            if matches.calls.len() < Ambiguity::LISTED {
                matches.calls.push(read_match(row)?);
            }
        }
    }
    matches.is_cut |= matches.count == 0 && among.leaves_older_out();
    if matches.count > 1 || matches.is_cut {
        for one in &mut matches.calls {
            one.other_party = other_party(connection, one.row, &selection.numbers)?;
        }
    }
    Ok(matches)
}

/// This call, when all identifiers of `selection` match it and it exists for the key. Who has left it does
/// not count, as with `ongoing`.
pub(super) fn matching_call(
    connection: &Connection,
    selection: &Selection,
    call: i64,
) -> Result<Option<Match>, StoreError> {
    let among = Among::One(call);
    let candidates = Candidates::new(selection, among);
    let source = candidates.sources.first().map_or("", String::as_str);
    let mut prepared = connection.prepare_cached(&candidates.statement(source, among))?;
    let mut rows = candidates.query(&mut prepared)?;
    let Some(row) = rows.next()? else { return Ok(None) };
    // One whose numbers are too many to be looked at is none that is certain.
    let exists = Limits::new(selection).exists(connection, call)?.unwrap_or(false);
    exists.then(|| read_match(row)).transpose()
}

/// This call, whatever is asked for.
pub(super) fn known_call(connection: &Connection, call: i64) -> Result<Option<Match>, StoreError> {
    let mut prepared =
        connection.prepare_cached(&format!("{CALL}NULL FROM calls AS c WHERE c.call = ?1"))?;
    let mut rows = prepared.query([call])?;
    rows.next()?.map(read_match).transpose()
}

/// The calls among which a selector looks.
#[derive(Clone, Copy, Debug)]
enum Among {
    All,
    /// Those that have not ended and that Graph has taken no deletion of.
    Ongoing,
    /// This one.
    One(i64),
    /// Those of which [`END`] is not before `since`.
    Ended {
        since: i64,
    },
}

impl Among {
    const ALL_ENDED: i64 = i64::MIN;

    fn leaves_older_out(self) -> bool {
        matches!(self, Self::Ended { since } if since != Self::ALL_ENDED)
    }
}

/// Since when the ends lie among which the last one is sought: one step in the index for each
/// spelling of the number, or as many as calls are compared.
fn since(connection: &Connection, selection: &Selection) -> Result<i64, StoreError> {
    let sought = since_statement(selection);
    let Some(Statement { sql, values }) = sought else { return Ok(Among::ALL_ENDED) };
    let since: Option<i64> =
        connection.prepare_cached(&sql)?.query_row(params_from_iter(&values), |row| row.get(0))?;
    Ok(since.unwrap_or(Among::ALL_ENDED))
}

/// None when identifiers lead to the calls.
fn since_statement(selection: &Selection) -> Option<Statement> {
    let mut conditions = Conditions::new(selection.tenant_row);
    if !identifiers(&mut conditions, selection).is_empty() {
        return None;
    }
    let mut conditions = Conditions::new(selection.tenant_row);
    // Whatever ended last exists for a key without patterns.
    let skipped = if selection.patterns.is_empty() { 0 } else { COMPARED - 1 };
    let ends: Vec<_> = selection
        .numbers
        .iter()
        .flat_map(|number| {
            let number = conditions.bind(Value::Text(number.clone()));
            places(selection).map(move |Place { table, column, .. }| {
                format!(
                    "SELECT * FROM (SELECT ended_at AS at FROM {table} WHERE tenant = ?1 \
                     AND {column} = {number} AND ended_at IS NOT NULL \
                     ORDER BY ended_at DESC LIMIT 1 OFFSET {skipped})"
                )
            })
        })
        .collect();
    if ends.is_empty() {
        return None;
    }
    let sql = format!("SELECT max(at) FROM ({})", ends.join(" UNION ALL "));
    Some(Statement { sql, values: conditions.values })
}

/// A statement with the values that are bound in it.
#[derive(Debug)]
struct Statement {
    sql: String,
    values: Vec<Value>,
}

/// What leads to the calls that a selector may match, and what must hold of them.
struct Candidates {
    conditions: Conditions,
    /// Each leads to all of them, through an index.
    sources: Vec<String>,
}

impl Candidates {
    fn new(selection: &Selection, among: Among) -> Self {
        let mut conditions = Conditions::new(selection.tenant_row);
        let mut sources = identifiers(&mut conditions, selection);
        match among {
            Among::One(call) => {
                let call = conditions.bind(Value::Integer(call));
                sources.insert(0, format!("SELECT {call}"));
                number(&mut conditions, &mut sources, selection, among, &[""]);
            }
            Among::All => number(&mut conditions, &mut sources, selection, among, &[""]),
            Among::Ongoing => {
                number(&mut conditions, &mut sources, selection, among, &["AND ended_at IS NULL"]);
                conditions.add("c.ended_at IS NULL AND c.deleted_by IS NULL");
            }
            Among::Ended { since } if sources.is_empty() => {
                let since = conditions.bind(Value::Integer(since));
                // Two look-ups: an OR would lead through all calls of the number.
                let ended = format!("AND ended_at >= {since}");
                let also = [&ended, "AND ended_at IS NULL"];
                number(&mut conditions, &mut sources, selection, among, &also);
            }
            Among::Ended { .. } => {
                number(&mut conditions, &mut sources, selection, among, &[""]);
            }
        }
        Self { conditions, sources }
    }

    /// The source with the fewest rows, and whether some of them are left out even so.
    fn shortest(&self, connection: &Connection) -> Result<(&str, bool), StoreError> {
        let mut shortest = ("SELECT NULL WHERE 0", 0);
        for (position, source) in self.sources.iter().enumerate() {
            let mut prepared = connection.prepare_cached(&Self::count(source))?;
            let rows: i64 = match self.query(&mut prepared)?.next()? {
                Some(row) => row.get(0)?,
                None => 0,
            };
            if position == 0 || rows < shortest.1 {
                shortest = (source, rows);
            }
            if rows <= 1 {
                break;
            }
        }
        Ok((shortest.0, usize::try_from(shortest.1).is_ok_and(|rows| rows > FOLLOWED)))
    }

    /// Counts the rows of a source, as far as it matters.
    fn count(source: &str) -> String {
        format!("SELECT count(*) FROM ({source} LIMIT {})", FOLLOWED + 1)
    }

    /// Finds the calls that `source` leads to, for `last` from the end backwards, and else in the
    /// order they became known, so that the candidates that are listed are always the same.
    fn statement(&self, source: &str, among: Among) -> String {
        let (end, order) = match among {
            Among::Ended { .. } => (END, "10 DESC, c.call"),
            Among::All | Among::Ongoing | Among::One(_) => ("NULL", "c.call"),
        };
        let conditions = self.conditions.parts.join(" AND ");
        let limit = COMPARED.max(Ambiguity::COUNTED) + 1;
        format!(
            "{CALL}{end} FROM calls AS c WHERE c.call IN ({source} LIMIT {FOLLOWED}) \
             AND {conditions} ORDER BY {order} LIMIT {limit}"
        )
    }

    /// Binds the values as far as the statement has them.
    fn query<'a>(&self, prepared: &'a mut rusqlite::Statement<'_>) -> Result<Rows<'a>, StoreError> {
        let bound = prepared.parameter_count();
        Ok(prepared.query(params_from_iter(self.conditions.values.iter().take(bound)))?)
    }
}

/// The number is one of the call's; each of `also` is an alternative of what must hold besides.
fn number(
    conditions: &mut Conditions,
    sources: &mut Vec<String>,
    selection: &Selection,
    among: Among,
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
    let parts: Vec<_> = places(selection)
        .map(|place| place.among(among))
        .flat_map(|place| also.iter().map(move |also| (place, also)))
        .map(|(Place { table, column, also: always }, also)| {
            (table, format!("{column} IN ({spellings}) {also}{always}"))
        })
        .collect();
    let is_beside = !sources.is_empty();
    // The last calls of the number alone are not all that an identifier's last may be among.
    if !is_beside || !matches!(among, Among::Ended { .. }) {
        let of_tenant = parts.iter().map(|(table, condition)| {
            format!("SELECT call FROM {table} WHERE tenant = ?1 AND {condition}")
        });
        sources.push(of_tenant.collect::<Vec<_>>().join(" UNION ALL "));
    }
    // Beside an identifier, the few numbers of each call are looked at.
    if is_beside {
        let of_call = parts.iter().map(|(table, condition)| {
            format!("EXISTS (SELECT 1 FROM {table} WHERE call = c.call AND +{condition})")
        });
        conditions.add(&format!("({})", of_call.collect::<Vec<_>>().join(" OR ")));
    }
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

    /// Without those who have left, where that matters.
    fn among(self, among: Among) -> Self {
        let still_there = matches!(among, Among::Ongoing | Among::One(_)) && self.table == "roster";
        Self { also: if still_there { " AND left_at IS NULL" } else { "" }, ..self }
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
        app_id: row.get(8)?,
        state: state.parse().map_err(StoreError::unexpected)?,
        started_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
        ended_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        last_seen_at: Timestamp(row.get(6)?),
        rings_until: row.get::<_, Option<i64>>(7)?.map(Timestamp),
    };
    Ok(Match { row: row.get(0)?, call, other_party: None })
}

#[cfg(test)]
mod tests;
