//! What operators see of a host: metrics that a real Prometheus scrapes, with the alerts and dashboards that read them.

mod cardinality;
mod installation;
mod metrics;
mod workload;
