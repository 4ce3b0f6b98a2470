//! One write.

use rusqlite::Connection;

use crate::error::Result;

/// A write that the writer runs in a savepoint of its own. It must not begin or end a transaction.
pub(crate) trait Operation: Send + 'static {
    /// The result for the caller.
    type Answer: Send + 'static;

    /// Runs once. An error undoes everything that it wrote.
    fn run(self, connection: &Connection) -> Result<Self::Answer>;
}
