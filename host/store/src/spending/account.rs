//! One account of a host: its block, and what was used and not reported.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::types::{DebitTime, MILLIS_OF_DAY, SpendingDay};

/// How long the host keeps a block that it does not debit. Tokens that nobody uses are missing on other hosts.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// The most that one call can add or take away. Higher counts, which a model may claim, could overflow the sum of a year.
const MAX_TOKENS: i64 = 1_000_000_000_000;

/// The highest budget. It leaves room for sums.
const MAX_BUDGET: i64 = i64::MAX / 4;

#[derive(Default)]
pub(super) struct Account {
    pub(super) block: Option<Block>,
    /// What the unconfirmed report says.
    pub(super) sent: Usage,
    /// What was used since.
    pub(super) unsent: Usage,
    pub(super) wanted: Option<Wanted>,
    pub(super) last_used: Option<Instant>,
}

/// What was used, by day.
pub(super) type Usage = BTreeMap<SpendingDay, DayUsage>;

/// What was used on a day.
#[derive(Clone, Copy)]
pub(super) struct DayUsage {
    pub(super) input: i64,
    pub(super) output: i64,
    /// The time of the first of the debits that were made or corrected.
    pub(super) debited_at: DebitTime,
}

/// A block, as of the report that was answered with it.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) day: SpendingDay,
    pub(super) budget: i64,
    pub(super) tokens: i64,
    pub(super) available: i64,
    /// The report that was answered with it.
    pub(super) report: u64,
    /// When the lease ends.
    pub(super) until: Instant,
}

/// What those who wait want of an account.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) budget: i64,
    pub(super) tokens: i64,
}

/// What a block says about one call.
pub(super) enum Room {
    Enough,
    Unknown,
    Spent { used: i64 },
}

/// The database's clock at a moment of this host's: when the answer with it came, so that it is never ahead.
#[derive(Clone, Copy)]
pub(super) struct DatabaseClock {
    pub(super) read_at: Instant,
    pub(super) now: i64,
}

impl Account {
    /// What the block says about a call that needs this many tokens. `asked` is the report that the call has waited for.
    pub(super) fn room(
        &self,
        budget: i64,
        needed: i64,
        asked: Option<u64>,
        today: Option<SpendingDay>,
        now: Instant,
    ) -> Room {
        let Some(block) = self.block.filter(|block| Some(block.day) == today && block.until > now) else {
            return Room::Unknown;
        };
        // The block may have been taken for another budget, such as that of yesterday's job.
        let available = block.available.saturating_add(budget.saturating_sub(block.budget));
        let pending = total(&self.sent, block.day).saturating_add(total(&self.unsent, block.day));
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

    /// The share of today's budget that is used, as far as the block tells.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
    pub(super) fn used_share(&self, today: Option<SpendingDay>) -> Option<f64> {
        let block = self.block.filter(|block| Some(block.day) == today && block.budget > 0)?;
        let pending = total(&self.sent, block.day).saturating_add(total(&self.unsent, block.day));
        let used = block.budget.saturating_sub(block.available).saturating_add(pending).max(0);
        Some(used as f64 / block.budget as f64)
    }

    /// Notes that someone waits for tokens.
    pub(super) fn want(&mut self, more: Wanted) {
        let before = self.wanted.unwrap_or(Wanted { budget: more.budget, tokens: 0 });
        self.wanted = Some(Wanted {
            budget: before.budget.max(more.budget),
            tokens: before.tokens.saturating_add(more.tokens).min(MAX_BUDGET),
        });
    }

    /// Counts tokens of input and output of a call that was debited at this time.
    pub(super) fn add(&mut self, debited_at: DebitTime, (input, output): (i64, i64), now: Instant) {
        self.last_used = Some(now);
        let day = debited_at.day();
        let sum = self.unsent.entry(day).or_insert(DayUsage { input: 0, output: 0, debited_at });
        let bounded = |tokens: i64| tokens.clamp(-MAX_TOKENS, MAX_TOKENS);
        sum.input = sum.input.saturating_add(bounded(input));
        sum.output = sum.output.saturating_add(bounded(output));
        sum.debited_at = sum.debited_at.min(debited_at);
        if (sum.input, sum.output) == (0, 0) {
            self.unsent.remove(&day);
        }
    }

    /// Whether its block was not debited for a while.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let since = self.last_used.map_or(Duration::MAX, |used| now.saturating_duration_since(used));
        self.block.is_some() && since >= MAX_IDLE
    }
}

impl Block {
    /// Whether a third of the lease is over.
    pub(super) fn is_renewal_due(&self, lease: Duration, now: Instant) -> bool {
        self.until.saturating_duration_since(now) <= lease - lease / 3
    }
}

impl DatabaseClock {
    /// No later than the database's time.
    pub(super) fn now(self, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(self.read_at).as_millis();
        self.now.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }

    pub(super) fn day(self, now: Instant) -> SpendingDay {
        SpendingDay(self.now(now).div_euclid(MILLIS_OF_DAY))
    }

    pub(super) fn day_ends_in(self, now: Instant) -> Duration {
        let passed = self.now(now).rem_euclid(MILLIS_OF_DAY);
        Duration::from_millis(u64::try_from(MILLIS_OF_DAY - passed).unwrap_or_default())
    }
}

/// The tokens of a day.
pub(super) fn total(usage: &Usage, day: SpendingDay) -> i64 {
    usage.get(&day).map_or(0, |used| used.input.saturating_add(used.output))
}

pub(super) fn bounded(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX).min(MAX_TOKENS)
}

pub(super) fn bounded_budget(budget: u64) -> i64 {
    i64::try_from(budget).unwrap_or(i64::MAX).min(MAX_BUDGET)
}
