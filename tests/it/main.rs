//! Integration tests: the real server, the real simulator, the real binary, over TCP.
//!
//! One binary, so that it links once. This file is the table of contents.

mod support;

mod legacy;
mod notifications;

mod backup;
mod bench_seed;
mod canary;
mod clock_jumps;
mod crash;
mod credentials;
mod damage;
mod deletions;
mod metrics;
mod pause;
mod reconcile;
mod restored;
mod shutdown;
mod stopped;
mod tenants;

mod architecture;
mod cli;
mod examples;
mod simulator;
