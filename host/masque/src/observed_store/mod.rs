//! A store that measures every operation: how long it took, and whether it failed.
//!
//! The names of operations are the methods of the store's traits, so they are the same for every database and their number is
//! bounded.

mod operations;

use std::sync::Arc;

use masque_store::{ActiveSets, Store, StoreError};
use masque_telemetry::metrics::state::MeasuredOperation;

/// The values of the label `database`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgresql,
}

impl Database {
    /// The value of the label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgresql => "postgresql",
        }
    }
}

/// A store of which every operation is measured.
pub(crate) struct ObservedStore {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) database: Database,
}

/// Active sets of which every operation is measured.
pub(crate) struct ObservedSets {
    pub(crate) store: Arc<dyn ActiveSets>,
    pub(crate) database: Database,
}

/// Measures one operation. One whose caller gives up counts as an error, with the time until then: a database that hangs is
/// seen although nobody waits for its answer.
async fn observe<T>(
    database: Database,
    operation: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let measured = MeasuredOperation::begin(database.label(), operation);
    let answer = work.await;
    measured.end(answer.is_ok());
    answer
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use masque_telemetry::metrics::state::{QUERY_DURATION, QUERY_ERRORS};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_operation_that_is_given_up_is_measured_and_counts_as_an_error() {
        let counted = |operation: &str| {
            let labels = ["sqlite", operation];
            (QUERY_DURATION.count(&labels), QUERY_ERRORS.value(&labels))
        };
        observe(Database::Sqlite, "answered", ready(Ok(()))).await.unwrap();
        let failed = StoreError::Unavailable("away".into());
        observe::<()>(Database::Sqlite, "failed", ready(Err(failed))).await.unwrap_err();
        let hangs = observe::<()>(Database::Sqlite, "hangs", pending());
        tokio::time::timeout(Duration::from_secs(3), hangs).await.unwrap_err();
        assert_eq!([counted("answered"), counted("failed"), counted("hangs")], [(1, 0), (1, 1), (1, 1)]);
    }
}
