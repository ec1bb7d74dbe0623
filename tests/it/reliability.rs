//! That no accepted deletion is lost, whatever ends the program: `docs/RELIABILITY.md`.
//!
//! Each figure there has its test here, in a size that every run of the tests can afford.
//! `scripts/reliability` asks for more of the same. Each guard has a control beside it: the same
//! check without that guard, which must then find something.

mod disk;
mod faults;
mod kill;
mod ledger;
mod power_loss;
mod refusals;
mod start;
mod trace;
mod witness;

use std::fmt::Display;
use std::str::FromStr;

use crate::support::Seeded;

/// How many: what `scripts/reliability` asks for, and `usual` without it.
fn amount<T: FromStr + Display>(name: &str, usual: T) -> T {
    #[expect(clippy::disallowed_methods, reason = "only scripts/reliability sets it")]
    let asked = std::env::var(name).ok();
    asked.map_or(usual, |text| text.parse().ok().expect("a number is asked for"))
}

/// Shows a figure to who asked for it with `--nocapture`.
#[expect(clippy::print_stdout, reason = "the figures are what scripts/reliability is run for")]
fn figure(text: impl Display) {
    println!("figure: {text}");
}

/// Puts them in another order, which the seed chooses.
fn shuffle<T>(seeded: &mut Seeded, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, seeded.below(last + 1));
    }
}
