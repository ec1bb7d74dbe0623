//! What must hold of a call, and which identifiers lead to it.

use rusqlite::types::Value;

use crate::config::legacy::CallField;
use crate::id::canonical_guid;
use crate::store::admission::Selection;

/// Conditions on `calls AS c` that must all hold, and the values bound in them.
pub(super) struct Conditions {
    pub(super) parts: Vec<String>,
    pub(super) values: Vec<Value>,
}

impl Conditions {
    pub(super) fn new(tenant_row: i64) -> Self {
        // The plus keeps SQLite from walking through all calls of the tenant: it takes the first
        // column of an index for more selective than the list of calls that the others lead to.
        Self { parts: vec!["+c.tenant = ?1".to_owned()], values: vec![Value::Integer(tenant_row)] }
    }

    /// The placeholder of a value.
    pub(super) fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    pub(super) fn add(&mut self, part: &str) {
        self.parts.push(part.to_owned());
    }

    /// One of `alternatives` holds, each of a column; gives what leads there, each by its own index.
    fn add_identifier(&mut self, alternatives: &[(&str, String)]) -> String {
        // The plus keeps SQLite from any other way than the one that was chosen.
        let parts = alternatives.iter().map(|(column, is)| format!("+c.{column} {is}"));
        self.parts.push(format!("({})", parts.collect::<Vec<_>>().join(" OR ")));
        let parts = alternatives.iter().map(|(column, is)| {
            format!("SELECT call FROM calls WHERE tenant = ?1 AND {column} {is}")
        });
        parts.collect::<Vec<_>>().join(" UNION ALL ")
    }
}

/// What must hold of a call by its identifiers, and the ways that lead to such calls.
pub(super) fn identifiers(conditions: &mut Conditions, selection: &Selection) -> Vec<String> {
    let selector = &selection.selector;
    let mapping = &selection.mapping;
    let mut sources = Vec::new();
    if let Some(id) = &selector.call_id {
        let canonical = canonical_guid(id);
        let raw = conditions.bind(Value::Text(id.clone()));
        let key = match canonical {
            Some(canonical) if canonical != *id => conditions.bind(Value::Text(canonical)),
            _ => raw.clone(),
        };
        sources.push(conditions.add_identifier(&[
            ("call_id", format!("= {key}")),
            ("graph_id", format!("IN ({raw}, {key})")),
            ("graph_key", format!("= {key}")),
        ]));
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
            let alternatives: Vec<_> =
                columns.map(|column| (column, format!("= {bound}"))).collect();
            sources.push(conditions.add_identifier(&alternatives));
        }
    }
    sources
}
