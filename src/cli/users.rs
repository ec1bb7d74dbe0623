//! `callgate users`: the people who log in with `RequestToken`.
//!
//! A password comes from a prompt or from standard input, never from an argument, which everybody
//! on the machine could read.

mod password;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;

use self::password::read_password;
use super::error::CliError;
use super::keys::{configured, ended, tenant};
use super::open_store;
use super::output::{Table, Terminal, short_time};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::id::TenantId;
use crate::model::user::{Role, User, folded, login};
use crate::operator::Operator;
use crate::store::access::UserChanged;
use crate::users::{Login, UserError, Users};

#[derive(Subcommand)]
pub(super) enum UsersCommand {
    /// Makes a user, with a password from a prompt or the first line of standard input
    Create {
        #[command(flatten)]
        who: Who,
        /// What the user may do: caller logs in to the legacy API; auditor and admin mean nothing
        /// more in this version
        #[arg(long, default_value = "caller")]
        role: Role,
        #[command(flatten)]
        no_password: NoPassword,
        /// Prints login, tenant and role as JSON
        #[arg(long)]
        json: bool,
    },
    /// Lists all users
    List {
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Lets a user log in no more, and ends their sessions
    Disable {
        #[command(flatten)]
        who: Who,
    },
    /// Lets a user log in again; sessions that were ended stay so
    Enable {
        #[command(flatten)]
        who: Who,
    },
    /// Gives a user another password, as of `users create`, and ends their sessions
    Passwd {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        no_password: NoPassword,
    },
}

/// What many try first, and what everybody on the machine could then read.
#[derive(Args)]
pub(super) struct NoPassword {
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    password: Option<String>,
}

impl NoPassword {
    fn refuse(&self) -> Result<(), CliError> {
        match self.password {
            None => Ok(()),
            Some(_) => Err(CliError::Usage(
                "a password is never an argument: it is asked for, or read from standard input"
                    .to_owned(),
            )),
        }
    }
}

/// Whom a command is about.
#[derive(Args)]
#[expect(clippy::doc_markdown, reason = "these are help texts")]
pub(super) struct Who {
    /// What the user logs in with; upper and lower case are the same
    #[arg(value_name = "LOGIN", value_parser = login)]
    login: String,
    /// The tenant whose keys the user logs in with [default: graph.tenant_id]
    #[arg(long, value_name = "ID", value_parser = tenant)]
    tenant: Option<TenantId>,
}

impl Who {
    fn tenant(&self, config: &Config) -> Result<TenantId, CliError> {
        self.tenant.clone().or_else(|| configured(config)).ok_or_else(|| {
            CliError::Usage(
                "a user belongs to one tenant: say which with --tenant ID, or configure \
                 graph.tenant_id"
                    .to_owned(),
            )
        })
    }
}

/// Runs one of the commands.
///
/// # Errors
///
/// What failed changed nothing.
pub(super) async fn run(
    command: UsersCommand,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let (store, _) = open_store(config)?;
    let users = Users::new(store, Clock::System);
    match command {
        UsersCommand::Create { who, role, no_password, json } => {
            no_password.refuse()?;
            create(&users, who, role, json, config, terminal).await
        }
        UsersCommand::List { json } => {
            let listed = users.list().await.context("the users could not be read")?;
            let entries: Vec<_> = listed.iter().map(UserEntry::new).collect();
            let none = "there are no users: `callgate users create` makes one";
            terminal.print_list(json, &entries, none, to_table)
        }
        UsersCommand::Disable { who } => switch(&users, &who, true, config, terminal).await,
        UsersCommand::Enable { who } => switch(&users, &who, false, config, terminal).await,
        UsersCommand::Passwd { who, no_password } => {
            no_password.refuse()?;
            change_password(&users, who, config, terminal).await
        }
    }
}

async fn create(
    users: &Users,
    who: Who,
    role: Role,
    json: bool,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let tenant = who.tenant(config)?;
    let name = who.login;
    let wish = Login { login: name.clone(), password: read_password()? };
    let made = users.create(&Operator::of_this_process(), tenant.clone(), wish, role).await;
    if !made.map_err(|error| failed(error, "no user was made"))? {
        let text =
            format!("the login {name} is taken in tenant {tenant}; see `callgate users list`");
        return Err(CliError::Input(text).into());
    }
    if json {
        terminal.print_json(&serde_json::json!({
            "login": name,
            "tenantID": tenant.as_str(),
            "role": role.as_str(),
        }))?;
    }
    terminal.say(&format!("user {name} of tenant {tenant} is made, with the role {role}"));
    Ok(())
}

async fn switch(
    users: &Users,
    who: &Who,
    disabled: bool,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let tenant = who.tenant(config)?;
    let operator = Operator::of_this_process();
    let changed = users.set_disabled(&operator, tenant.clone(), &who.login, disabled).await;
    let word = if disabled { "disabled" } else { "enabled" };
    match changed.context("the user was not changed")? {
        UserChanged::Now { sessions } => {
            terminal.say(&format!("user {} is {word}{}", who.login, ended(sessions)));
        }
        UserChanged::Before => terminal.say(&format!("user {} was {word} before", who.login)),
        UserChanged::Unknown => return Err(unknown(&who.login, &tenant)),
    }
    Ok(())
}

async fn change_password(
    users: &Users,
    who: Who,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let tenant = who.tenant(config)?;
    let name = who.login;
    let listed = users.list().await.context("the users could not be read")?;
    // Whoever does not exist is asked for no password.
    let is_it =
        |user: &User| user.tenant == tenant.as_str() && folded(&user.login) == folded(&name);
    if !listed.iter().any(is_it) {
        return Err(unknown(&name, &tenant));
    }
    let wish = Login { login: name.clone(), password: read_password()? };
    let changed = users.set_password(&Operator::of_this_process(), tenant.clone(), wish).await;
    match changed.map_err(|error| failed(error, "the password was not changed"))? {
        Some(sessions) => {
            terminal.say(&format!("user {name} has another password{}", ended(sessions)));
            Ok(())
        }
        None => Err(unknown(&name, &tenant)),
    }
}

/// What cannot be a login or a password is bad input.
fn failed(error: UserError, what: &'static str) -> anyhow::Error {
    match error {
        UserError::Login(_) | UserError::Length(_) => CliError::Input(error.to_string()).into(),
        UserError::Password(_) => anyhow::Error::from(error).context(what),
        UserError::Store(error) => anyhow::Error::from(error).context(what),
    }
}

fn unknown(login: &str, tenant: &TenantId) -> anyhow::Error {
    let text =
        format!("nobody in tenant {tenant} has the login {login}; see `callgate users list`");
    CliError::Input(text).into()
}

/// A user as they are listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserEntry<'a> {
    login: &'a str,
    role: &'static str,
    state: &'static str,
    #[serde(rename = "tenantID")]
    tenant: &'a str,
    created_at: String,
    disabled_at: Option<String>,
    #[serde(skip)]
    created: Timestamp,
}

impl<'a> UserEntry<'a> {
    fn new(user: &'a User) -> Self {
        Self {
            login: &user.login,
            role: user.role.as_str(),
            state: if user.disabled_at.is_some() { "disabled" } else { "enabled" },
            tenant: &user.tenant,
            created_at: user.created_at.to_string(),
            disabled_at: user.disabled_at.map(|at| at.to_string()),
            created: user.created_at,
        }
    }
}

fn to_table(users: &[UserEntry<'_>]) -> Table {
    let mut table = Table::new(&["LOGIN", "ROLE", "STATE", "TENANT", "CREATED"]);
    for user in users {
        table.add([
            user.login.to_owned(),
            user.role.to_owned(),
            user.state.to_owned(),
            user.tenant.to_owned(),
            short_time(user.created),
        ]);
    }
    table
}
