//! State of plugins: values, versions, times to live and lists of keys.

use super::fixtures::*;

fn space(plugin: &str, scope: StateScope) -> StateSpace {
    StateSpace { tenant: "default".into(), plugin: plugin.into(), scope }
}

fn mine(name: &str) -> StateKey {
    StateKey { space: space("window", StateScope::User(ada())), key: name.into() }
}

/// A write without a quota.
fn unlimited(key: StateKey, change: StateChange) -> StateWrite {
    StateWrite { key, change, quota: None }
}

fn set(key: StateKey, value: &str) -> StateWrite {
    unlimited(key, StateChange::Set { value: value.into(), if_version: None, ttl: None })
}

fn set_if(key: StateKey, value: &str, version: u64) -> StateWrite {
    unlimited(key, StateChange::Set { value: value.into(), if_version: Some(version), ttl: None })
}

fn brief(key: StateKey, value: &str) -> StateWrite {
    unlimited(key, StateChange::Set { value: value.into(), if_version: None, ttl: Some(OVER) })
}

fn delete(key: StateKey, if_version: Option<u64>) -> StateWrite {
    unlimited(key, StateChange::Delete { if_version })
}

fn add(key: StateKey, amount: i64) -> StateWrite {
    unlimited(key, StateChange::Add { amount })
}

type Written = Result<Vec<StateWritten>, StateConflict>;

async fn write(store: &Arc<dyn Store>, write: StateWrite) -> Result<StateResult, ConflictReason> {
    let written: Written = store.state_write(None, vec![write]).await.unwrap();
    written.map(|written| written[0].result.clone()).map_err(|conflict| conflict.reason)
}

async fn version(store: &Arc<dyn Store>, wanted: StateWrite) -> u64 {
    match write(store, wanted).await {
        Ok(StateResult::Version(version)) => version,
        other => panic!("{other:?}"),
    }
}

async fn get(store: &Arc<dyn Store>, key: StateKey) -> Option<String> {
    let found = store.state_get(&key).await.unwrap();
    found.map(|found| String::from_utf8(found.value).unwrap())
}

pub async fn a_value_is_found_again_with_its_version(store: &Arc<dyn Store>) {
    assert_eq!(store.state_get(&mine("k")).await.unwrap(), None);
    let version = version(store, set(mine("k"), "one")).await;
    assert!(version > 0);
    let expected = StateValue { value: b"one".to_vec(), version };
    assert_eq!(store.state_get(&mine("k")).await.unwrap(), Some(expected));
}

pub async fn no_two_spaces_share_a_key(store: &Arc<dyn Store>) {
    let id = empty(store).await;
    let other_id = empty(store).await;
    let elsewhere = StateSpace { tenant: "other".into(), ..space("window", StateScope::Shared) };
    let spaces = [
        space("window", StateScope::Shared),
        space("card", StateScope::Shared),
        space("window", StateScope::User(ada())),
        space("window", StateScope::User(owner("eve"))),
        space("window", StateScope::User(Owner { issuer: "other".into(), ..ada() })),
        space("window", StateScope::Conversation(id)),
        space("window", StateScope::Conversation(other_id)),
        elsewhere,
    ];
    let key = |space: &StateSpace| StateKey { space: space.clone(), key: "k".into() };
    for (number, space) in spaces.iter().enumerate() {
        assert_eq!(get(store, key(space)).await, None);
        write(store, set(key(space), &number.to_string())).await.unwrap();
    }
    for (number, space) in spaces.iter().enumerate() {
        assert_eq!(get(store, key(space)).await, Some(number.to_string()));
        assert_eq!(store.state_list(space, "", None, 10).await.unwrap(), ["k"]);
    }
}

pub async fn versions_rise_with_every_write_and_go_on_after_a_delete_and_an_end(store: &Arc<dyn Store>) {
    let first = version(store, set(mine("k"), "1")).await;
    write(store, add(mine("k"), 1)).await.unwrap();
    let second = version(store, set(mine("k"), "2")).await;
    assert!(second > first + 1, "{first}, {second}");
    write(store, delete(mine("k"), None)).await.unwrap();
    assert_eq!(get(store, mine("k")).await, None);
    let third = version(store, brief(mine("k"), "3")).await;
    assert!(third > second);
    store.sweep().await.unwrap();
    let fourth = version(store, set(mine("k"), "4")).await;
    assert!(fourth > third);
}

