//! The active set that several hosts share.

use std::sync::Arc;
use std::time::Duration;

use masque_store::{
    ActiveSets as _, AuditLog as _, COMPONENT_CHUNK_BYTES, ComponentChunk, Decision, GenerationStatus,
    NewGeneration, Page, Preparation, PublishOutcome, SetHost, SetState, StoreError, Turns as _,
};
use masque_store_postgres::PostgresStore;
use masque_store_postgres::testing::{TestDatabase, TestServer};

use crate::several_hosts::host;

const LONG: Duration = Duration::from_secs(60);

async fn open() -> (Arc<PostgresStore>, TestDatabase) {
    let database = TestServer::shared().migrated_database().await;
    (PostgresStore::open(&database.options()).await.unwrap(), database)
}

fn named(number: usize) -> SetHost {
    SetHost { id: host(number), name: format!("host-{number}") }
}

/// A host that lives for a while.
async fn join(store: &PostgresStore, number: usize, lives: Duration) {
    store.join_sets(named(number)).await.unwrap();
    store.heartbeat(host(number), &[], lives).await.unwrap();
}

fn new(base: u64, revision: u64, content: &str) -> NewGeneration {
    NewGeneration {
        base,
        revision,
        digest: format!("sha256:{content}"),
        content: content.to_owned(),
        components: Vec::new(),
        prepare_within: LONG,
        by: named(0),
    }
}

async fn report(store: &PostgresStore, generation: u64, number: usize, problem: Option<&str>) {
    let report = Preparation { generation, host: host(number), problem: problem.map(str::to_owned) };
    store.report_preparation(report).await.unwrap();
}

async fn decide(store: &PostgresStore, generation: u64) -> Decision {
    store.decide_generation(generation, &named(0)).await.unwrap()
}

/// Publishes and activates a generation.
async fn activate(store: &PostgresStore, generation: NewGeneration) -> u64 {
    let PublishOutcome::Published(number) = store.publish_generation(generation).await.unwrap() else {
        panic!("not published");
    };
    report(store, number, 0, None).await;
    assert_eq!(decide(store, number).await, Decision::Decided(Some(GenerationStatus::Active)));
    number
}

async fn actions(store: &PostgresStore) -> Vec<String> {
    let page = Page { limit: 100, after: None };
    let entries = store.audit(page).await.unwrap().items;
    entries
        .into_iter()
        .rev()
        .map(|record| format!("{} {}", record.entry.action, record.entry.target.unwrap()))
        .collect()
}

#[tokio::test]
async fn a_generation_is_active_once_every_host_that_lives_is_prepared() {
    let (store, _database) = open().await;
    assert_eq!(store.set_state(host(0)).await.unwrap(), SetState::default());
    join(&store, 0, LONG).await;
    join(&store, 1, LONG).await;
    // Neither a host that is gone nor one that only ends its turns is waited for.
    join(&store, 2, Duration::ZERO).await;
    join(&store, 3, LONG).await;
    store.leave_sets(host(3)).await.unwrap();

    let outcome = store.publish_generation(new(0, 4, "one")).await.unwrap();
    assert_eq!(outcome, PublishOutcome::Published(1));
    let state = SetState { newest: 1, active: None, published: Some(1), has_joined: true };
    assert_eq!(store.set_state(host(0)).await.unwrap(), state);
    report(&store, 1, 0, None).await;
    let Decision::Waiting(missing) = decide(&store, 1).await else { panic!("decided") };
    assert!(missing.contains("host-1") && missing.lines().count() == 1, "{missing}");
    report(&store, 1, 1, Some("no such credential")).await;
    let Decision::Waiting(missing) = decide(&store, 1).await else { panic!("decided") };
    assert!(missing.contains("no such credential"), "{missing}");
    report(&store, 1, 1, None).await;
    assert_eq!(decide(&store, 1).await, Decision::Decided(Some(GenerationStatus::Active)));

    let state = SetState { newest: 1, active: Some(1), published: None, has_joined: true };
    assert_eq!(store.set_state(host(0)).await.unwrap(), state);
    let kept = store.generation(1).await.unwrap().unwrap();
    assert_eq!((kept.revision, &*kept.content, &*kept.published_by), (4, "one", "host-0"));
    assert_eq!(kept.status, GenerationStatus::Active);
    assert_eq!(activate_second(&store).await, 2);
    assert_eq!(store.generation(1).await.unwrap().unwrap().status, GenerationStatus::Replaced);
    assert_eq!(
        actions(&store).await,
        [
            "active_set.publish generation:1",
            "active_set.activate generation:1",
            "active_set.publish generation:2",
            "active_set.activate generation:2"
        ]
    );
}

