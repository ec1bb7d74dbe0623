//! What can go wrong with a command, and the one place that gives it an exit code.

use std::process::ExitCode;

use super::output;
use super::serve::ServeError;
use crate::config::error::ConfigErrors;
use crate::simulator::ScriptError;
use crate::store::error::{OpenError, StoreError};
use crate::store::sqlite::backup::VerifyError;

pub(super) const USAGE: u8 = 64;
const BAD_INPUT: u8 = 65;
const UNAVAILABLE: u8 = 69;
const OUR_FAULT: u8 = 70;
const DAMAGED: u8 = 74;
const CONFIGURATION: u8 = 78;

/// What only the command line finds wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// What was asked for makes no sense; the text says what would.
    #[error("{0}")]
    Usage(String),
    /// What was read is wrong, or nothing has the id that was given.
    #[error("{0}")]
    Input(String),
    /// Lines of an import are wrong, each with its text.
    #[error("{}", .0.join("\n"))]
    Lines(Vec<String>),
    /// The configuration or the state of the database is wrong, and all of it was said.
    #[error("")]
    Said,
    /// The database has to be migrated.
    #[error("{0}")]
    Pending(String),
    /// A file or stream could not be read or written.
    #[error("{0}")]
    Unavailable(String, #[source] std::io::Error),
    /// Nobody reads our standard output any more.
    #[error("standard output was closed")]
    Closed,
    /// The operating system gives us no thread.
    #[error("cannot start")]
    Runtime(#[source] std::io::Error),
}

/// Prints why a command failed, one line for each fault, and gives its exit code.
pub(super) fn report(failure: &anyhow::Error) -> ExitCode {
    match failure.downcast_ref::<CliError>() {
        Some(CliError::Closed) => return ExitCode::SUCCESS,
        Some(CliError::Said) => {}
        _ => {
            for line in lines(failure) {
                output::say(&format!("callgate: {line}"));
            }
        }
    }
    ExitCode::from(exit_code(failure))
}

/// The fault with its causes, in one line unless it is several faults.
fn lines(failure: &anyhow::Error) -> Vec<String> {
    if let Some(errors) = failure.downcast_ref::<ConfigErrors>() {
        return errors.lines().collect();
    }
    if let Some(CliError::Lines(lines)) = failure.downcast_ref() {
        return lines.clone();
    }
    vec![output::printable(&format!("{failure:#}"))]
}

fn exit_code(failure: &anyhow::Error) -> u8 {
    failure.chain().find_map(code_of).unwrap_or(OUR_FAULT)
}

fn code_of(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if error.is::<ConfigErrors>() {
        return Some(CONFIGURATION);
    }
    if let Some(error) = error.downcast_ref::<CliError>() {
        return match error {
            CliError::Usage(_) => Some(USAGE),
            CliError::Input(_) | CliError::Lines(_) => Some(BAD_INPUT),
            CliError::Said | CliError::Pending(_) => Some(CONFIGURATION),
            CliError::Unavailable(..) => Some(UNAVAILABLE),
            CliError::Closed | CliError::Runtime(_) => Some(OUR_FAULT),
        };
    }
    if let Some(error) = error.downcast_ref::<OpenError>() {
        return Some(match error {
            OpenError::AlreadyServed(_)
            | OpenError::ReadOnly(_)
            | OpenError::Full(_)
            | OpenError::Beside(_)
            | OpenError::Copy { .. }
            | OpenError::Unavailable { .. } => UNAVAILABLE,
            OpenError::Damaged(_) | OpenError::LostLog { .. } | OpenError::Gone(_) => DAMAGED,
            OpenError::Missing(_)
            | OpenError::TooOld { .. }
            | OpenError::TooNew { .. }
            | OpenError::Foreign(_)
            | OpenError::WrongPepper(_)
            | OpenError::Pepper { .. }
            | OpenError::NoWal(_) => CONFIGURATION,
        });
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return Some(match error {
            StoreError::Busy | StoreError::Full | StoreError::Disk | StoreError::Stopped => {
                UNAVAILABLE
            }
            StoreError::Damaged | StoreError::Moved => DAMAGED,
            StoreError::Conflict | StoreError::Unexpected(_) | StoreError::Other(_) => OUR_FAULT,
        });
    }
    if let Some(error) = error.downcast_ref::<VerifyError>() {
        return match error {
            VerifyError::Unreadable(_) => Some(UNAVAILABLE),
            VerifyError::NotOurs(_) => Some(BAD_INPUT),
            VerifyError::Damaged(_) => Some(DAMAGED),
            VerifyError::TooNew(_) => Some(CONFIGURATION),
        };
    }
    if error.is::<ScriptError>() {
        return Some(BAD_INPUT);
    }
    // An address that is taken, a store that fails: not available, whoever's fault it is.
    let unavailable = match error.downcast_ref() {
        // That it is damaged is told by its cause.
        Some(ServeError::Store(why)) => !matches!(why.downcast_ref(), Some(StoreError::Damaged)),
        _ => error.is::<std::io::Error>(),
    };
    unavailable.then_some(UNAVAILABLE)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_code_is_that_of_the_first_fault_known_in_the_chain() {
        let failure = Err::<(), _>(StoreError::Busy).context("no key was made").unwrap_err();
        assert_eq!(exit_code(&failure), UNAVAILABLE);
        assert_eq!(lines(&failure), ["no key was made: the store is busy"]);
        let open = OpenError::Damaged("callgate.db".to_owned());
        assert_eq!(exit_code(&ServeError::Open(open.into()).into()), DAMAGED);
        let fails = |error: StoreError| exit_code(&ServeError::Store(error.into()).into());
        assert_eq!(fails(StoreError::Damaged), DAMAGED);
        assert_eq!(fails(StoreError::Other("odd".to_owned())), UNAVAILABLE);
        assert_eq!(exit_code(&anyhow::anyhow!("a bug")), OUR_FAULT);
    }

    #[test]
    fn a_fault_is_one_line_whatever_it_quotes() {
        assert_eq!(lines(&anyhow::anyhow!("a\nb\u{1b}[31m")), ["a\u{fffd}b\u{fffd}[31m"]);
    }
}
