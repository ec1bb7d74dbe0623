-- A call that rings is rejected, and hung up once it no longer rings: by a second step of its deletion.

-- A program that knows nothing of this leaves a rejection open that it cannot send, so it may not use
-- the database any more.
UPDATE schema_tolerance SET oldest_program = 4;

-- When a call began to ring that was told of as ringing; null for one that nobody said it of, and for
-- those that were known before: their time to be rejected is over.
ALTER TABLE calls ADD COLUMN rings_since INTEGER;
-- Until when Graph lets it be rejected: 15 s, or 5 s for policy recording. Null once it was answered or
-- has ended.
ALTER TABLE calls ADD COLUMN rings_until INTEGER AS (CASE
    WHEN state = 'incoming' AND ended_at IS NULL AND direction IS NOT 'outgoing'
    THEN rings_since + iif(observed IS NULL, 15000, 5000) END) VIRTUAL;

-- What whoever calls is told of a rejection.
ALTER TABLE steps ADD COLUMN reject_reason TEXT CHECK (reject_reason IN ('none', 'busy', 'forbidden'));

-- A call that was answered was not rejected, whatever Graph said of it: it runs, and a deletion that only
-- rejected it has not deleted it.
CREATE TRIGGER calls_not_rejected AFTER UPDATE OF deleted_by, answered_at, state ON calls
WHEN NEW.deleted_by IS NOT NULL
    AND (NEW.answered_at IS NOT NULL OR NEW.state NOT IN ('incoming', 'terminating', 'terminated'))
    AND EXISTS (SELECT 1 FROM steps WHERE deletion = NEW.deleted_by AND operation = 'reject')
    AND NOT EXISTS (SELECT 1 FROM steps WHERE deletion = NEW.deleted_by AND operation <> 'reject'
        AND state IN ('sent', 'gone'))
BEGIN UPDATE calls SET deleted_by = NULL WHERE call = NEW.call; END;
