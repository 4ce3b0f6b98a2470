//! The budgets of hosts over a store: who may begin, what is counted, and how often the store is asked.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::join_all;

use super::fixtures::*;

fn account(tokens_per_day: Option<u64>) -> [BudgetAccount; 1] {
    [BudgetAccount { name: "key:1".into(), tokens_per_day }]
}

fn budgets(store: &Arc<dyn Store>, host: u128) -> Budgets {
    Budgets::new(Arc::clone(store) as Arc<dyn Spending>, Uuid::from_u128(host), LONG)
}

async fn total(store: &Arc<dyn Store>) -> u64 {
    let spent = store.spent("key:1").await.unwrap();
    spent.input_tokens + spent.output_tokens
}

async fn begins(budgets: &Budgets, budget: u64) -> Option<DebitTime> {
    match budgets.debit(&account(Some(budget)), 11, 5).await.unwrap() {
        DebitOutcome::Debited(time) => Some(time),
        DebitOutcome::BudgetSpent(_) => None,
    }
}

/// Counts the reports to a store, and fails them when it is told to.
struct Watched {
    store: Arc<dyn Store>,
    reports: AtomicU64,
    /// Nothing is written.
    is_away: AtomicBool,
    /// It is written, and the answer is lost.
    loses_answers: AtomicBool,
    gate: Mutex<Option<Arc<tokio::sync::Semaphore>>>,
}

#[async_trait]
impl Spending for Watched {
    async fn spent(&self, account: &str) -> Result<Spent, StoreError> {
        self.store.spent(account).await
    }

    async fn report_spending(&self, report: SpendingReport) -> Result<ReportAnswer, StoreError> {
        self.reports.fetch_add(1, Ordering::Relaxed);
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        if self.is_away.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("away".into()));
        }
        let answer = self.store.report_spending(report).await;
        match self.loses_answers.load(Ordering::Relaxed) {
            true => Err(StoreError::OutcomeUnknown("the connection was lost".into())),
            false => answer,
        }
    }

    async fn forget_spending(&self, older_than: Duration) -> Result<u64, StoreError> {
        self.store.forget_spending(older_than).await
    }
}

fn watched(store: &Arc<dyn Store>) -> (Arc<Watched>, Arc<Budgets>) {
    let watched = Arc::new(Watched {
        store: Arc::clone(store),
        reports: AtomicU64::new(0),
        is_away: AtomicBool::new(false),
        loses_answers: AtomicBool::new(false),
        gate: Mutex::new(None),
    });
    let budgets = Budgets::new(Arc::clone(&watched) as Arc<dyn Spending>, host(), LONG);
    (watched, Arc::new(budgets))
}

pub async fn a_debit_counts_once_for_each_account_before_the_call_ends(store: &Arc<dyn Store>) {
    let budgets = budgets(store, 1);
    let [key] = account(None);
    let user = BudgetAccount { name: "user:ada".into(), tokens_per_day: Some(100) };
    let outcome = budgets.debit(&[key.clone(), user, key], 11, 5).await.unwrap();
    assert!(matches!(outcome, DebitOutcome::Debited(_)), "{outcome:?}");
    for (account, tokens) in [("key:1", (11, 5)), ("user:ada", (11, 5)), ("user:ben", (0, 0))] {
        let spent = budgets.spent(account).await.unwrap();
        assert_eq!((spent.input_tokens, spent.output_tokens), tokens, "{account}");
    }
}

pub async fn a_spent_budget_refuses_the_debit_for_every_account(store: &Arc<dyn Store>) {
    let budgets = budgets(store, 1);
    let [key] = account(None);
    let user = |budget| BudgetAccount { name: "user:ada".into(), tokens_per_day: Some(budget) };
    budgets.debit(&[user(16)], 11, 5).await.unwrap();
    match budgets.debit(&[key, user(16)], 11, 5).await.unwrap() {
        DebitOutcome::BudgetSpent(BudgetSpent { used, budget, day_ends_in }) => {
            assert_eq!((used, budget), (16, 16));
            assert!(!day_ends_in.is_zero());
        }
        other => panic!("{other:?}"),
    }
    let key = budgets.spent("key:1").await.unwrap();
    assert_eq!(key.input_tokens, 0, "a refused call counts for no account");
    assert_eq!(budgets.check(&[user(16)]).await.unwrap().map(|spent| spent.used), Some(16));
    // A higher budget takes effect at once.
    assert_eq!(budgets.check(&[user(17)]).await.unwrap(), None);
    let outcome = budgets.debit(&[user(17)], 11, 5).await.unwrap();
    assert!(matches!(outcome, DebitOutcome::Debited(_)), "{outcome:?}");
}

pub async fn calls_that_begin_together_exceed_a_budget_by_one(store: &Arc<dyn Store>) {
    let budgets = budgets(store, 1);
    let begun = join_all((0..32).map(|_| begins(&budgets, 40))).await;
    assert_eq!(begun.iter().flatten().count(), 3, "16 tokens each, of 40");
}

pub async fn hosts_that_share_an_account_exceed_its_budget_by_one_call_each(store: &Arc<dyn Store>) {
    const HOSTS: usize = 4;
    const BUDGET: u64 = 5_000;
    let hosts: Vec<_> = (1..=HOSTS).map(|host| Arc::new(budgets(store, host as u128))).collect();
    let calls = (0..HOSTS * 100).map(|call| {
        let host = Arc::clone(&hosts[call % HOSTS]);
        tokio::spawn(async move { begins(&host, BUDGET).await })
    });
    let mut begun = 0;
    for call in calls.collect::<Vec<_>>() {
        begun += u64::from(call.await.unwrap().is_some());
    }
    assert!(begun * 16 < BUDGET + HOSTS as u64 * 16, "{begun} calls began");
    let (last, others) = hosts.split_last().unwrap();
    for host in others {
        host.close().await;
    }
    // What the others did not use can be used by the one that is left.
    while begins(last, BUDGET).await.is_some() {}
    last.close().await;
    let total = total(store).await;
    assert!((BUDGET..BUDGET + HOSTS as u64 * 16).contains(&total), "{total}");
}

