//! Why a token proves nothing.

/// Words for clients; none of them repeats what the token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("The token is not in the form of one.")]
    Malformed,
    #[error("The token has more than 8 KiB.")]
    TooLarge,
    #[error("The token's header has a member that this host takes from no token.")]
    Header,
    #[error("The token is of another type than an access token.")]
    Type,
    #[error("The token is not signed with an algorithm that its issuer uses here.")]
    Algorithm,
    #[error("This host trusts no issuer of that name.")]
    UnknownIssuer,
    #[error("The token is signed with a key that its issuer does not publish.")]
    UnknownKey,
    #[error("The token's signature is wrong.")]
    Signature,
    #[error("The token has expired; get a new one.")]
    Expired,
    #[error("The token is not valid yet.")]
    NotYetValid,
    #[error("The token is for another audience.")]
    Audience,
    #[error("A claim of the token is missing, or not in its form.")]
    Claims,
    /// Nothing can be said of the token for now.
    #[error("The keys of the token's issuer can't be had.")]
    KeysUnavailable,
}

impl Refused {
    /// A stable word.
    pub(crate) fn reason(self) -> &'static str {
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
