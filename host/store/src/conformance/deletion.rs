//! A deleted conversation is not found from then on, and its rows are removed in batches.

use super::fixtures::*;

/// Sweeps until nothing is left; how many rows went in each sweep.
async fn sweep_all(store: &Arc<dyn Store>) -> Vec<u64> {
    let mut swept = Vec::new();
    loop {
        match store.sweep().await.unwrap() {
            0 => return swept,
            rows => swept.push(rows),
        }
    }
}

pub async fn a_long_conversation_is_removed_in_batches_and_leaves_nothing(store: &Arc<dyn Store>) {
    const EXCHANGES: usize = 300;
    let first = exchange(store, new_conversation(), "q", "a").await;
    for _ in 1..EXCHANGES {
        exchange(store, Target::Existing(first.conversation), "q", "a").await;
    }
    let other = exchange(store, new_conversation(), "Hello", "Hi").await;
    assert!(store.delete(&ada(), first.conversation).await.unwrap());
    assert_eq!(store.conversation(&ada(), first.conversation).await.unwrap(), None);
    assert_eq!(store.turn(&ada(), first.turn).await.unwrap(), None);

    let swept = sweep_all(store).await;
    assert!(swept.len() > 1, "{swept:?}");
    assert!(swept.iter().sum::<u64>() >= 2 * EXCHANGES as u64, "{swept:?}");
    assert_eq!(sweep_all(store).await, [] as [u64; 0]);
    // What is left belongs to others, and the ids can be used again.
    assert_eq!(transcript(store, other.conversation).await.len(), 2);
    let again = NewConversation {
        id: first.conversation,
        companion: "elara".into(),
        title: None,
        greeting: Some(NewMessage { id: first.message.id, ..said("Welcome") }),
    };
    store.create(&ada(), again).await.unwrap();
    assert_eq!(contents(&transcript(store, first.conversation).await), ["Welcome"]);
}

pub async fn jobs_behind_those_of_a_deleted_conversation_are_taken(store: &Arc<dyn Store>) {
    let first = start(store, admission(new_conversation(), "One")).await;
    let jobs = (0..5).map(|_| job("window")).collect();
    kept(store.commit(Commit { jobs, ..reply(&first, "First") }).await);
    let second = start(store, admission(new_conversation(), "Two")).await;
    let last = job("window");
    kept(store.commit(Commit { jobs: vec![last.clone()], ..reply(&second, "Second") }).await);

    assert!(store.delete(&ada(), first.conversation).await.unwrap());
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.running, counts.parked), (1, 0, 0));
    let taken = store.take(host(), LONG, JobLimits::total(8), None).await.unwrap().jobs;
    assert_eq!(taken.iter().map(|job| job.id).collect::<Vec<_>>(), [last.id]);
    sweep_all(store).await;
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.running, counts.parked), (0, 1, 0));
}

pub async fn a_sweep_frees_the_queues_of_a_deleted_conversations_jobs(store: &Arc<dyn Store>) {
    let first = start(store, admission(new_conversation(), "One")).await;
    let jobs = (0..3).map(|_| job("window")).collect();
    kept(store.commit(Commit { jobs, ..reply(&first, "First") }).await);
    let second = start(store, admission(new_conversation(), "Two")).await;
    let last = job("window");
    kept(store.commit(Commit { jobs: vec![last.clone()], ..reply(&second, "Second") }).await);

    assert!(store.delete(&ada(), first.conversation).await.unwrap());
    sweep_all(store).await;
    assert_eq!(next_due(store).await, Some(Duration::ZERO));
    assert_eq!(store.take(host(), LONG, JobLimits::total(1), None).await.unwrap().jobs[0].id, last.id);
}
