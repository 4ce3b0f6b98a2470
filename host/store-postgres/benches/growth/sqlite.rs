//! A filled SQLite file, with the same rows as the PostgreSQL, and the plans of its queries.

use std::path::Path;
use std::sync::Arc;

use masque_store::Store;
use masque_store_postgres::testing::{CONVERSATIONS_OF_A_USER, conversation_id};
use masque_store_sqlite::SqliteStore;
use rusqlite::Connection;
use tempfile::TempDir;

pub(crate) async fn open(folder: &Path) -> Arc<dyn Store> {
    SqliteStore::open(folder).await.unwrap()
}

/// On the disk of the target folder.
pub(crate) async fn fill(size: u64) -> TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    open(folder.path()).await.close().await;
    let connection = Connection::open(folder.path().join("masque.db")).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; PRAGMA journal_mode = OFF; BEGIN; {} COMMIT; ANALYZE;
             PRAGMA journal_mode = WAL;",
            fill_sql(size)
        ))
        .unwrap();
    folder
}

fn fill_sql(size: u64) -> String {
    // The number and the time of the first conversations, and of the one after.
    let at = |number: u64| conversation_id(size, number).as_u128() >> 80;
    let (first, step) = (at(0), at(1) - at(0));
    let id = |kind: u8, number: &str, at: &str| {
        format!("unhex(printf('%012x7%03x8000%012x', {at}, {kind}, {number}))")
    };
    let (users, last) = (size.div_ceil(CONVERSATIONS_OF_A_USER), size - 1);
    let conversation = id(0, "c", &format!("{first} + c * {step}"));
    let user = id(1, &format!("c / {CONVERSATIONS_OF_A_USER}"), "0");
    let at = format!("({first} + c * {step} + t * 60000)");
    let of_turn = |kind| id(kind, "c * 5 + t", &at);
    let (turn, question, answer) = (of_turn(2), of_turn(3), of_turn(4));
    let numbers =
        |to: u64| format!("WITH RECURSIVE n (c) AS (SELECT 0 UNION ALL SELECT c + 1 FROM n WHERE c < {to})");
    let all = numbers(last);
    let turns = "(SELECT 0 AS t UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4) CROSS JOIN n";
    format!(
        "{some_users} INSERT INTO users SELECT {user_of_number}, 'default', 'bench', 'user-' || c FROM n;
         {all} INSERT INTO conversations (id, user, companion, title, created_at)
         SELECT {conversation}, {user}, iif(c % 10 = 0, 'bran', 'elara'), 'Conversation ' || c, {first} + c * {step} FROM n;
         {all} INSERT INTO leases (conversation, epoch, last_sequence, updated_at)
         SELECT {conversation}, 5, 10, {first} + c * {step} FROM n;
         {all} INSERT INTO turns (id, conversation, status, attempt, epoch, host, message, reply, finish, input_tokens,
                                  output_tokens, cached_tokens, usage_estimated, response, response_text, key_expires_at,
                                  created_at, ended_at)
         SELECT {turn}, {conversation}, 'completed', 1, t + 1, {user}, {question}, {answer}, 'stop', 400, 90, 0, 0,
                '{{\"id\":\"' || printf('%.*c', 200, 'x') || '\"}}', '/reply',
                iif(c > {last} - {size} / 20, 4102444800000, NULL), {at}, {at} + 4000 FROM {turns};
         {all} INSERT INTO messages (id, conversation, sequence, turn, parent, role, in_tail, text, metadata, created_at)
         SELECT iif(r = 0, {question}, {answer}), {conversation}, t * 2 + r + 1, {turn}, NULL,
                iif(r = 0, 'user', 'assistant'), 1,
                replace(printf('%.*c', iif(r = 0, 4, 20), 'x'), 'x', 'Tell me of the sea. '), '{{}}', {at} + r * 4000
           FROM {turns} CROSS JOIN (SELECT 0 AS r UNION ALL SELECT 1);
         {all} INSERT INTO idempotency_keys (expires_at, turn, user, route, key, digest)
         SELECT 4102444800000, {turn}, {user}, 'POST /chat', c || '-' || t, x'00'
           FROM {turns} WHERE c > {last} - {size} / 20;
         {all} INSERT INTO state (tenant, plugin, scope, owner, account, key, value, version)
         SELECT 'default', 'window', 'conversation', {conversation}, {user}, 'summary',
                CAST(printf('%.*c', 300, 's') AS BLOB), 3 FROM n;
         {some_users} INSERT INTO jobs (id, queue, user, conversation, turn, plugin, kind, payload, status, due_at, created_at)
         SELECT {turn}, lower(hex({user})) || '/window', {user}, {conversation}, {turn}, 'window', 'observe',
                printf('%.*c', 300, 'p'), 'queued', {first}, {first}
           FROM (SELECT c * {CONVERSATIONS_OF_A_USER} AS c, 0 AS t FROM n WHERE c % 2 = 0);",
        some_users = numbers(users - 1),
        user_of_number = id(1, "c", "0"),
    )
}

