//! Builds a request. Nothing is checked before it is sent.

use std::pin::Pin;
use std::time::Duration;

/// Writes the body of a request.
type WriteBody = Box<dyn FnOnce(BodyWriter) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A request to send.
pub struct Request {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Body,
    pub(super) timeouts: Timeouts,
}

pub(super) enum Body {
    Whole(Vec<u8>),
    Streamed(WriteBody),
}

#[derive(Clone, Copy, Default)]
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "a queued response does not wait"))]
pub(super) struct Timeouts {
    pub(super) connect: Option<Duration>,
    pub(super) first_byte: Option<Duration>,
    pub(super) between_bytes: Option<Duration>,
}

impl Request {
    /// Makes a request with the method of this name.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Body::Whole(Vec::new()),
            timeouts: Timeouts::default(),
        }
    }

    /// Makes a `GET` request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// Makes a `POST` request.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header. `content-length` is added automatically unless the body is streamed; the host adds credentials.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body to these bytes.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Whole(bytes.into());
        self
    }

    /// Sets the body to what `write` writes while the request is being sent.
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

    /// Limits the time for connecting.
    #[must_use]
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.timeouts.connect = Some(time);
        self
    }

    /// Limits the time until the first byte of the response.
    #[must_use]
    pub fn first_byte_timeout(mut self, time: Duration) -> Self {
        self.timeouts.first_byte = Some(time);
        self
    }

    /// Limits the time between two bytes of the response.
    #[must_use]
    pub fn between_bytes_timeout(mut self, time: Duration) -> Self {
        self.timeouts.between_bytes = Some(time);
        self
    }
}

/// Writes the body of a streamed request.
pub struct BodyWriter {
    #[cfg(target_arch = "wasm32")]
    pub(super) sink: wasip3::wit_bindgen::StreamWriter<u8>,
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) sink: std::rc::Rc<std::cell::RefCell<Vec<u8>>>,
}

impl BodyWriter {
    /// Writes the next bytes and waits while the server is slower. Returns `false` once the server reads no more.
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
