//! Who makes a request, what they may do, and how often: principals, tokens, API keys, scopes, rate limits and budgets.
//!
//! Every request that needs a principal gets it from an [`Authenticator`]: [`Identity`] authenticates by token or API
//! key, [`LocalAuthenticator`] takes every request for the one local user and needs the checks of [`guard`] in front of
//! it. [`UsageLimiter`](limits::UsageLimiter) counts requests and tokens.
//!
//! Left to others: which scope a route needs (the API), where the numbers come from (the configuration), where keys,
//! revocations and counters are kept (the store).
#![deny(missing_docs)]

mod authenticator;
mod clock;
mod credential;
mod failure_metrics;
pub mod guard;
mod identity;
mod key;
pub mod limits;
mod owner;
mod principal;
mod profile;
mod rejection;
mod revocation;
mod scope;
mod security_cache;
mod security_snapshot;
mod store_problem;
mod token;

pub use authenticator::{Authenticator, LocalAuthenticator};
pub use credential::bearer_credential;
pub use failure_metrics::count_failure;
pub use identity::{Identity, Validity};
pub use key::{ApiKey, KeyRequestError, KeyText, NewKeyRequest, NotAKey, audit_detail, rotation_overlap};
pub use owner::{DEFAULT_TENANT, KEY_ISSUER, LOCAL_ISSUER, is_subject};
pub use principal::{Actor, Principal};
pub use revocation::revocation_target;
pub use scope::{Scope, Scopes, UnknownScope};
pub use store_problem::store_problem;
pub use token::{
    IssuerOptions, JwksSource, MintedToken, NoSigningSecret, OpenTokensError, SigningOptions, SigningSecret,
    SigningSecretSource, TokenOptions, TokenRejection, TokenRequest, Tokens, VerifiedToken,
};
