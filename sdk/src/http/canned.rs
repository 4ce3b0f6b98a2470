//! What stands for the network in native tests: responses that were queued, requests that are noted; or a transport of
//! the test's own.

use super::request::{Body, BodyWriter, Request};
use super::{Error, Response};
use crate::testing::host;
use futures::future::LocalBoxFuture;
use futures::stream::{self, LocalBoxStream, Stream, StreamExt, TryStreamExt};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// A response for a test.
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
pub struct Canned {
    failure: Option<Error>,
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: VecDeque<Result<Vec<u8>, Error>>,
}

impl Canned {
    /// A response with an empty body.
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// No response at all.
    pub fn failing(error: Error) -> Self {
        Self { failure: Some(error), ..Self::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds bytes that arrive together.
    #[must_use]
    pub fn chunk(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body.push_back(Ok(bytes.into()));
        self
    }

    /// Ends the body early.
    #[must_use]
    pub fn broken(mut self, error: Error) -> Self {
        self.body.push_back(Err(error));
        self
    }
}

/// A request that a test's plugin sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The method's name.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// The headers in their order.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A response whose body is still to come.
pub struct Live {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: LocalBoxStream<'static, Result<Vec<u8>, Error>>,
}

impl Live {
    /// A response of this head; none of the body's pieces may be empty.
    pub fn new<'h>(
        status: u16,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        body: impl Stream<Item = Result<Vec<u8>, Error>> + 'static,
    ) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        Self { status, headers: headers.collect(), body: body.boxed_local() }
    }
}

/// Sends a request on.
pub(crate) type Transport = std::rc::Rc<dyn Fn(Sent) -> LocalBoxFuture<'static, Result<Live, Error>>>;

pub(super) async fn send(request: Request) -> Result<Response, Error> {
    let body = match request.body {
        Body::Whole(bytes) => bytes,
        Body::Streamed(write) => {
            let sink = Rc::new(RefCell::new(Vec::new()));
            write(BodyWriter { sink: Rc::clone(&sink) }).await;
            sink.take()
        }
    };
    let headers = request.headers.into_iter();
    let sent = Sent {
        method: request.method,
        url: request.url,
        headers: headers.map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned())).collect(),
        body,
    };
    if let Some(transport) = host::transport() {
        let Live { status, headers, body } = transport(sent).await?;
        return Ok(Response { status, headers, body: Incoming { chunks: body } });
    }
    match host::send(sent) {
        None => Err(Error::Unreachable("no response was queued with testing::respond".into())),
        Some(Canned { failure: Some(error), .. }) => Err(error),
        Some(canned) => Ok(Response {
            status: canned.status,
            headers: canned.headers,
            body: Incoming { chunks: stream::iter(canned.body).boxed_local() },
        }),
    }
}

pub(super) struct Incoming {
    chunks: LocalBoxStream<'static, Result<Vec<u8>, Error>>,
}

impl Incoming {
    pub(super) async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.chunks.try_next().await
    }
}
