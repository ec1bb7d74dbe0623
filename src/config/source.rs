//! The layers: defaults < file < environment < `--set`. Every value keeps its origin.
//!
//! This is the only place that reads the process environment, and nothing writes it. Reading goes
//! on after an error, so that one run reports all of them: a value that cannot be used is
//! recorded, its default stands in, and [`Source::finish`] lets no such configuration out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Options;
use crate::config::error::{ConfigError, ConfigErrors, Origin};
use crate::config::file;
use crate::config::keys::{self, Key, Meaning};
use crate::config::value::{Expected, Value, expected_word};
use crate::secret::Secret;

/// The defaults and their documentation.
pub(super) const DEFAULTS: &str = include_str!("defaults.toml");

/// The variable that names the file; it is no key.
const FILE_VARIABLE: &str = "CALLGATE_CONFIG";

/// The two variables that are another's, and are read all the same.
const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";
const IDENTITY_HEADER: &str = "IDENTITY_HEADER";

/// What the process was started with, as far as the configuration asks for it.
#[derive(Default)]
pub(super) struct Environment {
    /// Those of ours only; `None` where the value is no UTF-8.
    variables: Vec<(String, Option<String>)>,
    pub(super) stderr_is_terminal: bool,
    /// What Azure's App Service tells its programs of their managed identity: `IDENTITY_ENDPOINT`
    /// and `IDENTITY_HEADER`.
    identity: Option<(String, Secret<String>)>,
}

impl Environment {
    /// That of this process.
    pub(super) fn of_process() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
        let all = std::env::vars_os();
        Self { stderr_is_terminal: std::io::stderr().is_terminal(), ..Self::of(all) }
    }

    /// One with these variables, without a terminal.
    pub(super) fn of(all: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let (mut endpoint, mut header) = (None, None);
        let ours = |(name, value): (OsString, OsString)| {
            if name == IDENTITY_ENDPOINT {
                endpoint = value.into_string().ok();
                return None;
            }
            if name == IDENTITY_HEADER {
                header = value.into_string().ok().map(Secret::new);
                return None;
            }
            let name = name.into_string().ok()?;
            let value = value.into_string().ok();
            let is_ours = name.starts_with(keys::VARIABLE_PREFIX)
                && !is_kubernetes_link(&name, value.as_deref().unwrap_or_default());
            is_ours.then_some((name, value))
        };
        let variables = all.into_iter().filter_map(ours).collect();
        Self { variables, stderr_is_terminal: false, identity: endpoint.zip(header) }
    }
}

/// Kubernetes gives every pod variables about each Service, so a Service called `callgate` makes
/// `CALLGATE_PORT=tcp://…`, `CALLGATE_SERVICE_HOST` and others. Ours have two underscores.
fn is_kubernetes_link(name: &str, value: &str) -> bool {
    let is_port = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || (name.ends_with("_PORT") && value.contains("://"))
            || name.split_once("_PORT_").is_some_and(|(_, rest)| is_port(rest)))
}

/// Every value that was given, with its origin, and what was found wrong so far.
pub(super) struct Source {
    defaults: BTreeMap<String, Value>,
    given: BTreeMap<Key, (Value, Origin)>,
    /// Keys with an error, which are in no second one.
    refused: BTreeSet<Key>,
    errors: Vec<ConfigError>,
    warnings: Vec<String>,
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
    /// The address and the secret of the platform's managed identity.
    pub(super) identity: Option<(String, Secret<String>)>,
}

impl Source {
    /// Reads all layers.
    pub(super) fn gather(options: &Options, environment: &Environment) -> Self {
        let defaults = file::read(Path::new("defaults.toml"), DEFAULTS)
            .expect("the defaults are TOML: a test reads them");
        let mut source = Self {
            defaults: defaults.into_iter().map(|line| (line.name, line.value)).collect(),
            given: BTreeMap::new(),
            refused: BTreeSet::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            file: None,
            identity: environment.identity.clone(),
        };
        let variable = environment.variables.iter().find(|(name, _)| name == FILE_VARIABLE);
        let named = variable.and_then(|(_, value)| value.as_ref()).filter(|name| !name.is_empty());
        if let Some(path) = options.file.clone().or_else(|| named.map(PathBuf::from)) {
            source.add_file(path);
        }
        for (name, value) in &environment.variables {
            source.add_variable(name, value.as_ref());
        }
        for (index, assignment) in options.set.iter().enumerate() {
            source.add_set(index + 1, assignment);
        }
        source
    }

