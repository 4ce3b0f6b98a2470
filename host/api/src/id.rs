//! Ids in paths. Ids are opaque to clients, so a malformed id is answered like an unknown one.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use masque_store::{ConversationId, TurnId};

use masque_problem::{Kind, Problem};

/// A resource that a path names by its id.
pub(crate) trait Named: FromStr {
    /// The problem of an unknown id.
    const UNKNOWN: Kind;
}

impl Named for ConversationId {
    const UNKNOWN: Kind = Kind::ConversationNotFound;
}

impl Named for TurnId {
    const UNKNOWN: Kind = Kind::TurnNotFound;
}

/// The only parameter of a path, parsed.
pub(crate) struct Id<T>(pub(crate) T);

impl<T: Named, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(Path(id)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(T::UNKNOWN.into());
        };
        id.parse().map(Self).map_err(|_| T::UNKNOWN.into())
    }
}
