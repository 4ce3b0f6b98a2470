-- The tables. Until the first release this migration is edited in place: a database remembers the digest of its text and
-- is refused by a build with another one.
--
-- Times are milliseconds since the Unix epoch by the database's clock. Ids are UUIDv7 made by the hosts.
--
-- Several transactions run at once, so their locks have one order, and none waits for an earlier one of the list while
-- it holds a later one:
--   1. an idempotency key (advisory), then the row of an erasure and that of the user who is erased;
--   2. the lease rows of conversations, by id: the lock of the conversation;
--   3. the tickets of a conversation, whose lease row is locked; who stops waiting and the sweep take tickets alone;
--   4. the rows of conversations: of deleted ones that are being removed, and of those whose turns' records are stored (by
--      id); then records of turns, which the sweep takes alone;
--   5. queues of jobs (advisory, sorted), then rows of jobs;
--   6. accounts of plugin state (advisory, sorted), then rows of state and totals;
--   7. the newest report of a host, then rows of spending by account and day, then its blocks. Between the first two, a
--      report takes a share lock on the erasures of its accounts that run: who has the row of an erasure waits for no
--      report of a host.
-- Apart from these, with none of them: the row of `active_set`, then generations, then what hosts report; components, then
-- their pieces.
-- Everything is released when the transaction ends, so that a transaction pooler can be used.

-- What a host has to know before it uses the database.
CREATE TABLE masque (
    one             boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    -- Tells this installation from others that share a server, for example a Redis.
    installation    uuid    NOT NULL DEFAULT gen_random_uuid(),
    -- Makes the names of erased users; see `ErasedName` of the store. 244 bits of it are random.
    erasure_key     bytea   NOT NULL DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
    -- The oldest migration whose hosts can work with these tables. A migration that only adds leaves it as it is.
    compatible_from bigint  NOT NULL
);

INSERT INTO masque (compatible_from) VALUES (1);

-- One row for each tenant, issuer and subject. Other tables name users by the id. A user that is being erased has no name
-- any more, so that nothing is found or written under the id, and the same person can return under a new one.
CREATE TABLE users (
    id      uuid NOT NULL PRIMARY KEY,
    tenant  text COLLATE "C",
    issuer  text COLLATE "C",
    subject text COLLATE "C",
    UNIQUE (subject, issuer, tenant),
    CHECK ((subject IS NULL) = (issuer IS NULL) AND (subject IS NULL) = (tenant IS NULL))
);

-- Receipts of erasures. They stay as tombstones and name users by a keyed hash.
CREATE TABLE erasures (
    id               uuid   NOT NULL PRIMARY KEY,
    -- The surrogate id that was erased.
    user_id          uuid   NOT NULL UNIQUE,
    name             text   NOT NULL CHECK (length(name) = 64),
    begun_at         bigint NOT NULL,
    done_at          bigint,
    -- The account of spending, which names the user, for hosts that have not reported all yet. NULL when its rows are
    -- removed for good.
    account          text,
    -- A keyed hash of that account, and when its rows were removed for good: what was spent until then is not written again.
    spending_name       text NOT NULL CHECK (length(spending_name) = 64),
    spending_removed_at bigint CHECK (spending_removed_at IS NULL OR account IS NULL),
    -- Rows that were removed so far.
    conversations    bigint NOT NULL DEFAULT 0,
    messages         bigint NOT NULL DEFAULT 0,
    turns            bigint NOT NULL DEFAULT 0,
    idempotency_keys bigint NOT NULL DEFAULT 0,
    jobs             bigint NOT NULL DEFAULT 0,
    state_values     bigint NOT NULL DEFAULT 0,
    spending_days    bigint NOT NULL DEFAULT 0
);

CREATE INDEX erasures_running ON erasures (begun_at) WHERE done_at IS NULL;
CREATE INDEX erasures_spending ON erasures (spending_name);
CREATE INDEX erasures_spending_removed ON erasures (spending_removed_at);

-- When hosts were heard of. One that said farewell lives until 0: it is gone, and its leases with it. The leases of one that was
-- only not heard of in time last until their end.
CREATE TABLE hosts (
    id          uuid   NOT NULL PRIMARY KEY,
    alive_until bigint NOT NULL
);

