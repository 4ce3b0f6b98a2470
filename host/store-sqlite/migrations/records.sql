-- The schema of `records.db`, the file of turn records. It names users and conversations of `masque.db` by id. The number of
-- the schema is in the code; a file with another number is replaced by an empty one.

-- The large column comes last, so that reading the others does not follow its pages.
CREATE TABLE turn_records (
    number       INTEGER NOT NULL PRIMARY KEY,
    turn         BLOB    NOT NULL CHECK (length(turn) = 16),
    attempt      INTEGER NOT NULL CHECK (attempt >= 1),
    user         BLOB    NOT NULL CHECK (length(user) = 16),
    conversation BLOB    NOT NULL CHECK (length(conversation) = 16),
    stored_at    INTEGER NOT NULL,
    -- JSON.
    body         BLOB    NOT NULL,
    UNIQUE (turn, attempt)
) STRICT;

CREATE INDEX turn_records_of_user ON turn_records (user, turn, attempt);
CREATE INDEX turn_records_of_conversation ON turn_records (conversation);
CREATE INDEX turn_records_age ON turn_records (stored_at);
