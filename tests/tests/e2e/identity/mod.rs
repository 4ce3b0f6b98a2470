//! Authentication and authorisation: valid and forged credentials, API keys, scopes, tenants, limits, the audit log.

mod audit;
mod companions;
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
