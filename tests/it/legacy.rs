//! The legacy API over TCP, line by line of docs/PROTOCOL.md.

mod audit;
mod auth;
mod delete;
mod encoding;
mod everybody;
mod formats;
mod graph;
mod interrupted;
mod invite;
mod limits;
mod limits_of_keys;
mod login;
mod lookup;
mod numbers;
mod order;
mod participants;
mod peers;
mod policies;
mod quirks;
mod refusals;
mod reject;
mod release;
mod repeats;
mod strangers;
