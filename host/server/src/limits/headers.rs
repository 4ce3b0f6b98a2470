//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): one item for each limit that a request
//! met. A token bucket has two numbers where the draft has one quota: `q` is what may come at once, `w` how long an
//! empty bucket takes to fill, so that `q`/`w` is the sustained rate.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Limited;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Writes what the limits said; nothing where none applied.
pub(crate) fn write(headers: &mut HeaderMap, limits: &[Limited]) {
    let items = |item: fn(&Limited) -> String| {
        let text = limits.iter().map(item).collect::<Vec<_>>().join(", ");
        // Numbers and names of our own are always a header's value.
        HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
    };
    if let (Some(policy), Some(state)) = (items(policy), items(state)) {
        headers.insert(POLICY, policy);
        headers.insert(STATE, state);
    }
}

fn policy(limited: &Limited) -> String {
    let quota = limited.quota;
    let window = (u64::from(quota.burst.get()) * 60).div_ceil(quota.per_minute.get().into());
    format!("\"{}\";q={};w={window}", limited.policy.name(), quota.burst)
}

/// `t` is when the bucket is full again; after a refusal, when there is something to take.
fn state(limited: &Limited) -> String {
    let reset = if limited.taken.allowed { limited.full_after() } else { limited.taken.wait };
    format!(
        "\"{}\";r={};t={}",
        limited.policy.name(),
        limited.taken.remaining,
        reset.as_millis().div_ceil(1000)
    )
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use masque_store::{Quota, Taken};

    use super::super::Policy;
    use super::*;

    fn limited(policy: Policy, taken: Taken) -> Limited {
        let quota = Quota { per_minute: NonZeroU32::new(120).unwrap(), burst: NonZeroU32::new(40).unwrap() };
        Limited { policy, quota, taken }
    }

    #[test]
    fn every_limit_says_its_quota_and_what_is_left() {
        let some = Taken { allowed: true, remaining: 37, wait: Duration::ZERO };
        let none = Taken { allowed: false, remaining: 0, wait: Duration::from_millis(400) };
        let mut headers = HeaderMap::new();
        write(&mut headers, &[limited(Policy::Address, some), limited(Policy::User, none)]);
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
