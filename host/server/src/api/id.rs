//! Ids in paths. They are opaque to clients: one that is none, or not even text, is as unknown as any other.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use masque_store::{ConversationId, TurnId};

use crate::problem::{Kind, Problem};

/// What a path names by its id.
pub(crate) trait Named: FromStr {
    /// What to answer where there is none of that id.
    const UNKNOWN: Kind;
}

impl Named for ConversationId {
    const UNKNOWN: Kind = Kind::ConversationNotFound;
}

impl Named for TurnId {
    const UNKNOWN: Kind = Kind::TurnNotFound;
}

/// The one parameter of a path.
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
