//! The tokens of a model call are debited before it begins and corrected afterwards.

use super::fixtures::*;

async fn spent(store: &Arc<dyn Store>, account: &str) -> (u64, u64) {
    let spent = store.spent(account).await.unwrap();
    assert!(spent.day_ends_in <= Duration::from_secs(24 * 3600) && !spent.day_ends_in.is_zero());
    (spent.input_tokens, spent.output_tokens)
}

fn account(name: &str, tokens_per_day: Option<u64>) -> BudgetAccount {
    BudgetAccount { name: name.into(), tokens_per_day }
}

fn debit(accounts: Vec<BudgetAccount>) -> Debit {
    Debit { accounts, input_tokens: 11, output_tokens: 5, corrections: Vec::new() }
}

async fn debited(store: &Arc<dyn Store>, debit: Debit) -> SpendingDay {
    match store.debit(debit).await.unwrap() {
        DebitOutcome::Debited(day) => day,
        other => panic!("{other:?}"),
    }
}

pub async fn a_debit_counts_once_for_each_account_before_the_call_ends(store: &Arc<dyn Store>) {
    assert_eq!(spent(store, "key:1").await, (0, 0));
    let accounts = vec![account("key:1", None), account("user:ada", Some(100)), account("key:1", None)];
    debited(store, debit(accounts)).await;
    assert_eq!(spent(store, "key:1").await, (11, 5));
    assert_eq!(spent(store, "user:ada").await, (11, 5));
    assert_eq!(spent(store, "user:ben").await, (0, 0));
    debited(store, debit(vec![account("key:1", None)])).await;
    assert_eq!(spent(store, "key:1").await, (22, 10));
}

pub async fn a_spent_budget_refuses_the_debit_for_every_account(store: &Arc<dyn Store>) {
    let accounts = || vec![account("key:1", None), account("user:ada", Some(16))];
    debited(store, debit(accounts())).await;
    match store.debit(debit(accounts())).await.unwrap() {
        DebitOutcome::BudgetSpent { used, budget, day_ends_in } => {
            assert_eq!((used, budget), (16, 16));
            assert!(!day_ends_in.is_zero());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(spent(store, "key:1").await, (11, 5), "a refused call counts for no account");
    // A higher budget takes effect at once.
    debited(store, debit(vec![account("user:ada", Some(17))])).await;
}

pub async fn calls_that_begin_together_exceed_a_budget_by_one(store: &Arc<dyn Store>) {
    let calls = (0..32).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.debit(debit(vec![account("key:1", Some(40))])).await.unwrap() })
    });
    let mut begun = 0;
    for call in calls.collect::<Vec<_>>() {
        begun += u32::from(matches!(call.await.unwrap(), DebitOutcome::Debited(_)));
    }
    assert_eq!(begun, 3, "16 tokens each, of 40");
}

pub async fn a_correction_changes_the_day_of_its_debit_and_never_goes_below_zero(store: &Arc<dyn Store>) {
    let day = debited(store, debit(vec![account("key:1", None)])).await;
    let correction = Correction { day, input_tokens: -1, output_tokens: 20 };
    store.correct(vec!["key:1".into(), "key:1".into()], vec![correction]).await.unwrap();
    assert_eq!(spent(store, "key:1").await, (10, 25));
    let yesterday = Correction { day: SpendingDay(day.0 - 1), ..correction };
    store.correct(vec!["key:1".into()], vec![yesterday]).await.unwrap();
    assert_eq!(spent(store, "key:1").await, (10, 25), "the call began on another day");
    let too_much = Correction { day, input_tokens: -1_000, output_tokens: -1_000 };
    store.correct(vec!["key:1".into()], vec![too_much, correction]).await.unwrap();
    assert_eq!(spent(store, "key:1").await, (0, 20));
}

pub async fn corrections_of_earlier_calls_count_before_a_debit_is_refused(store: &Arc<dyn Store>) {
    let accounts = || vec![account("key:1", Some(16))];
    let day = debited(store, debit(accounts())).await;
    let corrections = vec![Correction { day, input_tokens: -11, output_tokens: -5 }];
    debited(store, Debit { corrections, ..debit(accounts()) }).await;
    assert_eq!(spent(store, "key:1").await, (11, 5), "the first call turned out to have used nothing");
    let corrections = vec![Correction { day, input_tokens: 1, output_tokens: 0 }];
    let refused = store.debit(Debit { corrections, ..debit(accounts()) }).await.unwrap();
    assert!(matches!(refused, DebitOutcome::BudgetSpent { used: 17, .. }), "{refused:?}");
}

pub async fn no_claim_of_a_model_breaks_the_count(store: &Arc<dyn Store>) {
    for _ in 0..3 {
        let claim = Debit { input_tokens: u64::MAX, output_tokens: 0, ..debit(vec![account("key:1", None)]) };
        let day = debited(store, claim).await;
        let corrections = vec![Correction { day, input_tokens: 0, output_tokens: i64::MAX }];
        store.correct(vec!["key:1".into()], corrections).await.unwrap();
    }
    let (input, output) = spent(store, "key:1").await;
    assert!(input >= 3_000_000_000 && output == input, "{input} {output}");
}
