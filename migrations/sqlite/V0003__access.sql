-- Who uses which key from where, what a rotation leaves behind, and how sessions end.

-- A program that knows nothing of this would let a key name calls that it must not name, so it may
-- not use the database any more.
UPDATE schema_tolerance SET oldest_program = 3;

-- The first key of a line of successors, in the rows of its successors; null in its own. What one key
-- of a line has asked for, all of them see.
ALTER TABLE keys ADD COLUMN line INTEGER REFERENCES keys;
-- How often a password came in a query string.
ALTER TABLE keys ADD COLUMN query_password_uses INTEGER NOT NULL DEFAULT 0;

-- Keys that need a token may now ask for one themselves, which is a right of its own.
UPDATE keys SET rights = rights || ' RequestToken ReleaseToken' WHERE requires_token = 1;

-- What logins are compared by: lower case, in any language.
ALTER TABLE users ADD COLUMN folded TEXT NOT NULL DEFAULT '';
UPDATE users SET folded = lower(login);
CREATE UNIQUE INDEX users_by_login ON users (tenant, folded);

-- The latest places that each key was used from, one row for each address and login.
CREATE TABLE key_uses (
    key           INTEGER NOT NULL REFERENCES keys ON DELETE CASCADE,
    -- What the login is compared by; empty where nobody logged in.
    folded        TEXT NOT NULL,
    peer          TEXT NOT NULL,
    -- As it is shown.
    login         TEXT NOT NULL,
    first_used_at INTEGER NOT NULL,
    last_used_at  INTEGER NOT NULL,
    PRIMARY KEY (key, folded, peer)
) STRICT, WITHOUT ROWID;

-- The sessions that end with a user or a key.
CREATE INDEX sessions_by_user ON sessions (user) WHERE user IS NOT NULL;
CREATE INDEX sessions_by_key ON sessions (key);
-- What holds a session that has long expired.
CREATE INDEX deletions_by_session ON deletions (session) WHERE session IS NOT NULL;

-- Removing a session that had expired for a day when the latest one was opened makes nothing wrong
-- that is cached.
DROP TRIGGER sessions_removed;
CREATE TRIGGER sessions_removed AFTER DELETE ON sessions
WHEN OLD.expires_at + 86400000 >= coalesce(
    (SELECT created_at FROM sessions ORDER BY session DESC LIMIT 1), 0)
BEGIN UPDATE access_generation SET generation = generation + 1; END;

-- Whatever hand disables a user, changes a password or revokes a key ends the sessions for good:
-- they do not come back with the user or the key.
CREATE TRIGGER users_shut AFTER UPDATE OF disabled_at, password_hash ON users
WHEN (OLD.disabled_at IS NULL AND NEW.disabled_at IS NOT NULL)
    OR NEW.password_hash <> OLD.password_hash
BEGIN
    UPDATE sessions SET released_at = strftime('%s', 'now') * 1000
        WHERE user = NEW.user AND released_at IS NULL;
END;
CREATE TRIGGER keys_shut AFTER UPDATE OF revoked_at ON keys
WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL
BEGIN
    UPDATE sessions SET released_at = strftime('%s', 'now') * 1000
        WHERE key = NEW.key AND released_at IS NULL;
END;

-- The generation in which a secret was last exchanged by hand. Whoever was checked before it has
-- proven what no longer counts, although the rest of the row is as it was.
ALTER TABLE access_generation ADD COLUMN secrets INTEGER NOT NULL DEFAULT 1;
CREATE TRIGGER keys_exchanged AFTER UPDATE OF pepper, hash ON keys
BEGIN UPDATE access_generation SET generation = generation + 1, secrets = generation + 1; END;
CREATE TRIGGER sessions_exchanged AFTER UPDATE OF pepper, hash ON sessions
BEGIN UPDATE access_generation SET generation = generation + 1, secrets = generation + 1; END;
