//! The command line: arguments in, exit code out.
//!
//! Data goes to standard output, talk to standard error. What a command does is in its own file;
//! here is only which commands there are, and what they share. Nothing here is a shortcut around
//! the registry, the keys or the journal.

mod backup;
mod calls;
mod check;
mod csv;
mod deletions;
mod demo;
mod end;
mod error;
mod file;
mod ids;
mod keys;
mod lock;
mod migrate;
mod output;
mod pause;
pub(crate) mod serve;
mod simulate;
mod tokens;
mod users;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use tracing::Level;

use self::demo::DemoOptions;
use self::error::{CliError, USAGE};
use self::output::Terminal;
use crate::config::log::{LogConfig, LogFormat};
use crate::config::{Config, Options};
use crate::store::Store;
use crate::store::error::OpenError;
use crate::store::pepper::Pepper;
use crate::store::sqlite::Missing;
use crate::telemetry;

/// Runs the command that `args` (the program's name first) name, and says what went wrong.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(refused) => {
            // Fails only when nobody reads it.
            let _ = refused.print();
            let asked_for =
                matches!(refused.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked_for { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => error::report(&failure),
    }
}

/// Forwards a call recorder's deletions to Microsoft Graph: the recorder's HTTP API in, Graph's
/// calls API out.
#[derive(Parser)]
#[command(name = "callgate", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 64 wrong usage; 65 bad input, or nothing has this id; 69 the database, its disk or an \
address is not available; 70 our fault; 74 the database is damaged, gone, or lacks its write-ahead log; \
78 wrong configuration, wrong pepper, no database of ours, or one that has to be migrated.";

