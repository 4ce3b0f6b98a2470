//! Sends requests to the in-memory host of [`testing`](crate::testing).

use super::native_body::Incoming;
use super::request::{Body, BodyWriter, Request};
use super::{Error, Response};
use crate::testing::host;
use crate::testing::http::{HttpRequest, HttpResponse, HttpStream};
use futures::stream::{self, StreamExt};
use std::cell::RefCell;
use std::rc::Rc;

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
    let sent = HttpRequest {
        method: request.method,
        url: request.url,
        headers: headers.map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned())).collect(),
        body,
    };
    if let Some(transport) = host::transport() {
        let HttpStream { status, headers, body } = transport(sent).await?;
        return Ok(Response { status, headers, body: Incoming::new(body) });
    }
    match host::send(sent) {
        None => Err(Error::Unreachable("no response was queued with testing::respond".into())),
        Some(HttpResponse { failure: Some(error), .. }) => Err(error),
        Some(response) => Ok(Response {
            status: response.status,
            headers: response.headers,
            body: Incoming::new(stream::iter(response.body).boxed_local()),
        }),
    }
}
