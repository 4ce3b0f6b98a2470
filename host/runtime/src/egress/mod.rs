//! Outgoing requests, the only way for a plugin to reach the network.
//!
//! The threat: a plugin that sends what it saw to a server of its own, that reaches the operator's network, or that learns a
//! key. The policy: a request leaves only where a grant names its origin (and method and path); its address is checked after
//! resolving; credentials are added here, unseen by the guest, and redacted from what comes back; redirects are not followed
//! but handed to the guest, which needs a grant to follow one. The accepted consequence: a granted origin may do anything
//! with what it is sent.

mod address;
mod body;
mod client;
mod connection;
mod connection_driver;
mod connection_slot;
mod connector;
mod driven_body;
mod fault;
mod first_settings;
mod gate;
mod gather;
mod header_limit;
mod origin_credentials;
mod origin_pool;
mod pool_policy;
mod pooled_connection;
mod read_waker;
mod redact;
mod sent_request;

pub(crate) use self::client::{UpstreamClient, UpstreamClients};
pub(crate) use self::gate::{BODY_CHUNK_BYTES, BODY_CHUNKS, EgressGate};
pub(crate) use self::origin_credentials::OriginCredentials;
