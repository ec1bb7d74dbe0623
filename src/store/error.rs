//! Why the store could not do what it was asked; never what that means for a caller.

/// A failure of the store. Nothing of the operation was written.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum StoreError {
    /// The queue to the writer is full, or another process holds the database for too long.
    #[error("the store is busy")]
    Busy,
    /// There is no room left on the disk.
    #[error("the disk is full")]
    Full,
    /// A value collides with one that exists.
    #[error("it exists already")]
    Conflict,
    /// A value in the database is none that this program knows.
    #[error("the database holds an unexpected value: {0}")]
    Unexpected(String),
    /// SQLite says that the file is damaged.
    #[error("the database is damaged; restore a backup")]
    Damaged,
    /// The writer has stopped.
    #[error("the store has stopped")]
    Stopped,
    /// Anything else that SQLite says.
    #[error("the database failed: {0}")]
    Other(String),
}

impl StoreError {
    /// Wraps what could not be read from a column.
    pub(crate) fn unexpected(error: impl std::fmt::Display) -> Self {
        Self::Unexpected(error.to_string())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged,
            Some(ErrorCode::ConstraintViolation) => Self::Conflict,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// There is no database, and this command does not create one.
    #[error("there is no database at {0}: create it with `callgate migrate` or `callgate serve`")]
    Missing(String),
    /// Another process serves it.
    #[error("another `callgate serve` uses the database at {0}")]
    AlreadyServed(String),
    /// The schema is older than the program.
    #[error(
        "the schema is at version {found}, this program needs {needed}: run `callgate migrate`"
    )]
    TooOld { found: i64, needed: i64 },
    /// The schema tolerates only newer programs.
    #[error(
        "the schema is at version {found} and needs a newer program than this one, which knows \
             {known}"
    )]
    TooNew { found: i64, known: i64 },
    /// The file is a database of something else, or none at all.
    #[error("the file at {0} is no callgate database")]
    Foreign(String),
    /// The pepper is not the one the hashes were made with.
    #[error(
        "the pepper in {0} is not the one this database was made with: no key would be \
             recognised; put the right file there"
    )]
    WrongPepper(String),
    /// The pepper cannot be read or made.
    #[error("the pepper file {path}: {message}")]
    Pepper { path: String, message: String },
    /// It is not a write-ahead log, without which readers and the writer would block each other.
    #[error(
        "the database cannot use a write-ahead log (its mode is {0}); is it on a network disk?"
    )]
    NoWal(String),
    /// SQLite says that the file is damaged.
    #[error("the database at {0} is damaged; restore a backup")]
    Damaged(String),
    /// The file system refused.
    #[error("cannot open the database at {path}: {message}")]
    Unavailable { path: String, message: String },
}
