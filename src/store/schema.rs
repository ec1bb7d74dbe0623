//! The embedded migrations, and which programs a schema tolerates.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::error::OpenError;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// What was applied.
const HISTORY: &str = "refinery_schema_history";
/// Who may use it.
const TOLERANCE: &str = "schema_tolerance";

/// How many migrations this program knows.
pub(crate) fn known() -> i64 {
    let migrations = embedded::migrations::runner();
    migrations.get_migrations().iter().map(|one| i64::from(one.version())).max().unwrap_or(0)
}

/// Where a database stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SchemaState {
    /// How many migrations were applied; zero for an empty file.
    pub(crate) applied: i64,
    /// How many a program has to know to use it.
    pub(crate) oldest_program: i64,
}

impl SchemaState {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`OpenError::Foreign`] when the file holds tables that are not ours.
    pub(crate) fn read(connection: &Connection, path: &Path) -> Result<Self, OpenError> {
        let failed = |error| super::sqlite::unavailable(path, &error);
        let tables: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .and_then(|mut statement| statement.query_map((), |row| row.get(0))?.collect())
            .map_err(failed)?;
        // The list of migrations is made before the first is applied: a process that ended between
        // the two leaves an empty list, and nothing else.
        if tables.iter().all(|table| table == HISTORY) {
            return Ok(Self { applied: 0, oldest_program: 0 });
        }
        if ![HISTORY, TOLERANCE].iter().all(|ours| tables.iter().any(|table| table == ours)) {
            return Err(OpenError::Foreign(path.display().to_string()));
        }
        let applied = connection
            .query_row(&format!("SELECT coalesce(max(version), 0) FROM {HISTORY}"), (), |row| {
                row.get(0)
            })
            .map_err(failed)?;
        let oldest_program = connection
            .query_row(&format!("SELECT oldest_program FROM {TOLERANCE}"), (), |row| row.get(0))
            .optional()
            .map_err(failed)?;
        Ok(Self { applied, oldest_program: oldest_program.unwrap_or(0) })
    }

    /// This program may use it as it is.
    ///
    /// # Errors
    ///
    /// [`OpenError::TooOld`] and [`OpenError::TooNew`], which say what to do.
    pub(crate) fn check(self) -> Result<(), OpenError> {
        let known = known();
        if self.oldest_program > known {
            Err(OpenError::TooNew { found: self.applied, known })
        } else if self.applied < known {
            Err(OpenError::TooOld { found: self.applied, needed: known })
        } else {
            Ok(())
        }
    }
}

/// Applies what is pending, all of it in one transaction.
///
/// # Errors
///
/// When a migration fails; the database is as it was.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    embedded::migrations::runner().set_grouped(true).run(connection).map(drop).map_err(|error| {
        OpenError::Unavailable { path: path.display().to_string(), message: error.to_string() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(applied: i64, oldest_program: i64) -> Result<(), OpenError> {
        SchemaState { applied, oldest_program }.check()
    }

    #[test]
    fn a_newer_schema_is_used_as_long_as_it_tolerates_this_program() {
        let known = known();
        assert!(state(known, 1).is_ok());
        assert!(state(known + 3, known).is_ok());
        assert!(matches!(state(known + 3, known + 1), Err(OpenError::TooNew { .. })));
        assert!(matches!(state(known - 1, 1), Err(OpenError::TooOld { .. })));
    }

    #[test]
    fn a_process_that_ended_before_its_first_migration_left_an_empty_database() {
        let path = Path::new("memory");
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, path).unwrap();
        let history: String = connection
            .query_row("SELECT sql FROM sqlite_schema WHERE name = ?1", [HISTORY], |row| row.get(0))
            .unwrap();
        let mut unfinished = Connection::open_in_memory().unwrap();
        unfinished.execute_batch(&history).unwrap();
        assert_eq!(SchemaState::read(&unfinished, path).unwrap().applied, 0);
        migrate(&mut unfinished, path).unwrap();
        assert_eq!(SchemaState::read(&unfinished, path).unwrap().applied, known());
    }

    #[test]
    fn keys_that_needed_a_token_may_ask_for_one_afterwards_and_users_are_found_by_their_logins() {
        let path = Path::new("memory");
        let mut connection = Connection::open_in_memory().unwrap();
        let before = refinery::Target::Version(2);
        embedded::migrations::runner().set_target(before).run(&mut connection).unwrap();
        connection
            .execute_batch(
                "INSERT INTO peppers VALUES ('p', 0, NULL); \
                 INSERT INTO tenants VALUES (1, 'tenant', 0, NULL); \
                 INSERT INTO keys (key_id, tenant, name, pepper, hash, requires_token, rights, \
                 created_at) VALUES ('a', 1, 'with', 'p', x'01', 1, 'DeleteCall GetCallID', 0), \
                 ('b', 1, 'without', 'p', x'02', 0, 'DeleteCall', 0); \
                 INSERT INTO users (tenant, login, role, password_hash, created_at) VALUES \
                 (1, 'Jane', 'caller', 'h', 0), (1, 'John', 'caller', 'h', 0)",
            )
            .unwrap();
        migrate(&mut connection, path).unwrap();
        let keys: String = connection
            .query_row(
                "SELECT group_concat(rights || coalesce(line, ''), ', ') FROM keys",
                (),
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(keys, "DeleteCall GetCallID RequestToken ReleaseToken, DeleteCall");
        let logins: String = connection
            .query_row("SELECT group_concat(folded) FROM users", (), |row| row.get(0))
            .unwrap();
        assert_eq!(logins, "jane,john");
        // A program that does not know the limits of keys must not use it.
        let state = SchemaState::read(&connection, path).unwrap();
        assert_eq!((state.applied, state.oldest_program), (known(), 8));
    }
}
