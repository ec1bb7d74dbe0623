//! What can be wrong with a configuration, each fault in one line that says what to do.
//!
//! An error names the key, the layer and what was expected. It never holds the value of a secret
//! key, nor text out of a file that holds secrets.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::config::keys::{self, Key};

/// Everything that is wrong with one configuration; at least one error.
#[derive(Debug)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

impl ConfigErrors {
    /// One line for each error.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ConfigError::line)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.lines().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{line}")?;
        }
        Ok(())
    }
}

impl Error for ConfigErrors {}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A value of a known key cannot be used.
    #[error("`{key}`: expected {expected}, found {found} ({origin})")]
    Value { key: Key, expected: String, found: String, origin: Origin },
    /// No key has this name.
    #[error("`{}`: unknown key; {} ({origin})", printable(name), advice(suggestion.as_deref()))]
    UnknownKey { name: String, suggestion: Option<Key>, origin: Origin },
    /// No key has this variable.
    #[error("{}: unknown variable; {}", printable(name), advice(suggestion.as_deref()))]
    UnknownVariable { name: String, suggestion: Option<String> },
    /// A variable of ours is not UTF-8.
    #[error("{}: expected text in UTF-8, found other bytes", printable(name))]
    VariableNotText { name: String },
    /// The key belongs to something that is not built yet.
    #[error("`{key}`: not available in this version; remove it ({origin})")]
    NotAvailable { key: &'static str, origin: Origin },
    /// A further tenant has a name, where its id must stand.
    #[error(
        "`{}`: a further tenant's section is named by its GUID, such as \
         [graph.tenants.72f988bf-86f1-41af-91ab-2d7cd011db47] ({origin})",
        printable(name)
    )]
    NoTenant { name: String, origin: Origin },
    /// A section was used as a key.
    #[error("`{name}`: is a section and has no value; set a key in it ({origin})")]
    IsSection { name: String, origin: Origin },
    /// A secret was given where every user of the machine can read it.
    #[error(
        "`{key}`: refused in --set, because every user of the machine can read command lines; \
         use `{key}_file` or the variable {}",
        keys::variable_of(key)
    )]
    SecretInSet { key: Key },
    /// The text after `--set` is no assignment. It is not repeated: it might be a secret.
    #[error("--set number {position}: expected key=value, such as --set log.level=debug")]
    NoAssignment { position: usize },
    /// The file could not be read.
    #[error("{}: cannot be read; check its name and permissions", shown_path(path))]
    FileUnreadable { path: PathBuf, source: io::Error },
    /// The file is no TOML.
    #[error("{}, line {line}: not valid TOML: {}", shown_path(path), printable(message))]
    FileSyntax { path: PathBuf, line: usize, message: String },
    /// The file that a key names holds no usable secret.
    #[error("`{key}`: the file {fault} ({origin})")]
    SecretFile { key: Key, fault: SecretFileFault, origin: Origin },
    /// The file that a key names holds no usable certificate, or no usable key of one.
    #[error("`{key}`: the file {fault} ({origin})")]
    CertificateFile { key: Key, fault: CertificateFault, origin: Origin },
    /// A host that is not Microsoft's, without the consent that needs.
    #[error(
        "`{key}`: the host {host} is not Microsoft's; \
         set graph.allow_other_host = true if that is meant ({origin})"
    )]
    OtherHost { key: Key, host: String, origin: Origin },
    /// Values that do not fit together.
    #[error("{}: {problem}", shown_keys(keys))]
    Contradiction { keys: Vec<(Key, Origin)>, problem: String },
}

impl ConfigError {
    /// The error and its causes in one line.
    fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line = format!("{line}: {error}");
            cause = error.source();
        }
        line
    }
}

/// Why a file holds no usable secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretFileFault {
    /// Missing, a directory, or not permitted.
    #[error("cannot be read: {}", cause(*.0))]
    Unreadable(io::ErrorKind),
    /// Nothing in it, or a line end only.
    #[error("is empty; put the secret into it")]
    Empty,
    /// Nothing in it, where somebody else is to put a token.
    #[error("is empty; whoever renews it must put a token into it")]
    NoToken,
    /// It holds something else.
    #[error("holds more lines than it may; put nothing but the secret into it")]
    ManyLines,
    /// It holds something else.
    #[error("is not text in UTF-8; put nothing but the secret into it")]
    NotText,
}

/// Why a file in PEM is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateFault {
    /// Missing, a directory, or not permitted.
    #[error("cannot be read: {}", cause(*.0))]
    Unreadable(io::ErrorKind),
    /// No `BEGIN CERTIFICATE` with what belongs to it.
    #[error("holds no certificate in PEM")]
    NoCertificate,
    /// It is in PEM, and not X.509.
    #[error("holds a certificate that cannot be read")]
    NotX509,
    /// No `BEGIN PRIVATE KEY` with what belongs to it.
    #[error("holds no private key in PEM; key_file can name another file")]
    NoKey,
    /// Nobody is there to ask for its password.
    #[error("holds a private key with a password; remove it with `openssl pkey`")]
    EncryptedKey,
    /// The login takes no other.
    #[error("holds a private key that is not RSA of 2048 to 8192 bits")]
    KeyKind,
    /// What it signs would be refused.
    #[error("holds a private key that is not the certificate's")]
    OtherKey,
}

/// The layer that a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `defaults.toml`
    Defaults,
    /// The configuration file.
    File { path: PathBuf, line: usize },
    /// The environment.
    Variable(String),
    /// The command line.
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.write_str("built-in default"),
            Self::File { path, line } => write!(f, "{}, line {line}", shown_path(path)),
            Self::Variable(name) => write!(f, "variable {}", printable(name)),
            Self::Set => f.write_str("--set"),
        }
    }
}

/// Why a file cannot be read, in words that are said of files.
fn cause(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        other => other.to_string(),
    }
}

/// `text` in one line of bounded length, whatever it holds.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut short: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

fn shown_path(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn shown_keys(keys: &[(Key, Origin)]) -> String {
    let named: Vec<_> = keys.iter().map(|(key, origin)| format!("`{key}` ({origin})")).collect();
    named.join(", ")
}

fn advice(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(name) => format!("did you mean {name}?"),
        None => "remove it or correct its name".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_one_line_whatever_it_quotes() {
        let unknown = |name: &str| ConfigError::UnknownKey {
            name: name.to_owned(),
            suggestion: None,
            origin: Origin::File { path: PathBuf::from("a\nb.toml"), line: 3 },
        };
        let errors = ConfigErrors(vec![unknown("a\nb\u{1b}"), unknown(&"x".repeat(10_000))]);
        let text = errors.to_string();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.len() < 500, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_cause_is_printed_in_the_same_line() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let error = ConfigError::FileUnreadable { path: PathBuf::from("callgate.toml"), source };
        assert_eq!(
            ConfigErrors(vec![error]).to_string(),
            "callgate.toml: cannot be read; check its name and permissions: entity not found"
        );
    }
}
