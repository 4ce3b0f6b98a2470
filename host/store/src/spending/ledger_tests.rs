//! Calls, reports and time, in tables of steps on one ledger.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::ledger::{Attempt, Ledger};
use super::report::{BlockRequest, HeldBlock, ReportAnswer, SpendingReport, UsedTokens};
use super::types::{BudgetUse, Correction, DebitTime};

const LEASE: Duration = Duration::from_secs(30);
/// Ten seconds before midnight of day 100.
const NOW: i64 = 101 * 86_400_000 - 10_000;

/// The database's time so many seconds after the beginning.
const fn at(seconds: i64) -> DebitTime {
    DebitTime(NOW + seconds * 1000)
}

/// A ledger, and a clock that stands still until it is moved.
struct Host {
    ledger: Ledger,
    start: Instant,
    now: Instant,
}

impl Host {
    fn new() -> Self {
        let start = Instant::now();
        Self { ledger: Ledger::new(Uuid::from_u128(1), LEASE), start, now: start }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn try_debit(&mut self, budget: Option<u64>, tokens: u64, asked: Option<u64>) -> Attempt {
        self.ledger.debit(&BTreeMap::from([("key", budget)]), (tokens, 0), asked, self.now)
    }

    fn begin(&mut self) -> (u64, SpendingReport) {
        self.ledger.begin_report(false, self.now)
    }

    /// Answers a report with a block of these tokens, of as many available, or with none.
    fn answer(&mut self, number: u64, block: Option<(i64, i64, i64)>) {
        let blocks = block.into_iter().map(|(budget, tokens, available)| HeldBlock {
            account: "key".into(),
            budget,
            tokens,
            available,
        });
        let passed = i64::try_from((self.now - self.start).as_millis()).unwrap();
        let answer = ReportAnswer { now: NOW + passed, blocks: blocks.collect() };
        self.ledger.end_report(number, self.now, self.now, Some(answer));
    }

    /// A host with a block of these tokens, of as many available.
    fn holding(budget: i64, tokens: i64, available: i64) -> Self {
        let mut host = Self::new();
        let (number, _) = host.begin();
        host.answer(number, Some((budget, tokens, available)));
        host
    }
}

fn used(debited_at: DebitTime, input_tokens: i64) -> UsedTokens {
    UsedTokens { account: "key".into(), day: debited_at.day(), debited_at, input_tokens, output_tokens: 0 }
}

fn hold(budget: i64, wanted: i64) -> BlockRequest {
    BlockRequest::Hold { account: "key".into(), budget, wanted }
}

#[test]
fn a_call_begins_asks_or_is_refused_by_what_the_block_has() {
    // The block's tokens and those available of a budget of 100, the call's budget and tokens, whether it has asked; and
    // the answer: begins, asks, or the used tokens of a refusal.
    #[derive(Debug, PartialEq)]
    enum Answer {
        Begins,
        Asks,
        Refused(u64),
    }
    use Answer::{Asks, Begins, Refused};
    let table: [(&str, i64, i64, u64, u64, bool, Answer); 14] = [
        ("it has enough", 50, 100, 100, 50, false, Begins),
        ("it has too few", 50, 100, 100, 51, false, Asks),
        ("it grew, and there is more", 50, 100, 100, 51, true, Asks),
        ("the last call takes more than there is", 50, 50, 100, 51, true, Begins),
        ("and asks before", 50, 50, 100, 51, false, Asks),
        ("the last token lets one begin", 1, 1, 100, 500, true, Begins),
        ("nothing is left", 0, 0, 100, 1, true, Refused(100)),
        ("nothing was left, but perhaps is now", 0, 0, 100, 1, false, Asks),
        ("more is spent than there was", -30, -30, 100, 1, true, Refused(130)),
        ("a higher budget than the block's", 0, 0, 120, 20, true, Asks),
        ("a lower one has enough", 50, 100, 60, 50, false, Begins),
        ("a lower one has less", 50, 100, 20, 20, false, Begins),
        ("a lower one has its last call", 80, 100, 60, 61, true, Begins),
        ("a lower one is spent", 10, 20, 80, 10, true, Refused(80)),
    ];
    for (what, tokens, available, budget, call, has_asked, wanted) in table {
        let mut host = Host::holding(100, tokens, available);
        let answer = match host.try_debit(Some(budget), call, has_asked.then_some(1)) {
            Attempt::Allowed(time) => {
                assert_eq!(time, at(0));
                Begins
            }
            Attempt::Ask(report) => {
                assert_eq!(report, 2);
                Asks
            }
            Attempt::Refused(spent) => {
                assert_eq!((spent.budget, spent.day_ends_in), (budget, Duration::from_secs(10)), "{what}");
                Refused(spent.used)
            }
        };
        assert_eq!(answer, wanted, "{what}");
    }
}

#[test]
fn an_answer_to_an_earlier_report_refuses_nothing() {
    let mut host = Host::holding(100, 0, 0);
    assert_eq!(host.try_debit(Some(100), 1, None), Attempt::Ask(2));
    let (number, report) = host.begin();
    assert_eq!((number, report.blocks), (2, vec![hold(100, 1)]));
    // Asked while that report is under way.
    assert_eq!(host.try_debit(Some(100), 5, None), Attempt::Ask(3));
    host.answer(number, Some((100, 0, 0)));
    assert!(matches!(host.try_debit(Some(100), 1, Some(2)), Attempt::Refused(_)));
    assert_eq!(host.try_debit(Some(100), 5, Some(3)), Attempt::Ask(3));
}

#[test]
fn those_who_wait_want_the_sum_of_their_calls_and_nothing_once_they_are_answered() {
    let mut host = Host::new();
    for budget in [100, 120, 110] {
        assert_eq!(host.try_debit(Some(budget), 20, None), Attempt::Ask(1));
    }
    let (number, report) = host.begin();
    assert_eq!(report.blocks, [hold(120, 60)]);
    host.answer(number, Some((120, 60, 120)));
    for _ in 0..3 {
        assert_eq!(host.try_debit(Some(120), 20, Some(1)), Attempt::Allowed(at(0)));
    }
    assert_eq!(host.begin().1.blocks, [hold(120, 0)]);
}

#[test]
fn what_is_only_counted_needs_no_block_but_the_day() {
    let mut host = Host::new();
    assert_eq!(host.try_debit(None, 20, None), Attempt::Ask(1));
    let (number, report) = host.begin();
    assert!(report.blocks.is_empty() && report.used.is_empty());
    host.answer(number, None);
    assert_eq!(host.try_debit(None, 20, None), Attempt::Allowed(at(0)));
    host.wait(11);
    assert_eq!(host.try_debit(None, 30, None), Attempt::Allowed(at(11)), "midnight has passed");
    let (_, report) = host.begin();
    assert_eq!(report.used, [used(at(0), 20), used(at(11), 30)]);
    host.wait(3600);
    assert_eq!(host.try_debit(None, 30, None), Attempt::Ask(3), "the clock is read again after an hour");
}

#[test]
fn a_block_ends_with_its_day_and_a_correction_counts_on_the_day_of_its_debit() {
    let mut host = Host::holding(100, 100, 100);
    assert_eq!(host.try_debit(Some(100), 60, None), Attempt::Allowed(at(0)));
    host.wait(11);
    assert_eq!(host.try_debit(Some(100), 20, None), Attempt::Ask(2), "the block was of yesterday");
    let (number, report) = host.begin();
    assert_eq!((report.used, report.blocks), (vec![used(at(0), 60)], vec![hold(100, 20)]));
    host.answer(number, Some((100, 25, 100)));
    assert_eq!(host.try_debit(Some(100), 20, Some(2)), Attempt::Allowed(at(11)));
    let correction = Correction { debited_at: at(0), input_tokens: -50, output_tokens: 0 };
    host.ledger.correct(["key"], correction, host.now);
    assert_eq!(host.try_debit(Some(100), 6, None), Attempt::Ask(3), "it makes no room today");
    assert_eq!(host.begin().1.used, [used(at(0), -50), used(at(11), 20)]);
}

#[test]
fn a_correction_makes_room_at_once_also_for_what_is_reported() {
    let mut host = Host::holding(100, 100, 100);
    assert_eq!(host.try_debit(Some(100), 100, None), Attempt::Allowed(at(0)));
    let (number, _) = host.begin();
    assert_eq!(host.try_debit(Some(100), 40, None), Attempt::Ask(3));
    let correction = Correction { debited_at: at(0), input_tokens: -60, output_tokens: 0 };
    host.ledger.correct(["key"], correction, host.now);
    assert_eq!(host.try_debit(Some(100), 40, None), Attempt::Allowed(at(0)), "while the report is under way");
    host.answer(number, Some((100, 0, 0)));
    assert_eq!(host.try_debit(Some(100), 20, None), Attempt::Allowed(at(0)), "and after it");
    assert_eq!(host.try_debit(Some(100), 1, None), Attempt::Ask(3));
}

#[test]
fn a_report_that_is_not_confirmed_is_repeated_as_it_was() {
    let mut host = Host::holding(100, 100, 100);
    host.try_debit(Some(100), 10, None);
    let (number, first) = host.begin();
    assert_eq!((first.revision, first.used.clone()), (1, vec![used(at(0), 10)]));
    host.ledger.end_report(number, host.now, host.now, None);
    assert_eq!(host.try_debit(Some(100), 20, None), Attempt::Allowed(at(0)));
    let (number, second) = host.begin();
    assert_eq!((second.revision, second.used), (first.revision, first.used));
    assert!(host.ledger.has_unreported());
    host.answer(number, Some((100, 90, 90)));
    assert_eq!(host.try_debit(Some(100), 71, None), Attempt::Ask(4), "70 are left");
    let (number, third) = host.begin();
    assert_eq!((third.revision, third.used), (2, vec![used(at(0), 20)]));
    host.answer(number, Some((100, 70, 70)));
    assert!(!host.ledger.has_unreported());
    let (_, nothing) = host.begin();
    assert_eq!((nothing.revision, nothing.used), (2, Vec::new()));
}

#[test]
fn what_is_not_in_the_repeated_report_is_asked_for_on_top() {
    let mut host = Host::holding(1_000, 100, 1_000);
    host.try_debit(Some(1_000), 10, None);
    let (number, _) = host.begin();
    host.ledger.end_report(number, host.now, host.now, None);
    host.try_debit(Some(1_000), 80, None);
    assert_eq!(host.try_debit(Some(1_000), 50, None), Attempt::Ask(3));
    assert_eq!(host.begin().1.blocks, [hold(1_000, 130)]);
}

#[test]
fn a_block_is_kept_while_it_is_used_and_returned_after_a_minute() {
    let returned = BlockRequest::Return { account: "key".into() };
    let mut host = Host::new();
    host.start -= Duration::from_secs(3600); // The clock of the database is past midnight.
    let (number, _) = host.begin();
    host.answer(number, Some((100, 100, 100)));
    assert!(!host.ledger.is_due(host.now));
    host.wait(9);
    assert!(!host.ledger.is_due(host.now));
    host.wait(1);
    assert!(host.ledger.is_due(host.now), "a third of the lease is over");
    let (number, report) = host.begin();
    assert_eq!(report.blocks, [hold(100, 0)]);
    host.answer(number, Some((100, 100, 100)));
    assert!(!host.ledger.is_due(host.now));
    host.wait(31);
    assert_eq!(host.try_debit(Some(100), 1, None), Attempt::Ask(3), "the lease has ended");
    let (number, report) = host.begin();
    assert_eq!(report.blocks, [hold(100, 1)]);
    host.answer(number, Some((100, 25, 100)));
    host.wait(19);
    assert!(host.ledger.is_due(host.now));
    let (_, report) = host.begin();
    assert_eq!(report.blocks, std::slice::from_ref(&returned), "nothing was debited for a minute");
    assert_eq!(host.try_debit(Some(100), 1, None), Attempt::Ask(5));

    let mut host = Host::holding(100, 100, 100);
    host.try_debit(Some(100), 1, None);
    let (_, last) = host.ledger.begin_report(true, host.now);
    assert_eq!((last.used.len(), last.blocks), (1, vec![returned]), "a host that stops returns all");
}

#[test]
fn tokens_are_reported_with_the_time_of_the_first_of_their_debits() {
    let mut host = Host::holding(1_000, 1_000, 1_000);
    host.wait(2);
    assert_eq!(host.try_debit(Some(1_000), 10, None), Attempt::Allowed(at(2)));
    host.wait(1);
    assert_eq!(host.try_debit(Some(1_000), 20, None), Attempt::Allowed(at(3)));
    let (number, report) = host.begin();
    assert_eq!((report.used, report.sent_at), (vec![used(at(2), 30)], at(3).0));
    host.answer(number, None);
    let correction = Correction { debited_at: at(2), input_tokens: -10, output_tokens: 0 };
    host.ledger.correct(["key"], correction, host.now);
    host.try_debit(None, 30, None);
    assert_eq!(host.begin().1.used, [used(at(2), 20)], "a correction is as old as its debit");
}

#[test]
fn the_time_that_an_answer_took_is_not_added_to_the_databases_clock() {
    let mut host = Host::new();
    let (number, report) = host.begin();
    assert_eq!(report.sent_at, i64::MIN, "the clock was not read yet");
    let begun_at = host.now;
    host.wait(5);
    let answer = ReportAnswer { now: NOW, blocks: Vec::new() };
    host.ledger.end_report(number, begun_at, host.now, Some(answer));
    assert_eq!(host.try_debit(None, 1, None), Attempt::Allowed(at(0)));
}

#[test]
fn no_count_overflows() {
    let mut host = Host::holding(i64::MAX, i64::MAX, i64::MAX);
    for _ in 0..3 {
        host.try_debit(Some(u64::MAX), u64::MAX, None);
        let correction = Correction { debited_at: at(0), input_tokens: i64::MAX, output_tokens: i64::MIN };
        host.ledger.correct(["key"], correction, host.now);
    }
    let (_, report) = host.begin();
    assert!(report.used[0].input_tokens > 1_000_000_000_000, "{report:?}");
}

#[test]
fn the_used_share_of_a_budget_is_that_of_now_and_each_account_is_named_once_a_day() {
    let mut host = Host::holding(100, 50, 80);
    let used = |host: &mut Host, tokens: i64| {
        host.ledger.correct(
            ["key"],
            Correction { debited_at: at(0), input_tokens: tokens, output_tokens: 0 },
            host.now,
        );
        let found = host.ledger.budget_use(host.now);
        assert!(found.user.abs() < 1e-9, "{found:?}");
        let named: Vec<_> = found.nearly_spent.into_iter().map(|(account, _)| account).collect();
        ((found.key * 100.0).round(), named)
    };
    assert_eq!(used(&mut host, 0), (20.0, vec![]), "others have used 20");
    assert_eq!(used(&mut host, 70), (90.0, vec![]));
    assert_eq!(used(&mut host, 5), (95.0, vec!["key".to_owned()]));
    assert_eq!(used(&mut host, 1), (96.0, vec![]), "named before");
    assert_eq!(used(&mut host, -60), (36.0, vec![]), "a correction counts at once");
    assert_eq!(used(&mut host, 60), (96.0, vec![]));
    host.wait(10);
    assert_eq!(host.ledger.budget_use(host.now), BudgetUse::default(), "a new day");
}
