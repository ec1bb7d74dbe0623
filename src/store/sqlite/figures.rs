//! What `/metrics` says of the database: read from indices, never from the deletions themselves, of which
//! there may be a million.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::condition::Trouble;
use super::{Sqlite, pause};
use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::telemetry::metrics::label::{
    Commit, Condition, Label as _, Queued, Standing, StoreFile,
};
use crate::telemetry::metrics::{StoreFigures, StoreRead};

/// Each reads one partial index, whose condition it repeats to the word.
const WAITING: &str =
    "SELECT count(*) FROM deletions WHERE state IN ('pending_approval', 'armed', 'open')";
const ARMED: &str = "SELECT count(*) FROM deletions WHERE state = 'armed'";
const NOT_DONE: &str = "SELECT state, count(*) FROM deletions \
                        WHERE state IN ('failed', 'unknown', 'obsolete', 'held') GROUP BY state";
/// Deletions are numbered as they are asked for, and each that is open has an open step. Without the plus
/// the smallest number would be looked for among all steps.
const OLDEST: &str = "SELECT min(created_at) FROM deletions \
                      WHERE deletion = (SELECT min(+deletion) FROM steps WHERE state = 'open')";

impl Sqlite {
    /// See [`crate::store::Store::figures`].
    pub(crate) async fn figures(&self) -> StoreFigures {
        // Whoever met the trouble has said so.
        let read = self.read(|connection| Ok(read(connection)?)).await;
        if let Err(error) = &read
            && !error.is_shown()
        {
            tracing::warn!("the deletions could not be counted: {error}");
        }
        let inner = &*self.0;
        let [urgent, news] = inner.writer.queued();
        StoreFigures {
            commits: inner.commits.clone(),
            queued: vec![(Queued::Urgent, urgent), (Queued::News, news)],
            condition: match inner.condition.trouble() {
                None => Condition::Well,
                Some(Trouble::Full) => Condition::Full,
                Some(Trouble::Disk) => Condition::Disk,
                Some(Trouble::Damaged) => Condition::Damaged,
                Some(Trouble::Moved) => Condition::Moved,
            },
            files: files(&inner.path),
            read: read.ok(),
        }
    }
}

/// How a batch ended, by the number of its commit.
pub(super) fn of_batch(committed: &Result<Option<i64>, StoreError>) -> Commit {
    match committed {
        Ok(Some(_)) => Commit::Written,
        Ok(None) => Commit::Empty,
        Err(_) => Commit::Failed,
    }
}

fn read(connection: &Connection) -> rusqlite::Result<StoreRead> {
    // One transaction, so that the counts are those of one moment.
    let transaction = connection.unchecked_transaction()?;
    let count = |sql| -> rusqlite::Result<i64> {
        transaction.prepare_cached(sql)?.query_row((), |row| row.get(0))
    };
    let armed = count(ARMED)?;
    let mut deletions = vec![(Standing::Open, count(WAITING)? - armed), (Standing::Armed, armed)];
    let mut statement = transaction.prepare_cached(NOT_DONE)?;
    let counted = statement.query_map((), |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let counted = counted.collect::<Result<Vec<(String, i64)>, _>>()?;
    for state in [Standing::Failed, Standing::Unknown, Standing::Obsolete, Standing::Held] {
        let found = counted.iter().find(|(word, _)| word == state.word());
        deletions.push((state, found.map_or(0, |(_, count)| *count)));
    }
    let oldest: Option<i64> =
        transaction.prepare_cached(OLDEST)?.query_row((), |row| row.get(0))?;
    let pauses = pause::pauses(&transaction)?;
    let as_count = |(state, count)| (state, u64::try_from(count).unwrap_or(0));
    Ok(StoreRead {
        deletions: deletions.into_iter().map(as_count).collect(),
        oldest_open: oldest.map(Timestamp),
        all_paused: pauses.iter().any(|pause| pause.tenant.is_none()),
        paused: pauses
            .iter()
            .filter_map(|pause| Some(pause.tenant.as_ref()?.to_string()))
            .collect(),
    })
}

fn files(database: &Path) -> Vec<(StoreFile, u64)> {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let files = [(StoreFile::Database, database.to_owned()), (StoreFile::Log, PathBuf::from(log))];
    let length =
        |(file, path): (_, PathBuf)| (file, std::fs::metadata(path).map_or(0, |of| of.len()));
    files.map(length).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    #[test]
    fn no_figure_reads_more_than_an_index_of_what_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callgate.db");
        let mut connection = Connection::open(&path).unwrap();
        schema::migrate(&mut connection, &path).unwrap();
        for (sql, index) in [
            (WAITING, "deletions_one_open"),
            (ARMED, "deletions_armed"),
            (NOT_DONE, "COVERING INDEX deletions_not_done"),
            (OLDEST, "steps_late"),
        ] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let plan = statement.query_map((), |row| row.get::<_, String>(3)).unwrap();
            let plan: Vec<_> = plan.map(Result::unwrap).collect();
            let reads: Vec<_> = plan.iter().filter(|step| !step.starts_with("SCALAR")).collect();
            assert!(reads.iter().any(|step| step.contains(index)), "{sql}: {plan:?}");
            let is_bounded = |step: &str| step.contains(index) || step.contains("(rowid=?)");
            assert!(reads.iter().all(|step| is_bounded(step)), "{sql}: {plan:?}");
        }
    }
}
