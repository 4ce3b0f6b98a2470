//! The blocks of one host, and what it has used and not reported. Pure: time and answers are handed in.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::report::{BlockRequest, HeldBlock, ReportAnswer, SpendingReport, UsedTokens};
use super::types::{BudgetSpent, Correction, SpendingDay};

/// How long the host keeps a block that it does not debit. Tokens that nobody uses are missing on other hosts.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// The most that one call can add or take away. Higher counts, which a model may claim, could overflow the sum of a year.
const MAX_TOKENS: i64 = 1_000_000_000_000;

/// The highest budget. It leaves room for sums.
const MAX_BUDGET: i64 = i64::MAX / 4;

/// How long the database's clock is followed by this host's own before it is read again.
const MAX_CLOCK_AGE: Duration = Duration::from_secs(3600);

const MILLIS_OF_DAY: i64 = 86_400_000;

/// The accounts of one host. Holds those with a block, and those with something to report.
pub(super) struct Ledger {
    host: Uuid,
    lease: Duration,
    clock: Option<DatabaseClock>,
    accounts: HashMap<String, Account>,
    /// Of the newest report with something used in it.
    revision: u64,
    /// Whether that report was not confirmed. It is sent again as it is, since it may have been counted.
    is_unconfirmed: bool,
    /// How many reports have begun.
    begun: u64,
    /// The newest report that has ended, with an answer or without.
    ended: u64,
}

/// The database's clock at a moment of this host's.
#[derive(Clone, Copy)]
struct DatabaseClock {
    read_at: Instant,
    now: i64,
}

#[derive(Default)]
struct Account {
    block: Option<Block>,
    /// What the unconfirmed report says.
    sent: Usage,
    /// What was used since.
    unsent: Usage,
    wanted: Option<Wanted>,
    last_used: Option<Instant>,
}

/// Tokens of input and output, by day.
type Usage = BTreeMap<SpendingDay, (i64, i64)>;

/// A block, as of the report that was answered with it.
#[derive(Clone, Copy)]
struct Block {
    day: SpendingDay,
    budget: i64,
    tokens: i64,
    available: i64,
    /// The report that was answered with it.
    report: u64,
    /// When the lease ends.
    until: Instant,
}

/// What those who wait want of an account.
#[derive(Clone, Copy)]
struct Wanted {
    budget: i64,
    tokens: i64,
}

/// Whether a call may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It may, on this day.
    Allowed(SpendingDay),
    /// A budget is spent.
    Refused(BudgetSpent),
    /// The store has to be asked: try again when the report with this number, or a later one, has ended.
    Ask(u64),
}

/// What a block says about one call.
enum Room {
    Enough,
    Unknown,
    Spent { used: i64 },
}

impl Ledger {
    pub(super) fn new(host: Uuid, lease: Duration) -> Self {
        Self {
            host,
            lease,
            clock: None,
            accounts: HashMap::new(),
            revision: 0,
            is_unconfirmed: false,
            begun: 0,
            ended: 0,
        }
    }

    /// Debits every account for a call, unless one of them has spent its budget or has to be asked for. `asked` is the
    /// report that an earlier attempt of the same call has waited for.
    pub(super) fn debit(
        &mut self,
        accounts: &BTreeMap<&str, Option<u64>>,
        tokens: (u64, u64),
        asked: Option<u64>,
        now: Instant,
    ) -> Attempt {
        let (input, output) = (bounded(tokens.0), bounded(tokens.1));
        let attempt = self.check(accounts, input.saturating_add(output).max(1), asked, now);
        if let Attempt::Allowed(day) = attempt {
            for account in accounts.keys() {
                self.add(account, day, (input, output), now);
            }
        }
        attempt
    }

