//! How often something may happen: token buckets, one for each name and quota.
//!
//! [`RateLimits`] is a trait because several hosts can share their buckets; [`InProcessRateLimits`] keeps those of one
//! host. The caller decides who is limited, and to what.

mod in_process;
mod limits;

pub use in_process::InProcessRateLimits;
pub use limits::{Bucket, Quota, RateLimits, Taken};
