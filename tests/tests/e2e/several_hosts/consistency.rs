//! Whether everything in the database is whole: what belongs together is there together, whatever failed meanwhile.

use masque_tests::eventually;

use super::installation::Installation;

/// One row for each thing that is half written.
const HALF_WRITTEN: &str = "
SELECT 'a complete turn without its message and its reply: ' || t.id FROM turns t
 WHERE t.status = 'completed'
   AND (SELECT count(*) FROM messages m WHERE m.turn = t.id AND m.id IN (t.message, t.reply)) <> 2
UNION ALL
SELECT 'a turn without its message: ' || t.id FROM turns t
 WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = t.message)
UNION ALL
SELECT 'a message without its turn: ' || m.id FROM messages m
 WHERE m.turn IS NOT NULL AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.id = m.turn)
UNION ALL
SELECT 'a turn without its conversation: ' || t.id FROM turns t
 WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.id = t.conversation)
UNION ALL
SELECT 'a lease of a turn that has ended: ' || l.turn FROM leases l JOIN turns t ON t.id = l.turn
 WHERE t.status <> 'running'
UNION ALL
SELECT 'a conversation whose sequences have gaps: ' || l.conversation FROM leases l
 WHERE l.last_sequence <> (SELECT count(*) FROM messages m WHERE m.conversation = l.conversation)
UNION ALL
SELECT 'a failed turn whose message later turns are told: ' || t.id FROM turns t JOIN messages m ON m.id = t.message
 WHERE t.status = 'failed' AND m.in_tail
UNION ALL
SELECT 'a key without its turn: ' || k.key FROM idempotency_keys k
 WHERE NOT EXISTS (SELECT 1 FROM turns t WHERE t.id = k.turn)";

/// What is half written, one line each. Waits until no turn runs: the end of one that was told to its client may still be on
/// its way to the database, and a turn of a host that is gone runs until its lease ends.
pub(super) async fn half_written(installation: &Installation) -> String {
    eventually("the turns to have ended", || async {
        (installation.query("SELECT count(*) FROM turns WHERE status = 'running'") == "0").then_some(())
    })
    .await;
    installation.query(HALF_WRITTEN)
}