/// The queries of the hot operations, as the store has them.
const QUERIES: [(&str, &str); 12] = [
    ("a user", "SELECT id FROM users WHERE subject = ?1 AND issuer = ?2 AND tenant = ?3"),
    (
        "the lease of a conversation",
        "SELECT c.user, c.companion, l.epoch, l.last_sequence, l.turn, l.ends_at
           FROM conversations c JOIN leases l ON l.conversation = c.id WHERE c.id = ?1 AND c.deleted_at IS NULL",
    ),
    ("a key", "SELECT digest, turn FROM idempotency_keys WHERE user = ?1 AND route = ?2 AND key = ?3"),
    (
        "the newest messages",
        "SELECT m.sequence, octet_length(m.text) FROM messages m INDEXED BY messages_in_tail
          WHERE m.conversation = ?1 AND m.sequence < ?2 AND m.in_tail = 1 ORDER BY m.sequence DESC LIMIT ?3",
    ),
    (
        "a page of messages",
        "SELECT m.*, t.status FROM messages m LEFT JOIN turns t ON t.id = m.turn
          WHERE m.conversation = ?1 AND m.sequence > ?2 ORDER BY m.sequence LIMIT ?3",
    ),
    (
        "a page of conversations",
        "SELECT c.id, l.updated_at FROM conversations c JOIN leases l ON l.conversation = c.id
          WHERE c.user = ?1 AND c.id < ?2 AND c.deleted_at IS NULL ORDER BY c.id DESC LIMIT ?3",
    ),
    (
        "a value of state",
        "SELECT value, version FROM state
          WHERE owner = ?1 AND tenant = ?2 AND plugin = ?3 AND scope = ?4 AND key = ?5
            AND value IS NOT NULL AND (expires_at IS NULL OR expires_at > ?6)",
    ),
    (
        "the first due job of a plugin",
        "SELECT number FROM jobs WHERE plugin = ?1 AND due_at IS NOT NULL AND due_at <= ?2 ORDER BY due_at, number LIMIT 1",
    ),
    ("a renewal", "UPDATE leases SET ends_at = ?3 WHERE turn = ?1 AND host = ?2 AND turn IS NOT NULL"),
    (
        "lost turns",
        "SELECT conversation, turn FROM leases INDEXED BY leases_held
          WHERE turn IS NOT NULL AND (host <> ?1 OR ends_at <= ?2)",
    ),
    (
        "expired keys",
        "SELECT expires_at, turn FROM idempotency_keys WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
    ),
    (
        "expired values",
        "SELECT rowid FROM state WHERE absent = 0 AND expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
    ),
];

/// The plans of the queries.
pub(crate) fn plans(folder: &Path) -> String {
    let connection = Connection::open(folder.join("masque.db")).unwrap();
    let mut text = String::new();
    for (name, query) in QUERIES {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
        for position in 1..=statement.parameter_count() {
            statement.raw_bind_parameter(position, 1).unwrap();
        }
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().unwrap() {
            text.push_str(&format!("{name}: {}\n", row.get::<_, String>(3).unwrap()));
        }
    }
    text
}
