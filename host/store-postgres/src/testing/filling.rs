//! Fills a database with conversations by SQL, as if they had been held over the last three years.

use uuid::Uuid;

/// The time of the first conversation, in milliseconds since the Unix epoch.
const FIRST: u64 = 1_700_000_000_000;

/// How long the conversations took, in milliseconds.
const SPAN: u64 = 3 * 365 * 86_400_000;

/// How many turns each conversation has, with two messages each.
const TURNS: u64 = 5;

/// How many conversations each user has.
pub const CONVERSATIONS_OF_A_USER: u64 = 20;

/// The id of a conversation that [`fill_sql`] makes, by its number.
pub fn conversation_id(conversations: u64, number: u64) -> Uuid {
    let at = FIRST + number * step(conversations);
    Uuid::from_u128(u128::from(at) << 80 | 0x7000 << 64 | 0x8000 << 48 | u128::from(number))
}

/// How long after one conversation the next begins, in milliseconds.
fn step(conversations: u64) -> u64 {
    (SPAN / conversations).max(1)
}

/// SQL that fills an empty database with so many conversations of ten messages. The users have the tenant `default`, the
/// issuer `bench` and the subjects `user-0`, `user-1`, …, and conversation `n` is of user `n / 20`. Each has a value of the
/// plugin `window`, the turns of the newest twentieth have idempotency keys, and every other user has a job.
///
/// Rows are inserted turn by turn, so that the messages of one conversation are far from each other, as they are where
/// conversations go on for days.
pub fn fill_sql(conversations: u64) -> String {
    let step = step(conversations);
    let users = conversations.div_ceil(CONVERSATIONS_OF_A_USER);
    let last = conversations.saturating_sub(1);
    let id = |kind: u8, number: &str, at: &str| {
        format!("(lpad(to_hex({at}), 12, '0') || '7{kind:03x}8000' || lpad(to_hex({number}), 12, '0'))::uuid")
    };
    let (conversation, user) =
        (id(0, "c", &format!("{FIRST} + c * {step}")), id(1, &format!("c / {CONVERSATIONS_OF_A_USER}"), "0"));
    let at = format!("{FIRST} + c * {step} + t * 60000");
    let turn = id(2, &format!("c * {TURNS} + t"), &at);
    let (question, answer) =
        (id(3, &format!("c * {TURNS} + t"), &at), id(4, &format!("c * {TURNS} + t"), &at));
    let turns = format!("generate_series(0, {TURNS} - 1) t CROSS JOIN generate_series(0, {last}::bigint) c");
    format!(
        "SET synchronous_commit = off;
         INSERT INTO users (id, tenant, issuer, subject)
         SELECT {user_of_number}, 'default', 'bench', 'user-' || c FROM generate_series(0, {users}::bigint - 1) c;
         INSERT INTO conversations (id, user_id, companion, title, created_at)
         SELECT {conversation}, {user}, CASE c % 10 WHEN 0 THEN 'bran' ELSE 'elara' END, 'Conversation ' || c,
                {FIRST} + c * {step}
           FROM generate_series(0, {last}::bigint) c;
         INSERT INTO leases (conversation, epoch, last_sequence, updated_at)
         SELECT {conversation}, {TURNS}, {TURNS} * 2, {FIRST} + c * {step} FROM generate_series(0, {last}::bigint) c;
         INSERT INTO turns (id, conversation, status, attempt, epoch, host, message, reply, finish, input_tokens, output_tokens,
                            cached_tokens, usage_estimated, response, response_text, key_expires_at, created_at, ended_at)
         SELECT {turn}, {conversation}, 'completed', 1, t + 1, {user}, {question}, {answer}, 'stop', 400, 90, 0, false,
                '{{\"id\":\"' || repeat('x', 200) || '\"}}', '/reply',
                CASE WHEN c > {last} - {conversations} / 20 THEN 4102444800000 END, {at}, {at} + 4000
           FROM {turns};
         INSERT INTO messages (id, conversation, sequence, turn, parent, role, in_tail, text, metadata, created_at)
         SELECT CASE r WHEN 0 THEN {question} ELSE {answer} END, {conversation}, t * 2 + r + 1, {turn}, NULL,
                CASE r WHEN 0 THEN 'user' ELSE 'assistant' END, true,
                repeat('Tell me of the sea. ', CASE r WHEN 0 THEN 4 ELSE 20 END), '{{}}', {at} + r * 4000
           FROM {turns} CROSS JOIN generate_series(0, 1) r;
         INSERT INTO idempotency_keys (expires_at, turn, user_id, route, key, digest)
         SELECT 4102444800000, {turn}, {user}, 'POST /chat', c || '-' || t, '\\x00'
           FROM {turns} WHERE c > {last} - {conversations} / 20;
         INSERT INTO state (owner, account, tenant, plugin, scope, key, value, version)
         SELECT {conversation}, {user}, 'default', 'window', 'conversation', 'summary', convert_to(repeat('s', 300), 'UTF8'), 3
           FROM generate_series(0, {last}::bigint) c;
         INSERT INTO jobs (id, queue, user_id, conversation, turn, plugin, kind, payload, status, due_at, created_at)
         SELECT {turn}, masque_queue_v1({user}, 'window'), {user}, {conversation}, {turn}, 'window', 'observe',
                repeat('p', 300), 'queued', {FIRST}, {FIRST}
           FROM (SELECT u * {CONVERSATIONS_OF_A_USER} AS c, 0 AS t FROM generate_series(0, {users}::bigint - 1, 2) u) j;",
        user_of_number = id(1, "c", "0"),
    )
}