-- What changes rarely. A deleted conversation stays, marked, until its rows are removed in batches.
CREATE TABLE conversations (
    id         uuid   NOT NULL PRIMARY KEY,
    user_id    uuid   NOT NULL REFERENCES users (id),
    companion  text   COLLATE "C" NOT NULL,
    title      text,
    created_at bigint NOT NULL,
    deleted_at bigint
);

CREATE INDEX conversations_of_user ON conversations (user_id, id) WHERE deleted_at IS NULL;
-- For the lists of API keys that are limited to some companions.
CREATE INDEX conversations_of_companion ON conversations (user_id, companion, id) WHERE deleted_at IS NULL;
CREATE INDEX conversations_deleted ON conversations (deleted_at) WHERE deleted_at IS NOT NULL;
-- For the erasure of a user. Of all conversations, since the foreign key looks for them when the row of the user is removed.
CREATE INDEX conversations_deleted_of_user ON conversations (user_id, deleted_at);

-- What every turn changes, in a narrow row: the lease and the newest sequence. A deleted conversation has no lease row.
-- Pages keep room for the next version of a row.
CREATE TABLE leases (
    conversation  uuid   NOT NULL PRIMARY KEY REFERENCES conversations (id),
    -- Goes up whenever the lease is taken and never down.
    epoch         bigint NOT NULL,
    -- The turn that holds the lease.
    turn          uuid,
    host          uuid,
    ends_at       bigint,
    -- Whether a client wants the turn to end. Reset when the lease is taken.
    is_cancelled  boolean NOT NULL DEFAULT false,
    -- Sequences have no gaps, so this is also the number of messages.
    last_sequence bigint NOT NULL CHECK (last_sequence >= 0),
    updated_at    bigint NOT NULL,
    CHECK ((turn IS NULL) = (host IS NULL) AND (turn IS NULL) = (ends_at IS NULL))
) WITH (fillfactor = 50);

CREATE UNIQUE INDEX leases_held ON leases (turn) WHERE turn IS NOT NULL;
-- For the retention of conversations. Without those in which a turn runs, so that a turn writes one entry, at its end.
CREATE INDEX leases_idle ON leases (updated_at) WHERE turn IS NULL;

-- The places of turns that wait for a conversation, by number. Numbers are given under the lock of the conversation. A ticket
-- that has ended counts as absent.
CREATE TABLE tickets (
    turn         uuid   NOT NULL PRIMARY KEY,
    conversation uuid   NOT NULL,
    number       bigint NOT NULL,
    -- The host that the turn waits on.
    host         uuid   NOT NULL,
    ends_at      bigint NOT NULL
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX tickets_of_conversation ON tickets (conversation, number);

-- What the messages of a turn don't have. Turns are removed with their messages, which name them. A foreign key to the
-- conversation would write a lock to its row with every turn and message.
CREATE TABLE turns (
    id              uuid    NOT NULL PRIMARY KEY,
    conversation    uuid    NOT NULL,
    status          text    NOT NULL CHECK (status IN ('running', 'completed', 'interrupted', 'failed')),
    attempt         bigint  NOT NULL CHECK (attempt >= 1),
    -- The epoch it was last started with. NULL once another turn took the lease: nobody can end this one any more.
    epoch           bigint,
    host            uuid    NOT NULL,
    -- The user's message, and what is kept of the companion's.
    message         uuid    NOT NULL,
    reply           uuid,
    finish          text,
    input_tokens    bigint,
    output_tokens   bigint,
    cached_tokens   bigint,
    -- Whether a count is the host's estimate. NULL where there are no counts.
    usage_estimated boolean,
    -- The reply as the client got it, without its text, and the JSON pointer where the text belongs.
    response        text,
    response_text   text,
    problem         text,
    -- When the idempotency key ends, if the turn has one.
    key_expires_at  bigint,
    created_at      bigint  NOT NULL,
    ended_at        bigint,
    CHECK ((status = 'running') = (ended_at IS NULL))
) WITH (fillfactor = 70);

-- The status that clients see follows from the turn. Metadata are JSON as text, so that they come back as they were.
CREATE TABLE messages (
    id           uuid    NOT NULL UNIQUE,
    conversation uuid    NOT NULL,
    sequence     bigint  NOT NULL CHECK (sequence >= 1),
    -- NULL for a greeting.
    turn         uuid,
    parent       uuid,
    role         text    NOT NULL CHECK (role IN ('user', 'assistant')),
    -- Whether it is part of what later turns are told of the past. False for the messages of failed turns, and for those
    -- of an interrupted turn whose question was sent again.
    in_tail      boolean NOT NULL,
    -- JSON parts. NULL stands for one part, the text beside it.
    content      text,
    -- The text of all parts.
    text         text    NOT NULL,
    metadata     text    NOT NULL,
    created_at   bigint  NOT NULL,
    PRIMARY KEY (conversation, sequence)
);

CREATE INDEX messages_in_tail ON messages (conversation, sequence) WHERE in_tail;

CREATE TABLE idempotency_keys (
    expires_at bigint NOT NULL,
    turn       uuid   NOT NULL,
    user_id    uuid   NOT NULL,
    route      text   COLLATE "C" NOT NULL,
    key        text   COLLATE "C" NOT NULL,
    digest     bytea  NOT NULL,
    PRIMARY KEY (user_id, route, key)
);

-- For the sweep, and for removing the key of a turn.
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at, turn);

