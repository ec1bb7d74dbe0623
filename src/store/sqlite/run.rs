//! How an operation is run: in the writer's next batch, or on a read-only connection; and not at all when
//! the store's condition forbids it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use rusqlite::Connection;

use super::Sqlite;
use super::condition::{Condition, Purpose};
use super::writer::Rank;
use crate::store::error::StoreError;

impl Sqlite {
    /// Runs `run` in the writer's next batch and waits for the commit. Not while the disk is full.
    pub(super) async fn write<T, Run>(&self, run: Run) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Run: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_with(run, |_| ()).await
    }

    /// As [`Sqlite::write`]; `committed` runs on the writer thread after the commit.
    pub(super) async fn write_with<T, Run, Committed>(
        &self,
        run: Run,
        committed: Committed,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Run: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
        Committed: FnOnce(&T) + Send + 'static,
    {
        self.write_for(Purpose::Begin, run, committed).await
    }

    /// As [`Sqlite::write`], also while the disk is full: for what has happened already.
    pub(super) async fn write_owed<T, Run>(&self, run: Run) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Run: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_for(Purpose::Owed, run, |_| ()).await
    }

    /// As [`Sqlite::write_with`], for this purpose.
    pub(super) async fn write_for<T, Run, Committed>(
        &self,
        purpose: Purpose,
        run: Run,
        committed: Committed,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Run: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
        Committed: FnOnce(&T) + Send + 'static,
    {
        self.write_as(Rank::Urgent, purpose, run, committed).await
    }

    /// As [`Sqlite::write`], after everything that a client or the sender waits for.
    pub(super) async fn write_news<T, Run>(
        &self,
        purpose: Purpose,
        run: Run,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Run: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_news_with(purpose, run, |_| ()).await
    }

    /// As [`Sqlite::write_news`]; `committed` runs on the writer thread after the commit.
    pub(super) async fn write_news_with<T, Run, Committed>(
        &self,
        purpose: Purpose,
        run: Run,
        committed: Committed,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Run: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
        Committed: FnOnce(&T) + Send + 'static,
    {
        self.write_as(Rank::News, purpose, run, committed).await
    }

    async fn write_as<T, Run, Committed>(
        &self,
        rank: Rank,
        purpose: Purpose,
        run: Run,
        committed: Committed,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Run: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
        Committed: FnOnce(&T) + Send + 'static,
    {
        self.0.refusal.clone().map_or(Ok(()), Err)?;
        let run = watched(self.0.condition.clone(), purpose, run);
        self.0.writer.submit(rank, run, committed)?.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// Runs `run` on a read-only connection, off the asynchronous threads.
    pub(super) async fn read<T, Run>(&self, run: Run) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Run: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let turn = Arc::clone(&self.0.reading).acquire_owned().await;
        let turn = turn.map_err(|_closed| StoreError::Stopped)?;
        let inner = Arc::clone(&self.0);
        let reading = tokio::task::spawn_blocking(move || {
            inner.condition.allows(Purpose::Owed)?;
            let taken = inner.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = taken.ok_or(StoreError::Busy)?;
            let result = catch_unwind(AssertUnwindSafe(|| run(&connection)));
            inner.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            // Not before: who asked may be gone by now, and the next one needs the connection.
            drop(turn);
            let result = result
                .unwrap_or_else(|_panic| Err(StoreError::Other("a read panicked".to_owned())));
            // A full disk is met by whoever writes; a read may only need room for its sorting.
            if let Err(error @ StoreError::Damaged) = &result {
                inner.condition.notice(error);
            }
            result
        });
        reading.await.unwrap_or(Err(StoreError::Stopped))
    }
}

/// Runs `run` when the condition of the store allows it, and takes note of the trouble that it meets.
fn watched<T, Run>(
    condition: Condition,
    purpose: Purpose,
    mut run: Run,
) -> impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static
where
    Run: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
{
    move |connection| {
        condition.allows(purpose)?;
        run(connection).inspect_err(|error| condition.notice(error))
    }
}
