//! Keys and revocations are changed together with their audit entry, and every change raises the security version.

use super::fixtures::*;

const DAY: i64 = 24 * 3600 * 1000;

fn all() -> Page {
    Page { limit: 1000, after: None }
}

async fn actions(store: &Arc<dyn Store>) -> Vec<String> {
    let log = store.audit(all()).await.unwrap();
    log.items.into_iter().map(|record| record.entry.action).collect()
}

pub async fn a_key_is_kept_as_it_was_made(store: &Arc<dyn Store>) {
    let new = new_key(1);
    let made = store.create_key(new.clone(), entry("key.create")).await.unwrap();
    assert_eq!(store.key(&new.id).await.unwrap().as_ref(), Some(&made));
    assert_eq!(
        (&made.id, &made.tenant, &made.name, &made.hash, &made.scopes),
        (&new.id, &new.tenant, &new.name, &new.hash, &new.scopes)
    );
    assert_eq!(
        (&made.companions, made.requests_per_minute, made.tokens_per_day),
        (&new.companions, new.requests_per_minute, new.tokens_per_day)
    );
    assert!(made.created_at > 0 && made.previous.is_none() && made.revoked_at.is_none());
    assert_eq!(store.key(&KeyId::from_bytes([9; 8])).await.unwrap(), None);
}

pub async fn a_change_and_its_entry_happen_together_or_not_at_all(store: &Arc<dyn Store>) {
    let new = new_key(1);
    store.create_key(new.clone(), entry("key.create")).await.unwrap();
    let again = store.create_key(new.clone(), entry("again")).await;
    assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
    let unknown = KeyId::from_bytes([9; 8]);
    assert_eq!(store.rotate_key(&unknown, KeyHash([2; 32]), LONG, entry("rotate")).await.unwrap(), None);
    assert_eq!(store.revoke_key(&unknown, entry("revoke")).await.unwrap(), None);
    assert_eq!(actions(store).await, ["key.create"]);
    store.revoke_key(&new.id, entry("key.revoke")).await.unwrap().unwrap();
    assert_eq!(actions(store).await, ["key.revoke", "key.create"]);
}

pub async fn a_rotation_keeps_the_hash_before_for_a_while(store: &Arc<dyn Store>) {
    let new = new_key(1);
    let made = store.create_key(new.clone(), entry("key.create")).await.unwrap();
    let rotated =
        store.rotate_key(&new.id, KeyHash([2; 32]), LONG, entry("key.rotate")).await.unwrap().unwrap();
    assert_eq!(rotated.hash, KeyHash([2; 32]));
    let (before, until) = rotated.previous.unwrap();
    assert_eq!(before, KeyHash([1; 32]));
    assert!(until > made.created_at && until <= made.created_at + 2 * LONG.as_millis() as i64);
    let at_once =
        store.rotate_key(&new.id, KeyHash([3; 32]), OVER, entry("key.rotate")).await.unwrap().unwrap();
    assert_eq!((at_once.hash, at_once.previous), (KeyHash([3; 32]), None));
}

pub async fn a_revoked_key_stays_revoked_and_has_one_secret_at_most(store: &Arc<dyn Store>) {
    let new = new_key(1);
    store.create_key(new.clone(), entry("key.create")).await.unwrap();
    store.rotate_key(&new.id, KeyHash([2; 32]), LONG, entry("key.rotate")).await.unwrap().unwrap();
    let revoked = store.revoke_key(&new.id, entry("key.revoke")).await.unwrap().unwrap();
    assert!(revoked.revoked_at.is_some() && revoked.previous.is_none());
    let again = store.revoke_key(&new.id, entry("key.revoke")).await.unwrap().unwrap();
    assert_eq!(again.revoked_at, revoked.revoked_at);
    assert_eq!(store.rotate_key(&new.id, KeyHash([3; 32]), LONG, entry("key.rotate")).await.unwrap(), None);
}