-- A job that is done is removed. The number is the order within a queue: it is given under the lock of the queue.
CREATE TABLE jobs (
    number       bigint  NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    id           uuid    NOT NULL UNIQUE,
    -- Jobs with the same key run one after the other.
    queue        text    COLLATE "C" NOT NULL,
    user_id      uuid    NOT NULL,
    conversation uuid,
    turn         uuid,
    plugin       text    COLLATE "C" NOT NULL,
    -- An open set: `observe`, `reflect`, …
    kind         text    NOT NULL,
    payload      text    NOT NULL,
    status       text    NOT NULL CHECK (status IN ('queued', 'running', 'parked')),
    -- Only the head of a queue has a time: when it can be taken if it is queued, when its lease ends if it is running.
    due_at       bigint,
    attempt      bigint  NOT NULL DEFAULT 0,
    epoch        bigint  NOT NULL DEFAULT 0,
    -- How often a host ended while it ran the job.
    crashes      bigint  NOT NULL DEFAULT 0,
    host         uuid,
    error        text,
    created_at   bigint  NOT NULL,
    parked_at    bigint,
    CHECK ((status = 'running') = (host IS NOT NULL)),
    CHECK ((status = 'parked') = (parked_at IS NOT NULL)),
    CHECK (status <> 'parked' OR due_at IS NULL),
    CHECK (status <> 'running' OR due_at IS NOT NULL)
);

CREATE UNIQUE INDEX jobs_heads ON jobs (queue) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_due ON jobs (plugin, due_at, number) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (queue, number) WHERE status <> 'parked';
CREATE INDEX jobs_running ON jobs (host) WHERE status = 'running';
CREATE INDEX jobs_oldest ON jobs (created_at) WHERE status <> 'parked';
CREATE INDEX jobs_parked ON jobs (number) WHERE status = 'parked';
-- For the erasure of a user.
CREATE INDEX jobs_parked_of_user ON jobs (user_id) WHERE status = 'parked';
CREATE INDEX jobs_parked_at ON jobs (parked_at) WHERE status = 'parked';
CREATE INDEX jobs_of_conversation ON jobs (conversation, due_at);

