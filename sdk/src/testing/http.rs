//! The requests and responses of a test, which replace the network.

use crate::http::Error;
use futures::future::LocalBoxFuture;
use futures::stream::{LocalBoxStream, Stream, StreamExt};
use std::collections::VecDeque;
use std::rc::Rc;

/// A response that a test queues.
///
/// ```
/// use masque_sdk::http::Request;
/// use masque_sdk::testing::{self, HttpResponse};
///
/// testing::respond(HttpResponse::new(200).header("content-type", "text/plain").chunk("hel").chunk("lo"));
/// let body = testing::run(async { Request::get("https://example.org/").send().await?.bytes(100).await });
/// assert_eq!(body.unwrap(), b"hello");
/// ```
#[derive(Clone, Debug, Default)]
pub struct HttpResponse {
    pub(crate) failure: Option<Error>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: VecDeque<Result<Vec<u8>, Error>>,
}

impl HttpResponse {
    /// Makes a response with an empty body.
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Makes the request fail with this error, without a response.
    pub fn failing(error: Error) -> Self {
        Self { failure: Some(error), ..Self::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a chunk of the body.
    #[must_use]
    pub fn chunk(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body.push_back(Ok(bytes.into()));
        self
    }

    /// Ends the body early with this error.
    #[must_use]
    pub fn broken(mut self, error: Error) -> Self {
        self.body.push_back(Err(error));
        self
    }
}

/// A request that the plugin sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The name of the method.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// The headers in their order.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A response whose body arrives later, for a transport of the test's own.
pub struct HttpStream {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: LocalBoxStream<'static, Result<Vec<u8>, Error>>,
}

impl HttpStream {
    /// Makes a response with this head and body. No chunk of the body may be empty.
    pub fn new<'h>(
        status: u16,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        body: impl Stream<Item = Result<Vec<u8>, Error>> + 'static,
    ) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        Self { status, headers: headers.collect(), body: body.boxed_local() }
    }
}

/// Answers a request in the place of the queued responses.
pub(crate) type Transport = Rc<dyn Fn(HttpRequest) -> LocalBoxFuture<'static, Result<HttpStream, Error>>>;