pub async fn a_correction_makes_room_at_once_and_counts_on_the_day_of_its_debit(store: &Arc<dyn Store>) {
    let budgets = budgets(store, 1);
    let debited_at = begins(&budgets, 16).await.unwrap();
    assert_eq!(begins(&budgets, 16).await, None);
    let correction = Correction { debited_at, input_tokens: -11, output_tokens: -5 };
    budgets.correct(&account(None), correction);
    assert!(begins(&budgets, 16).await.is_some(), "the first call turned out to have used nothing");
    let day_before = DebitTime(debited_at.0 - 86_400_000);
    let yesterday = Correction { debited_at: day_before, input_tokens: 7, output_tokens: 0 };
    budgets.correct(&account(None), yesterday);
    budgets.close().await;
    assert_eq!(total(store).await, 16);
}

pub async fn a_thousand_debits_of_one_account_take_few_reports(store: &Arc<dyn Store>) {
    let (watched, budgets) = watched(store);
    for _ in 0..1_000 {
        begins(&budgets, 20_000).await.unwrap();
        assert_eq!(budgets.check(&account(Some(20_000))).await.unwrap(), None);
    }
    let reports = watched.reports.load(Ordering::Relaxed);
    assert!(reports < 60, "{reports} for a budget of which four fifths are used");
    let before = watched.reports.load(Ordering::Relaxed);
    for _ in 0..1_000 {
        budgets.debit(&account(None), 11, 5).await.unwrap();
    }
    assert_eq!(watched.reports.load(Ordering::Relaxed), before, "what is only counted asks nobody");
    budgets.close().await;
    assert_eq!(total(store).await, 2_000 * 16);
}

pub async fn debits_that_wait_for_the_store_share_a_report(store: &Arc<dyn Store>) {
    let (watched, budgets) = watched(store);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *watched.gate.lock().unwrap() = Some(Arc::clone(&gate));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let budgets = Arc::clone(&budgets);
            tokio::spawn(async move { begins(&budgets, 1_000_000).await })
        })
        .collect();
    while watched.reports.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    *watched.gate.lock().unwrap() = None;
    gate.add_permits(1);
    for call in calls {
        assert!(call.await.unwrap().is_some());
    }
    let reports = watched.reports.load(Ordering::Relaxed);
    assert!(reports <= 2, "{reports} for calls that asked before and during the first report");
}

pub async fn what_is_used_while_the_store_is_away_counts_once_it_is_back(store: &Arc<dyn Store>) {
    let (watched, budgets) = watched(store);
    begins(&budgets, 1_000).await.unwrap();
    watched.is_away.store(true, Ordering::Relaxed);
    assert!(budgets.spent("key:1").await.is_err());
    begins(&budgets, 1_000).await.expect("the block has tokens left");
    assert!(budgets.debit(&account(Some(1_000)), 500, 500).await.is_err(), "more than the block has");
    watched.is_away.store(false, Ordering::Relaxed);
    watched.loses_answers.store(true, Ordering::Relaxed);
    assert!(budgets.spent("key:1").await.is_err());
    begins(&budgets, 1_000).await.unwrap();
    assert!(budgets.spent("key:1").await.is_err());
    watched.loses_answers.store(false, Ordering::Relaxed);
    budgets.close().await;
    assert_eq!(total(store).await, 3 * 16, "nothing is lost, and nothing counts twice");
}

pub async fn a_debit_that_is_dropped_while_it_waits_holds_up_no_other(store: &Arc<dyn Store>) {
    let (watched, budgets) = watched(store);
    *watched.gate.lock().unwrap() = Some(Arc::new(tokio::sync::Semaphore::new(0)));
    assert!(begins(&budgets, 1_000).now_or_never().is_none(), "it waits");
    *watched.gate.lock().unwrap() = None;
    assert!(begins(&budgets, 1_000).await.is_some());
    budgets.close().await;
    assert_eq!(total(store).await, 16, "what was dropped is not debited");
}

pub async fn the_reporter_counts_what_is_used_and_a_closed_host_holds_no_block(store: &Arc<dyn Store>) {
    let (watched, budgets) = watched(store);
    let reporter = {
        let budgets = Arc::clone(&budgets);
        tokio::spawn(async move { budgets.keep_reporting().await })
    };
    begins(&budgets, 1_000).await.unwrap();
    let asked = watched.reports.load(Ordering::Relaxed);
    let reported = async {
        while total(store).await < 16 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reported).await.unwrap();
    assert!(watched.reports.load(Ordering::Relaxed) > asked);
    reporter.abort();
    assert!(reporter.await.unwrap_err().is_cancelled());
    budgets.close().await;
    let all = BlockRequest::Hold { account: "key:1".into(), budget: 1_000, wanted: 1_000 };
    let other = SpendingReport { host: Uuid::from_u128(2), ..report(0, Vec::new(), vec![all]) };
    let answer = store.report_spending(other).await.unwrap();
    assert_eq!(answer.blocks[0].tokens, 1_000 - 16);
}
