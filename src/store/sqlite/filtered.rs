//! Deletions by what operators filter them by, the newest first, page by page.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::Sqlite;
use super::deletions::{ROW, read_details, read_row};
use crate::id::CallId;
use crate::store::error::StoreError;
use crate::store::operations::DeletionFilter;
use crate::store::records::{DeletionDetails, DeletionRow};

impl Sqlite {
    /// See [`crate::store::Store::deletions`].
    pub(crate) async fn deletions(
        &self,
        filter: DeletionFilter,
        limit: usize,
    ) -> Result<Vec<DeletionRow>, StoreError> {
        self.read(move |connection| page(connection, &filter, limit, read_row)).await
    }

    /// See [`crate::store::Store::deletions_in_detail`].
    pub(crate) async fn deletions_in_detail(
        &self,
        filter: DeletionFilter,
        limit: usize,
    ) -> Result<Vec<DeletionDetails>, StoreError> {
        self.read(move |connection| {
            // One transaction, so that deletions, attempts and calls are those of one moment.
            let transaction = connection.unchecked_transaction()?;
            page(&transaction, &filter, limit, |row| read_details(&transaction, row))
        })
        .await
    }

    /// See [`crate::store::Store::count_deletions`].
    pub(crate) async fn count_deletions(&self, filter: DeletionFilter) -> Result<u64, StoreError> {
        self.read(move |connection| {
            let conditions = Conditions::of(&filter);
            let count: i64 = connection
                .prepare_cached(&format!(
                    "SELECT count(*) FROM deletions AS d JOIN tenants AS t ON t.tenant = d.tenant \
                     LEFT JOIN keys AS k ON k.key = d.key {}",
                    conditions.text
                ))?
                .query_row(params_from_iter(conditions.values), |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
        .await
    }

    /// See [`crate::store::Store::knows_call`].
    pub(crate) async fn knows_call(&self, call: CallId) -> Result<bool, StoreError> {
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(&format!("SELECT EXISTS ({})", calls_named()))?
                .query_row([call.as_str(); 3], |row| row.get(0))?)
        })
        .await
    }
}

pub(super) fn page<T>(
    connection: &Connection,
    filter: &DeletionFilter,
    limit: usize,
    read: impl Fn(&rusqlite::Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let conditions = Conditions::of(filter);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&format!(
        "{ROW} {} ORDER BY d.deletion DESC LIMIT {limit}",
        conditions.text
    ))?;
    let mut rows = statement.query(params_from_iter(conditions.values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// The conditions of a query, and what their parameters stand for, in order.
struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    fn of(filter: &DeletionFilter) -> Self {
        let mut all = Self { text: "WHERE 1".to_owned(), values: Vec::new() };
        let DeletionFilter { states, kinds, key, tenant, call, since, until, before } = filter;
        let states = states.iter().map(|state| state.as_str());
        all.one_of("d.state", states.collect());
        all.one_of("d.kind", kinds.clone());
        all.add("k.key_id = ?", key.map(|key| key.to_string()));
        all.add("t.tenant_id = ?", tenant.as_ref().map(ToString::to_string));
        all.add("d.created_at >= ?", since.map(|at| at.0));
        all.add("d.created_at < ?", until.map(|at| at.0));
        all.add(
            "d.deletion < (SELECT deletion FROM deletions WHERE deletion_id = ?)",
            before.map(|id| id.to_string()),
        );
        all.of_call(call.as_ref());
        all
    }

    fn add(&mut self, condition: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.text.push_str(" AND ");
            self.text.push_str(condition);
            self.values.push(value.into());
        }
    }

    fn one_of(&mut self, column: &str, words: Vec<&str>) {
        if !words.is_empty() {
            let places = vec!["?"; words.len()].join(", ");
            self.text.extend([" AND ", column, " IN (", &places, ")"]);
            self.values.extend(words.into_iter().map(|word| Value::Text(word.to_owned())));
        }
    }

    fn of_call(&mut self, call: Option<&CallId>) {
        let Some(call) = call else { return };
        self.text.extend([" AND d.call IN (", &calls_named(), ")"]);
        self.values.extend([call.as_str(); 3].map(|id| Value::Text(id.to_owned())));
    }
}

/// The calls with one id, which is the value of three parameters.
fn calls_named() -> String {
    let named = ["call_id", "graph_id", "graph_key"].map(|column| {
        // Every index begins with the tenant.
        format!(
            "SELECT call FROM calls WHERE tenant IN (SELECT tenant FROM tenants) AND {column} = ?"
        )
    });
    named.join(" UNION ")
}
