//! The blocks of one host, and what it has used and not reported. Pure: time and answers are handed in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::account::{Account, Block, DatabaseClock, Room, Wanted, bounded, bounded_budget, total};
use super::report::{BlockRequest, HeldBlock, ReportAnswer, SpendingReport, UsedTokens};
use super::types::{BudgetSpent, BudgetUse, Correction, DebitTime, SpendingDay, is_of_user};

/// How long the database's clock is followed by this host's own before it is read again.
const MAX_CLOCK_AGE: Duration = Duration::from_secs(3600);

/// An account that has used more than this share of its budget has nearly spent it.
const NEARLY_SPENT: f64 = 0.9;

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
    /// The accounts that were named on a day since they have nearly spent their budgets.
    named: Option<(SpendingDay, HashSet<String>)>,
}

/// Whether a call may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It may, at this time.
    Allowed(DebitTime),
    /// A budget is spent.
    Refused(BudgetSpent),
    /// The store has to be asked: try again when the report with this number, or a later one, has ended.
    Ask(u64),
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
            named: None,
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
        if let Attempt::Allowed(time) = attempt {
            for account in accounts.keys() {
                self.account(account).add(time, (input, output), now);
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
        let time = self.database_time(now);
        let today = time.map(DebitTime::day);
        let mut missing = Vec::new();
        for (account, budget) in accounts {
            let Some(budget) = budget.map(bounded_budget) else { continue };
            let held = self.accounts.get(*account);
            match held.map_or(Room::Unknown, |held| held.room(budget, needed, asked, today, now)) {
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
        match time {
            Some(time) if missing.is_empty() => Attempt::Allowed(time),
            _ => {
                for (account, budget) in missing {
                    self.account(account).want(Wanted { budget, tokens: needed });
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
        let Correction { debited_at, input_tokens, output_tokens } = correction;
        for account in accounts {
            self.account(account).add(debited_at, (input_tokens, output_tokens), now);
        }
    }

    /// Whether there is something to report: tokens used, leases to be kept, blocks to be returned.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.has_unreported()
            || self.accounts.values().any(|account| {
                account.block.is_some_and(|block| block.is_renewal_due(self.lease, now))
                    || account.is_idle(now)
            })
    }

    /// Whether tokens were used that no answered report has counted.
    pub(super) fn has_unreported(&self) -> bool {
        self.is_unconfirmed || self.accounts.values().any(|account| !account.unsent.is_empty())
    }

    /// Whether the store need not be told anything, now or when the host stops.
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty() && !self.is_unconfirmed
    }

    /// How much of their budgets accounts have used, of those with a block: an account that nobody uses for a minute has none. Each
    /// account is named once a day when it has nearly spent its budget.
    pub(super) fn budget_use(&mut self, now: Instant) -> BudgetUse {
        let mut found = BudgetUse::default();
        let Some(today) = self.today(now) else { return found };
        let (_, mut named) =
            self.named.take().filter(|(day, _)| *day == today).unwrap_or((today, HashSet::new()));
        for (name, account) in &self.accounts {
            let Some(share) = account.used_share(Some(today)) else { continue };
            let highest = if is_of_user(name) { &mut found.user } else { &mut found.key };
            *highest = highest.max(share);
            if share > NEARLY_SPENT && !named.contains(name) {
                named.insert(name.clone());
                found.nearly_spent.push((name.clone(), share));
            }
        }
        self.named = Some((today, named));
        found
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
            used.extend(account.sent.iter().map(|(day, used)| UsedTokens {
                account: name.clone(),
                day: *day,
                debited_at: used.debited_at,
                input_tokens: used.input,
                output_tokens: used.output,
            }));
            // A block ends with its day.
            account.block = account.block.filter(|block| Some(block.day) == today);
            match (account.wanted.take(), account.block) {
                (Some(wanted), _) if !returns_all => blocks.push(BlockRequest::Hold {
                    account: name.clone(),
                    budget: wanted.budget,
                    // Of what the store can't know yet, none is left.
                    wanted: wanted
                        .tokens
                        .saturating_add(today.map_or(0, |day| total(&account.unsent, day)).max(0)),
                }),
                (_, Some(_)) if returns_all || account.is_idle(now) => {
                    account.block = None;
                    blocks.push(BlockRequest::Return { account: name.clone() });
                }
                (_, Some(block)) if !account.sent.is_empty() || block.is_renewal_due(self.lease, now) => {
                    blocks.push(BlockRequest::Hold {
                        account: name.clone(),
                        budget: block.budget,
                        wanted: 0,
                    });
                }
                _ => {}
            }
        }
        let sent_at = self.database_time(now).map_or(i64::MIN, |time| time.0);
        let Self { host, revision, lease, begun, .. } = *self;
        (begun, SpendingReport { host, revision, lease, sent_at, used, blocks })
    }

    /// The report with this number has ended. Without an answer it counts as not confirmed. `begun_at` is when it began,
    /// `ended_at` when it was answered.
    pub(super) fn end_report(
        &mut self,
        report: u64,
        begun_at: Instant,
        ended_at: Instant,
        answer: Option<ReportAnswer>,
    ) {
        self.ended = report;
        let Some(ReportAnswer { now, blocks }) = answer else { return };
        let clock = DatabaseClock { read_at: ended_at, now };
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

    fn account(&mut self, name: &str) -> &mut Account {
        self.accounts.entry(name.to_owned()).or_default()
    }

    /// The time by the database's clock, if it was read lately.
    fn database_time(&self, now: Instant) -> Option<DebitTime> {
        let clock = self.clock?;
        (now.saturating_duration_since(clock.read_at) < MAX_CLOCK_AGE).then(|| DebitTime(clock.now(now)))
    }

    fn today(&self, now: Instant) -> Option<SpendingDay> {
        self.database_time(now).map(DebitTime::day)
    }
}
