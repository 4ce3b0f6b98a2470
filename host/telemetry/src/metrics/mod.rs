//! The metrics of a host, in the default registry of `prometheus`.
//!
//! The threat: a label whose values users, plugins or upstreams choose makes a series for each, until the host or Prometheus
//! has no memory left. The policy: values of labels come from closed lists or from the operator's configuration; never users,
//! conversations, paths, digests or texts of others. The accepted consequence: which user it was is in the log and in the
//! turn's record, not here.

mod buckets;
mod catalogue;
mod declare;
mod exemplars;
mod exposition;
mod family;
pub mod http;
mod negotiation;
mod openmetrics;
pub mod plugins;
pub mod process;
mod scrape;
mod start;
pub mod state;
#[cfg(test)]
mod tests;
pub mod turns;

pub use catalogue::{families, forget_name};
pub use declare::Description;
pub use exposition::{Exposition, encode};
pub use family::{Counter, FractionalCounter, Gauge, Histogram, Raised};
pub use scrape::on_scrape;
pub(crate) use start::start;
