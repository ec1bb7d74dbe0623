//! `limits.…`: how much of a request is read.

use crate::config::source::Source;

/// The sizes, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct LimitsConfig {
    pub(crate) request_line: usize,
    pub(crate) headers: usize,
    pub(crate) body: usize,
    pub(crate) value: usize,
}

impl LimitsConfig {
    /// A lower bound keeps the shortest useful request possible, an upper one keeps what all
    /// connections together can hold within a machine's memory.
    pub(super) fn read(from: &mut Source) -> Self {
        Self {
            request_line: from.size("limits.request_line", 128..=64 << 10),
            headers: from.size("limits.headers", 1 << 10..=1 << 20),
            body: from.size("limits.body", 128..=16 << 20),
            value: from.size("limits.value", 64..=64 << 10),
        }
    }
}
