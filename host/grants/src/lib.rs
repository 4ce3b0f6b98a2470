//! What a plugin may do, as plain values: names, web origins, grants, credentials, limits, and the names of the built-in
//! plugins.
//!
//! Text is parsed and checked when a value is made, so a value of these types is always valid. The crate does no I/O and
//! knows neither the WebAssembly engine nor the configuration file; the runtime enforces the grants and limits.

#![deny(missing_docs)]

mod builtin;
mod credential;
mod error;
mod grants;
mod http_grant;
mod limits;
mod name;
mod origin;
mod secret;
mod secret_parts;
mod url_secrets;

pub use builtin::{Builtin, NotBuiltin};
pub use credential::Credential;
pub use error::GrantError;
pub use grants::{Grants, Reuse};
pub use http_grant::HttpGrant;
pub use ipnet::IpNet;
pub use limits::{Limits, MAX_COMPONENT_BYTES};
pub use name::{InvalidName, Name, is_name};
pub use origin::{Origin, port_of};
pub use secret::Secret;
pub use secret_parts::MIN_SECRET_BYTES;
pub use url_secrets::url_secrets;