async fn activate_second(store: &PostgresStore) -> u64 {
    assert_eq!(store.publish_generation(new(1, 5, "two")).await.unwrap(), PublishOutcome::Published(2));
    report(store, 2, 0, None).await;
    report(store, 2, 1, None).await;
    assert_eq!(decide(store, 2).await, Decision::Decided(Some(GenerationStatus::Active)));
    // Whoever asks later is told the same.
    assert_eq!(decide(store, 2).await, Decision::Decided(Some(GenerationStatus::Active)));
    2
}

#[tokio::test]
async fn a_generation_whose_time_is_over_is_refused_with_who_and_why() {
    let (store, _database) = open().await;
    join(&store, 0, LONG).await;
    join(&store, 1, LONG).await;
    join(&store, 2, LONG).await;
    let short = NewGeneration { prepare_within: Duration::ZERO, ..new(0, 1, "one") };
    store.publish_generation(short.clone()).await.unwrap();
    report(&store, 1, 0, None).await;
    report(&store, 1, 1, Some("no such credential")).await;
    let Decision::Decided(Some(GenerationStatus::Refused(why))) = decide(&store, 1).await else {
        panic!("not refused")
    };
    assert!(why.contains("host-1") && why.contains("no such credential"), "{why}");
    assert!(why.contains("host-2") && why.contains("it has not reported yet"), "{why}");
    let state = SetState { newest: 1, active: None, published: None, has_joined: true };
    assert_eq!(store.set_state(host(0)).await.unwrap(), state);
    assert_eq!(actions(&store).await, ["active_set.publish generation:1", "active_set.refuse generation:1"]);

    // What was refused can be tried again as it is, and not with another content.
    let other = store.publish_generation(new(1, 1, "other")).await.unwrap();
    assert_eq!(other, PublishOutcome::OtherContent(1));
    let again = store.publish_generation(NewGeneration { base: 1, ..short }).await.unwrap();
    assert_eq!(again, PublishOutcome::Published(2));
    // In spite of its time, if all are prepared by then.
    for number in 0..3 {
        report(&store, 2, number, None).await;
    }
    assert_eq!(decide(&store, 2).await, Decision::Decided(Some(GenerationStatus::Active)));
}

#[tokio::test]
async fn a_host_that_was_away_for_over_a_day_is_told_to_join_again_and_is_waited_for() {
    let (store, database) = open().await;
    join(&store, 0, LONG).await;
    join(&store, 1, LONG).await;
    // A day later, recoveries have removed what hosts said that were not heard of.
    let away = format!("DELETE FROM hosts WHERE id = '{}'; UPDATE set_hosts SET joined_at = 0", host(1));
    TestServer::shared().psql(&database.name, &away);
    activate(&store, new(0, 1, "one")).await;
    let has_joined = async |number| store.set_state(host(number)).await.unwrap().has_joined;
    assert!(has_joined(0).await, "it lives");
    assert!(!has_joined(1).await);
    store.heartbeat(host(1), &[], LONG).await.unwrap();
    assert!(!has_joined(1).await, "its heartbeat does not know its name");

    join(&store, 1, LONG).await;
    assert!(has_joined(1).await);
    store.publish_generation(new(1, 2, "two")).await.unwrap();
    report(&store, 2, 0, None).await;
    let Decision::Waiting(missing) = decide(&store, 2).await else { panic!("decided") };
    assert!(missing.contains("host-1") && missing.lines().count() == 1, "{missing}");
}

#[tokio::test]
async fn a_file_without_a_revision_can_be_corrected_until_a_generation_is_active() {
    let (store, _database) = open().await;
    let first = NewGeneration { prepare_within: Duration::ZERO, ..new(0, 0, "wrong") };
    store.publish_generation(first).await.unwrap();
    assert!(matches!(decide(&store, 1).await, Decision::Decided(Some(GenerationStatus::Refused(_)))));
    activate(&store, new(1, 0, "right")).await;
    let other = store.publish_generation(new(2, 0, "other")).await.unwrap();
    assert_eq!(other, PublishOutcome::OtherContent(2));
}

#[tokio::test]
async fn a_generation_that_no_host_has_prepared_is_never_active() {
    let (store, _database) = open().await;
    store.publish_generation(new(0, 1, "one")).await.unwrap();
    assert_eq!(decide(&store, 1).await, Decision::Waiting(String::new()));
    assert_eq!(decide(&store, 7).await, Decision::Decided(None));
}