    fn add_file(&mut self, path: PathBuf) {
        let lines = match std::fs::read_to_string(&path) {
            Ok(text) => file::read(&path, &text),
            Err(source) => Err(ConfigError::FileUnreadable { path: path.clone(), source }),
        };
        match lines {
            Ok(lines) => lines.into_iter().for_each(|line| {
                let origin = Origin::File { path: path.clone(), line: line.number };
                let is_section = matches!(line.value, Value::Section);
                match keys::meaning(&line.name) {
                    Meaning::Section if is_section => {}
                    meaning => self.add(&line.name, meaning, line.value, origin),
                }
            }),
            Err(error) => self.errors.push(error),
        }
        self.file = Some(path);
    }

    fn add_variable(&mut self, name: &str, value: Option<&String>) {
        let Some(value) = value else {
            return self.errors.push(ConfigError::VariableNotText { name: name.to_owned() });
        };
        if name == FILE_VARIABLE {
            return;
        }
        match keys::meaning_of_variable(name) {
            Meaning::Unknown { suggestion } => self.errors.push(ConfigError::UnknownVariable {
                name: name.to_owned(),
                suggestion: suggestion.as_deref().map(keys::variable_of),
            }),
            meaning => {
                let origin = Origin::Variable(name.to_owned());
                self.add(name, meaning, Value::Text(value.clone()), origin);
            }
        }
    }

    fn add_set(&mut self, position: usize, assignment: &str) {
        let Some((name, value)) = assignment.split_once('=') else {
            return self.errors.push(ConfigError::NoAssignment { position });
        };
        match keys::meaning(name.trim()) {
            Meaning::Available(key) if keys::is_secret(&key) => {
                self.refused.insert(key.clone());
                self.errors.push(ConfigError::SecretInSet { key });
            }
            meaning => self.add(name.trim(), meaning, Value::Text(value.to_owned()), Origin::Set),
        }
    }

    fn add(&mut self, name: &str, meaning: Meaning, value: Value, origin: Origin) {
        let name = name.to_owned();
        let error = match meaning {
            Meaning::Available(key) => return self.set(key, value, origin),
            // One error is enough for all keys in it.
            Meaning::NotBuilt(key) if !self.refused.insert(key.into()) => return,
            Meaning::NotBuilt(key) => ConfigError::NotAvailable { key, origin },
            Meaning::Section => ConfigError::IsSection { name, origin },
            Meaning::NoTenant => ConfigError::NoTenant { name, origin },
            Meaning::Unknown { suggestion } => ConfigError::UnknownKey { name, suggestion, origin },
        };
        self.errors.push(error);
    }

    fn set(&mut self, key: Key, value: Value, origin: Origin) {
        let before = self.given.insert(key.clone(), (value, origin.clone()));
        // One tenant in two spellings: neither is later than the other.
        if let Some((_, before)) = before
            && matches!(
                (&before, &origin),
                (Origin::File { .. }, Origin::File { .. })
                    | (Origin::Variable(_), Origin::Variable(_))
            )
        {
            let keys = vec![(key.clone(), before), (key, origin)];
            let problem = "is set twice, for two spellings of one tenant; keep one".to_owned();
            self.errors.push(ConfigError::Contradiction { keys, problem });
        }
    }

    /// The GUIDs of the further tenants that have a key of theirs set.
    pub(super) fn tenants(&self) -> BTreeSet<String> {
        let keys = self.given.keys().chain(&self.refused);
        keys.filter_map(|key| keys::tenant_of(key)).map(str::to_owned).collect()
    }

    /// What `parse` makes of `key`'s value; its default, and an error on record, where it can make
    /// nothing of it.
    pub(super) fn read<T>(
        &mut self,
        key: impl Into<Key>,
        parse: impl Fn(&Value) -> Result<T, Expected>,
    ) -> T {
        let key = key.into();
        if let Some((value, origin)) = self.given.get(&key) {
            match parse(value) {
                Ok(read) => return read,
                Err(Expected(expected)) => {
                    let shown = keys::may_be_shown(&key).then(|| value.shown());
                    let found = shown.unwrap_or_else(|| "a value that is not shown".to_owned());
                    let origin = origin.clone();
                    let key = key.clone();
                    let error = ConfigError::Value { key: key.clone(), expected, found, origin };
                    self.refuse(key, error);
                }
            }
        }
        let listed = keys::listed(&key);
        let default =
            self.defaults.get(&*listed).expect("each key has a default: a test compares them");
        parse(default).expect("the defaults can be read: a test reads them")
    }

    /// A whole number within `range`.
    pub(super) fn whole(&mut self, key: &'static str, range: RangeInclusive<usize>) -> usize {
        self.read(key, |value| value.whole(&range))
    }

    /// A duration within `range`.
    pub(super) fn duration(
        &mut self,
        key: impl Into<Key>,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.read(key, |value| value.duration(&range))
    }

