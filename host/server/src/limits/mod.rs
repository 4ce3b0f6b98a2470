//! How often and how much one may ask: requests by address, user and API key, turns at once, the model's tokens of a day.
//!
//! The numbers come from the configuration and from keys; counting is the store's (buckets in process, tokens in SQL).
//! What each limit came to is told in headers (`headers`).

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use masque_store::{Owner, Quota, RateLimits, Spending, Taken};

use crate::auth::{Principal, store_problem};
use crate::config::Allowance;
use crate::convert;
use crate::problem::{Kind, Problem};

pub(crate) mod headers;

/// Asks the buckets.
pub(crate) struct Limits {
    config: Allowance,
    rates: Arc<dyn RateLimits>,
}

/// What one limit said of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    pub(crate) policy: Policy,
    pub(crate) quota: Quota,
    pub(crate) taken: Taken,
}

/// Whom a limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Address,
    User,
    Key,
}

impl Policy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::User => "user",
            Self::Key => "key",
        }
    }
}

impl Limits {
    pub(crate) fn new(config: Allowance, rates: Arc<dyn RateLimits>) -> Self {
        Self { config, rates }
    }

    /// Before anything is known but where the request came from.
    pub(crate) async fn address(&self, address: IpAddr) -> Option<Limited> {
        let quota = convert::store::quota(self.config.address?);
        Some(self.take(Policy::Address, &network(address).to_string(), quota).await)
    }

    /// Whose turn it is: the user's, whoever speaks for them.
    pub(crate) async fn user(&self, owner: &Owner) -> Option<Limited> {
        let quota = convert::store::quota(self.config.user?);
        Some(self.take(Policy::User, &account(owner), quota).await)
    }

    /// The key that was sent, or that the token was made with.
    pub(crate) async fn key(&self, principal: &Principal) -> Option<Limited> {
        let key = principal.key.as_ref()?;
        let quota = key.requests?;
        Some(self.take(Policy::Key, key.id.as_str(), quota).await)
    }

    async fn take(&self, policy: Policy, name: &str, quota: Quota) -> Limited {
        let bucket = format!("{}:{name}", policy.name());
        Limited { policy, quota, taken: self.rates.take(&bucket, quota).await }
    }

    /// Whose budgets a turn of this principal is charged to.
    pub(crate) fn accounts(&self, principal: &Principal) -> Vec<String> {
        self.budgets(principal).into_iter().map(|(account, _)| account).collect()
    }

    /// Whether there are tokens left for a turn. What turns under way are going to use is not known yet: a budget may be
    /// overdrawn by as many turns as may run at once.
    ///
    /// # Errors
    /// `BudgetSpent` until the day ends, `StorageUnavailable`.
    pub(crate) async fn afford<S: Spending + ?Sized>(
        &self,
        store: &S,
        principal: &Principal,
    ) -> Result<(), Problem> {
        for (account, budget) in self.budgets(principal) {
            let Some(budget) = budget else { continue };
            let spent = store.spent(&account).await.map_err(store_problem)?;
            let used = spent.input_tokens.saturating_add(spent.output_tokens);
            if used >= budget {
                let detail =
                    format!("{used} tokens of {budget} are used today; wait for the next day (UTC).");
                return Err(Problem::new(Kind::BudgetSpent, detail).retry_after(spent.day_ends_in));
            }
        }
        Ok(())
    }

    /// A key's tokens are counted whether or not it has a budget, so that one can be set in mid-day.
    fn budgets(&self, principal: &Principal) -> Vec<(String, Option<u64>)> {
        let key = principal.key.as_ref().map(|key| (format!("key:{}", key.id), key.tokens_per_day));
        let user = self
            .config
            .tokens_per_day
            .map(|budget| (format!("user:{}", account(&principal.owner)), Some(budget)));
        key.into_iter().chain(user).collect()
    }
}

/// Lengths keep `a|b` of `c` and `a` of `b|c` apart.
fn account(owner: &Owner) -> String {
    let Owner { tenant, issuer, subject } = owner;
    format!("{tenant}|{}|{issuer}|{subject}", issuer.len())
}

/// Whoever has an IPv6 address has the whole /64 (RFC 6177), and would else have as many buckets.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

impl Limited {
    pub(crate) fn problem(&self) -> Option<Problem> {
        if self.taken.allowed {
            return None;
        }
        let whose = match self.policy {
            Policy::Address => "This address",
            Policy::User => "This user",
            Policy::Key => "This API key",
        };
        let detail = format!(
            "{whose} may ask {} times a minute, {} at once; wait for `retry_after` seconds.",
            self.quota.per_minute, self.quota.burst
        );
        Some(Problem::new(Kind::RateLimited, detail).retry_after(self.taken.wait))
    }

    /// Until the bucket is as full as it gets.
    fn full_after(&self) -> Duration {
        let missing = self.quota.burst.get().saturating_sub(self.taken.remaining);
        Duration::from_secs(60) * missing / self.quota.per_minute.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(tenant: &str, issuer: &str, subject: &str) -> Owner {
        Owner { tenant: tenant.into(), issuer: issuer.into(), subject: subject.into() }
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
                assert_ne!(account(one), account(other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
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
