//! The calls that exist for a key: those with a number or address that one of its patterns fits.
//!
//! The limits are held against calls that other conditions have found, one by one: no index leads
//! from a pattern to calls.

use std::collections::HashMap;

use rusqlite::Connection;

use super::{COMPARED, FOLLOWED, places};
use crate::model::number::pattern::Patterns;
use crate::store::admission::Selection;
use crate::store::error::StoreError;

/// What limits a selection, and what was found out about numbers on the way.
pub(super) struct Limits<'a> {
    selection: &'a Selection,
    patterns: Patterns,
    /// Reads the numbers of one call.
    sql: String,
    /// Whether a number fits; the one that was asked for stands in every call.
    known: HashMap<String, bool>,
    /// Calls and numbers that may still be looked at.
    calls: usize,
    numbers: usize,
}

impl<'a> Limits<'a> {
    pub(super) fn new(selection: &'a Selection) -> Self {
        // Whoever has left counts: whether a call exists does not depend on the status word.
        let parts = places(selection)
            .map(|place| format!("SELECT {} FROM {} WHERE call = ?1", place.column, place.table));
        Self {
            selection,
            patterns: Patterns::new(&selection.patterns),
            sql: parts.collect::<Vec<_>>().join(" UNION ALL "),
            known: HashMap::new(),
            calls: COMPARED,
            numbers: FOLLOWED,
        }
    }

    #[cfg(test)]
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// Whether this call exists for the key; none when so many were looked at that this one is not.
    pub(super) fn exists(
        &mut self,
        connection: &Connection,
        call: i64,
    ) -> Result<Option<bool>, StoreError> {
        if self.selection.patterns.is_empty() {
            return Ok(Some(true));
        }
        let Some(calls) = self.calls.checked_sub(1) else { return Ok(None) };
        self.calls = calls;
        let mut statement = connection.prepare_cached(&self.sql)?;
        let mut rows = statement.query([call])?;
        while let Some(row) = rows.next()? {
            let Some(numbers) = self.numbers.checked_sub(1) else { return Ok(None) };
            self.numbers = numbers;
            // Of somebody in the roster, one of the two may not be known.
            if let Some(number) =
                row.get_ref(0)?.as_str_or_null().map_err(StoreError::unexpected)?
                && self.fits(number)
            {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    /// A pattern fits the number, or one that is equal to it.
    fn fits(&mut self, number: &str) -> bool {
        if let Some(fits) = self.known.get(number) {
            return *fits;
        }
        let forms = self.selection.numbering.forms(number);
        let fits = forms.iter().any(|form| self.patterns.fit(form));
        self.known.insert(number.to_owned(), fits);
        fits
    }
}