-- What plugins keep. A deleted key stays for a while without a value, so that its version goes on rising.
CREATE TABLE state (
    -- The conversation or user; the nil id in the scope `shared`, since NULLs would not be unique.
    owner      uuid    NOT NULL,
    -- The user that it counts for: the owner, or the user of the conversation; the nil id in the scope `shared`.
    account    uuid    NOT NULL,
    tenant     text    COLLATE "C" NOT NULL,
    plugin     text    COLLATE "C" NOT NULL,
    scope      text    COLLATE "C" NOT NULL CHECK (scope IN ('conversation', 'user', 'shared')),
    -- In byte order, as lists are.
    key        text    COLLATE "C" NOT NULL CHECK (octet_length(key) <= 512),
    value      bytea           CHECK (octet_length(value) <= 1048576),
    absent     boolean NOT NULL GENERATED ALWAYS AS (value IS NULL) STORED,
    -- What it counts for: STATE_ROW_BYTES, the key, and the value.
    bytes      bigint  NOT NULL GENERATED ALWAYS AS (64 + octet_length(key) + coalesce(octet_length(value), 0)) STORED,
    version    bigint  NOT NULL CHECK (version >= 1),
    expires_at bigint,
    PRIMARY KEY (owner, tenant, plugin, scope, key),
    CHECK (value IS NOT NULL OR expires_at IS NOT NULL)
);

CREATE INDEX state_expiry ON state (absent, expires_at) WHERE expires_at IS NOT NULL;

-- The running total of each account, kept by triggers, so that every statement that changes `state` keeps it right.
CREATE TABLE state_totals (
    account uuid   NOT NULL,
    tenant  text   COLLATE "C" NOT NULL,
    plugin  text   COLLATE "C" NOT NULL,
    bytes   bigint NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (account, tenant, plugin)
) WITH (fillfactor = 70);

-- Goes up with every change of keys and revocations. Each of them carries the version that it was changed with, so that
-- hosts can read what changed since a version. Its row is locked for each change, so versions commit in order.
CREATE TABLE security (
    one     boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    version bigint  NOT NULL
);

INSERT INTO security (version) VALUES (1);

-- The number is the order of making.
CREATE TABLE api_keys (
    number              bigint NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    id                  text   NOT NULL UNIQUE CHECK (length(id) = 16),
    version             bigint NOT NULL,
    tenant              text   NOT NULL,
    name                text   NOT NULL,
    -- SHA-256 of the whole key, and that of the key before while it is valid too.
    hash                bytea  NOT NULL CHECK (octet_length(hash) = 32),
    previous            bytea           CHECK (octet_length(previous) = 32),
    previous_ends       bigint,
    scopes              text[] NOT NULL,
    -- NULL stands for all companions.
    companions          text[],
    requests_per_minute bigint,
    tokens_per_day      bigint,
    created_at          bigint NOT NULL,
    created_by          text   NOT NULL,
    expires_at          bigint,
    revoked_at          bigint,
    CHECK ((previous IS NULL) = (previous_ends IS NULL))
);

CREATE INDEX api_keys_changed ON api_keys (version);

-- One token by its `jti`, or all tokens of a user that were issued until then. A revocation never ends: a token that
-- someone else signed may be valid for as long as dates go.
CREATE TABLE revocations (
    issuer     text   COLLATE "C" NOT NULL,
    kind       text   COLLATE "C" NOT NULL CHECK (kind IN ('token', 'user')),
    -- The `jti` or the subject.
    name       text   COLLATE "C" NOT NULL,
    -- Empty for any.
    tenant     text   COLLATE "C" NOT NULL,
    revoked_at bigint NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (issuer, kind, name, tenant)
);

CREATE INDEX revocations_changed ON revocations (version);

-- The number is the order of writing.
CREATE TABLE audit (
    number     bigint NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    id         uuid   NOT NULL UNIQUE,
    at         bigint NOT NULL,
    tenant     text   NOT NULL,
    actor      text   NOT NULL,
    action     text   NOT NULL,
    target     text,
    outcome    text   NOT NULL CHECK (outcome IN ('ok', 'refused')),
    request_id text,
    address    text,
    detail     text   NOT NULL
);

CREATE INDEX audit_time ON audit (at);

-- The model's tokens by account and day (UTC), as days since the Unix epoch.
CREATE TABLE spending (
    account       text   COLLATE "C" NOT NULL,
    day           bigint NOT NULL,
    input_tokens  bigint NOT NULL,
    output_tokens bigint NOT NULL,
    PRIMARY KEY (account, day)
) WITH (fillfactor = 70);

CREATE INDEX spending_day ON spending (day);

