//! `callgate keys rotate`: a successor with a secret of its own, while the old key goes on.

use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;

use super::create::print_secret;
use super::values::duration;
use super::{open, unknown};
use crate::cli::error::CliError;
use crate::cli::output::{Terminal, short_time};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::id::KeyId;
use crate::keys::{Keys, Rotation};
use crate::operator::Operator;

/// How long a key goes on that has a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Grace(Duration);

impl FromStr for Grace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const LONGEST: Duration = Duration::from_hours(24 * 366);
        match duration(text) {
            None => Err("expected a duration such as 0s, 12h, 7d or 4w"),
            Some(grace) if grace > LONGEST => Err("expected no more than a year"),
            Some(grace) => Ok(Self(grace)),
        }
    }
}

/// Runs the command.
///
/// # Errors
///
/// Nothing was changed, unless the error says otherwise.
pub(super) async fn run(
    old: KeyId,
    Grace(grace): Grace,
    json: bool,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let keys = open(config)?;
    let name = if json { name_of(&keys, old).await? } else { None };
    let rotated = keys.rotate(&Operator::of_this_process(), old, grace).await;
    let (id, secret, until) = match rotated.context("the key was not rotated")? {
        Rotation::Made { id, secret, old_expires_at } => (id, secret, old_expires_at),
        Rotation::Before(successor) => {
            let text = format!("key {old} has a successor already, {successor}: rotate that one");
            return Err(CliError::Input(text).into());
        }
        Rotation::NotValid => {
            let text = format!(
                "key {old} is revoked or expired, so nobody uses it: make a new one with \
                 `callgate keys create`"
            );
            return Err(CliError::Input(text).into());
        }
        Rotation::Unknown => return Err(unknown(old)),
    };
    let shown = json.then(|| {
        serde_json::json!({
            "id": id.to_string(),
            "name": name,
            "secret": secret.expose(),
            "rotatedID": old.to_string(),
            "rotatedExpiresAt": until.to_string(),
        })
    });
    // The old key has its successor for good, so another secret is that one's successor.
    let again = format!("keys rotate {id} --grace 0s");
    print_secret(id, &secret, shown.as_ref(), &again, terminal)
        .with_context(|| old_key(old, until))?;
    terminal.say(&format!("key {id}: this is its secret, which cannot be shown again"));
    let advice = format!("; `callgate keys show {old}` says who still uses it");
    let advice = if has_ended(until) { "" } else { &advice };
    terminal.say(&format!("{}{advice}", old_key(old, until)));
    Ok(())
}

async fn name_of(keys: &Keys, id: KeyId) -> anyhow::Result<Option<String>> {
    let reports = keys.list().await.context("the keys could not be read")?;
    Ok(reports.into_iter().find(|report| report.key.id == id).map(|report| report.key.name.clone()))
}

fn has_ended(until: Timestamp) -> bool {
    until <= Clock::System.now()
}

fn old_key(old: KeyId, until: Timestamp) -> String {
    if has_ended(until) {
        format!("key {old} has ended")
    } else {
        format!("key {old} goes on until {}", short_time(until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_may_be_none_and_is_a_year_at_most() {
        assert_eq!("0s".parse(), Ok(Grace(Duration::ZERO)));
        assert_eq!("7d".parse(), Ok(Grace(Duration::from_hours(7 * 24))));
        for wrong in ["", "7", "d", "-1d", "2027-01-31T00:00:00Z", "400d", "99999999999999999999w"]
        {
            assert!(wrong.parse::<Grace>().is_err(), "{wrong}");
        }
    }
}
