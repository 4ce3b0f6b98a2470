//! Answers failures of the store with a problem.

use masque_problem::{Kind, Problem};
use masque_store::StoreError;

/// The problem that a client is answered. The cause goes to the log, because a client can do nothing with it.
pub(crate) fn store_problem(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable(cause) => {
            tracing::error!(cause, "the store is unavailable");
            Kind::StorageUnavailable.into()
        }
        other @ (StoreError::Corrupt(_) | StoreError::Refused(_) | StoreError::Conflict(_)) => {
            tracing::error!(cause = %other, "the store could not do what it was asked");
            Kind::Internal.into()
        }
    }
}
