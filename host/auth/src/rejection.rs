//! Why a credential is not accepted, and what the client is told.

use masque_problem::{Kind, Problem};
use masque_store::StoreError;

use crate::key::KeyRejection;
use crate::store_problem::store_problem;
use crate::token::TokenRejection;

/// Why a credential proves nothing.
#[derive(Debug)]
pub(crate) enum CredentialRejection {
    Token(TokenRejection),
    Key(KeyRejection),
    /// The token or its user is revoked.
    RevokedToken,
    /// The API key that the token was minted with is revoked, has expired or is unknown.
    RevokedMintingKey,
    /// The store can't be read, and the credential can't be judged without it.
    StoreUnavailable(StoreError),
}

impl CredentialRejection {
    /// Whether the credential may be valid after all: it can't be judged at the moment.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self, Self::Token(TokenRejection::KeysUnavailable) | Self::StoreUnavailable(_))
    }

    /// The claim of the token that is missing or wrong, if that is what is wrong with it.
    pub(crate) fn claim(&self) -> Option<&str> {
        match self {
            Self::Token(rejection) => rejection.claim(),
            Self::Key(_) | Self::RevokedToken | Self::RevokedMintingKey | Self::StoreUnavailable(_) => None,
        }
    }

    /// A stable word for clients and the log.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Token(rejection) => rejection.reason(),
            Self::Key(KeyRejection::Unknown) => "unknown-api-key",
            Self::Key(KeyRejection::Expired) => "expired",
            Self::Key(KeyRejection::Revoked) | Self::RevokedToken => "revoked",
            Self::RevokedMintingKey => "minting-key-revoked",
            Self::StoreUnavailable(_) => "store-unavailable",
        }
    }
}

impl From<CredentialRejection> for Problem {
    fn from(rejection: CredentialRejection) -> Self {
        let reason = rejection.reason();
        let claim = rejection.claim().map(str::to_owned);
        let detail = match rejection {
            CredentialRejection::Token(TokenRejection::KeysUnavailable) => {
                return Kind::IssuerUnavailable.into();
            }
            CredentialRejection::StoreUnavailable(error) => return store_problem(error),
            CredentialRejection::Token(rejection) => rejection.to_string(),
            CredentialRejection::Key(KeyRejection::Unknown) => {
                "The API key is not one of this host's.".to_owned()
            }
            CredentialRejection::Key(KeyRejection::Expired) => {
                "The API key has expired; have a new one made.".to_owned()
            }
            CredentialRejection::Key(KeyRejection::Revoked) => {
                "The API key was revoked; have a new one made.".to_owned()
            }
            CredentialRejection::RevokedToken => "The token was revoked; get a new one.".to_owned(),
            CredentialRejection::RevokedMintingKey => {
                "The API key that made the token was revoked; get a new one.".to_owned()
            }
        };
        let problem = Self::new(Kind::InvalidToken, detail).with("reason", reason);
        match claim {
            Some(claim) => problem.with("claim", claim),
            None => problem,
        }
    }
}

impl From<KeyRejection> for CredentialRejection {
    fn from(rejection: KeyRejection) -> Self {
        Self::Key(rejection)
    }
}

impl From<TokenRejection> for CredentialRejection {
    fn from(rejection: TokenRejection) -> Self {
        Self::Token(rejection)
    }
}
