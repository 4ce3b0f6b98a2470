//! Why a token is not accepted.

/// Why a token proves nothing. Displayed as a sentence for clients, which names the claim that is wrong and repeats
/// nothing of what the token says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejection {
    /// It is no JWS in compact serialization, or its parts are no JSON objects.
    #[error("The token is not in the form of one.")]
    Malformed,
    /// It is longer than any token should be.
    #[error("The token has more than 8 KiB.")]
    TooLarge,
    /// Its header has a member that changes how it is read.
    #[error(
        "The token's header has a member that changes how it is read, which this host takes from no token."
    )]
    Header,
    /// Its `typ` is not accepted.
    #[error("The token is of another type than an access token.")]
    Type,
    /// Its `alg` is not accepted from this issuer.
    #[error("The token is not signed with an algorithm that its issuer uses here.")]
    Algorithm,
    /// Its `iss` is missing or not trusted.
    #[error("The claim `iss` of the token names no issuer that this host trusts.")]
    UnknownIssuer,
    /// Its issuer has no key with its `kid` and algorithm.
    #[error("The token is signed with a key that its issuer does not publish.")]
    UnknownKey,
    /// The signature is wrong.
    #[error("The token's signature is wrong.")]
    Signature,
    /// Its `exp` is over.
    #[error("The token has expired by its claim `exp`; get a new one.")]
    Expired,
    /// This claim, `iat` or `nbf`, is in the future.
    #[error("The token is not valid yet: its claim `{0}` is in the future.")]
    NotYetValid(&'static str),
    /// This claim, usually `aud`, does not name this host.
    #[error("The claim `{0}` of the token is missing, or names another audience than this host.")]
    Audience(String),
    /// This claim is missing.
    #[error("The token has no claim `{0}`.")]
    MissingClaim(String),
    /// A claim does not have its form.
    #[error("The claim `{claim}` of the token is not {expected}.")]
    ClaimForm {
        /// The name of the claim, or the path to it.
        claim: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The issuer's keys were never read, so the token can't be judged.
    #[error("The keys of the token's issuer can't be had.")]
    KeysUnavailable,
}

impl TokenRejection {
    /// A stable word for clients and the log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::Header => "unsupported-header",
            Self::Type => "wrong-type",
            Self::Algorithm => "wrong-algorithm",
            Self::UnknownIssuer => "unknown-issuer",
            Self::UnknownKey => "unknown-key",
            Self::Signature => "wrong-signature",
            Self::Expired => "expired",
            Self::NotYetValid(_) => "not-yet-valid",
            Self::Audience(_) => "wrong-audience",
            Self::MissingClaim(_) | Self::ClaimForm { .. } => "invalid-claims",
            Self::KeysUnavailable => "keys-unavailable",
        }
    }

    /// The claim that is missing or wrong; `None` if it is no claim that the token is refused for.
    pub fn claim(&self) -> Option<&str> {
        match self {
            Self::UnknownIssuer => Some("iss"),
            Self::Expired => Some("exp"),
            Self::NotYetValid(claim) => Some(claim),
            Self::Audience(claim) | Self::MissingClaim(claim) | Self::ClaimForm { claim, .. } => Some(claim),
            Self::Malformed
            | Self::TooLarge
            | Self::Header
            | Self::Type
            | Self::Algorithm
            | Self::UnknownKey
            | Self::Signature
            | Self::KeysUnavailable => None,
        }
    }
}