#[tokio::test]
async fn only_a_higher_revision_is_published_and_the_same_one_has_one_content() {
    let (store, _database) = open().await;
    activate(&store, new(0, 4, "one")).await;
    for (generation, expected) in [
        (new(1, 4, "one"), PublishOutcome::Unchanged(1)),
        (new(0, 4, "one"), PublishOutcome::Unchanged(1)),
        (new(1, 4, "other"), PublishOutcome::OtherContent(1)),
        (new(1, 3, "other"), PublishOutcome::Lower(4)),
        (new(0, 5, "two"), PublishOutcome::Outdated(1)),
        (new(1, 5, "two"), PublishOutcome::Published(2)),
        (new(2, 5, "two"), PublishOutcome::Unchanged(2)),
        (new(2, 6, "three"), PublishOutcome::Busy(2)),
    ] {
        let (revision, content) = (generation.revision, generation.content.clone());
        let outcome = store.publish_generation(generation).await.unwrap();
        assert_eq!(outcome, expected, "revision {revision}, {content}");
    }
}

#[tokio::test]
async fn of_hosts_that_publish_at_the_same_time_one_succeeds() {
    let (store, _database) = open().await;
    let attempts = (0..8).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            store.publish_generation(new(0, 1 + number % 2, &format!("of {}", number % 2))).await.unwrap()
        })
    });
    let outcomes: Vec<_> =
        futures::future::join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    let published = outcomes.iter().filter(|outcome| matches!(outcome, PublishOutcome::Published(_)));
    assert_eq!(published.count(), 1, "{outcomes:?}");
}

async fn add(store: &PostgresStore, digest: &str, bytes: &[u8]) {
    for (index, piece) in bytes.chunks(COMPONENT_CHUNK_BYTES).enumerate() {
        let chunk = ComponentChunk {
            digest: digest.to_owned(),
            component_bytes: bytes.len() as u64,
            index: index as u32,
            bytes: piece.to_vec(),
        };
        store.add_component_chunk(chunk).await.unwrap();
    }
}

#[tokio::test]
async fn a_generation_is_published_with_whole_components_only_and_they_go_with_it() {
    let (store, database) = open().await;
    let bytes: Vec<u8> = (0..COMPONENT_CHUNK_BYTES + 10).map(|number| (number % 251) as u8).collect();
    let digests = ["sha256:a".to_owned(), "sha256:b".to_owned()];
    assert_eq!(store.missing_components(&digests).await.unwrap(), digests);
    add(&store, "sha256:a", &bytes).await;
    add(&store, "sha256:a", &bytes).await;
    let half =
        ComponentChunk { digest: "sha256:b".into(), component_bytes: 20, index: 0, bytes: vec![1; 10] };
    store.add_component_chunk(half).await.unwrap();
    assert_eq!(store.missing_components(&digests).await.unwrap(), ["sha256:b"]);
    let mut read = Vec::new();
    for index in 0.. {
        let Some(chunk) = store.component_chunk("sha256:a", index).await.unwrap() else { break };
        read.extend(chunk);
    }
    assert!(read == bytes);

    let with = |components: &[&str], generation| NewGeneration {
        components: components.iter().map(|&digest| digest.to_owned()).collect(),
        ..generation
    };
    let outcome = store.publish_generation(with(&["sha256:a", "sha256:b"], new(0, 1, "one"))).await.unwrap();
    assert_eq!(outcome, PublishOutcome::MissingComponent("sha256:b".into()));
    activate(&store, with(&["sha256:a"], new(0, 1, "one"))).await;

    // A component is removed an hour after it was added, unless a generation that is kept names it.
    let old = || TestServer::shared().psql(&database.name, "UPDATE components SET added_at = 0");
    let kept =
        || TestServer::shared().psql(&database.name, "SELECT digest FROM component_chunks ORDER BY 1, index");
    old();
    activate(&store, new(1, 2, "two")).await;
    assert_eq!(kept(), "sha256:a\nsha256:a");
    for number in 2..12 {
        activate(&store, new(number, number + 1, "more")).await;
        old();
    }
    assert_eq!(kept(), "");
    assert_eq!(store.generation(1).await.unwrap(), None);
    assert!(store.generation(12).await.unwrap().is_some());
}

#[tokio::test]
async fn a_component_that_is_too_large_and_a_text_with_a_null_character_are_refused() {
    let (store, _database) = open().await;
    for (component_bytes, bytes) in [(65 << 20, 1), (2 << 20, COMPONENT_CHUNK_BYTES + 1)] {
        let chunk = ComponentChunk { digest: "x".into(), component_bytes, index: 0, bytes: vec![0; bytes] };
        let refused = store.add_component_chunk(chunk).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
    let refused = store.publish_generation(new(0, 1, "a\0b")).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}
