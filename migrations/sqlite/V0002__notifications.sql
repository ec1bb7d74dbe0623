-- What notifications tell, and when Graph is asked because they may have got lost.
--
-- A program that knows nothing of this may still write: what it leaves undone is done by triggers.

-- terminationReason, the word of Graph's first betas.
ALTER TABLE calls ADD COLUMN end_reason TEXT;
-- The highest sequence number of a whole roster that was told: who was not in it had left.
ALTER TABLE calls ADD COLUMN roster_sequence INTEGER;
-- When Graph is asked whether it still has the call; null for one that has ended, unless Graph has taken
-- a deletion of it since.
ALTER TABLE calls ADD COLUMN look_at INTEGER;
-- Somebody needs to know: it is asked then, however lately the call was heard of. 1: an answer was
-- ambiguous. 2: a deletion waits for its confirmation, which comes first.
ALTER TABLE calls ADD COLUMN look_wanted INTEGER NOT NULL DEFAULT 0 CHECK (look_wanted IN (0, 1, 2));
-- When Graph last said whether it has the call.
ALTER TABLE calls ADD COLUMN looked_at INTEGER;
CREATE INDEX calls_to_look_at ON calls (tenant, look_wanted, look_at) WHERE look_at IS NOT NULL;

-- A call is of one tenant; whether it is another's is found without trying each.
DROP INDEX calls_by_graph_id;
CREATE UNIQUE INDEX calls_by_graph_id ON calls (graph_id, tenant);

-- A call that nobody said it of: 45 minutes after the last news.
CREATE TRIGGER calls_look AFTER INSERT ON calls
WHEN NEW.look_at IS NULL AND NEW.ended_at IS NULL
BEGIN UPDATE calls SET look_at = NEW.last_seen_at + 2700000 WHERE call = NEW.call; END;

-- Graph has taken a deletion: within a minute the end should have been told. One that was told
-- before is in doubt, since Graph still had the call.
CREATE TRIGGER calls_deleted_look AFTER UPDATE OF deleted_by ON calls
WHEN EXISTS (SELECT 1 FROM deletions WHERE deletion = NEW.deleted_by AND state = 'sent')
BEGIN
    UPDATE calls SET look_wanted = 2, look_at = (SELECT settled_at + 60000 FROM deletions
        WHERE deletion = NEW.deleted_by) WHERE call = NEW.call;
END;

-- Whatever ends a call: nobody asks Graph for it any more.
CREATE TRIGGER calls_end_look AFTER UPDATE OF ended_at ON calls
WHEN OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NEW.look_at IS NOT NULL
BEGIN UPDATE calls SET look_at = NULL WHERE call = NEW.call; END;

-- One in a roster has a number, a user id, or both, and is found by either.
CREATE INDEX roster_by_user ON roster (tenant, user_id, ended_at) WHERE user_id IS NOT NULL;

-- When the end of the call became known after Graph had taken the deletion.
ALTER TABLE deletions ADD COLUMN confirmed_at INTEGER;
-- The call was known to have ended when the first attempt began, or is said to have ended before: it
-- was not this deletion that ended it. By order, because clocks are set.
ALTER TABLE deletions ADD COLUMN ended_before INTEGER NOT NULL DEFAULT 0
    CHECK (ended_before IN (0, 1));

CREATE TRIGGER attempts_first AFTER INSERT ON attempts WHEN NEW.number = 1
BEGIN
    UPDATE deletions SET ended_before = 1 WHERE deletion = NEW.deletion
        AND (SELECT ended_at FROM calls WHERE calls.call = deletions.call) IS NOT NULL;
END;

-- Calls that were imported: 45 minutes after the last news of them.
UPDATE calls SET look_at = last_seen_at + 2700000 WHERE ended_at IS NULL;
-- Deletions that Graph took before: their ends were never asked for.
UPDATE calls SET look_wanted = 2, look_at = (SELECT settled_at + 60000 FROM deletions
    WHERE deletion = calls.deleted_by) WHERE ended_at IS NULL AND deleted_by IS NOT NULL;