#[derive(Args)]
#[expect(clippy::doc_markdown, reason = "these are help texts")]
#[command(next_help_heading = "Options of every command")]
struct GlobalOptions {
    /// The configuration file [default: the one CALLGATE_CONFIG names, or none]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key of the configuration, such as --set log.level=debug; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How the log is written
    #[arg(long, global = true, value_name = "FORMAT", value_parser = ["text", "json"])]
    log: Option<String>,
    /// Logs more: -v debug, -vv trace
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Says nothing but warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the gateway; makes the database when there is none
    Serve,
    /// Runs simulator and gateway in one process and deletes one call; needs no tenant
    Demo {
        /// Stops after the deletion instead of going on until Ctrl-C
        #[arg(long)]
        once: bool,
        /// Where the gateway listens; port 0 takes any free port [default: 127.0.0.1:8080, or any
        /// free port]
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
    },
    /// Plays Microsoft Graph for people without a tenant; prints its base URL
    Simulate {
        /// Where to listen; port 0 takes any free port
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Serve https, too, with an authority of its own, whose file is printed on standard error
        #[arg(long)]
        tls: bool,
        /// Requests to the control API to begin with, one on each line
        #[arg(long, value_name = "FILE")]
        script: Option<PathBuf>,
    },
    /// Reads the configuration, looks at the database, and prints everything that is wrong
    Check(check::CheckOptions),
    /// Brings the database to this program's schema, after a backup; makes it when there is none
    Migrate(migrate::MigrateOptions),
    /// Copies the database, also while it is served; verifies such a copy
    Backup(backup::BackupOptions),
    /// Sends nothing to Graph any more, for one tenant or for all; requests are recorded and wait
    Pause(pause::PauseOptions),
    /// Sends again what was paused
    Resume(pause::ResumeOptions),
    /// Makes, lists, rotates, revokes and imports API keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Makes, lists and disables the people who log in
    #[command(subcommand)]
    Users(users::UsersCommand),
    /// Makes, lists and revokes session tokens
    #[command(subcommand)]
    Tokens(tokens::TokensCommand),
    /// Imports and shows calls
    #[command(subcommand)]
    Calls(calls::CallsCommand),
    /// Lists and exports deletions, tries them again and cancels them
    #[command(subcommand)]
    Deletions(deletions::DeletionsCommand),
    /// Prints a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn dispatch(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { global, command } = arguments;
    let terminal = Terminal { quiet: global.quiet };
    let log = global.log_without_configuration();
    let has_configuration = global.config.is_some() || !global.set.is_empty();
    let options = global.options();
    // The three that go on until they are stopped have both cores; the others are over soon.
    if let Command::Demo { .. } | Command::Simulate { .. } = &command
        && has_configuration
    {
        let text = "`demo` and `simulate` take no configuration: leave out --config and --set";
        return Err(CliError::Usage(text.to_owned()).into());
    }
    match command {
        Command::Serve => several_threads()?.block_on(async {
            Box::pin(serve::run(load(&options)?)).await?;
            Ok(())
        }),
        Command::Demo { once, listen } => {
            telemetry::start(&log);
            several_threads()?.block_on(demo::run(DemoOptions { once, listen }))
        }
        Command::Simulate { listen, tls, script } => {
            telemetry::start(&log);
            several_threads()?.block_on(simulate::run(listen, tls, script.as_deref()))
        }
        Command::Check(check) => check::run(&check, &options, terminal),
        Command::Migrate(migrate) => migrate::run(&migrate, &load(&options)?, terminal),
        Command::Backup(backup) => match backup.verifies() {
            Some((file, json)) => {
                telemetry::start(&log);
                backup::run_verify(file, json, terminal)
            }
            None => backup::run(&backup, &load(&options)?, terminal),
        },
        Command::Pause(pause) => {
            one_thread()?.block_on(pause::pause(pause, &load(&options)?, terminal))
        }
        Command::Resume(resume) => {
            one_thread()?.block_on(pause::resume(resume, &load(&options)?, terminal))
        }
        Command::Keys(keys) => one_thread()?.block_on(keys::run(keys, &load(&options)?, terminal)),
        Command::Users(users) => {
            one_thread()?.block_on(users::run(users, &load(&options)?, terminal))
        }
        Command::Tokens(tokens) => {
            one_thread()?.block_on(tokens::run(tokens, &load(&options)?, terminal))
        }
        Command::Calls(calls) => {
            one_thread()?.block_on(calls::run(calls, &load(&options)?, terminal))
        }
        Command::Deletions(deletions) => {
            one_thread()?.block_on(deletions::run(deletions, &load(&options)?, terminal))
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "callgate", &mut script);
            terminal.print_bytes(&script)
        }
    }
}

impl GlobalOptions {
    /// The log of what runs without a configuration and tells its own story.
    fn log_without_configuration(&self) -> LogConfig {
        let format = match self.log.as_deref() {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Text,
        };
        let level = match self.verbose {
            0 => Level::WARN,
            1 => Level::DEBUG,
            _ => Level::TRACE,
        };
        LogConfig { format, level }
    }

    /// The flags as the last assignments, which win.
    fn options(self) -> Options {
        let mut set = self.set;
        let level = match self.verbose {
            0 if self.quiet => Some("warn"),
            0 => None,
            1 => Some("debug"),
            _ => Some("trace"),
        };
        set.extend(self.log.map(|format| format!("log.format={format}")));
        set.extend(level.map(|level| format!("log.level={level}")));
        Options { file: self.config, set }
    }
}

/// The configuration; the log is written as it says from here on.
fn load(options: &Options) -> anyhow::Result<Config> {
    let config = Config::load(options)?;
    telemetry::start(&config.log);
    Ok(config)
}

/// The store that `config` names, which exists.
fn open_store(config: &Config) -> Result<(Store, Pepper), OpenError> {
    Store::open_sqlite(&config.store.path, &config.store.pepper_file, Missing::Refuse)
}

fn several_threads() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)
}

fn one_thread() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_flag_wins_over_an_assignment() {
        let given = ["callgate", "--set", "log.level=error", "serve", "-vv", "--log", "json"];
        let options = Arguments::try_parse_from(given).ok().unwrap().global.options();
        assert_eq!(options.set, ["log.level=error", "log.format=json", "log.level=trace"]);
    }
}
