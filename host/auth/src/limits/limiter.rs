//! Applies the limits: takes from the rate limiter's buckets, and asks the budgets for tokens.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use masque_problem::{Kind, Problem};
use masque_store::{Bucket, BudgetAccount, BudgetSpent, Budgets, Quota, RateLimits, Taken, user_account};
use masque_telemetry::metrics::http::RATE_LIMITED;

use crate::principal::Principal;
use crate::store_problem::store_problem;

/// What each address and each user may ask of the host. `None` allows any number.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitOptions {
    /// Requests of one address.
    pub address: Option<Quota>,
    /// Requests of one user.
    pub user: Option<Quota>,
    /// The model's tokens, of input and output, that one user may use in a day (UTC).
    pub tokens_per_day: Option<u64>,
}

/// Applies the limits of a host to requests.
pub struct UsageLimiter {
    options: LimitOptions,
    rates: Arc<dyn RateLimits>,
}

/// A limit that one request counts towards.
struct Limit {
    policy: LimitPolicy,
    quota: Quota,
    /// The name of its bucket, which no limit of another policy has.
    name: String,
}

/// What one limit decided about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitDecision {
    /// Which limit it was.
    pub policy: LimitPolicy,
    /// The rate that it allows.
    pub quota: Quota,
    /// Whether the request is allowed, and what is left.
    pub taken: Taken,
}

/// Whose requests a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitPolicy {
    /// Those of one client address.
    Address,
    /// Those of one user.
    User,
    /// Those of one API key, and of the tokens that were minted with it.
    Key,
}

impl LimitPolicy {
    /// Its name in the `RateLimit` headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::User => "user",
            Self::Key => "key",
        }
    }
}

impl UsageLimiter {
    /// A limiter with these numbers, whose requests are counted by `rates`.
    pub fn new(options: LimitOptions, rates: Arc<dyn RateLimits>) -> Self {
        Self { options, rates }
    }

    /// Takes one request from each bucket that it counts towards, in one round trip: that of its address, that of its user,
    /// also if an API key speaks for them, and that of the API key that was sent, or that the sent token was minted with.
    /// Returns the decisions in this order as far as the first refusal, which is the last. A request that the user's limit
    /// refuses takes nothing from a key that many users share.
    pub async fn take(&self, address: Option<IpAddr>, principal: Option<&Principal>) -> Vec<LimitDecision> {
        let address = address.zip(self.options.address).map(|(address, quota)| Limit {
            policy: LimitPolicy::Address,
            quota,
            name: format!("address:{}", network(address)),
        });
        let user = principal.zip(self.options.user).map(|(principal, quota)| Limit {
            policy: LimitPolicy::User,
            quota,
            name: user_account(&principal.owner),
        });
        let key = principal.and_then(|principal| principal.key.as_ref()).and_then(|key| {
            Some(Limit { policy: LimitPolicy::Key, quota: key.requests?, name: format!("key:{}", key.id) })
        });
        let limits: Vec<_> = address.into_iter().chain(user).chain(key).collect();
        if limits.is_empty() {
            return Vec::new();
        }
        let buckets: Vec<_> =
            limits.iter().map(|limit| Bucket { name: &limit.name, quota: limit.quota }).collect();
        let taken = self.rates.take(&buckets).await;
        let decision = |(limit, taken): (&Limit, Taken)| {
            if !taken.allowed {
                RATE_LIMITED.increment(&[limit.policy.name()]);
            }
            LimitDecision { policy: limit.policy, quota: limit.quota, taken }
        };
        limits.iter().zip(taken).map(decision).collect()
    }

    /// The accounts that are debited for the model calls of this principal. The tokens of a key are counted even if it
    /// has no budget, so that one can be set during the day.
    pub fn budget_accounts(&self, principal: &Principal) -> Vec<BudgetAccount> {
        let key = principal
            .key
            .as_ref()
            .map(|key| BudgetAccount { name: format!("key:{}", key.id), tokens_per_day: key.tokens_per_day });
        let user = self.options.tokens_per_day.map(|budget| BudgetAccount {
            name: user_account(&principal.owner),
            tokens_per_day: Some(budget),
        });
        key.into_iter().chain(user).collect()
    }

