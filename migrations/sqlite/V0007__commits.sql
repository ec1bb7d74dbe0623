-- How many commits the database has had, beside a file that says how many were made: SQLite itself cannot
-- see that a write-ahead log is missing. A program that knows nothing of it does not count its commits,
-- which hides their loss and nothing else.
CREATE TABLE commits (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    number   INTEGER NOT NULL,
    -- Which history this is: a backup begins one of its own.
    lineage  TEXT NOT NULL
) STRICT;

INSERT INTO commits VALUES (1, 0, lower(hex(randomblob(8))));

-- The last moment at which whoever serves wrote something, by the wall clock and as waits on disk have it: a
-- start at an earlier one is by a clock that was set back.
ALTER TABLE serving ADD COLUMN seen_at INTEGER;
ALTER TABLE serving ADD COLUMN seen_as INTEGER;
-- By how many milliseconds waits on disk are ahead of a clock of that process that nobody sets.
ALTER TABLE serving ADD COLUMN base INTEGER;