    /// Whether a call that needs this many tokens of every account may begin. Debits nothing.
    pub(super) fn check(
        &mut self,
        accounts: &BTreeMap<&str, Option<u64>>,
        needed: i64,
        asked: Option<u64>,
        now: Instant,
    ) -> Attempt {
        let today = self.today(now);
        let mut missing = Vec::new();
        for (account, budget) in accounts {
            let Some(budget) = budget.map(bounded_budget) else { continue };
            match self.room(account, budget, needed, asked, now) {
                Room::Enough => {}
                Room::Unknown => missing.push((*account, budget)),
                Room::Spent { used } => {
                    return Attempt::Refused(BudgetSpent {
                        used: u64::try_from(used).unwrap_or_default(),
                        budget: u64::try_from(budget).unwrap_or_default(),
                        day_ends_in: self.clock.map_or(Duration::ZERO, |clock| clock.day_ends_in(now)),
                    });
                }
            }
        }
        match today {
            Some(today) if missing.is_empty() => Attempt::Allowed(today),
            _ => {
                for (account, budget) in missing {
                    self.want(account, Wanted { budget, tokens: needed });
                }
                Attempt::Ask(self.next_report())
            }
        }
    }

    /// Corrects a debit by what its call used.
    pub(super) fn correct<'a>(
        &mut self,
        accounts: impl IntoIterator<Item = &'a str>,
        correction: Correction,
        now: Instant,
    ) {
        let Correction { day, input_tokens, output_tokens } = correction;
        for account in accounts {
            self.add(account, day, (input_tokens, output_tokens), now);
        }
    }

    /// Whether there is something to report: tokens used, leases to be kept, blocks to be returned.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.has_unreported()
            || self.accounts.values().any(|account| {
                account.block.is_some_and(|block| block.is_renewal_due(self.lease, now)) || account.is_idle(now)
            })
    }

    /// Whether tokens were used that no answered report has counted.
    pub(super) fn has_unreported(&self) -> bool {
        self.is_unconfirmed || self.accounts.values().any(|account| !account.unsent.is_empty())
    }

    /// The newest report that has ended.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// The number of the next report.
    pub(super) fn next_report(&self) -> u64 {
        self.begun.saturating_add(1)
    }

    /// Begins the next report. With `returns_all`, the host gives all its blocks back.
    pub(super) fn begin_report(&mut self, returns_all: bool, now: Instant) -> (u64, SpendingReport) {
        self.begun = self.begun.saturating_add(1);
        if !self.is_unconfirmed && self.has_unreported() {
            self.revision = self.revision.saturating_add(1);
            self.is_unconfirmed = true;
            for account in self.accounts.values_mut() {
                account.sent = std::mem::take(&mut account.unsent);
            }
        }
        let today = self.today(now);
        let (mut used, mut blocks) = (Vec::new(), Vec::new());
        for (name, account) in &mut self.accounts {
            used.extend(account.sent.iter().map(|(day, (input, output))| UsedTokens {
                account: name.clone(),
                day: *day,
                input_tokens: *input,
                output_tokens: *output,
            }));
            // A block ends with its day.
            account.block = account.block.filter(|block| Some(block.day) == today);
            match (account.wanted.take(), account.block) {
                (Some(wanted), _) if !returns_all => blocks.push(BlockRequest::Hold {
                    account: name.clone(),
                    budget: wanted.budget,
                    // Of what the store can't know yet, none is left.
                    wanted: wanted.tokens.saturating_add(today.map_or(0, |day| total(&account.unsent, day)).max(0)),
                }),
                (_, Some(_)) if returns_all || account.is_idle(now) => {
                    account.block = None;
                    blocks.push(BlockRequest::Return { account: name.clone() });
                }
                (_, Some(block)) if !account.sent.is_empty() || block.is_renewal_due(self.lease, now) => {
                    blocks.push(BlockRequest::Hold { account: name.clone(), budget: block.budget, wanted: 0 });
                }
                _ => {}
            }
        }
        let Self { host, revision, lease, begun, .. } = *self;
        (begun, SpendingReport { host, revision, lease, used, blocks })
    }

    /// The report with this number has ended. Without an answer it counts as not confirmed. `begun_at` is when it began.
    pub(super) fn end_report(&mut self, report: u64, begun_at: Instant, answer: Option<ReportAnswer>) {
        self.ended = report;
        let Some(ReportAnswer { now, blocks }) = answer else { return };
        let clock = DatabaseClock { read_at: begun_at, now };
        self.clock = Some(clock);
        self.is_unconfirmed = false;
        for account in self.accounts.values_mut() {
            account.sent.clear();
        }
        let (day, until) = (clock.day(begun_at), begun_at + self.lease);
        for HeldBlock { account, budget, tokens, available } in blocks {
            let account = self.accounts.entry(account).or_default();
            account.block = Some(Block { day, budget, tokens, available, report, until });
            account.last_used.get_or_insert(begun_at);
        }
        self.accounts.retain(|_, account| {
            account.block.is_some() || account.wanted.is_some() || !account.unsent.is_empty()
        });
    }

    fn room(&self, account: &str, budget: i64, needed: i64, asked: Option<u64>, now: Instant) -> Room {
        let today = self.today(now);
        let Some(account) = self.accounts.get(account) else { return Room::Unknown };
        let Some(block) = account.block else { return Room::Unknown };
        if Some(block.day) != today || block.until <= now {
            return Room::Unknown;
        }
        // The block may have been taken for another budget, such as that of yesterday's job.
        let available = block.available.saturating_add(budget.saturating_sub(block.budget));
        let pending = total(&account.sent, block.day).saturating_add(total(&account.unsent, block.day));
        let left = block.tokens.min(available).saturating_sub(pending);
        let is_answered = asked.is_some_and(|asked| block.report >= asked) && block.tokens >= available;
        match left {
            _ if left >= needed => Room::Enough,
            _ if !is_answered => Room::Unknown,
            // All that is left of the budget. It ends with this call.
            1.. => Room::Enough,
            _ => Room::Spent { used: budget.saturating_sub(available).saturating_add(pending) },
        }
    }

    fn want(&mut self, account: &str, more: Wanted) {
        let wanted = &mut self.account(account).wanted;
        let before = wanted.unwrap_or(Wanted { budget: more.budget, tokens: 0 });
        *wanted = Some(Wanted {
            budget: before.budget.max(more.budget),
            tokens: before.tokens.saturating_add(more.tokens).min(MAX_BUDGET),
        });
    }

    fn add(&mut self, account: &str, day: SpendingDay, tokens: (i64, i64), now: Instant) {
        let account = self.account(account);
        account.last_used = Some(now);
        let sum = account.unsent.entry(day).or_default();
        let bounded = |tokens: i64| tokens.clamp(-MAX_TOKENS, MAX_TOKENS);
        *sum = (sum.0.saturating_add(bounded(tokens.0)), sum.1.saturating_add(bounded(tokens.1)));
        if *sum == (0, 0) {
            account.unsent.remove(&day);
        }
    }

    fn account(&mut self, name: &str) -> &mut Account {
        self.accounts.entry(name.to_owned()).or_default()
    }

    /// The day by the database's clock, if it was read lately.
    fn today(&self, now: Instant) -> Option<SpendingDay> {
        let clock = self.clock?;
        (now.saturating_duration_since(clock.read_at) < MAX_CLOCK_AGE).then(|| clock.day(now))
    }
}

