//! What is past its time goes with a sweep, and what is not stays. Rows are made old behind the store's back.

use masque_store::*;
use sqlx::{ConnectOptions, Connection};

use super::conformance::*;

const DAY: i64 = 24 * 3600 * 1000;

#[tokio::test]
async fn old_days_of_spending_are_swept_and_revocations_are_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    for subject in ["ana", "ben"] {
        let what = Revoked::User { subject: subject.into(), tenant: None };
        let revocation = NewRevocation { issuer: "masque".into(), what };
        store.revoke(revocation, identity::entry("token.revoke")).await.unwrap();
    }
    let started = start(&store, admission(new_conversation(), "Hello")).await;
    let accounts = vec!["key:new".to_owned(), "key:old".to_owned()];
    let charge =
        Charge { accounts, usage: UsageRecord { input_tokens: 1, output_tokens: 1, cached_tokens: 0 } };
    kept(store.commit(Commit { charge, ..reply(&started, "Hi") }).await);
    assert_eq!(store.sweep().await.unwrap(), 0);

    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("masque.db"));
    let mut behind = options.connect().await.unwrap();
    sqlx::query("UPDATE spending SET day = day - 401 WHERE account = 'key:old'")
        .execute(&mut behind)
        .await
        .unwrap();
    let count = async |behind: &mut sqlx::SqliteConnection| -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM spending").fetch_one(behind).await.unwrap()
    };
    assert_eq!(count(&mut behind).await, 2);
    assert_eq!(store.sweep().await.unwrap(), 1);
    assert_eq!(count(&mut behind).await, 1);
    let security = store.security().await.unwrap();
    assert_eq!(security.revocations.len(), 2);
    // A token that someone else signed may be good for as long as dates go.
    let ends: i64 =
        sqlx::query_scalar("SELECT min(expires_at) FROM revocations").fetch_one(&mut behind).await.unwrap();
    assert!(ends > security.revocations[0].revoked_at + 1000 * 365 * DAY);
    behind.close().await.unwrap();
}

#[tokio::test]
async fn a_revocation_never_moves_back() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let revocation = || {
        let what = Revoked::User { subject: "ana".into(), tenant: None };
        NewRevocation { issuer: "masque".into(), what }
    };
    let first = store.revoke(revocation(), identity::entry("token.revoke")).await.unwrap();
    // As if it had been made by a clock that was ahead.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("masque.db"));
    let mut behind = options.connect().await.unwrap();
    let ahead = format!("UPDATE revocations SET revoked_at = revoked_at + {DAY}");
    sqlx::query(sqlx::AssertSqlSafe(ahead)).execute(&mut behind).await.unwrap();
    behind.close().await.unwrap();
    let again = store.revoke(revocation(), identity::entry("token.revoke")).await.unwrap();
    assert_eq!(again.revoked_at, first.revoked_at + DAY);
}
