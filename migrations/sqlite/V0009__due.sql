-- What is due is looked for tenant by tenant, so that none waits behind another that cannot be reached; and what
-- has reached its deadline is found without looking at all that waits.
DROP INDEX steps_due;
CREATE INDEX steps_due ON steps (tenant, next_attempt_at) WHERE state = 'open';
CREATE INDEX steps_late ON steps (deadline_at) WHERE state = 'open';

-- What an operator can do about the failure of an attempt.
ALTER TABLE attempts ADD COLUMN hint TEXT;

-- What an operator may have to look after is counted whenever somebody asks for the metrics.
CREATE INDEX deletions_not_done ON deletions (state)
    WHERE state IN ('failed', 'unknown', 'obsolete', 'held');

-- Until when Graph or its login asked not to be asked again: whoever tries a deletion again by hand waits for
-- that as well.
ALTER TABLE attempts ADD COLUMN not_before INTEGER;
CREATE INDEX attempts_not_before ON attempts (not_before) WHERE not_before IS NOT NULL;
-- The same of a tenant's login, which is asked for all its deletions.
ALTER TABLE tenants ADD COLUMN login_not_before INTEGER;

-- When its caller was told that nothing will be sent: what had no attempt by then never has one.
ALTER TABLE deletions ADD COLUMN denied_at INTEGER;