    /// A number of bytes within `range`.
    pub(super) fn size(&mut self, key: &'static str, range: RangeInclusive<usize>) -> usize {
        self.read(key, |value| value.size(&range))
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, key: impl Into<Key>) -> bool {
        self.read(key, Value::switch)
    }

    /// What the word means, of a closed list of them.
    pub(super) fn word<T: Copy>(&mut self, key: impl Into<Key>, words: &[(&str, T)]) -> T {
        self.read(key, |value| value.word(words))
    }

    /// What `parse` makes of a text that may be missing.
    pub(super) fn optional<T>(
        &mut self,
        key: impl Into<Key>,
        parse: impl Fn(&str) -> Result<T, Expected>,
    ) -> Option<T> {
        self.read(key, |value| match value.text() {
            _ if value.is_unset() => Ok(None),
            Some(text) => parse(text).map(Some),
            None => Err(Expected::new("a text")),
        })
    }

    /// What `parse` makes of each item of a list; `what` names the list in errors. No two may be
    /// equal, and `least` of them must be there.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        key: impl Into<Key>,
        what: &str,
        least: usize,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        self.read(key, |value| {
            let items = value.items().and_then(|items| items.into_iter().map(&parse).collect());
            let items: Vec<T> = items.ok_or_else(|| Expected::new(what))?;
            if items.len() < least {
                return Err(Expected::new(what));
            }
            let is_twice = items.iter().enumerate().any(|(at, item)| items[..at].contains(item));
            if is_twice { Err(Expected(format!("{what}, none of them twice"))) } else { Ok(items) }
        })
    }

    /// What each word of a list means; at least one.
    pub(super) fn words<T: Copy + PartialEq>(
        &mut self,
        key: impl Into<Key>,
        words: &[(&str, T)],
    ) -> Vec<T> {
        let what = format!("one or several of {}", expected_word(words).0);
        let meaning = |text: &str| words.iter().find(|(word, _)| *word == text).map(|pair| pair.1);
        self.list(key, &what, 1, meaning)
    }

    /// A file name that may be missing.
    pub(super) fn path(&mut self, key: impl Into<Key>) -> Option<PathBuf> {
        self.optional(key, |text| {
            let is_name = !text.contains('\0');
            is_name.then(|| PathBuf::from(text)).ok_or_else(|| Expected::new("the name of a file"))
        })
    }

    /// A credential that may be missing; line ends after it are none of it.
    pub(super) fn secret(&mut self, key: impl Into<Key>) -> Option<Secret<String>> {
        self.read(key, |value| match value {
            Value::Text(text) => match text.trim_end_matches(['\r', '\n']) {
                "" => Ok(None),
                line if line.contains(['\r', '\n']) => Err(Expected::new("one line of text")),
                line => Ok(Some(Secret::new(line.to_owned()))),
            },
            _ => Err(Expected::new("a text")),
        })
    }

    /// The layer that `key`'s value comes from.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.given.get(key).map_or(Origin::Defaults, |(_, origin)| origin.clone())
    }

    /// Whether one of `keys` has an error, so that what stands in for it proves nothing.
    pub(super) fn has_refused(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.refused.contains(*key))
    }

    /// Records an error of `key`.
    pub(super) fn refuse(&mut self, key: impl Into<Key>, error: ConfigError) {
        self.refused.insert(key.into());
        self.errors.push(error);
    }

    /// Records that `keys` do not fit together, unless one of them is wrong by itself.
    pub(super) fn contradiction(&mut self, keys: &[&str], problem: impl Into<String>) {
        if !self.has_refused(keys) {
            let keys =
                keys.iter().map(|key| (Key::Owned((*key).to_owned()), self.origin(key))).collect();
            self.errors.push(ConfigError::Contradiction { keys, problem: problem.into() });
        }
    }

    /// Records what an administrator should know, though it is allowed.
    pub(super) fn warn(&mut self, sentence: String) {
        self.warnings.push(sentence);
    }

    /// The warnings.
    ///
    /// # Errors
    ///
    /// Every error that was recorded; what was read then holds stand-ins and must not be used.
    pub(super) fn finish(self) -> Result<Vec<String>, ConfigErrors> {
        if self.errors.is_empty() { Ok(self.warnings) } else { Err(ConfigErrors(self.errors)) }
    }
}

#[cfg(test)]
impl Source {
    /// A source with these keys set in the environment.
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        let variable = |(key, value): &(&str, &str)| (keys::variable_of(key).into(), value.into());
        Self::gather(&Options::default(), &Environment::of(pairs.iter().map(variable)))
    }

    /// All errors so far, one in each line.
    pub(super) fn error_text(self) -> String {
        self.finish().map_or_else(|errors| errors.to_string(), |_| String::new())
    }
}
