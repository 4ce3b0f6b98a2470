//! What users spent is exported and erased with them, also where a host reports it late.

use super::fixtures::*;
use super::user_data::{begin, complete, counts, exported, plant};

fn spending(revision: u64, used: Vec<UsedTokens>) -> SpendingReport {
    report(revision, used, Vec::new())
}

pub async fn a_day_without_tokens_is_in_no_export_and_no_receipt(store: &Arc<dyn Store>) {
    let account = user_account(&ada());
    let hold = BlockRequest::Hold { account: account.clone(), budget: 100, wanted: 10 };
    let report = SpendingReport { blocks: vec![hold], ..spending(1, Vec::new()) };
    let day = SpendingDay(store.report_spending(report).await.unwrap().now / 86_400_000);
    assert_eq!(counts(&exported(store, &ada()).await), [], "a block alone is nothing spent");
    // A call that failed: its debit of the day before is taken back.
    let day = SpendingDay(day.0 - 1);
    for (revision, input_tokens) in [(2, 11), (3, -11)] {
        let account = account.clone();
        let used = UsedTokens { account, day, debited_at: LATER, input_tokens, output_tokens: 0 };
        store.report_spending(spending(revision, vec![used])).await.unwrap();
    }
    assert_eq!(counts(&exported(store, &ada()).await), []);
    let erasure = begin(store, ada()).await;
    assert_eq!(complete(store, &erasure).await.rows, ErasedRows::default());
}

pub async fn what_hosts_report_late_of_an_erased_user_goes_too(store: &Arc<dyn Store>) {
    plant(store).await;
    let erasure = begin(store, ada()).await;
    let early = store.finish_erasure(erasure.receipt, entry("user.erased")).await;
    assert!(matches!(early, Err(StoreError::Refused(_))), "{early:?}");
    let now = store.report_spending(spending(1, Vec::new())).await.unwrap().now;
    let day = SpendingDay(now / 86_400_000);
    let (account, debited_at) = (user_account(&ada()), DebitTime(now));
    let used = UsedTokens { account, day, debited_at, input_tokens: 3, output_tokens: 4 };
    let bens = UsedTokens { account: user_account(&owner("ben")), ..used.clone() };
    let block = BlockRequest::Hold { account: user_account(&ada()), budget: 1000, wanted: 10 };
    let late = SpendingReport { blocks: vec![block], ..spending(2, vec![used, bens]) };
    store.report_spending(late).await.unwrap();
    assert_eq!(exported(store, &ada()).await["Spending"].len(), 1);
    complete(store, &erasure).await;
    assert!(exported(store, &ada()).await["Spending"].is_empty());
    let returned = BlockRequest::Return { account: user_account(&ada()) };
    store
        .report_spending(SpendingReport { blocks: vec![returned], ..spending(2, Vec::new()) })
        .await
        .unwrap();
    assert!(exported(store, &ada()).await["Spending"].is_empty());
    assert_eq!(exported(store, &owner("ben")).await["Spending"].len(), 1, "others keep theirs");
}

pub async fn what_a_host_reports_of_an_erased_user_after_all_is_removed_is_never_written(
    store: &Arc<dyn Store>,
) {
    plant(store).await;
    let now = store.report_spending(spending(1, Vec::new())).await.unwrap().now;
    let (debited_at, day) = (DebitTime(now), DebitTime(now).day());
    let used =
        UsedTokens { account: user_account(&ada()), day, debited_at, input_tokens: 3, output_tokens: 4 };
    let yesterday = UsedTokens { day: SpendingDay(day.0 - 1), ..used.clone() };
    let bens = UsedTokens { account: user_account(&owner("ben")), ..used.clone() };
    let hold = |owner| BlockRequest::Hold { account: user_account(&owner), budget: 1000, wanted: 10 };
    let blocks = vec![hold(ada()), hold(owner("ben"))];
    let erasure = begin(store, ada()).await;
    complete(store, &erasure).await;

    let used_before = vec![used.clone(), yesterday, bens];
    let late = SpendingReport { sent_at: now, blocks, ..spending(2, used_before) };
    for _ in 0..2 {
        let answer = store.report_spending(late.clone()).await.unwrap();
        let held: Vec<_> = answer.blocks.iter().map(|block| &*block.account).collect();
        assert_eq!(held, [user_account(&owner("ben"))], "no block names the erased user");
        assert_eq!(counts(&exported(store, &ada()).await), [("Audit", 1)]);
        assert_eq!(store.spent(&user_account(&ada())).await.unwrap().input_tokens, 0);
    }
    assert_eq!(
        store.spent(&user_account(&owner("ben"))).await.unwrap().input_tokens,
        3,
        "others keep theirs"
    );

    // The same person comes back, and is erased again.
    let again = UsedTokens { debited_at: LATER, ..used.clone() };
    let report = SpendingReport { blocks: vec![hold(ada())], ..spending(3, vec![again]) };
    let held = store.report_spending(report).await.unwrap().blocks;
    assert!(held[0].tokens >= 10, "{held:?}");
    assert_eq!(exported(store, &ada()).await["Spending"].len(), 1);
    let erasure = begin(store, ada()).await;
    complete(store, &erasure).await;
    store.report_spending(spending(4, vec![used])).await.unwrap();
    assert_eq!(exported(store, &ada()).await["Spending"].len(), 0);
}
