//! The headers `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), with one item for each
//! limit that was applied to a request. A token bucket has two numbers where the draft has one quota: `q` is what may
//! come at once, `w` how long an empty bucket takes to fill, so that `q`/`w` is the sustained rate.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::limiter::LimitDecision;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Adds the headers for these decisions; adds nothing if no limit was applied.
pub fn write(headers: &mut HeaderMap, decisions: &[LimitDecision]) {
    let items = |item: fn(&LimitDecision) -> String| {
        let text = decisions.iter().map(item).collect::<Vec<_>>().join(", ");
        // The text consists of numbers and fixed names, so it is always a valid header value.
        HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
    };
    if let (Some(policy), Some(state)) = (items(policy), items(state)) {
        headers.insert(POLICY, policy);
        headers.insert(STATE, state);
    }
}

fn policy(decision: &LimitDecision) -> String {
    let quota = decision.quota;
    let window = (u64::from(quota.burst.get()) * 60).div_ceil(quota.per_minute.get().into());
    format!("\"{}\";q={};w={window}", decision.policy.name(), quota.burst)
}

/// `t` is the time until the bucket is full again; after a refusal, until there is something to take.
fn state(decision: &LimitDecision) -> String {
    let reset = if decision.taken.allowed { decision.full_after() } else { decision.taken.wait };
    format!(
        "\"{}\";r={};t={}",
        decision.policy.name(),
        decision.taken.remaining,
        reset.as_millis().div_ceil(1000)
    )
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use masque_store::{Quota, Taken};

    use super::*;
    use crate::limits::LimitPolicy;

    fn decision(policy: LimitPolicy, taken: Taken) -> LimitDecision {
        let quota = Quota { per_minute: NonZeroU32::new(120).unwrap(), burst: NonZeroU32::new(40).unwrap() };
        LimitDecision { policy, quota, taken }
    }

    #[test]
    fn every_limit_tells_its_quota_and_what_is_left() {
        let some = Taken { allowed: true, remaining: 37, wait: Duration::ZERO };
        let none = Taken { allowed: false, remaining: 0, wait: Duration::from_millis(400) };
        let mut headers = HeaderMap::new();
        write(&mut headers, &[decision(LimitPolicy::Address, some), decision(LimitPolicy::User, none)]);
        assert_eq!(headers.get(POLICY).unwrap(), "\"address\";q=40;w=20, \"user\";q=40;w=20");
        assert_eq!(headers.get(STATE).unwrap(), "\"address\";r=37;t=2, \"user\";r=0;t=1");
    }

    #[test]
    fn without_limits_there_are_no_headers() {
        let mut headers = HeaderMap::new();
        write(&mut headers, &[]);
        assert!(headers.is_empty());
    }
}
