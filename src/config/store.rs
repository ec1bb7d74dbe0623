//! `store.…`: which database, and the pepper of its hashes.

use std::path::{Path, PathBuf};

use crate::config::source::Source;
use crate::config::value::Expected;

/// Where the data is.
#[derive(Clone, Debug)]
pub(crate) struct StoreConfig {
    /// The SQLite file that `store.url` names.
    pub(crate) path: PathBuf,
    /// The secret that hashes of keys and tokens are made with.
    pub(crate) pepper_file: PathBuf,
}

impl StoreConfig {
    pub(super) fn read(from: &mut Source) -> Self {
        let path = from.read("store.url", |value| sqlite_file(value.text().unwrap_or_default()));
        let pepper_file = from.path("store.pepper_file").unwrap_or_else(|| beside(&path));
        if pepper_file == path {
            from.contradiction(&["store.url", "store.pepper_file"], "name the same file");
        }
        Self { path, pepper_file }
    }
}

/// The file that `sqlite:FILE` names; two slashes before it are no part of it.
fn sqlite_file(url: &str) -> Result<PathBuf, Expected> {
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        return Err(Expected::new("sqlite:FILE (PostgreSQL: not available in this version)"));
    }
    let file = url.strip_prefix("sqlite:").unwrap_or_default();
    let file = file.strip_prefix("//").unwrap_or(file);
    // SQLite itself would take `:memory:` and `file:…` for something else than a file name.
    let is_special = file.starts_with(':') || file.starts_with("file:");
    if file.is_empty() || file.ends_with('/') || file.contains(['?', '#', '\0']) || is_special {
        return Err(Expected::new("sqlite:FILE, such as sqlite:/var/lib/callgate/callgate.db"));
    }
    Ok(PathBuf::from(file))
}

fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".pepper");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file() {
        for (url, file) in [
            ("sqlite:callgate.db", Some("callgate.db")),
            ("sqlite:/var/lib/callgate.db", Some("/var/lib/callgate.db")),
            ("sqlite:///var/lib/callgate.db", Some("/var/lib/callgate.db")),
            ("sqlite://callgate.db", Some("callgate.db")),
            ("sqlite:", None),
            ("sqlite::memory:", None),
            ("sqlite:file:callgate.db", None),
            ("sqlite:callgate.db?mode=memory", None),
            ("sqlite:/var/lib/", None),
            ("callgate.db", None),
            ("", None),
        ] {
            assert_eq!(sqlite_file(url).ok(), file.map(PathBuf::from), "{url}");
        }
    }

    #[test]
    fn another_database_is_refused_without_its_password() {
        let url = "postgres://callgate:hunter2@db/callgate";
        let mut source = Source::of(&[("store.url", url)]);
        StoreConfig::read(&mut source);
        assert_eq!(
            source.error_text(),
            "`store.url`: expected sqlite:FILE (PostgreSQL: not available in this version), \
             found a text that is not shown (variable CALLGATE_STORE__URL)"
        );
    }

    #[test]
    fn the_pepper_is_beside_the_database_unless_it_is_named() {
        let mut source = Source::of(&[("store.url", "sqlite:/data/a.b.db")]);
        let store = StoreConfig::read(&mut source);
        assert_eq!(store.pepper_file, Path::new("/data/a.b.db.pepper"));
        let mut source = Source::of(&[("store.pepper_file", "/run/pepper")]);
        assert_eq!(StoreConfig::read(&mut source).pepper_file, Path::new("/run/pepper"));
        let mut source = Source::of(&[("store.pepper_file", "callgate.db")]);
        StoreConfig::read(&mut source);
        assert!(source.error_text().ends_with(": name the same file"));
    }
}
