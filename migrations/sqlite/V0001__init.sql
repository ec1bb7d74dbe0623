-- The whole data model. Times are milliseconds since 1970-01-01T00:00:00Z; a null time has not come.
-- Every row names its tenant. Words in columns are the words of code, log and documents.

-- Which programs may use this schema: those that know at least this many migrations.
CREATE TABLE schema_tolerance (
    only_row       INTEGER PRIMARY KEY CHECK (only_row = 1),
    oldest_program INTEGER NOT NULL
) STRICT;
INSERT INTO schema_tolerance VALUES (1, 1);

-- The peppers that hashes were made with, by fingerprint; a file with another pepper is refused.
CREATE TABLE peppers (
    fingerprint TEXT PRIMARY KEY,
    created_at  INTEGER NOT NULL,
    retired_at  INTEGER
) STRICT, WITHOUT ROWID;

-- The serving process; a starting one takes this row over, and older leases are void with it.
CREATE TABLE serving (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    process    TEXT NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;

CREATE TABLE tenants (
    tenant     INTEGER PRIMARY KEY,
    tenant_id  TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    paused_at  INTEGER
) STRICT;

CREATE TABLE calls (
    call             INTEGER PRIMARY KEY,
    tenant           INTEGER NOT NULL REFERENCES tenants,
    call_id          TEXT NOT NULL,
    graph_id         TEXT NOT NULL,
    -- The canonical spelling of a graph_id that is a GUID written otherwise.
    graph_key        TEXT,
    app_id           TEXT,
    chain_id         TEXT,
    thread_id        TEXT,
    join_meeting_id  TEXT,
    -- What an import said; a notification never overwrites it.
    platform_call_id TEXT,
    native_id        TEXT,
    meeting_id       TEXT,
    direction        TEXT CHECK (direction IN ('incoming', 'outgoing')),
    state            TEXT NOT NULL,
    subject          TEXT,
    -- incomingContext.observedParticipantId: set for policy recording.
    observed         TEXT,
    first_seen_at    INTEGER NOT NULL,
    last_seen_at     INTEGER NOT NULL,
    started_at       INTEGER,
    answered_at      INTEGER,
    ended_at         INTEGER,
    end_code         INTEGER,
    end_subcode      INTEGER,
    end_message      TEXT,
    -- The deletion that Graph has taken.
    deleted_by       INTEGER REFERENCES deletions
) STRICT;
CREATE UNIQUE INDEX calls_by_call_id ON calls (tenant, call_id);
CREATE UNIQUE INDEX calls_by_graph_id ON calls (tenant, graph_id);
CREATE INDEX calls_by_graph_key ON calls (tenant, graph_key) WHERE graph_key IS NOT NULL;
CREATE INDEX calls_by_chain ON calls (tenant, chain_id) WHERE chain_id IS NOT NULL;
CREATE INDEX calls_by_thread ON calls (tenant, thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX calls_by_join_meeting ON calls (tenant, join_meeting_id)
    WHERE join_meeting_id IS NOT NULL;
CREATE INDEX calls_by_platform_call_id ON calls (tenant, platform_call_id)
    WHERE platform_call_id IS NOT NULL;
CREATE INDEX calls_by_native_id ON calls (tenant, native_id) WHERE native_id IS NOT NULL;
CREATE INDEX calls_by_meeting_id ON calls (tenant, meeting_id) WHERE meeting_id IS NOT NULL;

-- Who called whom. ended_at repeats the call's, so that "ongoing" and "last" read one index.
CREATE TABLE parties (
    call         INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    tenant       INTEGER NOT NULL,
    role         TEXT NOT NULL CHECK (role IN ('source', 'target', 'dialled')),
    kind         TEXT NOT NULL CHECK (kind IN ('number', 'user', 'address', 'application')),
    raw          TEXT NOT NULL,
    normalised   TEXT NOT NULL,
    display_name TEXT,
    ended_at     INTEGER,
    PRIMARY KEY (call, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX parties_by_number ON parties (tenant, normalised, ended_at);

-- Who is or was in the call.
CREATE TABLE roster (
    call           INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
    participant_id TEXT NOT NULL,
    tenant         INTEGER NOT NULL,
    raw            TEXT,
    normalised     TEXT,
    user_id        TEXT,
    display_name   TEXT,
    invited_at     INTEGER,
    joined_at      INTEGER,
    left_at        INTEGER,
    sequence       INTEGER,
    ended_at       INTEGER,
    PRIMARY KEY (call, participant_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX roster_by_number ON roster (tenant, normalised, ended_at)
    WHERE normalised IS NOT NULL;

CREATE TRIGGER calls_end AFTER UPDATE OF ended_at ON calls
WHEN NEW.ended_at IS NOT OLD.ended_at
BEGIN
    UPDATE parties SET ended_at = NEW.ended_at WHERE call = NEW.call;
    UPDATE roster SET ended_at = NEW.ended_at WHERE call = NEW.call;
END;

-- AUTOINCREMENT here and below: the number of a row that was removed by hand never comes back, or a
-- new key would own the sessions of an old one.
CREATE TABLE keys (
    key              INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id           TEXT NOT NULL UNIQUE,
    tenant           INTEGER NOT NULL REFERENCES tenants,
    name             TEXT NOT NULL CHECK (length(name) BETWEEN 3 AND 128),
    owner            TEXT,
    pepper           TEXT NOT NULL REFERENCES peppers,
    hash             BLOB NOT NULL,
    requires_token   INTEGER NOT NULL CHECK (requires_token IN (0, 1)),
    -- Names, addresses and patterns, each list with blanks between.
    rights           TEXT NOT NULL,
    identifier_kinds TEXT,
    numbers          TEXT,
    peers            TEXT,
    post_only        INTEGER NOT NULL DEFAULT 0 CHECK (post_only IN (0, 1)),
    reason_required  INTEGER NOT NULL DEFAULT 0 CHECK (reason_required IN (0, 1)),
    query_passwords  INTEGER NOT NULL DEFAULT 1 CHECK (query_passwords IN (0, 1)),
    weak             INTEGER NOT NULL DEFAULT 0 CHECK (weak IN (0, 1)),
    successor        INTEGER REFERENCES keys,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER,
    revoked_at       INTEGER,
    last_used_at     INTEGER,
    UNIQUE (pepper, hash)
) STRICT;

CREATE TABLE users (
    user          INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant        INTEGER NOT NULL REFERENCES tenants,
    login         TEXT NOT NULL COLLATE NOCASE,
    role          TEXT NOT NULL CHECK (role IN ('caller', 'auditor', 'admin')),
    password_hash TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    disabled_at   INTEGER,
    UNIQUE (tenant, login)
) STRICT;

CREATE TABLE sessions (
    session     INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id  TEXT NOT NULL UNIQUE,
    tenant      INTEGER NOT NULL REFERENCES tenants,
    key         INTEGER NOT NULL REFERENCES keys,
    user        INTEGER REFERENCES users,
    pepper      TEXT NOT NULL REFERENCES peppers,
    hash        BLOB NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    released_at INTEGER,
    UNIQUE (pepper, hash)
) STRICT;

-- Moves whenever a cached key, user or session may have become wrong, by whatever hand.
CREATE TABLE access_generation (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO access_generation VALUES (1, 1);

CREATE TRIGGER keys_made AFTER INSERT ON keys
BEGIN UPDATE access_generation SET generation = generation + 1; END;
CREATE TRIGGER keys_changed AFTER UPDATE OF key_id, tenant, name, pepper, hash, requires_token,
    rights, identifier_kinds, numbers, peers, post_only, reason_required, query_passwords,
    successor, expires_at, revoked_at ON keys
BEGIN UPDATE access_generation SET generation = generation + 1; END;
CREATE TRIGGER keys_removed AFTER DELETE ON keys
BEGIN UPDATE access_generation SET generation = generation + 1; END;
CREATE TRIGGER users_changed AFTER UPDATE ON users
BEGIN UPDATE access_generation SET generation = generation + 1; END;
CREATE TRIGGER users_removed AFTER DELETE ON users
BEGIN UPDATE access_generation SET generation = generation + 1; END;
CREATE TRIGGER sessions_changed AFTER UPDATE ON sessions
BEGIN UPDATE access_generation SET generation = generation + 1; END;
CREATE TRIGGER sessions_removed AFTER DELETE ON sessions
BEGIN UPDATE access_generation SET generation = generation + 1; END;

-- What was asked, by whom, and where it stands.
CREATE TABLE deletions (
    deletion      INTEGER PRIMARY KEY,
    deletion_id   TEXT NOT NULL UNIQUE,
    tenant        INTEGER NOT NULL REFERENCES tenants,
    kind          TEXT NOT NULL,
    key           INTEGER REFERENCES keys,
    session       INTEGER REFERENCES sessions,
    user          INTEGER REFERENCES users,
    peer          TEXT,
    selector      TEXT NOT NULL,
    -- The first half of the selector's SHA-256, for the index.
    selector_hash BLOB NOT NULL,
    scope         TEXT NOT NULL CHECK (scope IN ('leg', 'all')),
    reason        TEXT,
    call          INTEGER REFERENCES calls,
    state         TEXT NOT NULL CHECK (state IN ('pending_approval', 'armed', 'open', 'sent',
        'confirmed', 'gone', 'failed', 'obsolete', 'held', 'cancelled', 'unknown')),
    -- Why it ended without success.
    failure       TEXT,
    created_at    INTEGER NOT NULL,
    deadline_at   INTEGER NOT NULL,
    settled_at    INTEGER,
    -- How many callers it has had by its own key and selector; the last one counts.
    claims        INTEGER NOT NULL DEFAULT 1,
    -- When that caller was told that Graph had not answered yet.
    answered_at   INTEGER,
    -- When that caller went away without an answer.
    abandoned_at  INTEGER
) STRICT;
CREATE UNIQUE INDEX deletions_one_open ON deletions (call, kind)
    WHERE state IN ('pending_approval', 'armed', 'open');
CREATE INDEX deletions_by_selector ON deletions (key, selector_hash, created_at);
CREATE INDEX deletions_by_call ON deletions (call);

-- One Graph operation each.
CREATE TABLE steps (
    deletion        INTEGER NOT NULL REFERENCES deletions ON DELETE CASCADE,
    position        INTEGER NOT NULL,
    tenant          INTEGER NOT NULL,
    operation       TEXT NOT NULL CHECK (operation IN ('hang-up', 'reject', 'remove-participant',
        'invite')),
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
    PRIMARY KEY (deletion, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX steps_due ON steps (next_attempt_at) WHERE state = 'open';

CREATE TABLE attempts (
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
    FOREIGN KEY (deletion, position) REFERENCES steps (deletion, position) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE holds (
    hold        INTEGER PRIMARY KEY,
    hold_id     TEXT NOT NULL UNIQUE,
    tenant      INTEGER NOT NULL REFERENCES tenants,
    kind        TEXT NOT NULL CHECK (kind IN ('call', 'platform_call', 'native', 'meeting',
        'number', 'all')),
    value       TEXT NOT NULL,
    label       TEXT,
    set_by      TEXT NOT NULL,
    set_at      INTEGER NOT NULL,
    lift_asked_by TEXT,
    lift_asked_at INTEGER,
    lifted_by   TEXT,
    lifted_at   INTEGER
) STRICT;
CREATE INDEX holds_standing ON holds (tenant, kind, value) WHERE lifted_at IS NULL;

-- Every decision. canonical holds no personal value, only their salted digest, so that salt and
-- personal can be destroyed and the chain still verified.
CREATE TABLE audit (
    position  INTEGER PRIMARY KEY,
    tenant    INTEGER REFERENCES tenants,
    at        INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    canonical BLOB NOT NULL,
    salt      BLOB,
    personal  TEXT,
    digest    BLOB NOT NULL,
    link      BLOB NOT NULL
) STRICT;
