//! Tokens: JSON Web Tokens (RFC 7519) used as access tokens (RFC 9068), checked by the best current practice (RFC
//! 8725).
//!
//! The threat is a token that nobody issued, or that was issued for something else: a forged signature, a key that
//! comes inside the token, another algorithm than the key's, a token of one issuer that names another, one for another
//! audience or of another type, one that has expired. The policy: the `iss` of a token chooses the keys, the algorithms
//! and the rules, and nothing else in the token chooses anything (RFC 8725, sections 3.1 and 3.8 to 3.10). Keys come
//! from the configuration: the host's own secrets, or an identity provider's JWK Set over TLS or from a file.
//!
//! Accepted: between two reads of an identity provider's keys, a key that the provider has withdrawn is still trusted
//! (15 minutes by default). If the provider can't be reached, the last keys stay in use.

mod algorithms;
mod claims;
mod compact;
mod jwks;
mod jwks_fetcher;
mod key_material;
mod options;
mod provider;
mod rejection;
mod rules;
mod signing_secrets;
mod tokens;
mod types;

pub use options::{
    IssuerOptions, JwksSource, SigningOptions, SigningSecret, SigningSecretSource, TokenOptions,
};
pub use rejection::TokenRejection;
pub use tokens::{OpenTokensError, Tokens};
pub use types::{MintedToken, NoSigningSecret, TokenRequest, VerifiedToken};
