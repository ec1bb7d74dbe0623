//! Integration tests: the real server, the real simulator, the real binary, over TCP.
//!
//! One binary, so that it links once. This file is the table of contents.

mod support;

mod legacy;
mod notifications;

mod canary;
mod crash;
mod credentials;
mod reconcile;
mod shutdown;
mod tenants;

mod architecture;
mod cli;
mod examples;
mod simulator;
