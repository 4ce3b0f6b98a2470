//! Sends a request: through the host in a component, to the in-memory host of a test elsewhere.

#[cfg(not(target_arch = "wasm32"))]
use super::native::send;
#[cfg(target_arch = "wasm32")]
use super::wasi::send;
use super::{Error, Request, Response};

impl Request {
    /// Sends the request and waits for the head of the response.
    ///
    /// # Errors
    /// Every [`Error`] but [`Error::Stalled`] and [`Error::TooLarge`]. A response with an error status (4xx, 5xx) is not
    /// an error.
    pub async fn send(self) -> Result<Response, Error> {
        send(self).await
    }
}
