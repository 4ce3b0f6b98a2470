//! Why a token is not accepted.

/// Why a token proves nothing. Displayed as a sentence for clients, which repeats nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejection {
    /// It is no JWS in compact serialization, or its parts are no JSON objects.
    #[error("The token is not in the form of one.")]
    Malformed,
    /// It is longer than any token should be.
    #[error("The token has more than 8 KiB.")]
    TooLarge,
    /// Its header has a member that changes how it is read or brings a key along.
    #[error("The token's header has a member that this host takes from no token.")]
    Header,
    /// Its `typ` is not accepted.
    #[error("The token is of another type than an access token.")]
    Type,
    /// Its `alg` is not accepted from this issuer.
    #[error("The token is not signed with an algorithm that its issuer uses here.")]
    Algorithm,
    /// Its `iss` is missing or not trusted.
    #[error("This host trusts no issuer of that name.")]
    UnknownIssuer,
    /// Its issuer has no key with its `kid` and algorithm.
    #[error("The token is signed with a key that its issuer does not publish.")]
    UnknownKey,
    /// The signature is wrong.
    #[error("The token's signature is wrong.")]
    Signature,
    /// Its `exp` is over.
    #[error("The token has expired; get a new one.")]
    Expired,
    /// Its `iat` or `nbf` is in the future.
    #[error("The token is not valid yet.")]
    NotYetValid,
    /// Its `aud` does not name this host.
    #[error("The token is for another audience.")]
    Audience,
    /// A claim is missing or has the wrong form.
    #[error("A claim of the token is missing, or not in its form.")]
    Claims,
    /// The issuer's keys were never read, so the token can't be judged.
    #[error("The keys of the token's issuer can't be had.")]
    KeysUnavailable,
}

impl TokenRejection {
    /// A stable word for clients and the log.
    pub fn reason(self) -> &'static str {
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
            Self::NotYetValid => "not-yet-valid",
            Self::Audience => "wrong-audience",
            Self::Claims => "invalid-claims",
            Self::KeysUnavailable => "keys-unavailable",
        }
    }
}
