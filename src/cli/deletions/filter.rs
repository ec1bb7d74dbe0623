//! Which deletions a command is about: the options that narrow a list.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::cli::error::CliError;
use crate::cli::{ids, keys};
use crate::clock::{Clock, Timestamp};
use crate::id::{CallId, KeyId, TenantId};
use crate::model::deletion::DeletionState;
use crate::store::Store;
use crate::store::operations::DeletionFilter;

const KINDS: [&str; 4] = ["DeleteCall", "RejectCall", "DeleteParticipant", "InviteParticipant"];

#[derive(Args, Clone, Debug)]
#[expect(clippy::doc_markdown, reason = "these are help texts")]
pub(in crate::cli) struct FilterOptions {
    /// Only those in this state: armed, open, sent, confirmed, gone, failed, obsolete, held, cancelled
    /// or unknown; may be repeated
    #[arg(long, value_parser = state)]
    pub(super) state: Vec<DeletionState>,
    /// Only those of this kind: DeleteCall, RejectCall, DeleteParticipant or InviteParticipant; may be
    /// repeated
    #[arg(long, value_parser = kind)]
    kind: Vec<&'static str>,
    /// Only those that were asked for with this key, by its id
    #[arg(long, value_name = "ID", value_parser = ids::key)]
    key: Option<KeyId>,
    /// Only those of this tenant
    #[arg(long, value_name = "ID", value_parser = keys::tenant)]
    tenant: Option<TenantId>,
    /// Only those of this call, by its id, ours or Graph's
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    /// Only those recorded at this time or later, such as 2027-01-31T00:00:00Z, or 12h or 90d ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Only those recorded before this time, given in the same way
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
}

impl FilterOptions {
    /// The deletions that are meant, and what to say when there are none.
    ///
    /// # Errors
    ///
    /// When no deletion can be recorded at such a time, nothing is known of the tenant, or the store
    /// cannot be read.
    pub(super) async fn look_up(
        &self,
        store: &Store,
    ) -> anyhow::Result<(DeletionFilter, &'static str)> {
        let filter = self.at(Clock::System.now())?;
        if let Some(tenant) = &filter.tenant {
            let known = store.find_tenant(tenant.clone()).await;
            if known.context("the tenants could not be read")?.is_none() {
                return Err(CliError::Input(format!("nothing is known of tenant {tenant}")).into());
            }
        }
        let is_known = match &filter.call {
            Some(call) => {
                store.knows_call(call.clone()).await.context("the calls could not be read")?
            }
            None => true,
        };
        let none = if is_known { "there are no such deletions" } else { "no such call is known" };
        Ok((filter, none))
    }

    /// The deletions that are meant at `now`.
    fn at(&self, now: Timestamp) -> Result<DeletionFilter, CliError> {
        let since = self.since.map(|moment| moment.at(now));
        let until = self.until.map(|moment| moment.at(now));
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            let text = format!("--since {since} is not before --until {until}");
            return Err(CliError::Usage(text));
        }
        Ok(DeletionFilter {
            states: self.state.clone(),
            kinds: self.kind.clone(),
            key: self.key,
            tenant: self.tenant.clone(),
            call: self.call.as_deref().map(|id| CallId::new(id.trim())),
            since,
            until,
            before: None,
        })
    }

    /// The options that were given, for the record.
    pub(super) fn names(&self) -> Vec<&'static str> {
        [
            ("--state", !self.state.is_empty()),
            ("--kind", !self.kind.is_empty()),
            ("--key", self.key.is_some()),
            ("--tenant", self.tenant.is_some()),
            ("--call", self.call.is_some()),
            ("--since", self.since.is_some()),
            ("--until", self.until.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }
}

/// A time in the past, as it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// This instant.
    At(Timestamp),
    /// So long before the command.
    Ago(Duration),
}

impl Moment {
    fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(duration) => now - duration,
        }
    }
}

fn moment(text: &str) -> Result<Moment, &'static str> {
    const EXPECTED: &str = "expected a date and time with an offset such as \
                            2027-01-31T00:00:00Z, or how long ago, such as 30m, 12h, 90d or 52w";
    if let Ok(at) = Timestamp::parse(text) {
        return Ok(Moment::At(at));
    }
    keys::duration(text).map(Moment::Ago).ok_or(EXPECTED)
}

fn state(text: &str) -> Result<DeletionState, &'static str> {
    const EXPECTED: &str = "expected one of armed, open, sent, confirmed, gone, failed, obsolete, held, \
                            cancelled, unknown";
    // Nothing awaits an approval in this version.
    let known = text.parse().ok().filter(|state| *state != DeletionState::PendingApproval);
    known.ok_or(EXPECTED)
}

fn kind(text: &str) -> Result<&'static str, &'static str> {
    const EXPECTED: &str =
        "expected one of DeleteCall, RejectCall, DeleteParticipant, InviteParticipant";
    KINDS.into_iter().find(|kind| kind.eq_ignore_ascii_case(text)).ok_or(EXPECTED)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_moment_is_an_instant_or_so_long_ago() {
        let now = Timestamp(1_800_000_000_000);
        let at = |text| moment(text).map(|moment| moment.at(now));
        assert_eq!(at("90d"), Ok(now - Duration::from_hours(90 * 24)));
        assert_eq!(at("0s"), Ok(now));
        assert_eq!(at("2027-01-15T09:00:00+01:00"), Ok(now));
        for wrong in ["", "d", "yesterday", "-1d", "2027-01-31", "90"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_state_but_the_one_of_a_later_version_is_taken_and_named_to_whoever_mistypes() {
        let expected = state("opne").unwrap_err();
        for word in expected.trim_start_matches("expected one of ").split(", ") {
            assert_eq!(state(word).map(DeletionState::as_str), Ok(word));
        }
        assert_eq!(expected.split(", ").count(), 10);
        assert!(state("pending_approval").is_err());
    }

    #[test]
    fn a_kind_is_read_in_any_case() {
        assert_eq!(kind("deletecall"), Ok("DeleteCall"));
        assert!(kind("delete").is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_a_moment_that_overflows(text in "\\PC{0,24}", now in any::<i64>()) {
            if let Ok(Moment::Ago(duration)) = moment(&text) {
                prop_assert!(Moment::Ago(duration).at(Timestamp(now)) <= Timestamp(now));
            }
        }
    }
}