pub async fn keys_are_listed_the_newest_first_and_in_parts(store: &Arc<dyn Store>) {
    for number in 1..=5 {
        store.create_key(new_key(number), entry("key.create")).await.unwrap();
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let part = store.keys(Page { limit: 2, after }).await.unwrap();
        names.extend(part.items.into_iter().map(|key| key.name));
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["key 5", "key 4", "key 3", "key 2", "key 1"]);
    let wrong = store.keys(Page { limit: 2, after: Some("x".into()) }).await;
    assert!(matches!(wrong, Err(StoreError::Refused(_))), "{wrong:?}");
}

pub async fn every_change_raises_the_version_and_nothing_else_does(store: &Arc<dyn Store>) {
    let mut before = store.security_version().await.unwrap();
    let new = new_key(1);
    store.create_key(new.clone(), entry("a")).await.unwrap();
    for step in 0..3 {
        let now = store.security_version().await.unwrap();
        assert!(now > before, "step {step}");
        before = now;
        match step {
            0 => drop(store.rotate_key(&new.id, KeyHash([2; 32]), LONG, entry("b")).await.unwrap()),
            1 => drop(store.revoke_key(&new.id, entry("c")).await.unwrap()),
            _ => {
                let what = Revoked::Token { jti: "x".into() };
                store.revoke(NewRevocation { issuer: "masque".into(), what }, entry("d")).await.unwrap();
            }
        }
    }
    let now = store.security_version().await.unwrap();
    assert!(now > before);
    store.record(entry("e")).await.unwrap();
    exchange(store, new_conversation(), "Hello", "Hi").await;
    assert_eq!(store.security_version().await.unwrap(), now);
    assert_eq!(store.security().await.unwrap().version, now);
}

pub async fn the_security_snapshot_holds_all_valid_keys_and_revocations(store: &Arc<dyn Store>) {
    let now = store.create_key(new_key(1), entry("a")).await.unwrap().created_at;
    let ended = |number, ago: i64| NewApiKey { expires_at: Some(now - ago), ..new_key(number) };
    store.create_key(ended(2, 30 * DAY), entry("a")).await.unwrap();
    store.create_key(ended(3, 32 * DAY), entry("a")).await.unwrap();
    store.revoke_key(&new_key(1).id, entry("a")).await.unwrap();
    let what = [
        Revoked::Token { jti: "one".into() },
        Revoked::User { subject: "ana".into(), tenant: None },
        Revoked::User { subject: "ana".into(), tenant: Some("acme".into()) },
    ];
    for what in &what {
        store
            .revoke(NewRevocation { issuer: "masque".into(), what: what.clone() }, entry("b"))
            .await
            .unwrap();
    }
    let again = NewRevocation { issuer: "masque".into(), what: what[1].clone() };
    let again = store.revoke(again, entry("b")).await.unwrap();

    let known = store.security().await.unwrap();
    let mut names: Vec<_> = known.keys.iter().map(|key| key.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["key 1", "key 2"], "a token of the third would have expired by now");
    assert_eq!(known.revocations.len(), 3, "{:?}", known.revocations);
    assert!(known.revocations.contains(&again));
}

pub async fn the_audit_is_read_in_parts_and_forgotten_by_age(store: &Arc<dyn Store>) {
    for action in ["one", "two", "three"] {
        store.record(entry(action)).await.unwrap();
    }
    let first = store.audit(Page { limit: 2, after: None }).await.unwrap();
    assert_eq!(first.items[0].entry, entry("three"));
    let rest = store.audit(Page { limit: 2, after: first.next }).await.unwrap();
    assert_eq!((rest.items.len(), rest.next), (1, None));
    let wrong = store.audit(Page { limit: 2, after: Some("x".into()) }).await;
    assert!(matches!(wrong, Err(StoreError::Refused(_))), "{wrong:?}");
    assert_eq!(store.forget_audit(LONG).await.unwrap(), 0);
    assert_eq!(actions(store).await.len(), 3);
    assert_eq!(store.forget_audit(OVER).await.unwrap(), 3);
    assert_eq!(actions(store).await.len(), 0);
}

pub async fn no_record_prints_a_hash(store: &Arc<dyn Store>) {
    let made = store.create_key(new_key(171), entry("a")).await.unwrap();
    let printed = format!("{made:?} {:?} {:?}", new_key(171), store.security().await.unwrap());
    assert!(!printed.contains("171, 171"), "{printed}");
}
