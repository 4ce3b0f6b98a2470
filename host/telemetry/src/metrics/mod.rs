//! The metrics of a host, in the default registry of `prometheus`.
//!
//! The threat: a label whose values users, plugins or upstreams choose makes a series for each, until the host or Prometheus
//! has no memory left. The policy: values of labels come from closed lists or from the operator's configuration; never users,
//! conversations, paths, digests or texts of others. The accepted consequence: which user it was is in the log and in the
//! turn's record, not here.

mod buckets;
mod family;
pub mod http;
pub mod plugins;
pub mod process;
pub mod state;
pub mod turns;

pub use family::{Counter, Description, FractionalCounter, Gauge, Histogram, Raised};

/// All families that this program declares.
pub fn families() -> impl Iterator<Item = &'static Description> {
    [http::FAMILIES, turns::FAMILIES, plugins::FAMILIES, state::FAMILIES, process::FAMILIES]
        .into_iter()
        .flatten()
}
