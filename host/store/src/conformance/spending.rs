//! What hosts used is counted once, and their blocks and what is spent are never more than a budget.

use super::fixtures::*;

async fn spent(store: &Arc<dyn Store>, account: &str) -> (u64, u64) {
    let spent = store.spent(account).await.unwrap();
    assert!(spent.day_ends_in <= Duration::from_secs(24 * 3600) && !spent.day_ends_in.is_zero());
    (spent.input_tokens, spent.output_tokens)
}

fn host_number(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Today, by the database's clock.
async fn today(store: &Arc<dyn Store>) -> SpendingDay {
    let answer = store.report_spending(report(0, Vec::new(), Vec::new())).await.unwrap();
    SpendingDay(answer.now / 86_400_000)
}

fn used(account: &str, day: SpendingDay, input_tokens: i64, output_tokens: i64) -> UsedTokens {
    UsedTokens { account: account.into(), day, debited_at: LATER, input_tokens, output_tokens }
}

fn hold(budget: i64, wanted: i64) -> BlockRequest {
    BlockRequest::Hold { account: "key:1".into(), budget, wanted }
}

/// A host's block of `key:1`, and what it could have at most.
async fn block(store: &Arc<dyn Store>, report: SpendingReport) -> (i64, i64) {
    let [block] = <[HeldBlock; 1]>::try_from(store.report_spending(report).await.unwrap().blocks).unwrap();
    assert_eq!(block.account, "key:1");
    (block.tokens, block.available)
}

fn of_host(number: u128, request: BlockRequest) -> SpendingReport {
    SpendingReport { host: host_number(number), ..report(0, Vec::new(), vec![request]) }
}

pub async fn what_is_used_counts_by_account_and_day(store: &Arc<dyn Store>) {
    let day = today(store).await;
    assert_eq!(spent(store, "key:1").await, (0, 0));
    let yesterday = SpendingDay(day.0 - 1);
    let both =
        vec![used("key:1", day, 11, 5), used("user:ada", day, 1, 2), used("key:1", yesterday, 100, 100)];
    store.report_spending(report(1, both, Vec::new())).await.unwrap();
    assert_eq!(spent(store, "key:1").await, (11, 5), "not what was used yesterday");
    assert_eq!(spent(store, "user:ada").await, (1, 2));
    assert_eq!(spent(store, "user:ben").await, (0, 0));
    let corrected = vec![used("key:1", day, -1, 20)];
    store.report_spending(report(2, corrected, Vec::new())).await.unwrap();
    assert_eq!(spent(store, "key:1").await, (10, 25));
    let too_much = vec![used("key:1", day, -1_000, -1_000)];
    store.report_spending(report(3, too_much, Vec::new())).await.unwrap();
    assert_eq!(spent(store, "key:1").await, (0, 0), "never below zero");
}

pub async fn a_report_that_is_sent_again_or_late_counts_once(store: &Arc<dyn Store>) {
    let day = today(store).await;
    let first = report(1, vec![used("key:1", day, 11, 5)], vec![hold(1_000, 100)]);
    let held = block(store, first.clone()).await;
    assert_eq!(block(store, first.clone()).await, held, "the block did not grow either");
    assert_eq!(spent(store, "key:1").await, (11, 5));
    store.report_spending(report(2, vec![used("key:1", day, 1, 1)], Vec::new())).await.unwrap();
    let late = store.report_spending(first.clone()).await.unwrap();
    assert_eq!((late.blocks, spent(store, "key:1").await), (Vec::new(), (12, 6)));
    let other_host = SpendingReport { host: host_number(2), blocks: Vec::new(), ..first };
    store.report_spending(other_host).await.unwrap();
    assert_eq!(spent(store, "key:1").await, (23, 11), "each host counts its reports");
}

pub async fn a_block_is_a_share_of_what_is_left_and_the_last_one_is_all_of_it(store: &Arc<dyn Store>) {
    assert_eq!(block(store, of_host(1, hold(1_000, 1))).await, (250, 1_000));
    assert_eq!(block(store, of_host(1, hold(1_000, 250))).await, (250, 1_000), "it has what is wanted");
    assert_eq!(block(store, of_host(2, hold(1_000, 1))).await, (187, 750), "what others hold is not left");
    assert_eq!(block(store, of_host(1, hold(1_000, 700))).await, (700, 813));
    assert_eq!(block(store, of_host(1, hold(1_000, 5_000))).await, (813, 813), "all that is left");
    assert_eq!(block(store, of_host(3, hold(1_000, 1))).await, (0, 0));
    assert_eq!(block(store, of_host(3, hold(1_001, 1))).await, (1, 1), "a higher budget counts at once");
    assert_eq!(block(store, of_host(1, hold(500, 0))).await, (312, 312), "and so does a lower one");
}

pub async fn what_is_used_comes_out_of_the_block_and_what_is_corrected_goes_back(store: &Arc<dyn Store>) {
    let day = today(store).await;
    assert_eq!(block(store, of_host(1, hold(100, 100))).await, (100, 100));
    // One call that begins with the last tokens.
    let call = report(1, vec![used("key:1", day, 200, 60)], vec![hold(100, 1)]);
    assert_eq!(block(store, call).await, (-160, -160));
    assert_eq!(block(store, of_host(2, hold(100, 1))).await, (-160, -160), "the budget is spent for all");
    let corrected = report(2, vec![used("key:1", day, -190, -55)], vec![hold(100, 0)]);
    let (tokens, available) = block(store, corrected).await;
    assert_eq!((tokens, available), (85, 85), "it used 15 after all");
    let yesterday = report(3, vec![used("key:1", SpendingDay(day.0 - 1), 50, 0)], vec![hold(100, 0)]);
    assert_eq!(block(store, yesterday).await, (85, 85), "a call of yesterday is not of this block");
}

pub async fn a_block_that_is_returned_or_whose_lease_ended_is_held_by_nobody(store: &Arc<dyn Store>) {
    assert_eq!(block(store, of_host(1, hold(1_000, 1_000))).await, (1_000, 1_000));
    assert_eq!(block(store, of_host(2, hold(1_000, 1))).await, (0, 0));
    let back = BlockRequest::Return { account: "key:1".into() };
    assert!(store.report_spending(of_host(1, back)).await.unwrap().blocks.is_empty());
    let gone = SpendingReport { lease: OVER, ..of_host(1, hold(1_000, 1_000)) };
    assert_eq!(block(store, gone).await, (1_000, 1_000));
    assert_eq!(block(store, of_host(2, hold(1_000, 1_000))).await, (1_000, 1_000));
    assert_eq!(block(store, of_host(1, hold(1_000, 0))).await, (0, 0), "the host that is back has lost it");
}

pub async fn no_claim_of_a_model_breaks_the_count(store: &Arc<dyn Store>) {
    let day = today(store).await;
    for revision in 1..=3 {
        let claim = vec![used("key:1", day, i64::MAX, i64::MAX)];
        let most = report(revision, claim, vec![hold(i64::MAX / 4, i64::MAX / 4)]);
        store.report_spending(most).await.unwrap();
    }
    let (input, output) = spent(store, "key:1").await;
    assert!(input >= 3_000_000_000 && output == input, "{input} {output}");
}
