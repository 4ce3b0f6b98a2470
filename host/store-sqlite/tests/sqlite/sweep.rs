//! A sweep deletes expired rows and keeps the others. The tests move timestamps into the past through a second connection.

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::SqliteStore;

use super::raw_connection;

const DAY: i64 = 24 * 3600 * 1000;

#[tokio::test]
async fn old_spending_is_removed_and_revocations_never_are() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    for subject in ["ana", "ben"] {
        let what = Revoked::User { subject: subject.into(), tenant: None };
        let revocation = NewRevocation { issuer: "masque".into(), what };
        store.revoke(revocation, entry("token.revoke")).await.unwrap();
    }
    let day = SpendingDay(store.report_spending(report(0, vec![], vec![])).await.unwrap().now / DAY);
    let used = ["key:new", "key:old"].map(|account| UsedTokens {
        account: account.into(),
        day,
        debited_at: LATER,
        input_tokens: 1,
        output_tokens: 1,
    });
    store.report_spending(report(1, used.to_vec(), Vec::new())).await.unwrap();
    let kept = Duration::from_secs(400 * 24 * 3600);
    assert_eq!(store.forget_spending(kept).await.unwrap(), 0);

    let database = raw_connection::open(folder.path());
    database.execute("UPDATE spending SET day = day - 401 WHERE account = 'key:old'", []).unwrap();
    assert_eq!(raw_connection::number(&database, "SELECT count(*) FROM spending"), 2);
    assert_eq!(store.forget_spending(kept).await.unwrap(), 1);
    assert_eq!(raw_connection::number(&database, "SELECT count(*) FROM spending"), 1);
    let security = store.security().await.unwrap();
    assert_eq!(security.revocations.len(), 2);
    // Revocations never expire: another issuer may have signed a token that is valid for any time.
    database.execute("UPDATE revocations SET revoked_at = revoked_at - ?1", [1000 * 365 * DAY]).unwrap();
    assert_eq!(store.sweep().await.unwrap(), 0);
    assert_eq!(store.security().await.unwrap().revocations.len(), 2);
}

#[tokio::test]
async fn only_conversations_that_are_idle_for_longer_than_asked_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let old = exchange(&store, new_conversation(), "Hello", "Hi").await.conversation;
    let young = exchange(&store, new_conversation(), "Hello", "Hi").await.conversation;
    let running = start(&store, admission(new_conversation(), "Hello")).await;
    let database = raw_connection::open(folder.path());
    for (days, id) in [(31, old), (29, young), (31, running.conversation)] {
        let moved = "UPDATE leases SET updated_at = updated_at - ?1 WHERE conversation = ?2";
        database.execute(moved, (days * DAY, id.as_uuid())).unwrap();
    }
    let month = Duration::from_secs(30 * 24 * 3600);
    assert_eq!(store.forget_conversations(month).await.unwrap(), 1);
    assert_eq!(store.forget_conversations(month).await.unwrap(), 0);
    assert_eq!(store.conversation(&ada(), old).await.unwrap(), None);
    assert!(store.conversation(&ada(), young).await.unwrap().is_some());
    kept(store.commit(reply(&running, "Hi")).await);
    assert_eq!(store.forget_conversations(month).await.unwrap(), 0, "the turn ended just now");
}

#[tokio::test]
async fn a_deleted_conversation_that_can_not_be_removed_keeps_no_other_from_being_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let mut deleted = Vec::new();
    for _ in 0..4 {
        deleted.push(exchange(&store, new_conversation(), "Hello", "Hi").await.conversation);
    }
    let database = raw_connection::open(folder.path());
    let planted = format!(
        "CREATE TRIGGER planted BEFORE DELETE ON messages WHEN OLD.conversation = x'{}'
         BEGIN SELECT RAISE(ABORT, 'planted'); END",
        deleted[0].as_uuid().simple()
    );
    database.execute_batch(&planted).unwrap();
    for conversation in deleted {
        assert!(store.delete(&ada(), conversation).await.unwrap());
    }
    while store.sweep().await.unwrap() > 0 {}
    let count = |table: &str| raw_connection::number(&database, &format!("SELECT count(*) FROM {table}"));
    assert_eq!(
        (count("conversations"), count("turns"), count("messages")),
        (1, 1, 2),
        "the one that can't be removed is left whole"
    );

    database.execute_batch("DROP TRIGGER planted").unwrap();
    while store.sweep().await.unwrap() > 0 {}
    assert_eq!((count("conversations"), count("turns"), count("messages")), (0, 0, 0));
}

#[tokio::test]
async fn revoking_again_never_moves_the_time_of_a_revocation_back() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let revocation = || {
        let what = Revoked::User { subject: "ana".into(), tenant: None };
        NewRevocation { issuer: "masque".into(), what }
    };
    let first = store.revoke(revocation(), entry("token.revoke")).await.unwrap();
    // The first revocation was made by a clock that is a day ahead.
    raw_connection::open(folder.path())
        .execute("UPDATE revocations SET revoked_at = revoked_at + ?1", [DAY])
        .unwrap();
    let again = store.revoke(revocation(), entry("token.revoke")).await.unwrap();
    assert_eq!(again.revoked_at, first.revoked_at + DAY);
}

#[tokio::test]
async fn a_conversation_begun_after_the_clock_was_set_back_is_listed_first() {
    let folder = tempfile::tempdir().unwrap();
    let of_tomorrow = {
        let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds + 24 * 3600, 0))
    };
    // Stored by a host whose clock was a day ahead.
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let id = ConversationId::from(of_tomorrow);
    let new = NewConversation { id, companion: "elara".into(), title: None, greeting: None };
    store.create(&ada(), new).await.unwrap();
    store.close().await;
    drop(store);

    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let newest = empty(&store).await;
    let listed = store.conversations(&ada(), Page { limit: 10, after: None }).await.unwrap().items;
    assert_eq!(listed.iter().map(|record| record.id).collect::<Vec<_>>(), [newest, id]);
}

#[tokio::test]
async fn the_size_of_the_store_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    exchange(&store, new_conversation(), "Hello", "Hi").await;
    let size = store.size().await.unwrap();
    assert!(size.database > 0 && size.log > 0, "{size:?}");
}

/// What a host gets that wants all 1,000 tokens of a budget.
async fn block(store: &Arc<dyn Store>, host: u128) -> i64 {
    let all = BlockRequest::Hold { account: "key:1".into(), budget: 1_000, wanted: 1_000 };
    let report = SpendingReport { host: Uuid::from_u128(host), ..report(0, vec![], vec![all]) };
    store.report_spending(report).await.unwrap().blocks[0].tokens
}

#[tokio::test]
async fn a_block_of_yesterday_is_held_by_nobody_and_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    assert_eq!((block(&store, 1).await, block(&store, 2).await), (1_000, 0));
    let database = raw_connection::open(folder.path());
    database.execute("UPDATE spending_blocks SET day = day - 1", []).unwrap();
    assert_eq!((block(&store, 2).await, block(&store, 1).await), (1_000, 0));
    assert_eq!(store.sweep().await.unwrap(), 2);
    assert_eq!((block(&store, 1).await, block(&store, 2).await), (0, 1_000), "those of today stay");
}

#[tokio::test]
async fn the_blocks_of_a_host_that_was_killed_come_back_with_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    for host in [1, 2] {
        let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
        assert_eq!(block(&store, host).await, 1_000);
        store.close().await;
    }
}
