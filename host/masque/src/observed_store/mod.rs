//! A store that measures every operation: how long it took, and whether it failed.
//!
//! The names of operations are the methods of the store's traits, so they are the same for every database and their number is
//! bounded.

mod operations;

use std::sync::Arc;

use masque_store::{ActiveSets, Store, StoreError};
use masque_telemetry::metrics::state::{MeasuredOperation, QUERY_ERRORS};

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

/// The operations of a connection that are measured.
const CONNECTION_OPERATIONS: &[&str] = &["check", "size"];

/// A store of which every operation is measured.
pub(crate) struct ObservedStore {
    store: Arc<dyn Store>,
    database: Database,
}

impl ObservedStore {
    /// Counts failures of `store` from 0, so that the first is seen.
    pub(crate) fn new(store: Arc<dyn Store>, database: Database) -> Self {
        begin_errors(database, Self::OPERATIONS);
        begin_errors(database, CONNECTION_OPERATIONS);
        Self { store, database }
    }
}

/// Active sets of which every operation is measured.
pub(crate) struct ObservedSets {
    store: Arc<dyn ActiveSets>,
    database: Database,
}

impl ObservedSets {
    /// The same for active sets.
    pub(crate) fn new(store: Arc<dyn ActiveSets>, database: Database) -> Self {
        begin_errors(database, Self::OPERATIONS);
        Self { store, database }
    }
}

fn begin_errors(database: Database, operations: &[&str]) {
    for operation in operations {
        QUERY_ERRORS.begin(&[database.label(), operation]);
    }
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

    use masque_store_sqlite::SqliteStore;
    use masque_telemetry::metrics::encode;
    use masque_telemetry::metrics::state::QUERY_DURATION;

    use super::*;

    #[tokio::test]
    async fn every_operation_that_is_measured_counts_its_failures_from_zero() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(ObservedStore::new(store, Database::Sqlite));
        store.check().await.unwrap();
        store.size().await.unwrap();
        store.counts().await.unwrap();
        let page = encode(None).body;
        let of = |family: &str| -> Vec<String> {
            let series = format!("{family}{{database=\"sqlite\",operation=\"");
            let operations = page.lines().filter_map(|line| line.strip_prefix(&series)?.split('"').next());
            operations.map(str::to_owned).collect()
        };
        let counted = of("masque_database_errors_total");
        assert!(counted.len() > 50, "{counted:?}");
        for measured in of("database_query_duration_seconds_count") {
            assert!(counted.contains(&measured), "{measured} is not in {counted:?}");
        }
    }

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
