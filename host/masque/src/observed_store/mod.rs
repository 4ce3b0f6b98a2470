//! A store that measures every operation: how long it took, and whether it failed.
//!
//! The names of operations are the methods of the store's traits, so they are the same for every database and their number is
//! bounded.

mod operations;

use std::sync::Arc;
use std::time::Instant;

use masque_store::{ActiveSets, Store, StoreError};
use masque_telemetry::metrics::state::{QUERY_DURATION, QUERY_ERRORS};

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

/// Measures one operation. One whose caller goes away is not counted.
async fn observe<T>(
    database: Database,
    operation: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let began = Instant::now();
    let answer = work.await;
    let labels = [database.label(), operation];
    QUERY_DURATION.observe(&labels, began.elapsed().as_secs_f64());
    if answer.is_err() {
        QUERY_ERRORS.increment(&labels);
    }
    answer
}
