//! Authentication and authorisation: valid and forged credentials, API keys, scopes, tenants, limits, the audit log.

mod audit;
mod described;
mod forged;
mod keys;
mod limits;
mod production;
mod providers;
mod revocation;
mod routes;
mod surroundings;
mod tenants;
mod without;
