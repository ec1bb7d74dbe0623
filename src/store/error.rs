//! Why the store could not do what it was asked; never what that means for a caller.

/// A failure of the store. Nothing of the operation was written.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum StoreError {
    /// The queue to the writer is full, or another process holds the database for too long.
    #[error("the store is busy")]
    Busy,
    /// There is no room left on the disk.
    #[error("the disk is full: make room, 6 MiB at least")]
    Full,
    /// The disk fails, or takes nothing that is written.
    #[error(
        "the disk cannot be written: file, folder and disk must be writable for the user that this runs \
             as"
    )]
    Disk,
    /// A value collides with one that exists.
    #[error("it exists already")]
    Conflict,
    /// A value in the database is none that this program knows.
    #[error("the database holds an unexpected value: {0}")]
    Unexpected(String),
    /// SQLite says that the file is damaged.
    #[error("the database is damaged; restore a backup")]
    Damaged,
    /// The files that are open are not the ones that are there.
    #[error("the database was moved away")]
    Moved,
    /// The writer has stopped.
    #[error("the store has stopped")]
    Stopped,
    /// Anything else that SQLite says.
    #[error("the database failed: {0}")]
    Other(String),
}

impl StoreError {
    /// The store has said so itself when it began, and shows it for as long as it lasts: whoever logged it
    /// again would fill the log with it.
    pub(crate) fn is_shown(&self) -> bool {
        matches!(self, Self::Full | Self::Disk | Self::Damaged | Self::Moved)
    }

    /// Wraps what could not be read from a column.
    pub(crate) fn unexpected(error: impl std::fmt::Display) -> Self {
        Self::Unexpected(error.to_string())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::{Error, ErrorCode};
        // A row that has to be there is not, or has something that no program writes.
        if matches!(
            error,
            Error::QueryReturnedNoRows
                | Error::FromSqlConversionFailure(..)
                | Error::InvalidColumnType(..)
                | Error::IntegralValueOutOfRange(..)
        ) {
            return Self::unexpected(error);
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ if is_full(&error) => Self::Full,
            Some(ErrorCode::SystemIoFailure | ErrorCode::ReadOnly) => Self::Disk,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged,
            Some(ErrorCode::ConstraintViolation) => Self::Conflict,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// SQLite has found no room. It says so of the file that connections share in words of its own.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_FULL, SQLITE_IOERR_SHMOPEN, SQLITE_IOERR_SHMSIZE};
    let code = error.sqlite_error().map(|error| error.extended_code);
    code.is_some_and(|code| {
        [SQLITE_FULL, SQLITE_IOERR_SHMOPEN, SQLITE_IOERR_SHMSIZE].contains(&code)
    })
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
    #[error(
        "the file at {0} is no callgate database: name the right one as `store.url`, or put a backup \
             in its place"
    )]
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
    /// It has fewer commits than were made.
    #[error(
        "the database at {path} lacks its last commits ({missing}), and accepted deletions with them: \
             its write-ahead log {path}-wal is missing, or is an older one. Stop `callgate serve` if \
             it still runs; put the right one beside it; or restore a backup; or go on without them with `callgate migrate --accept-lost-wal`. \
             (If it is an older copy, which you have just put there: remove {path}.mark and run \
             `callgate pause` before you start.)"
    )]
    LostLog { path: String, missing: i64 },
    /// There was a database, and it is not there.
    #[error(
        "there is no database at {0}, but there was one: stop `callgate serve` if it still runs; \
             put it back, with its {0}-wal if there is one; or restore a backup; or begin anew with `callgate migrate --accept-lost-wal`"
    )]
    Gone(String),
    /// It may be read and not written.
    #[error(
        "the database at {0} cannot be written: file, folder and disk must be writable for the user \
             that this runs as"
    )]
    ReadOnly(String),
    /// There is no room, not even with what was kept.
    #[error("the disk that {0} is on is full: make room there, 6 MiB at least, and do it again")]
    Full(String),
    /// A file of ours beside the database belongs to somebody else.
    #[error(
        "the file {0} cannot be written by the user that this runs as: give it to the owner of the \
             database (`chown`), or delete it while nothing runs"
    )]
    Beside(String),
    /// A copy could not be written.
    #[error("the copy at {path} cannot be written: {message}")]
    Copy { path: String, message: String },
    /// The file system refused.
    #[error("cannot open {path}: {message}")]
    Unavailable { path: String, message: String },
}