pub async fn a_write_for_a_version_needs_that_version(store: &Arc<dyn Store>) {
    let first = version(store, set_if(mine("k"), "one", 0)).await;
    let refused = write(store, set_if(mine("k"), "two", 0)).await;
    assert_eq!(refused, Err(ConflictReason::Version { found: first }));
    let second = version(store, set_if(mine("k"), "two", first)).await;
    assert_eq!(
        write(store, delete(mine("k"), Some(first))).await,
        Err(ConflictReason::Version { found: second })
    );
    assert_eq!(write(store, delete(mine("k"), Some(second))).await, Ok(StateResult::Deleted));
    assert_eq!(
        write(store, delete(mine("k"), Some(second))).await,
        Err(ConflictReason::Version { found: 0 })
    );
    assert_eq!(
        write(store, set_if(mine("k"), "three", second)).await,
        Err(ConflictReason::Version { found: 0 })
    );
    version(store, set_if(mine("k"), "three", 0)).await;
}

pub async fn deleting_what_is_absent_succeeds(store: &Arc<dyn Store>) {
    assert_eq!(write(store, delete(mine("k"), None)).await, Ok(StateResult::Deleted));
    assert_eq!(write(store, delete(mine("k"), Some(0))).await, Ok(StateResult::Deleted));
}

pub async fn a_value_past_its_time_is_absent_to_every_question(store: &Arc<dyn Store>) {
    write(store, brief(mine("k"), "41")).await.unwrap();
    assert_eq!(get(store, mine("k")).await, None);
    assert!(store.state_list(&mine("k").space, "", None, 10).await.unwrap().is_empty());
    assert_eq!(write(store, add(mine("k"), 1)).await, Ok(StateResult::Sum(1)));
    assert_eq!(get(store, mine("k")).await.as_deref(), Some("1"), "a new value does not inherit an old end");
    write(store, brief(mine("k"), "41")).await.unwrap();
    version(store, set_if(mine("k"), "new", 0)).await;
    assert_eq!(get(store, mine("k")).await.as_deref(), Some("new"));
}

pub async fn adding_keeps_a_time_to_live(store: &Arc<dyn Store>) {
    // It outlasts the second write also on a busy machine.
    let change = StateChange::Set { value: "1".into(), if_version: None, ttl: Some(Duration::from_secs(3)) };
    write(store, unlimited(mine("k"), change)).await.unwrap();
    write(store, add(mine("k"), 1)).await.unwrap();
    let absent = async {
        while get(store, mine("k")).await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), absent).await.expect("the value outlived its time");
}

pub async fn a_sweep_removes_values_past_their_time_and_leaves_the_rest(store: &Arc<dyn Store>) {
    write(store, brief(mine("old"), "x")).await.unwrap();
    write(store, set(mine("new"), "y")).await.unwrap();
    assert_eq!(store.sweep().await.unwrap(), 1);
    assert_eq!(store.sweep().await.unwrap(), 0);
    assert_eq!(get(store, mine("new")).await.as_deref(), Some("y"));
}

pub async fn only_decimal_integers_that_fit_are_added_to(store: &Arc<dyn Store>) {
    assert_eq!(write(store, add(mine("n"), 5)).await, Ok(StateResult::Sum(5)));
    assert_eq!(write(store, add(mine("n"), -7)).await, Ok(StateResult::Sum(-2)));
    assert_eq!(get(store, mine("n")).await.as_deref(), Some("-2"));
    write(store, set(mine("n"), "two")).await.unwrap();
    assert_eq!(write(store, add(mine("n"), 1)).await, Err(ConflictReason::NotAnInteger));
    write(store, set(mine("n"), &i64::MAX.to_string())).await.unwrap();
    assert_eq!(write(store, add(mine("n"), 1)).await, Err(ConflictReason::Overflow));
    assert_eq!(get(store, mine("n")).await, Some(i64::MAX.to_string()));
}

pub async fn several_writes_happen_together_or_not_at_all(store: &Arc<dyn Store>) {
    let all = vec![set(mine("a"), "1"), add(mine("a"), 1), set(mine("b"), "x"), delete(mine("b"), None)];
    let written = store.state_write(None, all).await.unwrap().unwrap();
    let results: Vec<_> = written.into_iter().map(|written| written.result).collect();
    assert_eq!(results[1..], [StateResult::Sum(2), StateResult::Version(1), StateResult::Deleted]);

    let misfit = vec![set(mine("a"), "9"), set(mine("c"), "9"), set_if(mine("a"), "10", 1)];
    let conflict = store.state_write(None, misfit).await.unwrap().unwrap_err();
    assert_eq!((conflict.index, conflict.key.as_str()), (2, "a"));
    assert_eq!(get(store, mine("a")).await.as_deref(), Some("2"));
    assert_eq!(get(store, mine("c")).await, None);
}