-- What a host may use of an account on a day without asking: the tokens that are left as of its last report, negative while
-- a call used more than there was. Nobody holds a block whose lease has ended, or of another day.
CREATE TABLE spending_blocks (
    account text   COLLATE "C" NOT NULL,
    day     bigint NOT NULL,
    host    uuid   NOT NULL,
    tokens  bigint NOT NULL,
    ends_at bigint NOT NULL,
    PRIMARY KEY (account, day, host)
) WITH (fillfactor = 70);

CREATE INDEX spending_blocks_day ON spending_blocks (day);

-- The newest report of each host, so that one that is sent twice counts once.
CREATE TABLE spending_reports (
    host        uuid   NOT NULL PRIMARY KEY,
    revision    bigint NOT NULL,
    reported_at bigint NOT NULL
) WITH (fillfactor = 70);

-- What is recorded of each attempt of a turn, for days. It may be lost. The body is JSON as bytes, which may have any
-- character; it is read as a whole, and compressed by the database.
CREATE TABLE turn_records (
    turn         uuid   NOT NULL,
    attempt      bigint NOT NULL CHECK (attempt >= 1),
    conversation uuid   NOT NULL,
    stored_at    bigint NOT NULL,
    -- What it counts for: 256, and the body before it is compressed.
    bytes        bigint NOT NULL,
    body         bytea  NOT NULL,
    PRIMARY KEY (turn, attempt)
);

-- For deletions, erasures and exports.
CREATE INDEX turn_records_of_conversation ON turn_records (conversation, turn, attempt);
-- For the sweep, which adds up the bytes from the index alone.
CREATE INDEX turn_records_age ON turn_records (stored_at, turn, attempt) INCLUDE (bytes);

-- Which generations of the active set there are. Its row is locked for each change of them.
CREATE TABLE active_set (
    one       boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    -- The newest one, whatever became of it. 0: none yet.
    newest    bigint NOT NULL,
    -- The one in effect, and the one that hosts prepare.
    active    bigint,
    published bigint
) WITH (fillfactor = 70);

INSERT INTO active_set (newest) VALUES (0);

-- The newest generations, and the active one. The content names credentials and holds no secret.
CREATE TABLE generations (
    number        bigint NOT NULL PRIMARY KEY,
    revision      bigint NOT NULL CHECK (revision >= 0),
    digest        text   NOT NULL,
    content       text   NOT NULL,
    -- The digests of the components that are kept for it.
    components    text[] NOT NULL,
    status        text   NOT NULL CHECK (status IN ('published', 'active', 'replaced', 'refused')),
    published_by  text   NOT NULL,
    published_at  bigint NOT NULL,
    prepare_until bigint NOT NULL,
    decided_at    bigint,
    -- Why it was refused: one line for each host that had not prepared it.
    problem       text,
    CHECK ((status = 'published') = (decided_at IS NULL)),
    CHECK ((status = 'refused') = (problem IS NOT NULL))
);

-- The hosts that a generation waits for while they live (`hosts`).
CREATE TABLE set_hosts (
    host      uuid   NOT NULL PRIMARY KEY,
    name      text   NOT NULL,
    joined_at bigint NOT NULL
);

-- What a host says of a generation. Without a problem it is prepared.
CREATE TABLE preparations (
    generation  bigint NOT NULL REFERENCES generations (number) ON DELETE CASCADE,
    host        uuid   NOT NULL,
    problem     text,
    reported_at bigint NOT NULL,
    PRIMARY KEY (generation, host)
);

-- Components that generations name. One that none names is removed an hour after its last piece was added.
CREATE TABLE components (
    digest   text   COLLATE "C" NOT NULL PRIMARY KEY,
    bytes    bigint NOT NULL CHECK (bytes BETWEEN 0 AND 67108864),
    added_at bigint NOT NULL
);

CREATE TABLE component_chunks (
    digest text  COLLATE "C" NOT NULL REFERENCES components (digest) ON DELETE CASCADE,
    index  int   NOT NULL CHECK (index BETWEEN 0 AND 63),
    bytes  bytea NOT NULL CHECK (octet_length(bytes) <= 1048576),
    PRIMARY KEY (digest, index)
);

