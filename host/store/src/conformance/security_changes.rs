//! A host reads only the keys and revocations that changed since a version.

use super::fixtures::*;

fn revocation(subject: &str) -> NewRevocation {
    let what = Revoked::User { subject: subject.into(), tenant: None };
    NewRevocation { issuer: "masque".into(), what }
}

fn names(security: &Security) -> Vec<&str> {
    let mut names: Vec<&str> = security.keys.iter().map(|key| key.name.as_str()).collect();
    names.sort_unstable();
    names
}

pub async fn only_what_changed_since_a_version_is_read(store: &Arc<dyn Store>) {
    store.create_key(new_key(1), entry("a")).await.unwrap();
    store.create_key(new_key(2), entry("a")).await.unwrap();
    store.revoke(revocation("ana"), entry("b")).await.unwrap();
    let before = store.security().await.unwrap();
    let none = store.security_since(before.version).await.unwrap();
    assert_eq!(none, Security { version: before.version, keys: Vec::new(), revocations: Vec::new() });

    let revoked = store.revoke(revocation("ben"), entry("b")).await.unwrap();
    store.create_key(new_key(3), entry("a")).await.unwrap();
    let changed = store.security_since(before.version).await.unwrap();
    assert_eq!((names(&changed), &changed.revocations[..]), (vec!["key 3"], &[revoked][..]));
    assert_eq!(changed.version, store.security_version().await.unwrap());
}

pub async fn a_rotation_a_revoked_key_and_a_repeated_revocation_are_changes(store: &Arc<dyn Store>) {
    for number in 1..=3 {
        store.create_key(new_key(number), entry("a")).await.unwrap();
    }
    store.revoke(revocation("ana"), entry("b")).await.unwrap();
    let before = store.security_version().await.unwrap();
    let rotated = store.rotate_key(&new_key(1).id, KeyHash([9; 32]), LONG, entry("a")).await.unwrap();
    let revoked = store.revoke_key(&new_key(2).id, entry("a")).await.unwrap();
    let again = store.revoke(revocation("ana"), entry("b")).await.unwrap();
    let changed = store.security_since(before).await.unwrap();
    assert_eq!(names(&changed), ["key 1", "key 2"]);
    assert!(changed.keys.contains(&rotated.unwrap()) && changed.keys.contains(&revoked.unwrap()));
    assert_eq!(changed.revocations, [again]);
}

pub async fn changes_after_a_snapshot_lead_to_the_next_snapshot(store: &Arc<dyn Store>) {
    let mut followed = store.security().await.unwrap();
    for number in 1..=4 {
        store.create_key(new_key(number), entry("a")).await.unwrap();
        if number % 2 == 0 {
            store
                .rotate_key(&new_key(number - 1).id, KeyHash([8; 32]), OVER, entry("a"))
                .await
                .unwrap()
                .unwrap();
            store.revoke(revocation(&format!("user {number}")), entry("b")).await.unwrap();
        }
        let changes = store.security_since(followed.version).await.unwrap();
        followed.version = changes.version;
        for key in changes.keys {
            followed.keys.retain(|known| known.id != key.id);
            followed.keys.push(key);
        }
        followed.revocations.extend(changes.revocations);
    }
    let mut all = store.security().await.unwrap();
    for security in [&mut all, &mut followed] {
        security.keys.sort_by(|one, other| one.id.cmp(&other.id));
        security.revocations.sort_by_key(|revocation| format!("{revocation:?}"));
    }
    assert_eq!(followed, all);
}
