-- API keys, revocations, what was done with them, and what was spent.

-- Goes up with every change of keys and revocations: hosts follow them by it.
CREATE TABLE security (
    one     INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
) STRICT;

INSERT INTO security (one, version) VALUES (1, 1);

-- The number is the order of making.
CREATE TABLE api_keys (
    number              INTEGER NOT NULL PRIMARY KEY,
    id                  TEXT    NOT NULL UNIQUE CHECK (length(id) = 16),
    tenant              TEXT    NOT NULL,
    name                TEXT    NOT NULL,
    -- SHA-256 of the whole key; that of the one before, while it is good too.
    hash                BLOB    NOT NULL CHECK (length(hash) = 32),
    previous            BLOB             CHECK (length(previous) = 32),
    previous_ends       INTEGER,
    -- JSON arrays; NULL companions are all.
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

-- One token by its `jti`, or all tokens of a user that were issued by then.
CREATE TABLE revocations (
    issuer     TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('token', 'user')),
    -- The `jti` or the subject.
    name       TEXT    NOT NULL,
    -- Empty for any.
    tenant     TEXT    NOT NULL,
    revoked_at INTEGER NOT NULL,
    -- When no such token can be good any more.
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, kind, name, tenant)
) STRICT, WITHOUT ROWID;

CREATE INDEX revocations_expiry ON revocations (expires_at);

-- The number is the order of writing, whichever process wrote and whatever its clock said.
CREATE TABLE audit (
    number     INTEGER NOT NULL PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    at         INTEGER NOT NULL,
    tenant     TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    target     TEXT,
    outcome    TEXT    NOT NULL CHECK (outcome IN ('ok', 'refused')),
    request_id TEXT,
    address    TEXT,
    detail     TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_time ON audit (at);

-- The model's tokens by account and day (UTC), days since the Unix epoch.
CREATE TABLE spending (
    account       TEXT    NOT NULL,
    day           INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    PRIMARY KEY (account, day)
) STRICT, WITHOUT ROWID;

CREATE INDEX spending_day ON spending (day);
