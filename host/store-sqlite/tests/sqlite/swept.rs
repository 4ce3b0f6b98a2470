//! What is past its time goes with a sweep, and what is not stays. Rows are made old behind the store's back.

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::SqliteStore;

use super::raw;

const DAY: i64 = 24 * 3600 * 1000;

#[tokio::test]
async fn old_days_of_spending_are_swept_and_revocations_are_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    for subject in ["ana", "ben"] {
        let what = Revoked::User { subject: subject.into(), tenant: None };
        let revocation = NewRevocation { issuer: "masque".into(), what };
        store.revoke(revocation, entry("token.revoke")).await.unwrap();
    }
    let started = start(&store, admission(new_conversation(), "Hello")).await;
    let accounts = vec!["key:new".to_owned(), "key:old".to_owned()];
    let charge =
        Charge { accounts, usage: UsageRecord { input_tokens: 1, output_tokens: 1, cached_tokens: 0 } };
    kept(store.commit(Commit { charge, ..reply(&started, "Hi") }).await);
    assert_eq!(store.sweep().await.unwrap(), 0);

    let behind = raw::open(folder.path());
    behind.execute("UPDATE spending SET day = day - 401 WHERE account = 'key:old'", []).unwrap();
    assert_eq!(raw::number(&behind, "SELECT count(*) FROM spending"), 2);
    assert_eq!(store.sweep().await.unwrap(), 1);
    assert_eq!(raw::number(&behind, "SELECT count(*) FROM spending"), 1);
    let security = store.security().await.unwrap();
    assert_eq!(security.revocations.len(), 2);
    // Not even a revocation of a thousand years ago ends: a token that someone else signed may be valid that long.
    behind.execute("UPDATE revocations SET revoked_at = revoked_at - ?1", [1000 * 365 * DAY]).unwrap();
    assert_eq!(store.sweep().await.unwrap(), 0);
    assert_eq!(store.security().await.unwrap().revocations.len(), 2);
}

#[tokio::test]
async fn a_revocation_never_moves_back() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let revocation = || {
        let what = Revoked::User { subject: "ana".into(), tenant: None };
        NewRevocation { issuer: "masque".into(), what }
    };
    let first = store.revoke(revocation(), entry("token.revoke")).await.unwrap();
    // As if it had been made by a clock that was ahead.
    raw::open(folder.path()).execute("UPDATE revocations SET revoked_at = revoked_at + ?1", [DAY]).unwrap();
    let again = store.revoke(revocation(), entry("token.revoke")).await.unwrap();
    assert_eq!(again.revoked_at, first.revoked_at + DAY);
}
