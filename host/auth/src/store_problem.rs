//! The problem that a client is answered when the store fails.

use masque_problem::{Kind, Problem};
use masque_store::StoreError;

/// Logs the error and returns the problem for the client, which tells nothing of the cause.
pub fn store_problem(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable(cause) | StoreError::OutcomeUnknown(cause) => {
            tracing::error!(cause, "the store is unavailable");
            Kind::StorageUnavailable.into()
        }
        other @ (StoreError::Corrupt(_)
        | StoreError::NewerFormat(_)
        | StoreError::Refused(_)
        | StoreError::FenceEnded
        | StoreError::Conflict(_)
        | StoreError::Internal(_)) => {
            tracing::error!(cause = %other, "the store could not do what it was asked");
            Kind::Internal.into()
        }
    }
}
