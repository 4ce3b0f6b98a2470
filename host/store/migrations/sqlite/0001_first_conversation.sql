-- Times are milliseconds since the Unix epoch by SQLite's own clock. Ids are UUIDs of 16 bytes. Every row says whose it
-- is (tenant, issuer, subject) by itself, so that a user's data can be found, exported and erased without a join.
--
-- Partial indexes say `x > 0` where they mean `x IS NOT NULL`, and their queries repeat it: to find out whether `a = ?`
-- implies `x IS NOT NULL`, SQLite looks at the argument, and compiles the statement again for each new one.

CREATE TABLE conversations (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    tenant        TEXT    NOT NULL,
    issuer        TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    companion     TEXT    NOT NULL,
    title         TEXT,
    -- Sequences have no gaps, so this is also the number of messages.
    last_sequence INTEGER NOT NULL DEFAULT 0 CHECK (last_sequence >= 0),
    -- The lease. The epoch goes up whenever it is taken and never down.
    epoch         INTEGER NOT NULL DEFAULT 0,
    lease_turn    BLOB,
    lease_host    BLOB,
    lease_ends    INTEGER,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    CHECK ((lease_turn IS NULL) = (lease_host IS NULL) AND (lease_turn IS NULL) = (lease_ends IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX conversations_of_owner ON conversations (tenant, issuer, subject, id);
CREATE INDEX conversations_leased ON conversations (lease_host) WHERE lease_ends > 0;

CREATE TABLE turns (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    conversation  BLOB    NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    tenant        TEXT    NOT NULL,
    issuer        TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    status        TEXT    NOT NULL CHECK (status IN ('running', 'completed', 'interrupted', 'failed')),
    attempt       INTEGER NOT NULL CHECK (attempt >= 1),
    -- The epoch it was last started with; NULL once the lease was taken from it, so that no one can end it any more.
    epoch         INTEGER,
    host          BLOB    NOT NULL CHECK (length(host) = 16),
    -- The user's message, and what is kept of the companion's.
    message       BLOB    NOT NULL CHECK (length(message) = 16),
    reply         BLOB             CHECK (length(reply) = 16),
    finish        TEXT,
    input_tokens  INTEGER,
    output_tokens INTEGER,
    cached_tokens INTEGER,
    response      TEXT,
    problem       TEXT,
    created_at    INTEGER NOT NULL,
    ended_at      INTEGER,
    CHECK ((status = 'running') = (ended_at IS NULL))
) STRICT;

CREATE INDEX turns_of_conversation ON turns (conversation);

CREATE TABLE messages (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    conversation BLOB    NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    tenant       TEXT    NOT NULL,
    issuer       TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    turn         BLOB             CHECK (length(turn) = 16),
    parent       BLOB             CHECK (length(parent) = 16),
    sequence     INTEGER NOT NULL CHECK (sequence >= 1),
    role         TEXT    NOT NULL CHECK (role IN ('user', 'assistant')),
    content      TEXT    NOT NULL,
    status       TEXT    NOT NULL CHECK (status IN ('complete', 'running', 'interrupted', 'failed')),
    metadata     TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (conversation, sequence)
) STRICT;

CREATE TABLE idempotency (
    tenant       TEXT    NOT NULL,
    issuer       TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    route        TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    digest       BLOB    NOT NULL,
    turn         BLOB    NOT NULL CHECK (length(turn) = 16),
    conversation BLOB    NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant, issuer, subject, route, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_of_conversation ON idempotency (conversation);
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

-- A job that is done is gone. The number is the order.
CREATE TABLE jobs (
    number       INTEGER NOT NULL PRIMARY KEY,
    id           BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    tenant       TEXT    NOT NULL,
    issuer       TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    conversation BLOB    NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    turn         BLOB    NOT NULL CHECK (length(turn) = 16),
    plugin       TEXT    NOT NULL,
    ability      TEXT    NOT NULL CHECK (ability IN ('observe', 'reflect')),
    payload      TEXT    NOT NULL,
    status       TEXT    NOT NULL CHECK (status IN ('queued', 'running', 'parked')),
    -- When it can be taken: at its time if queued, when its lease ends if running. NULL while another job of its line
    -- (tenant, issuer, subject, plugin) stands before it, and when parked: taking the next job then needs no search.
    due_at       INTEGER,
    attempt      INTEGER NOT NULL DEFAULT 0,
    epoch        INTEGER NOT NULL DEFAULT 0,
    host         BLOB             CHECK (length(host) = 16),
    error        TEXT,
    created_at   INTEGER NOT NULL,
    CHECK ((status = 'running') = (host IS NOT NULL)),
    CHECK (status <> 'parked' OR due_at IS NULL),
    CHECK (status <> 'running' OR due_at IS NOT NULL)
) STRICT;

CREATE INDEX jobs_line ON jobs (tenant, issuer, subject, plugin, number) WHERE status <> 'parked';
CREATE INDEX jobs_due ON jobs (due_at) WHERE due_at > 0;
CREATE INDEX jobs_held ON jobs (host) WHERE status = 'running';
CREATE INDEX jobs_of_conversation ON jobs (conversation);
-- Counting by status reads no payloads.
CREATE INDEX jobs_status ON jobs (status);

-- What plugins keep. A deleted key stays for a while without a value, so that its version goes on rising.
CREATE TABLE state (
    tenant       TEXT    NOT NULL,
    plugin       TEXT    NOT NULL,
    scope        TEXT    NOT NULL CHECK (scope IN ('conversation', 'user', 'shared')),
    -- Empty in the scope `shared`.
    issuer       TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    -- Empty unless the scope is `conversation`: NULLs would not be unique.
    conversation BLOB    NOT NULL CHECK (length(conversation) = iif(scope = 'conversation', 16, 0)),
    key          TEXT    NOT NULL CHECK (octet_length(key) <= 512),
    value        BLOB             CHECK (octet_length(value) <= 1048576),
    absent       INTEGER NOT NULL GENERATED ALWAYS AS (value IS NULL) VIRTUAL,
    version      INTEGER NOT NULL CHECK (version >= 1),
    expires_at   INTEGER,
    UNIQUE (tenant, plugin, scope, issuer, subject, conversation, key),
    CHECK (value IS NOT NULL OR expires_at IS NOT NULL)
) STRICT;

CREATE INDEX state_of_conversation ON state (conversation) WHERE length(conversation) > 0;
CREATE INDEX state_expiry ON state (absent, expires_at) WHERE expires_at > 0;