pub async fn a_hundred_additions_at_once_lose_none(store: &Arc<dyn Store>) {
    let sums = futures::future::join_all((0..100).map(|_| write(store, add(mine("n"), 1)))).await;
    let mut sums: Vec<i64> = sums
        .into_iter()
        .map(|sum| match sum {
            Ok(StateResult::Sum(sum)) => sum,
            other => panic!("{other:?}"),
        })
        .collect();
    sums.sort_unstable();
    assert_eq!(sums, (1..=100).collect::<Vec<_>>());
    assert_eq!(get(store, mine("n")).await.as_deref(), Some("100"));
}

pub async fn keys_are_listed_in_byte_order_by_prefix_and_in_parts(store: &Arc<dyn Store>) {
    for name in ["b", "a/2", "a/10", "a/é", "a", "a0", "A"] {
        write(store, set(mine(name), "x")).await.unwrap();
    }
    let list = async |prefix: &str, after: Option<&str>, limit| {
        store.state_list(&mine("").space, prefix, after, limit).await.unwrap()
    };
    assert_eq!(list("", None, 10).await, ["A", "a", "a/10", "a/2", "a/é", "a0", "b"]);
    assert_eq!(list("a/", None, 10).await, ["a/10", "a/2", "a/é"]);
    assert_eq!(list("a/", Some("a/10"), 1).await, ["a/2"]);
    assert_eq!(list("a/", Some("b"), 10).await, [] as [&str; 0]);
    assert_eq!(list("a/", Some("A"), 10).await.len(), 3);
}

pub async fn a_conversations_state_goes_with_it_and_can_not_come_back(store: &Arc<dyn Store>) {
    let id = empty(store).await;
    let key = || StateKey { space: space("window", StateScope::Conversation(id)), key: "k".into() };
    write(store, set(key(), "x")).await.unwrap();
    let other_tenant =
        StateKey { space: StateSpace { tenant: "other".into(), ..key().space }, key: "k".into() };
    assert_eq!(get(store, other_tenant.clone()).await, None);
    assert_eq!(write(store, set(other_tenant, "y")).await, Err(ConflictReason::NoConversation));

    store.delete(&ada(), id).await.unwrap();
    assert_eq!(get(store, key()).await, None);
    assert_eq!(write(store, set(key(), "y")).await, Err(ConflictReason::NoConversation));
    assert_eq!(write(store, add(key(), 1)).await, Err(ConflictReason::NoConversation));
    assert!(store.state_list(&key().space, "", None, 10).await.unwrap().is_empty());

    // Not even to a conversation that is given the same id, as a restored backup may do.
    let same = NewConversation { id, companion: "elara".into(), title: None, greeting: None };
    store.create(&ada(), same).await.unwrap();
    assert_eq!(get(store, key()).await, None);
}

pub async fn keys_and_values_past_their_size_are_refused(store: &Arc<dyn Store>) {
    let long = mine(&"é".repeat(256));
    write(store, set(long, &"x".repeat(1 << 20))).await.unwrap();
    let longer = mine(&"k".repeat(513));
    assert!(matches!(store.state_write(None, vec![set(longer, "x")]).await, Err(StoreError::Refused(_))));
    let zero = mine("a\0b");
    assert!(matches!(store.state_write(None, vec![set(zero, "x")]).await, Err(StoreError::Refused(_))));
    let larger = set(mine("k"), &"x".repeat((1 << 20) + 1));
    assert!(matches!(store.state_write(None, vec![larger]).await, Err(StoreError::Refused(_))));
    assert_eq!(get(store, mine("k")).await, None);
}

pub async fn writes_for_several_users_without_any_data_are_each_users_own(store: &Arc<dyn Store>) {
    let key = |subject: &str| {
        let scope = StateScope::User(owner(subject));
        let space = StateSpace { tenant: "default".into(), plugin: "window".into(), scope };
        StateKey { space, key: "k".into() }
    };
    let subjects = ["eve", "bob", "eve", "zoe"];
    let set = |subject: &&str| StateWrite {
        key: key(subject),
        change: StateChange::Set { value: (*subject).into(), if_version: None, ttl: None },
        quota: None,
    };
    let written = store.state_write(None, subjects.iter().map(set).collect()).await.unwrap().unwrap();
    let results: Vec<_> = written.into_iter().map(|written| written.result).collect();
    assert_eq!(results, [1, 1, 2, 1].map(StateResult::Version));
    for subject in subjects {
        let found = store.state_get(&key(subject)).await.unwrap().unwrap();
        assert_eq!(found.value, subject.as_bytes());
    }
}
