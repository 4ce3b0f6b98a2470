//! What the host sees of a call while it runs: what it uses, and what it asks the host for.
//!
//! Each request of a guest to the host is a span of the turn's trace and an entry of the [`CallReport`](crate::CallReport), and
//! nothing is computed where neither is wanted. The whole call is observed in `call::observer`.

mod codes;
mod detail;
mod first_series;
mod host_call;
mod recorded_body;
mod request;
mod request_body;
mod upstream_wait;
mod usage;

pub(crate) use self::codes::{OK, known_code, limit_named_in};
pub(crate) use self::detail::scope_name;
pub(crate) use self::first_series::begin_series;
pub(crate) use self::host_call::ObservedHostCall;
pub(crate) use self::recorded_body::BodyDirection;
pub(crate) use self::request::{PluginLabels, RequestGuard, RequestObserver};
pub(crate) use self::request_body::ObservedBody;
pub(crate) use self::usage::CallUsage;