    /// Checks that every budget of the principal has tokens left, before a turn takes a place or is stored. The store is
    /// asked only where the host has none at hand. Each model call of the turn is debited, and refused, when it begins
    /// ([`Budgets::debit`]).
    ///
    /// # Errors
    /// [`Kind::BudgetSpent`] until the day ends, [`Kind::StorageUnavailable`] if the store is asked and does not answer.
    pub async fn check_budgets(&self, budgets: &Budgets, principal: &Principal) -> Result<(), Problem> {
        let spent = budgets.check(&self.budget_accounts(principal)).await.map_err(store_problem)?;
        let Some(BudgetSpent { used, budget, day_ends_in }) = spent else { return Ok(()) };
        let detail = format!("{used} tokens of {budget} are used today; wait for the next day (UTC).");
        Err(Problem::new(Kind::BudgetSpent, detail).retry_after(day_ends_in))
    }
}

/// The part of an address that counts as one client. A site has at least a whole IPv6 /64 (RFC 6177), and would
/// otherwise have as many buckets as addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

impl LimitDecision {
    /// The problem to answer with, if the request is refused.
    pub fn problem(&self) -> Option<Problem> {
        if self.taken.allowed {
            return None;
        }
        let who = match self.policy {
            LimitPolicy::Address => "This address",
            LimitPolicy::User => "This user",
            LimitPolicy::Key => "This API key",
        };
        let detail = format!(
            "{who} may ask {} times a minute, {} at once; wait for `retry_after` seconds.",
            self.quota.per_minute, self.quota.burst
        );
        Some(Problem::new(Kind::RateLimited, detail).retry_after(self.taken.wait))
    }

    /// The time until the bucket is full.
    pub(super) fn full_after(&self) -> Duration {
        let missing = self.quota.burst.get().saturating_sub(self.taken.remaining);
        Duration::from_secs(60) * missing / self.quota.per_minute.get()
    }
}

#[cfg(test)]
mod tests {
    use masque_store::Owner;

    use super::*;

    fn owner(tenant: &str, issuer: &str, subject: &str) -> Owner {
        Owner { tenant: tenant.into(), issuer: issuer.into(), subject: subject.into() }
    }

    #[tokio::test]
    async fn a_request_that_a_limit_refuses_is_counted_by_the_name_of_the_limit() {
        let one = std::num::NonZeroU32::MIN;
        let options =
            LimitOptions { address: Some(Quota { per_minute: one, burst: one }), ..LimitOptions::default() };
        let limiter = UsageLimiter::new(options, Arc::new(masque_store::InProcessRateLimits::default()));
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        let counted = || RATE_LIMITED.value(&["address"]);
        let before = counted();
        limiter.take(address, None).await;
        assert_eq!(counted(), before);
        limiter.take(address, None).await;
        assert_eq!(counted(), before + 1);
    }

    #[test]
    fn no_two_users_share_an_account() {
        let owners = [
            owner("a", "b", "c|d"),
            owner("a", "b|c", "d"),
            owner("a", "b", "c"),
            owner("b", "b", "c|d"),
            owner("a", "1|b", "c|d"),
        ];
        for (index, one) in owners.iter().enumerate() {
            for other in owners.iter().skip(index + 1) {
                assert_ne!(user_account(one), user_account(other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bucket() {
        let cases = [
            ("2001:db8::1", "2001:db8::"),
            ("2001:db8::ffff:1:2:3", "2001:db8::"),
            ("2001:db8:0:1::1", "2001:db8:0:1::"),
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ];
        for (address, expected) in cases {
            assert_eq!(network(address.parse().unwrap()).to_string(), expected, "{address}");
        }
    }
}
