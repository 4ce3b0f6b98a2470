//! Reads the body of a response of the in-memory host.

use super::Error;
use futures::stream::{LocalBoxStream, TryStreamExt};

/// The body of a response of a test.
pub(super) struct Incoming {
    chunks: LocalBoxStream<'static, Result<Vec<u8>, Error>>,
}

impl Incoming {
    pub(super) fn new(chunks: LocalBoxStream<'static, Result<Vec<u8>, Error>>) -> Self {
        Self { chunks }
    }

    /// Waits for the next bytes; `None` is the end of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.chunks.try_next().await
    }
}
