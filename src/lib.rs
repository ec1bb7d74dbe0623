//! callgate: a gateway from a call recorder's legacy HTTP API to Microsoft Graph.
//!
//! The modules in reading order: a request comes in at `server` and `http`, is understood, decided
//! and answered by `legacy`, recorded by `journal` in `store`, and sent by the journal's sender
//! through `graph`; Graph's notifications come in at `server` and `http` as well and are proven, read
//! and merged into the `registry` by `notifications`. Modules import only from those further down; `docs/ARCHITECTURE.md` has the
//! table, and a test holds the code against it.

pub mod cli;

mod http;
mod server;

mod legacy;
mod notifications;

mod app;

mod access;
mod audit;
mod journal;
mod keys;
mod operator;
mod registry;
mod sessions;
mod users;

mod graph;
mod store;

mod clock;
mod config;
mod health;
mod id;
mod model;
mod reply;
mod secret;
mod telemetry;

mod simulator;

#[doc(hidden)]
pub mod measured;

pub use crate::cli::serve::{Listeners, ServeError, serve};
pub use crate::config::error::ConfigErrors;
pub use crate::config::{Config, Options};
pub use crate::simulator::{ScriptError, Simulator};
