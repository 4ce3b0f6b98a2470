-- The whole schema. Until the first release it is edited in place: a database remembers the digest of each migration's text
-- and is refused by a build with another one.
--
-- Times are milliseconds since the Unix epoch by the database's clock; `leases.ends_at` and `jobs.due_at` by a clock that
-- is never set. Ids are UUIDv7 of 16 bytes.
--
-- A CHECK over words uses OR: for `IN (...)` SQLite builds a temporary table at every write. Partial indexes repeat the
-- condition of the queries that use them word for word, since SQLite looks for nothing else.

-- What a host has to know before it uses the database.
CREATE TABLE masque (
    one             INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    -- Tells this installation from others that share a server, for example a Redis.
    installation    BLOB    NOT NULL CHECK (length(installation) = 16),
    -- Makes the names of erased users; see `ErasedName` of the store.
    erasure_key     BLOB    NOT NULL CHECK (length(erasure_key) = 32),
    -- The oldest migration whose hosts can work with these tables. A migration that only adds leaves it as it is.
    compatible_from INTEGER NOT NULL
) STRICT;

INSERT INTO masque (one, installation, erasure_key, compatible_from) VALUES (1, randomblob(16), randomblob(32), 1);

-- The migrations that were applied. The digest is SHA-256 of the text, in hexadecimal digits.
CREATE TABLE schema_digest (
    version INTEGER NOT NULL PRIMARY KEY,
    digest  TEXT    NOT NULL
) STRICT;

-- One row for each tenant, issuer and subject. Other tables name users by the id. A user that is being erased has no name
-- any more, so that nothing is found or written under the id, and the same person can return under a new one.
CREATE TABLE users (
    id      BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    tenant  TEXT,
    issuer  TEXT,
    subject TEXT,
    UNIQUE (subject, issuer, tenant),
    CHECK ((subject IS NULL) = (issuer IS NULL) AND (subject IS NULL) = (tenant IS NULL))
) STRICT, WITHOUT ROWID;

