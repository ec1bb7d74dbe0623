-- The operator's switch, and what a copy of the database says of itself.

-- A program that knows nothing of this sends what is to wait, so it may not use the database any more.
UPDATE schema_tolerance SET oldest_program = 6;

-- By whom and why a tenant was paused; tenants.paused_at says since when.
ALTER TABLE tenants ADD COLUMN paused_by TEXT;
ALTER TABLE tenants ADD COLUMN pause_reason TEXT;

-- While this row stands, nothing is sent for any tenant.
CREATE TABLE paused (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    paused_at INTEGER NOT NULL,
    paused_by TEXT NOT NULL,
    reason    TEXT,
    -- In a backup: when it was made. Such a copy is paused from the start.
    backup_at INTEGER
) STRICT;

-- In a backup: the digest of the whole file but for these 32 bytes. Whoever opens the copy to write
-- removes it.
CREATE TABLE backup_seal (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    digest   BLOB NOT NULL CHECK (length(digest) = 32)
) STRICT;

-- When a step would be due that waits for its tenant to be resumed: until then its next_attempt_at is its
-- deadline, and nobody looks at it.
ALTER TABLE steps ADD COLUMN parked INTEGER;
CREATE INDEX steps_parked ON steps (tenant) WHERE parked IS NOT NULL;
