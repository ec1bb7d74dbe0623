//! `callgate pause` and `callgate resume`: the operator's switch. While it is off nothing is sent to Graph,
//! and everything is still taken and recorded.

use anyhow::Context as _;
use clap::Args;

use super::error::CliError;
use super::keys::tenant;
use super::open_store;
use super::output::{Terminal, printable, short_time};
use crate::clock::Clock;
use crate::config::Config;
use crate::id::TenantId;
use crate::operator::Operator;
use crate::store::Store;
use crate::store::access::AuditEntry;
use crate::store::pause::{Pause, Paused, Resumed};

/// The longest reason, in characters.
const LONGEST: usize = 256;

#[derive(Args)]
pub(super) struct PauseOptions {
    #[command(flatten)]
    whom: Whom,
    /// Why, for whoever finds it paused; it is recorded
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
}

#[derive(Args)]
pub(super) struct ResumeOptions {
    #[command(flatten)]
    whom: Whom,
}

/// For whom the switch is.
#[derive(Args)]
struct Whom {
    /// One tenant only [default: all]
    #[arg(long, value_name = "ID", value_parser = tenant)]
    tenant: Option<TenantId>,
}

/// Carries out `pause`.
///
/// # Errors
///
/// Nothing was changed.
pub(super) async fn pause(
    options: PauseOptions,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let PauseOptions { whom: Whom { tenant }, reason } = options;
    let (store, _) = open_store(config)?;
    let mut entry = entry("pause", tenant.as_ref());
    entry.event.parameters.extend(reason.is_some().then_some("reason"));
    entry.personal.reason = reason;
    let paused = store.pause(tenant.clone(), entry).await.context("nothing was paused")?;
    match paused {
        Paused::Unknown => return Err(unknown(tenant.as_ref())),
        Paused::Before(pause) => {
            terminal.say(&format!("nothing was changed: {}", with_remedy(&pause)));
        }
        Paused::Now => terminal.say(&format!(
            "paused: nothing is sent to Graph for {} any more, but for what was on its way; requests are \
             recorded and wait until {}, or end at their deadline",
            name(tenant.as_ref()),
            resumption(tenant.as_ref())
        )),
    }
    // What another switch keeps back waits for that one too.
    let standing =
        store.pauses().await.context("paused, but what else stands could not be read")?;
    for pause in standing.iter().filter(|pause| pause.tenant != tenant) {
        if is_kept_back(tenant.as_ref(), std::slice::from_ref(pause)) {
            terminal.say(&with_remedy(pause));
        }
    }
    Ok(())
}

/// Carries out `resume`.
///
/// # Errors
///
/// Nothing was changed.
pub(super) async fn resume(
    options: ResumeOptions,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let tenant = options.whom.tenant;
    let (store, _) = open_store(config)?;
    let resumed = store.resume(tenant.clone(), entry("resume", tenant.as_ref())).await;
    let resumed = resumed.context("nothing was resumed")?;
    if resumed == Resumed::Unknown {
        return Err(unknown(tenant.as_ref()));
    }
    let standing = store.pauses().await;
    let standing = standing.context("resumed, but what still stands could not be read")?;
    terminal.say(&came_of(&resumed, tenant.as_ref(), &standing));
    for pause in &standing {
        terminal.say(&with_remedy(pause));
    }
    Ok(())
}

/// What came of a resumption; those that are `standing` are listed below that.
fn came_of(resumed: &Resumed, tenant: Option<&TenantId>, standing: &[Pause]) -> String {
    let is_kept = is_kept_back(tenant, standing);
    let whom = whom(tenant);
    match resumed {
        Resumed::Now(pause) if is_kept => format!(
            "the pause of {whom} is lifted, but what is listed below still stands. Until now: {}",
            sentence(pause)
        ),
        Resumed::Now(pause) => {
            format!("resumed, and what is due is sent. Until now: {}", sentence(pause))
        }
        Resumed::Before | Resumed::Unknown if is_kept && tenant.is_some() => format!(
            "nothing was changed: {whom} had no pause of its own; what is listed below still stands"
        ),
        Resumed::Before | Resumed::Unknown => {
            format!("nothing was changed: sending was not paused for {whom}")
        }
    }
}

/// Something of this tenant, or of all, is not sent because of one of the pauses.
pub(super) fn is_kept_back(tenant: Option<&TenantId>, pauses: &[Pause]) -> bool {
    pauses.iter().any(|pause| match (tenant, &pause.tenant) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => true,
    })
}

/// Says which pauses stand, and what ends each.
///
/// # Errors
///
/// When the store cannot be read.
pub(super) async fn say_pauses(store: &Store, terminal: Terminal) -> anyhow::Result<()> {
    for pause in store.pauses().await.context("the pauses could not be read")? {
        terminal.say(&with_remedy(&pause));
    }
    Ok(())
}