-- Receipts of erasures. They stay as tombstones and name users by a keyed hash.
CREATE TABLE erasures (
    id               BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- The surrogate id that was erased.
    user             BLOB    NOT NULL UNIQUE CHECK (length(user) = 16),
    name             TEXT    NOT NULL CHECK (length(name) = 64),
    begun_at         INTEGER NOT NULL,
    done_at          INTEGER,
    -- The account of spending, which names the user, for hosts that have not reported all yet. NULL when its rows are
    -- removed for good.
    account          TEXT,
    -- A keyed hash of that account, and when its rows were removed for good: what was spent until then is not written again.
    spending_name       TEXT NOT NULL CHECK (length(spending_name) = 64),
    spending_removed_at INTEGER CHECK (spending_removed_at IS NULL OR account IS NULL),
    -- Rows that were removed so far.
    conversations    INTEGER NOT NULL DEFAULT 0,
    messages         INTEGER NOT NULL DEFAULT 0,
    turns            INTEGER NOT NULL DEFAULT 0,
    idempotency_keys INTEGER NOT NULL DEFAULT 0,
    jobs             INTEGER NOT NULL DEFAULT 0,
    state_values     INTEGER NOT NULL DEFAULT 0,
    spending_days    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX erasures_running ON erasures (begun_at) WHERE done_at IS NULL;
CREATE INDEX erasures_spending ON erasures (spending_name);

-- What changes rarely. A deleted conversation stays, marked, until its rows are removed in batches.
CREATE TABLE conversations (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user       BLOB    NOT NULL REFERENCES users (id),
    companion  TEXT    NOT NULL,
    title      TEXT,
    created_at INTEGER NOT NULL,
    -- Also the order in which they are removed: one that can't be removed gets a later time.
    deleted_at INTEGER
) STRICT, WITHOUT ROWID;

-- Without deleted ones, which a list would have to skip one by one.
CREATE INDEX conversations_of_user ON conversations (user, id) WHERE deleted_at IS NULL;
-- For the lists of API keys that are limited to some companions.
CREATE INDEX conversations_of_companion ON conversations (user, companion, id) WHERE deleted_at IS NULL;
CREATE INDEX conversations_deleted ON conversations (deleted_at) WHERE deleted_at IS NOT NULL;
-- For the erasure of a user. Of all conversations, since the foreign key looks for them when the row of the user is removed.
CREATE INDEX conversations_deleted_of_user ON conversations (user, deleted_at);

-- What every turn changes, in a narrow row: the lease and the newest sequence. A deleted conversation has no lease row.
CREATE TABLE leases (
    conversation  BLOB    NOT NULL PRIMARY KEY REFERENCES conversations (id),
    -- Goes up whenever the lease is taken and never down.
    epoch         INTEGER NOT NULL,
    -- The turn that holds the lease.
    turn          BLOB             CHECK (length(turn) = 16),
    host          BLOB             CHECK (length(host) = 16),
    ends_at       INTEGER,
    -- Whether a client wants the turn to end. Reset when the lease is taken.
    is_cancelled  INTEGER NOT NULL DEFAULT 0 CHECK (is_cancelled = 0 OR is_cancelled = 1),
    -- Sequences have no gaps, so this is also the number of messages.
    last_sequence INTEGER NOT NULL CHECK (last_sequence >= 0),
    updated_at    INTEGER NOT NULL,
    CHECK ((turn IS NULL) = (host IS NULL) AND (turn IS NULL) = (ends_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX leases_held ON leases (turn) WHERE turn IS NOT NULL;
-- For the retention of conversations. Without those in which a turn runs, so that a turn writes one entry, at its end.
CREATE INDEX leases_idle ON leases (updated_at) WHERE turn IS NULL;

-- What the messages of a turn don't have. Turns are removed with their messages, which name them; an index by
-- conversation would only serve that.
CREATE TABLE turns (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    conversation   BLOB    NOT NULL CHECK (length(conversation) = 16),
    status         TEXT    NOT NULL
                   CHECK (status = 'running' OR status = 'completed' OR status = 'interrupted' OR status = 'failed'),
    attempt        INTEGER NOT NULL CHECK (attempt >= 1),
    -- The epoch it was last started with. NULL once another turn took the lease: nobody can end this one any more.
    epoch          INTEGER,
    host           BLOB    NOT NULL CHECK (length(host) = 16),
    -- The user's message, and what is kept of the companion's.
    message        BLOB    NOT NULL CHECK (length(message) = 16),
    reply          BLOB             CHECK (length(reply) = 16),
    finish         TEXT,
    input_tokens   INTEGER,
    output_tokens  INTEGER,
    cached_tokens  INTEGER,
    -- Whether a count is the host's estimate. NULL where there are no counts.
    usage_estimated INTEGER CHECK (usage_estimated = 0 OR usage_estimated = 1),
    -- The reply as the client got it, without its text, and the JSON pointer where the text belongs.
    response       TEXT,
    response_text  TEXT,
    problem        TEXT,
    -- When the idempotency key ends, if the turn has one: with the id the primary key of its row.
    key_expires_at INTEGER,
    created_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    CHECK ((status = 'running') = (ended_at IS NULL))
) STRICT, WITHOUT ROWID;

-- The status that clients see follows from the turn.
CREATE TABLE messages (
    id           BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    conversation BLOB    NOT NULL REFERENCES conversations (id),
    sequence     INTEGER NOT NULL CHECK (sequence >= 1),
    -- NULL for a greeting.
    turn         BLOB             CHECK (length(turn) = 16),
    parent       BLOB             CHECK (length(parent) = 16),
    role         TEXT    NOT NULL CHECK (role = 'user' OR role = 'assistant'),
    -- Whether it is part of what later turns are told of the past. False for the messages of failed turns, and for those
    -- of an interrupted turn whose question was sent again.
    in_tail      INTEGER NOT NULL CHECK (in_tail = 0 OR in_tail = 1),
    -- JSON parts. NULL stands for one part, the text beside it.
    content      TEXT,
    -- The text of all parts.
    text         TEXT    NOT NULL,
    metadata     TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (conversation, sequence)
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_in_tail ON messages (conversation, sequence) WHERE in_tail = 1;

-- Ordered by their end, so that a sweep finds what has expired first.
CREATE TABLE idempotency_keys (
    expires_at INTEGER NOT NULL,
    turn       BLOB    NOT NULL CHECK (length(turn) = 16),
    user       BLOB    NOT NULL CHECK (length(user) = 16),
    route      TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    digest     BLOB    NOT NULL,
    PRIMARY KEY (expires_at, turn),
    UNIQUE (user, route, key)
) STRICT, WITHOUT ROWID;

-- A job that is done is removed. The number is the order.
CREATE TABLE jobs (
    number       INTEGER NOT NULL PRIMARY KEY,
    id           BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    -- Jobs with the same key run one after the other.
    queue        TEXT    NOT NULL,
    user         BLOB    NOT NULL CHECK (length(user) = 16),
    conversation BLOB             CHECK (length(conversation) = 16),
    turn         BLOB             CHECK (length(turn) = 16),
    plugin       TEXT    NOT NULL,
    -- An open set: `observe`, `reflect`, …
    kind         TEXT    NOT NULL,
    payload      TEXT    NOT NULL,
    status       TEXT    NOT NULL CHECK (status = 'queued' OR status = 'running' OR status = 'parked'),
    -- Only the head of a queue has a time: when it can be taken if it is queued, when its lease ends if it is running.
    due_at       INTEGER,
    attempt      INTEGER NOT NULL DEFAULT 0,
    epoch        INTEGER NOT NULL DEFAULT 0,
    -- How often a host ended while it ran the job.
    crashes      INTEGER NOT NULL DEFAULT 0,
    host         BLOB             CHECK (length(host) = 16),
    error        TEXT,
    created_at   INTEGER NOT NULL,
    -- When it was parked.
    parked_at    INTEGER,
    CHECK ((status = 'running') = (host IS NOT NULL)),
    CHECK ((status = 'parked') = (parked_at IS NOT NULL)),
    CHECK (status <> 'parked' OR due_at IS NULL),
    CHECK (status <> 'running' OR due_at IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX jobs_heads ON jobs (queue) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_due ON jobs (plugin, due_at, number) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (queue, number) WHERE status <> 'parked';
CREATE INDEX jobs_running ON jobs (host) WHERE status = 'running';
CREATE INDEX jobs_oldest ON jobs (created_at) WHERE status <> 'parked';
CREATE INDEX jobs_parked ON jobs (number) WHERE status = 'parked';
CREATE INDEX jobs_parked_at ON jobs (parked_at) WHERE parked_at IS NOT NULL;
-- NULL sorts before every number, so that the heads of a conversation are one range.
CREATE INDEX jobs_of_conversation ON jobs (conversation, due_at);

-- What plugins keep. A deleted key stays for a while without a value, so that its version goes on rising.
CREATE TABLE state (
    tenant     TEXT    NOT NULL,
    plugin     TEXT    NOT NULL,
    scope      TEXT    NOT NULL CHECK (scope = 'conversation' OR scope = 'user' OR scope = 'shared'),
    -- The id of the conversation or user; empty in the scope `shared`, since NULLs would not be unique.
    owner      BLOB    NOT NULL CHECK (length(owner) = iif(scope = 'shared', 0, 16)),
    -- The user that it counts for: the owner, or the user of the conversation; empty in the scope `shared`.
    account    BLOB    NOT NULL CHECK (length(account) = length(owner)),
    key        TEXT    NOT NULL CHECK (octet_length(key) <= 512),
    value      BLOB             CHECK (octet_length(value) <= 1048576),
    absent     INTEGER NOT NULL GENERATED ALWAYS AS (value IS NULL) VIRTUAL,
    -- What it counts for: STATE_ROW_BYTES, the key, and the value.
    bytes      INTEGER NOT NULL
               GENERATED ALWAYS AS (64 + octet_length(key) + ifnull(octet_length(value), 0)) VIRTUAL,
    version    INTEGER NOT NULL CHECK (version >= 1),
    expires_at INTEGER,
    UNIQUE (owner, tenant, plugin, scope, key),
    CHECK (value IS NOT NULL OR expires_at IS NOT NULL)
) STRICT;

CREATE INDEX state_expiry ON state (absent, expires_at) WHERE expires_at IS NOT NULL;

-- The running total of each account, kept by triggers, so that every statement that changes `state` keeps it right.
CREATE TABLE state_totals (
    account BLOB    NOT NULL,
    tenant  TEXT    NOT NULL,
    plugin  TEXT    NOT NULL,
    bytes   INTEGER NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (account, tenant, plugin)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER state_inserted AFTER INSERT ON state BEGIN
    INSERT INTO state_totals (account, tenant, plugin, bytes)
    VALUES (NEW.account, NEW.tenant, NEW.plugin, NEW.bytes)
        ON CONFLICT (account, tenant, plugin) DO UPDATE SET bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER state_updated AFTER UPDATE OF value ON state WHEN NEW.bytes <> OLD.bytes BEGIN
    UPDATE state_totals SET bytes = bytes + NEW.bytes - OLD.bytes
     WHERE account = NEW.account AND tenant = NEW.tenant AND plugin = NEW.plugin;
END;

CREATE TRIGGER state_deleted AFTER DELETE ON state BEGIN
    UPDATE state_totals SET bytes = bytes - OLD.bytes
     WHERE account = OLD.account AND tenant = OLD.tenant AND plugin = OLD.plugin;
    DELETE FROM state_totals
     WHERE account = OLD.account AND tenant = OLD.tenant AND plugin = OLD.plugin AND bytes = 0;
END;

-- Goes up with every change of keys and revocations. Each of them carries the version that it was changed with, so that
-- hosts can read what changed since a version.
CREATE TABLE security (
    one     INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
) STRICT;

INSERT INTO security (one, version) VALUES (1, 1);

-- The number is the order of making.
CREATE TABLE api_keys (
    number              INTEGER NOT NULL PRIMARY KEY,
    id                  TEXT    NOT NULL UNIQUE CHECK (length(id) = 16),
    version             INTEGER NOT NULL,
    tenant              TEXT    NOT NULL,
    name                TEXT    NOT NULL,
    -- SHA-256 of the whole key, and that of the key before while it is valid too.
    hash                BLOB    NOT NULL CHECK (length(hash) = 32),
    previous            BLOB             CHECK (length(previous) = 32),
    previous_ends       INTEGER,
    -- JSON arrays; NULL companions are all companions.
    scopes              TEXT    NOT NULL,
    companions          TEXT,
    requests_per_minute INTEGER,
    tokens_per_day      INTEGER,
    created_at          INTEGER NOT NULL,
    created_by          TEXT    NOT NULL,
    expires_at          INTEGER,
    revoked_at          INTEGER,
    CHECK ((previous IS NULL) = (previous_ends IS NULL))
) STRICT;

CREATE INDEX api_keys_changed ON api_keys (version);

-- One token by its `jti`, or all tokens of a user that were issued until then. A revocation never ends: a token that
-- someone else signed may be valid for as long as dates go.
CREATE TABLE revocations (
    issuer     TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind = 'token' OR kind = 'user'),
    -- The `jti` or the subject.
    name       TEXT    NOT NULL,
    -- Empty for any.
    tenant     TEXT    NOT NULL,
    revoked_at INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    PRIMARY KEY (issuer, kind, name, tenant)
) STRICT, WITHOUT ROWID;

CREATE INDEX revocations_changed ON revocations (version);

-- The number is the order of writing, whichever process wrote and whatever its clock said.
CREATE TABLE audit (
    number     INTEGER NOT NULL PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    at         INTEGER NOT NULL,
    tenant     TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    target     TEXT,
    outcome    TEXT    NOT NULL CHECK (outcome = 'ok' OR outcome = 'refused'),
    request_id TEXT,
    address    TEXT,
    detail     TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_time ON audit (at);

-- The model's tokens by account and day (UTC), as days since the Unix epoch.
CREATE TABLE spending (
    account       TEXT    NOT NULL,
    day           INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    PRIMARY KEY (account, day)
) STRICT, WITHOUT ROWID;

CREATE INDEX spending_day ON spending (day);

-- What a host may use of an account on a day without asking: the tokens that are left as of its last report, negative while
-- a call used more than there was. Nobody holds a block whose lease has ended, or of another day.
CREATE TABLE spending_blocks (
    account TEXT    NOT NULL,
    day     INTEGER NOT NULL,
    host    BLOB    NOT NULL CHECK (length(host) = 16),
    tokens  INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    PRIMARY KEY (account, day, host)
) STRICT, WITHOUT ROWID;

CREATE INDEX spending_blocks_day ON spending_blocks (day);

-- The newest report of each host, so that one that is sent twice counts once.
CREATE TABLE spending_reports (
    host        BLOB    NOT NULL PRIMARY KEY CHECK (length(host) = 16),
    revision    INTEGER NOT NULL,
    reported_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
