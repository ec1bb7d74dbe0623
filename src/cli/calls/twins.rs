//! Finds the lines of an import that contradict an earlier one: a call id for two calls, or two
//! call ids for one call.
//!
//! Only keyed 128-bit hashes are kept, so that millions of lines fit into memory and nobody can
//! write a file whose lines collide.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, RandomState};

use super::reader::Field;
use crate::store::records::ImportedCall;

/// What each call id and each call was said to be, and on which line.
#[derive(Debug, Default)]
pub(super) struct Twins {
    keys: [RandomState; 2],
    calls: HashMap<u128, (u128, u64)>,
    call_ids: HashMap<u128, (u128, u64)>,
}

impl Twins {
    /// Notes what `line` says.
    ///
    /// # Errors
    ///
    /// When an earlier line says something else.
    pub(super) fn note(&mut self, line: u64, call: &ImportedCall) -> Result<(), String> {
        let Some(call_id) = &call.call_id else { return Ok(()) };
        let by_id = self.hash((call.tenant_row, call_id.as_str()));
        let by_graph_id = self.hash((call.tenant_row, call.graph_id.0.as_str()));
        if let Err(earlier) = claim(&mut self.calls, by_id, by_graph_id, line) {
            let name = Field::CallId.name();
            return Err(format!("`{name}`: line {earlier} has it for another graphCallID"));
        }
        if let Err(earlier) = claim(&mut self.call_ids, by_graph_id, by_id, line) {
            let name = Field::GraphCallId.name();
            return Err(format!("`{name}`: line {earlier} has it with another callID"));
        }
        Ok(())
    }

    fn hash(&self, value: impl Hash) -> u128 {
        let [high, low] = &self.keys;
        u128::from(high.hash_one(&value)) << 64 | u128::from(low.hash_one(&value))
    }
}

/// Says that `key` is `value`; gives the line that said otherwise.
fn claim(
    said: &mut HashMap<u128, (u128, u64)>,
    key: u128,
    value: u128,
    line: u64,
) -> Result<(), u64> {
    match said.entry(key) {
        Entry::Vacant(free) => {
            free.insert((value, line));
            Ok(())
        }
        Entry::Occupied(known) if known.get().0 == value => Ok(()),
        Entry::Occupied(known) => Err(known.get().1),
    }
}
