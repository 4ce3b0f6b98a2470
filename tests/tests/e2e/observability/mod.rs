//! What operators see of a host: metrics that a real Prometheus scrapes, with the alerts and dashboards that read them; and
//! that no secret and no message is in what a host writes.

mod cardinality;
mod installation;
mod messages;
mod metrics;
mod planted_host;
mod secrets;
mod workload;
mod written;
