//! What a job writes: visible to itself at once, and to others when it completes.

use masque_store::STATE_ROW_BYTES;
use masque_telemetry::metrics::plugins::STATE_QUOTA_USED;

use super::*;

#[tokio::test]
async fn a_job_reads_what_it_wrote_and_nobody_else_does() {
    let test = TestWorker::new().await;
    let conversation = test.exchange(None, "one", None).await;
    let (mine, other) = (test.state("counting", conversation), test.state("counting", conversation));
    assert_eq!(mine.set(PluginStateScope::User, "a", b"1".to_vec(), Some(0), None).await.unwrap(), 1);
    assert_eq!(mine.add(PluginStateScope::User, "a", 4).await.unwrap(), 5);
    mine.set(PluginStateScope::User, "b", b"x".to_vec(), None, None).await.unwrap();
    mine.delete(PluginStateScope::User, "b", Some(1)).await.unwrap();
    assert_eq!(mine.get(PluginStateScope::User, "a").await.unwrap().unwrap().value, b"5");
    assert_eq!(mine.list(PluginStateScope::User, "", None, 10).await.unwrap(), ["a"]);
    assert_eq!(other.get(PluginStateScope::User, "a").await.unwrap(), None);
    test.store.state_write(None, mine.take_writes().await).await.unwrap().unwrap();
    assert_eq!(other.get(PluginStateScope::User, "a").await.unwrap().unwrap().value, b"5");
    assert_eq!(other.get(PluginStateScope::User, "b").await.unwrap(), None);
}

#[tokio::test]
async fn a_job_writes_no_more_than_one_step_of_the_store_may_take() {
    let test = TestWorker::new().await;
    let conversation = test.exchange(None, "one", None).await;
    let many = test.state("counting", conversation);
    for number in 0..128 {
        many.set(PluginStateScope::User, &format!("k{number}"), Vec::new(), None, None).await.unwrap();
    }
    let refused = many.add(PluginStateScope::User, "one more", 1).await.unwrap_err();
    assert_eq!(refused.code, "invalid");
    assert!(refused.message.contains("128 values"), "{}", refused.message);

    let large = test.state_within("counting", conversation, 16 << 20);
    let megabyte = || vec![0; 1 << 20];
    for number in 0..3 {
        large.set(PluginStateScope::User, &format!("k{number}"), megabyte(), None, None).await.unwrap();
    }
    let refused = large.set(PluginStateScope::User, "k3", megabyte(), None, None).await.unwrap_err();
    assert!(refused.message.contains("4194304 bytes"), "{}", refused.message);
}

#[tokio::test]
async fn a_condition_is_checked_when_it_is_made_and_again_when_the_job_completes() {
    let test = TestWorker::new().await;
    let conversation = test.exchange(None, "one", None).await;
    let (mine, other) = (test.state("counting", conversation), test.state("counting", conversation));
    let refused = mine.set(PluginStateScope::User, "a", Vec::new(), Some(3), None).await.unwrap_err();
    assert_eq!(refused.code, "conflict");
    mine.set(PluginStateScope::User, "a", b"mine".to_vec(), Some(0), None).await.unwrap();
    other.set(PluginStateScope::User, "a", b"other".to_vec(), None, None).await.unwrap();
    test.store.state_write(None, other.take_writes().await).await.unwrap().unwrap();
    let job = test.take().await;
    let error = test
        .store
        .complete(job.id, job.epoch, JobCompletion::writing(mine.take_writes().await))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
}

#[tokio::test]
async fn a_job_is_refused_the_write_that_would_pass_the_quota_and_not_only_its_completion() {
    let test = TestWorker::new().await;
    let conversation = test.exchange(None, "one", None).await;
    let stored = test.state("counting", conversation);
    stored.set(PluginStateScope::Conversation, "a", vec![0; 400], None, None).await.unwrap();
    test.store.state_write(None, stored.take_writes().await).await.unwrap().unwrap();
    let mine = test.state_within("counting", conversation, 990);
    mine.set(PluginStateScope::User, "b", vec![0; 400], None, None).await.unwrap();
    for scope in [PluginStateScope::User, PluginStateScope::Conversation] {
        let refused = mine.set(scope, "c", vec![0; 10], None, None).await.unwrap_err();
        assert!(refused.code == "denied" && refused.message.contains("limit `state`"), "{}", refused.message);
        assert_eq!(mine.add(scope, "c", 1).await.unwrap_err().code, "denied");
    }
    mine.set(PluginStateScope::Shared, "c", vec![0; 900], None, None).await.unwrap();
    mine.delete(PluginStateScope::User, "b", None).await.unwrap();
    mine.set(PluginStateScope::User, "c", vec![0; 10], None, None).await.unwrap();
    test.store.state_write(None, mine.take_writes().await).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_page_of_keys_is_full_although_the_job_deleted_some() {
    let test = TestWorker::new().await;
    let conversation = test.exchange(None, "one", None).await;
    let first = test.state("counting", conversation);
    for key in ["k1", "k2", "k3", "k5"] {
        first.set(PluginStateScope::User, key, Vec::new(), None, None).await.unwrap();
    }
    test.store.state_write(None, first.take_writes().await).await.unwrap().unwrap();
    let mine = test.state("counting", conversation);
    mine.delete(PluginStateScope::User, "k2", None).await.unwrap();
    mine.set(PluginStateScope::User, "k4", Vec::new(), None, None).await.unwrap();
    assert_eq!(mine.list(PluginStateScope::User, "k", None, 3).await.unwrap(), ["k1", "k3", "k4"]);
    assert_eq!(mine.list(PluginStateScope::User, "k", Some("k3"), 3).await.unwrap(), ["k4", "k5"]);
}

#[tokio::test]
async fn each_write_counts_the_share_of_the_quota_that_is_used_then() {
    let test = TestWorker::new().await;
    let conversation = test.exchange(None, "one", None).await;
    let used = || {
        let measured = STATE_QUOTA_USED.with(&["measured", "1.0.0"]).unwrap();
        (measured.get_sample_count(), measured.get_sample_sum())
    };
    let row = STATE_ROW_BYTES + 1;
    let quota = 4 * row;
    let stored = test.stored("measured", conversation, quota);
    stored.set(PluginStateScope::User, "a", Vec::new(), None, None).await.unwrap();
    assert_eq!(used(), (1, 0.25));
    stored.set(PluginStateScope::Conversation, "b", Vec::new(), None, None).await.unwrap();
    assert_eq!(used(), (2, 0.25 + 0.5));
    // What is refused is counted elsewhere.
    let large = vec![b'x'; usize::try_from(quota).unwrap()];
    stored.set(PluginStateScope::User, "c", large, None, None).await.unwrap_err();
    assert_eq!(used(), (2, 0.75));

    // A job writes when it completes.
    let job = test.state_within("measured", conversation, quota);
    for key in ["c", "d"] {
        job.set(PluginStateScope::User, key, Vec::new(), None, None).await.unwrap();
    }
    assert_eq!(used(), (2, 0.75));
    job.take_writes().await;
    assert_eq!(used(), (3, 1.75));
    test.state_within("measured", conversation, quota).take_writes().await;
    assert_eq!(used(), (3, 1.75));
}
