//! Who takes part, and how the result of a call is written down.

use std::fmt::Debug;

use masque_store::{Owner, StoreError, user_account};
use uuid::Uuid;

use crate::normalise::{self, Learned, Outcome};

/// The hosts of all operations.
pub(crate) fn hosts() -> [Uuid; 3] {
    [1, 2, 3].map(Uuid::from_u128)
}
pub(crate) fn error_name<T>(result: Result<T, StoreError>) -> String {
    result.map_or_else(|error| normalise::error(&error), |_| "Ok".into())
}
pub(crate) fn seen<T: Debug>(result: Result<T, StoreError>) -> Outcome {
    Outcome { seen: normalise::result(result), learned: Learned::Nothing }
}
pub(crate) fn owners() -> [Owner; 3] {
    let owner = |tenant: &str, subject: &str| Owner {
        tenant: tenant.into(),
        issuer: "local".into(),
        subject: subject.into(),
    };
    [owner("default", "ada"), owner("default", "bob"), owner("other", "ada")]
}

/// What accounts may be called.
pub(crate) fn names() -> Vec<String> {
    let users = owners().iter().map(user_account).collect::<Vec<_>>();
    [users, vec!["key".into(), "é".into()]].concat()
}
