//! The legacy API over TCP, line by line of docs/PROTOCOL.md.

mod auth;
mod delete;
mod encoding;
mod formats;
mod graph;
mod limits;
mod lookup;
mod numbers;
mod order;
mod policies;
mod quirks;
mod refusals;
mod repeats;
mod strangers;
