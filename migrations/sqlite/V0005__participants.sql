-- Single participants are removed and invited, and scope=all removes everybody: deletions with a target,
-- and with several steps.

-- A program that knows nothing of this leaves steps open that it cannot send, so it may not use the
-- database any more.
UPDATE schema_tolerance SET oldest_program = 5;

-- The participant that is removed, or the user who is invited; null for the call itself.
ALTER TABLE deletions ADD COLUMN target TEXT;
-- Of scope=all: how many others may be removed.
ALTER TABLE deletions ADD COLUMN most_others INTEGER;
DROP INDEX deletions_one_open;
CREATE UNIQUE INDEX deletions_one_open ON deletions (call, kind, coalesce(target, ''))
    WHERE state IN ('pending_approval', 'armed', 'open');
-- What was done about one participant of a call, or user.
CREATE INDEX deletions_by_target ON deletions (call, target) WHERE target IS NOT NULL;

-- Graph's name for our own place in the call: who must not be removed with the others.
ALTER TABLE calls ADD COLUMN my_participant_id TEXT;
-- Somebody in a roster is an application: its id, as it is compared.
ALTER TABLE roster ADD COLUMN app_id TEXT;
-- Whose id a participant's is, in whatever call.
CREATE INDEX roster_by_participant ON roster (tenant, participant_id);

-- What was asked for by an invitation, and whom Graph made of it: one who was invited can be removed before
-- any roster shows him.
CREATE TABLE invitations (
    deletion       INTEGER PRIMARY KEY REFERENCES deletions ON DELETE CASCADE,
    call           INTEGER NOT NULL REFERENCES calls,
    tenant         INTEGER NOT NULL,
    -- As it came, and as it is compared.
    user_id        TEXT NOT NULL,
    normalised     TEXT NOT NULL,
    user_tenant    TEXT,
    -- Graph's id of the call that the user leaves for this one.
    replaces       TEXT,
    client_context TEXT,
    -- Graph's, once it has answered.
    operation_id   TEXT,
    -- Graph's, as answered or as told by a notification.
    participant_id TEXT,
    -- Nobody joins by it, and Graph's reason, as answered or as told by a notification.
    failed         INTEGER NOT NULL DEFAULT 0 CHECK (failed IN (0, 1)),
    failed_code    INTEGER,
    failed_subcode INTEGER,
    failed_message TEXT
) STRICT;
CREATE INDEX invitations_by_call ON invitations (call);
CREATE INDEX invitations_by_participant ON invitations (tenant, participant_id)
    WHERE participant_id IS NOT NULL;