/// What stands, by whom, since when and why.
pub(super) fn sentence(pause: &Pause) -> String {
    let (name, by, since) = (name(pause.tenant.as_ref()), &pause.by, short_time(pause.since));
    let reason = pause.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    printable(&format!("nothing is sent for {name}: paused by {by} since {since}{reason}"))
}

/// The same, and the command that ends it.
pub(super) fn with_remedy(pause: &Pause) -> String {
    format!("{}; {} ends that", sentence(pause), resumption(pause.tenant.as_ref()))
}

/// The command that ends the pause of this tenant, or the one of all.
fn resumption(tenant: Option<&TenantId>) -> String {
    tenant.map_or_else(
        || "`callgate resume`".to_owned(),
        |tenant| printable(&format!("`callgate resume --tenant {tenant}`")),
    )
}

fn name(tenant: Option<&TenantId>) -> String {
    tenant.map_or_else(|| "any tenant".to_owned(), of_one)
}

/// Whose pause it is.
pub(super) fn whom(tenant: Option<&TenantId>) -> String {
    tenant.map_or_else(|| "all tenants".to_owned(), of_one)
}

fn of_one(tenant: &TenantId) -> String {
    format!("tenant {tenant}")
}

fn entry(command: &str, tenant: Option<&TenantId>) -> AuditEntry {
    let mut entry = Operator::of_this_process().entry(command, Clock::System.now());
    entry.event.tenant = tenant.map(ToString::to_string);
    entry.event.parameters.extend(tenant.map(|_| "tenant"));
    entry
}

fn unknown(tenant: Option<&TenantId>) -> anyhow::Error {
    CliError::Input(format!("nothing is known of {}; nothing was changed", name(tenant))).into()
}

/// A reason that fits into one line of a log.
fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > LONGEST {
        return Err(format!("expected 1 to {LONGEST} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("expected one line without control characters".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn a_pause_is_one_sentence_whatever_was_written_by_hand() {
        let mut pause = Pause {
            tenant: None,
            since: Timestamp::parse("2026-11-22T04:32:55.987Z").unwrap(),
            by: "joe@gateway".to_owned(),
            reason: None,
            backup_at: None,
        };
        let text =
            "nothing is sent for any tenant: paused by joe@gateway since 2026-11-22T04:32:55Z";
        assert_eq!(sentence(&pause), text);
        assert_eq!(with_remedy(&pause), format!("{text}; `callgate resume` ends that"));
        pause.tenant = Some(TenantId::new("contoso.example"));
        pause.reason = Some("a\nb".to_owned());
        let text = "nothing is sent for tenant contoso.example: paused by joe@gateway since \
                    2026-11-22T04:32:55Z: a\u{fffd}b";
        assert_eq!(sentence(&pause), text);
        let text = format!("{text}; `callgate resume --tenant contoso.example` ends that");
        assert_eq!(with_remedy(&pause), text);
    }

    #[test]
    fn who_resumes_is_told_whether_anything_is_sent() {
        let pause = |tenant: Option<&str>| Pause {
            tenant: tenant.map(TenantId::new),
            since: Timestamp(0),
            by: "joe@gateway".to_owned(),
            reason: None,
            backup_at: None,
        };
        let (one, other) = (Some("one.example"), Some("other.example"));
        let sent = "resumed, and what is due is sent. Until now: nothing is sent for ";
        for (tenant, standing, expected) in [
            (None, vec![], sent),
            (one, vec![], sent),
            (one, vec![other], sent),
            (None, vec![one], "the pause of all tenants is lifted, but what is listed below "),
            (one, vec![None], "the pause of tenant one.example is lifted, but what is listed "),
        ] {
            let standing: Vec<_> = standing.into_iter().map(pause).collect();
            let whose = tenant.map(TenantId::new);
            let said = came_of(&Resumed::Now(pause(tenant)), whose.as_ref(), &standing);
            assert!(said.starts_with(expected), "{said}");
        }
        let (whose, all) = (one.map(TenantId::new), [pause(None)]);
        assert_eq!(
            came_of(&Resumed::Before, whose.as_ref(), &all),
            "nothing was changed: tenant one.example had no pause of its own; what is listed below \
             still stands"
        );
        assert_eq!(
            came_of(&Resumed::Before, None, &[pause(one)]),
            "nothing was changed: sending was not paused for all tenants"
        );
    }

    proptest! {
        #[test]
        fn a_reason_is_one_line_of_a_bounded_length(text in "\\PC{0,300}|[\\x00-\\x7f]{0,20}") {
            match reason(&text) {
                Ok(kept) => {
                    prop_assert_eq!(kept.as_str(), text.trim());
                    prop_assert!((1..=LONGEST).contains(&kept.chars().count()));
                    prop_assert!(!kept.chars().any(char::is_control));
                }
                Err(_) => prop_assert!(
                    text.trim().is_empty() || text.trim().chars().count() > LONGEST
                        || text.trim().chars().any(char::is_control)
                ),
            }
        }
    }
}
