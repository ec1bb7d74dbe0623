-- A deletion may be armed for a call that has not begun: the first one of a number that begins in time.

-- A program that knows nothing of this leaves what is armed as it is, so it may not use the database any
-- more.
UPDATE schema_tolerance SET oldest_program = 8;

-- News made the call known, and not an import: only then it may be one that begins.
ALTER TABLE calls ADD COLUMN was_told INTEGER NOT NULL DEFAULT 0 CHECK (was_told IN (0, 1));

-- What a deletion needs once its call begins.
CREATE TABLE armed (
    deletion      INTEGER PRIMARY KEY REFERENCES deletions ON DELETE CASCADE,
    -- By what the call is told, in JSON: other identifiers, and how numbers are compared. It is that of the
    -- request, whatever the configuration says by then.
    rules         TEXT NOT NULL,
    -- The last call that was known before.
    after_call    INTEGER NOT NULL,
    -- How long the deletion is tried then, in milliseconds.
    tried_for     INTEGER NOT NULL,
    -- What whoever calls is told of a rejection.
    reject_reason TEXT CHECK (reject_reason IN ('none', 'busy', 'forbidden')),
    -- The app whose calls alone it may end.
    client_id     TEXT,
    -- The call, once it has begun, while another deletion of it is open: that one comes first.
    call          INTEGER REFERENCES calls
) STRICT;

-- Every spelling of the number, while nobody has called.
CREATE TABLE armed_numbers (
    tenant   INTEGER NOT NULL,
    number   TEXT NOT NULL,
    deletion INTEGER NOT NULL REFERENCES armed ON DELETE CASCADE,
    PRIMARY KEY (tenant, number, deletion)
) STRICT, WITHOUT ROWID;
CREATE INDEX armed_numbers_by_deletion ON armed_numbers (deletion);

CREATE INDEX deletions_armed ON deletions (deadline_at) WHERE state = 'armed';

-- Whatever hand ends it, or opens it.
CREATE TRIGGER deletions_disarmed AFTER UPDATE OF state ON deletions
WHEN OLD.state = 'armed' AND NEW.state <> 'armed'
BEGIN DELETE FROM armed_numbers WHERE deletion = NEW.deletion; END;