-- A step may also read who is in the call. A column's check cannot be changed, so the table is made anew,
-- and its attempts with it.
DROP TRIGGER calls_not_rejected;
DROP TRIGGER attempts_first;
CREATE TABLE new_steps (
    deletion        INTEGER NOT NULL REFERENCES deletions ON DELETE CASCADE,
    position        INTEGER NOT NULL,
    tenant          INTEGER NOT NULL,
    operation       TEXT NOT NULL CHECK (operation IN ('hang-up', 'reject', 'read-roster',
        'remove-participant', 'invite')),
    -- The participant, where there is one.
    target          TEXT,
    state           TEXT NOT NULL CHECK (state IN ('open', 'sent', 'gone', 'failed', 'obsolete',
        'cancelled', 'unknown')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER,
    deadline_at     INTEGER NOT NULL,
    lease_owner     TEXT,
    lease_until     INTEGER,
    -- Grows with each lease; what carries an older one changes nothing.
    fence           INTEGER NOT NULL DEFAULT 0,
    -- What whoever calls is told of a rejection.
    reject_reason   TEXT CHECK (reject_reason IN ('none', 'busy', 'forbidden')),
    -- Why it ended without success.
    failure         TEXT,
    PRIMARY KEY (deletion, position)
) STRICT, WITHOUT ROWID;
INSERT INTO new_steps (deletion, position, tenant, operation, target, state, attempts, next_attempt_at,
        deadline_at, lease_owner, lease_until, fence, reject_reason)
    SELECT deletion, position, tenant, operation, target, state, attempts, next_attempt_at, deadline_at,
        lease_owner, lease_until, fence, reject_reason FROM steps;
CREATE TABLE new_attempts (
    deletion          INTEGER NOT NULL,
    position          INTEGER NOT NULL,
    number            INTEGER NOT NULL,
    tenant            INTEGER NOT NULL,
    started_at        INTEGER NOT NULL,
    answered_at       INTEGER,
    status            INTEGER,
    error             TEXT,
    request_id        TEXT,
    client_request_id TEXT,
    answer_date       TEXT,
    diagnostic        TEXT,
    -- It may have taken effect although Graph did not say so.
    effect_possible   INTEGER NOT NULL DEFAULT 1 CHECK (effect_possible IN (0, 1)),
    PRIMARY KEY (deletion, position, number),
    FOREIGN KEY (deletion, position) REFERENCES new_steps (deletion, position) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
INSERT INTO new_attempts (deletion, position, number, tenant, started_at, answered_at, status, error,
        request_id, client_request_id, answer_date, diagnostic, effect_possible)
    SELECT deletion, position, number, tenant, started_at, answered_at, status, error, request_id,
        client_request_id, answer_date, diagnostic, effect_possible FROM attempts;
DROP TABLE attempts;
DROP TABLE steps;
ALTER TABLE new_steps RENAME TO steps;
ALTER TABLE new_attempts RENAME TO attempts;
CREATE INDEX steps_due ON steps (next_attempt_at) WHERE state = 'open';

-- The first attempt that was sent: one that was given back, or that only read the roster, ended nothing.
CREATE TRIGGER attempts_first AFTER INSERT ON attempts
WHEN NOT EXISTS (SELECT 1 FROM attempts AS a
        JOIN steps AS s ON s.deletion = a.deletion AND s.position = a.position
        WHERE a.deletion = NEW.deletion AND (a.position < NEW.position OR a.number < NEW.number)
        AND s.operation <> 'read-roster' AND (a.effect_possible = 1 OR a.status IS NOT NULL))
BEGIN
    UPDATE deletions SET ended_before = 1 WHERE deletion = NEW.deletion
        AND (SELECT ended_at FROM calls WHERE calls.call = deletions.call) IS NOT NULL;
END;

-- A call that was answered was not rejected, whatever Graph said of it: it runs, and deletions that only
-- rejected it have not deleted it. One that was to end it is open again, due at once, until its own
-- deadline; a rejection came too late.
CREATE TRIGGER calls_not_rejected AFTER UPDATE OF deleted_by, answered_at, state ON calls
WHEN NEW.deleted_by IS NOT NULL
    AND (NEW.answered_at IS NOT NULL OR NEW.state NOT IN ('incoming', 'terminating', 'terminated'))
    AND EXISTS (SELECT 1 FROM steps WHERE deletion = NEW.deleted_by AND operation = 'reject')
    AND NOT EXISTS (SELECT 1 FROM steps AS s
        JOIN attempts AS a ON a.deletion = s.deletion AND a.position = s.position
        WHERE s.deletion = NEW.deleted_by AND s.operation <> 'reject'
        AND (a.effect_possible = 1 OR a.status BETWEEN 200 AND 299))
BEGIN
    UPDATE calls SET deleted_by = NULL WHERE call = NEW.call;
    UPDATE deletions SET state = 'obsolete', confirmed_at = NULL, failure =
        'the call was answered, or its time to be rejected was over, before Graph took it'
        WHERE call = NEW.call AND state IN ('sent', 'confirmed', 'gone')
        AND (kind = 'RejectCall' OR kind = 'DeleteCall' AND EXISTS (SELECT 1 FROM deletions AS other
            WHERE other.call = NEW.call AND other.kind = 'DeleteCall'
            AND (other.state IN ('pending_approval', 'armed', 'open')
            OR other.state IN ('sent', 'confirmed', 'gone') AND other.deletion > deletions.deletion)));
    INSERT INTO steps (deletion, position, tenant, operation, state, attempts, next_attempt_at,
            deadline_at, fence)
        SELECT d.deletion, max(s.position) + 1, d.tenant,
            iif(d.scope = 'all', 'read-roster', 'hang-up'), 'open', max(s.attempts), 0, d.deadline_at,
            max(s.fence)
        FROM deletions AS d JOIN steps AS s ON s.deletion = d.deletion
        WHERE NEW.ended_at IS NULL AND d.call = NEW.call AND d.kind = 'DeleteCall'
        AND d.state IN ('sent', 'confirmed', 'gone') GROUP BY d.deletion;
    UPDATE deletions SET state = 'open', settled_at = NULL, confirmed_at = NULL
        WHERE NEW.ended_at IS NULL AND call = NEW.call AND kind = 'DeleteCall'
        AND state IN ('sent', 'confirmed', 'gone');
END;

-- Whoever was removed is told of as gone: that confirms it.
CREATE TRIGGER roster_left AFTER UPDATE OF left_at ON roster
WHEN OLD.left_at IS NULL AND NEW.left_at IS NOT NULL
BEGIN
    UPDATE deletions SET state = 'confirmed', confirmed_at = NEW.left_at
        WHERE call = NEW.call AND kind = 'DeleteParticipant' AND target = NEW.participant_id
        AND state = 'sent';
END;
