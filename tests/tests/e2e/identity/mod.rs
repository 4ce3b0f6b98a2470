//! Who may speak: tokens and keys that are right, and everything that only looks like one.

mod audit;
mod described;
mod forged;
mod http_edge;
mod keys;
mod limits;
mod production;
mod providers;
mod revocation;
mod routes;
mod tenants;
mod without;
