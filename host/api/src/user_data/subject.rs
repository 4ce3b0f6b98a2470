//! The user whom a path names, and whether the caller may export or erase their data.
//!
//! Threat: a caller finds out which ids are users, or takes or destroys what is not theirs. Policy: `chat` is enough for
//! one's own data, and another user's needs a scope that no minted token has. Without that scope, another user's id is
//! answered like an unknown one. A key that is limited to some companions is refused in every case, since the data of a user
//! is not divided by companions.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use masque_auth::{Principal, Scope, store_problem};
use masque_problem::{Kind, Problem};
use masque_store::{ErasedName, Owner};
use uuid::Uuid;

use crate::id::Named;
use crate::state::App;

/// A user in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserRef {
    /// `me`: the caller.
    Me,
    /// The user with this id.
    Id(Uuid),
}

impl FromStr for UserRef {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        if text == "me" { Ok(Self::Me) } else { Uuid::try_parse(text).map(Self::Id) }
    }
}

impl Named for UserRef {
    const UNKNOWN: Kind = Kind::UserNotFound;
}

/// The parameters of the path of a receipt.
pub(crate) struct ReceiptPath {
    pub(super) user: UserRef,
    pub(super) receipt: Uuid,
}

impl<S: Send + Sync> FromRequestParts<S> for ReceiptPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unknown = || Problem::from(Kind::ErasureNotFound);
        let Ok(Path((user, receipt))) = Path::<(String, String)>::from_request_parts(parts, state).await
        else {
            return Err(unknown());
        };
        let user = user.parse().map_err(|_| unknown())?;
        let receipt = Uuid::try_parse(&receipt).map_err(|_| unknown())?;
        Ok(Self { user, receipt })
    }
}

/// A user whose data the caller may export or erase.
pub(super) struct Subject {
    pub(super) owner: Owner,
    /// Whether it is the caller.
    pub(super) is_own: bool,
    /// The name of the user where identities are not kept.
    pub(super) name: ErasedName,
}

/// Refuses callers whose key is limited to some companions.
pub(super) fn refuse_limited(caller: &Principal) -> Result<(), Problem> {
    match caller.allowed_companions() {
        None => Ok(()),
        Some(_) => {
            let detail =
                "The API key is for some companions, and the data of a user is that of all; use another key.";
            Err(Problem::new(Kind::CompanionNotAllowed, detail))
        }
    }
}

/// Finds the user. `scope` is what the data of others needs.
///
/// # Errors
/// `CompanionNotAllowed`, `InsufficientScope` for `me` without `chat`, `UserNotFound`, `StorageUnavailable`.
pub(super) async fn find(
    app: &App,
    caller: &Principal,
    user: UserRef,
    scope: Scope,
) -> Result<Subject, Problem> {
    refuse_limited(caller)?;
    let installation = app.store.installation().await.map_err(store_problem)?;
    let subject = |owner: Owner, is_own| Subject { name: installation.erased_name(&owner), owner, is_own };
    let id = match user {
        UserRef::Me if caller.scopes.has(Scope::Chat) => return Ok(subject(caller.owner.clone(), true)),
        UserRef::Me => {
            let detail =
                "Use a token or key with the scope `chat` for its own data, or name a user by the id.";
            return Err(Problem::new(Kind::InsufficientScope, detail).with("scope", Scope::Chat.as_str()));
        }
        UserRef::Id(id) => id,
    };
    let found = app.store.user(id).await.map_err(store_problem)?;
    match found {
        Some(owner) if owner == caller.owner && caller.scopes.has(Scope::Chat) => Ok(subject(owner, true)),
        Some(owner) if caller.scopes.has(scope) => Ok(subject(owner, false)),
        Some(_) | None => Err(Kind::UserNotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::UserRef;

    #[test]
    fn a_user_is_me_or_an_id() {
        assert_eq!("me".parse::<UserRef>(), Ok(UserRef::Me));
        let id = "018f0000-0000-7000-8000-000000000000";
        assert_eq!(id.parse::<UserRef>(), Ok(UserRef::Id(id.parse().unwrap())));
        for text in ["", "Me", "ana", "%ff"] {
            assert!(text.parse::<UserRef>().is_err(), "{text}");
        }
    }
}
