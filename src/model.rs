//! What the service is about: values and pure rules, without any I/O.

pub(crate) mod call;
pub(crate) mod chain;
pub(crate) mod deletion;
pub(crate) mod key;
pub(crate) mod number;
pub(crate) mod plan;
pub(crate) mod rights;
pub(crate) mod selector;
