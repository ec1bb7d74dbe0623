//! Shows in log and health what the operator's switch is set to. What it does is done by the store, in the
//! transactions that would send something: this is only for people.

use std::time::Duration;

use crate::cli::pause::{is_kept_back, sentence, whom, with_remedy};
use crate::health::Health;
use crate::server::drain::{self, Shutdown};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::pause::Pause;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_millis(500);
/// The part's name in `/readyz`.
const PART: &str = "paused";

/// The pauses that were seen last.
#[derive(Debug)]
pub(super) struct Pauses {
    store: Store,
    health: Health,
    seen: Vec<Pause>,
}

impl Pauses {
    pub(super) fn new(store: Store, health: Health) -> Self {
        Self { store, health, seen: Vec::new() }
    }

    /// Looks, and says what has changed since the last time.
    ///
    /// # Errors
    ///
    /// Nothing is known anew.
    pub(super) async fn look(&mut self) -> Result<(), StoreError> {
        let pauses = self.store.pauses().await?;
        for pause in pauses.iter().filter(|pause| !self.seen.contains(pause)) {
            tracing::warn!("{}", with_remedy(pause));
        }
        let resumed = |before: &&Pause| pauses.iter().all(|pause| pause.tenant != before.tenant);
        for before in self.seen.iter().filter(resumed) {
            let whose = before.tenant.as_ref();
            let lifted = if is_kept_back(whose, &pauses) {
                format!("the pause of {} is lifted, and another one still stands", whom(whose))
            } else {
                "resumed".to_owned()
            };
            tracing::info!("{lifted}. Until now: {}", sentence(before));
        }
        match reason(&pauses) {
            Some(reason) => self.health.degraded(PART, reason),
            None => self.health.restored(PART),
        }
        self.seen = pauses;
        Ok(())
    }

    /// Looks again and again until `stop`.
    pub(super) async fn run(mut self, mut stop: Shutdown) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = drain::requested(&mut stop) => return,
                _ = interval.tick() => {
                    if let Err(error) = self.look().await
                        && !error.is_shown()
                    {
                        tracing::warn!("whether it is paused could not be read: {error}");
                    }
                }
            }
        }
    }
}

/// The gravest that stands, and all that has to be lifted, in words of ours: who and why is in the log.
fn reason(pauses: &[Pause]) -> Option<&'static str> {
    let all = pauses.iter().find(|pause| pause.tenant.is_none());
    let are_some = pauses.iter().any(|pause| pause.tenant.is_some());
    match (all, are_some) {
        (Some(pause), false) if pause.backup_at.is_some() => {
            Some("restored from a backup: nothing is sent before `callgate resume`")
        }
        (Some(pause), true) if pause.backup_at.is_some() => Some(
            "restored from a backup: nothing is sent before `callgate resume`, and for some tenants \
             before `callgate resume --tenant ID` as well",
        ),
        (Some(_), false) => {
            Some("by an operator: nothing is sent for any tenant; `callgate resume` ends that")
        }
        (Some(_), true) => Some(
            "by an operator: nothing is sent for any tenant; `callgate resume` ends that, and some \
             tenants need `callgate resume --tenant ID` as well",
        ),
        (None, true) => Some(
            "by an operator: nothing is sent for some tenants; `callgate resume --tenant ID` ends that",
        ),
        (None, false) => None,
    }
}