impl Account {
    fn is_idle(&self, now: Instant) -> bool {
        let since = self.last_used.map_or(Duration::MAX, |used| now.saturating_duration_since(used));
        self.block.is_some() && since >= MAX_IDLE
    }
}

impl Block {
    /// Whether a third of the lease is over.
    fn is_renewal_due(&self, lease: Duration, now: Instant) -> bool {
        self.until.saturating_duration_since(now) <= lease - lease / 3
    }
}

impl DatabaseClock {
    fn now(self, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(self.read_at).as_millis();
        self.now.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }

    fn day(self, now: Instant) -> SpendingDay {
        SpendingDay(self.now(now).div_euclid(MILLIS_OF_DAY))
    }

    fn day_ends_in(self, now: Instant) -> Duration {
        let passed = self.now(now).rem_euclid(MILLIS_OF_DAY);
        Duration::from_millis(u64::try_from(MILLIS_OF_DAY - passed).unwrap_or_default())
    }
}

/// The tokens of a day.
fn total(usage: &Usage, day: SpendingDay) -> i64 {
    usage.get(&day).map_or(0, |(input, output)| input.saturating_add(*output))
}

fn bounded(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX).min(MAX_TOKENS)
}

fn bounded_budget(budget: u64) -> i64 {
    i64::try_from(budget).unwrap_or(i64::MAX).min(MAX_BUDGET)
}
