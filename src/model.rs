//! What the service is about: values and pure rules, without any I/O.

pub(crate) mod call;
pub(crate) mod chain;
pub(crate) mod change;
pub(crate) mod deletion;
pub(crate) mod end_reason;
pub(crate) mod everybody;
pub(crate) mod graph_call;
pub(crate) mod key;
pub(crate) mod merge;
pub(crate) mod number;
pub(crate) mod participant;
pub(crate) mod plan;
pub(crate) mod reconcile;
pub(crate) mod rights;
pub(crate) mod selector;
pub(crate) mod user;
