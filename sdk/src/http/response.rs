//! A response: its head, and its body chunk by chunk.

use super::Error;
#[cfg(not(target_arch = "wasm32"))]
use super::native_body::Incoming;
#[cfg(target_arch = "wasm32")]
use super::wasi_body::Incoming;

/// A response whose head has arrived.
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Incoming,
}

impl Response {
    /// Returns the status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is one of success (2xx).
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the first header of this name, in upper or lower case. `None` if there is none or it is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// Returns all headers in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Waits for the next bytes of the body. A chunk is never empty; `None` is the end of the body.
    ///
    /// # Errors
    /// Usually [`Error::Stalled`] or [`Error::Cut`].
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.body.chunk().await
    }

    /// Reads the whole body, of at most `limit` bytes.
    ///
    /// # Errors
    /// Those of [`chunk`](Self::chunk), and [`Error::TooLarge`].
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

    /// Reads the beginning of the body, at most `limit` bytes, for a log. Returns what arrived if an error ends the
    /// body early.
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
}
