//! A request as its author puts it together; nothing is checked before it is sent.

use super::{Error, Response};
use std::pin::Pin;
use std::time::Duration;

type Streamed = Box<dyn FnOnce(BodyWriter) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A request to be sent.
pub struct Request {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Body,
    pub(super) timeouts: Timeouts,
}

pub(super) enum Body {
    Whole(Vec<u8>),
    Streamed(Streamed),
}

#[derive(Clone, Copy, Default)]
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "a canned response does not wait"))]
pub(super) struct Timeouts {
    pub(super) connect: Option<Duration>,
    pub(super) first_byte: Option<Duration>,
    pub(super) between_bytes: Option<Duration>,
}

impl Request {
    /// A request by the name of its method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Body::Whole(Vec::new()),
            timeouts: Timeouts::default(),
        }
    }

    /// A `GET` request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A `POST` request.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header. `content-length` is added by itself where the body is whole; credentials are the host's to add.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends these bytes.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Whole(bytes.into());
        self
    }

    /// Sends what `write` writes, while the request is under way.
    ///
    /// ```
    /// # use masque_sdk::http::Request;
    /// let request = Request::post("https://example.org").streamed(async |mut body| {
    ///     for part in ["one", "two"] {
    ///         if !body.write(part).await {
    ///             return;
    ///         }
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn streamed(mut self, write: impl AsyncFnOnce(BodyWriter) + 'static) -> Self {
        self.body = Body::Streamed(Box::new(move |writer| Box::pin(async move { write(writer).await })));
        self
    }

    /// How long connecting may take.
    #[must_use]
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.timeouts.connect = Some(time);
        self
    }

    /// How long the first byte of the answer may take.
    #[must_use]
    pub fn first_byte_timeout(mut self, time: Duration) -> Self {
        self.timeouts.first_byte = Some(time);
        self
    }

    /// How long the answer may be silent once it has begun.
    #[must_use]
    pub fn between_bytes_timeout(mut self, time: Duration) -> Self {
        self.timeouts.between_bytes = Some(time);
        self
    }

    /// Sends the request and waits for the head of the response.
    ///
    /// # Errors
    /// All but [`Error::Stalled`] and [`Error::TooLarge`]. A response with a status of failure is no error.
    pub async fn send(self) -> Result<Response, Error> {
        #[cfg(target_arch = "wasm32")]
        return super::wasi::send(self).await;
        #[cfg(not(target_arch = "wasm32"))]
        return super::canned::send(self).await;
    }
}

/// Where a streamed request's body is written to.
pub struct BodyWriter {
    #[cfg(target_arch = "wasm32")]
    pub(super) sink: wasip3::wit_bindgen::StreamWriter<u8>,
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) sink: std::rc::Rc<std::cell::RefCell<Vec<u8>>>,
}

impl BodyWriter {
    /// Writes the next bytes, waiting while the other side is slower; false once it takes no more.
    pub async fn write(&mut self, bytes: impl Into<Vec<u8>>) -> bool {
        #[cfg(target_arch = "wasm32")]
        return self.sink.write_all(bytes.into()).await.is_empty();
        #[cfg(not(target_arch = "wasm32"))]
        {
            self.sink.borrow_mut().extend(bytes.into());
            true
        }
    }
}
