//! A response: its head, and its body piece by piece.

use super::Error;
use crate::sse::Events;

/// A response whose head has arrived.
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    #[cfg(target_arch = "wasm32")]
    pub(super) body: super::wasi::Incoming,
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) body: super::canned::Incoming,
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status says that it went well (2xx).
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, in any case, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All headers in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The next bytes of the body as they arrive, none of them empty; nothing at its end.
    ///
    /// # Errors
    /// [`Error::Stalled`] or [`Error::Cut`], mostly.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.body.chunk().await
    }

    /// The whole body, of at most `limit` bytes.
    ///
    /// # Errors
    /// As for [`chunk`](Self::chunk), and [`Error::TooLarge`].
    pub async fn bytes(mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > limit {
                return Err(Error::TooLarge(format!("more than {limit} bytes")));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    /// The beginning of the body, of at most `limit` bytes; what ends it early is not told. For what goes to a log.
    pub async fn beginning(mut self, limit: usize) -> Vec<u8> {
        let mut begun = Vec::new();
        while begun.len() < limit {
            match self.chunk().await {
                Ok(Some(chunk)) => begun.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        begun.truncate(limit);
        begun
    }

    /// Reads the body as server-sent events.
    pub fn events(self) -> Events {
        Events::new(self)
    }
}
