//! The HTTP client of the plugins. It keeps its connections, as the host's does.

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use masque_sdk::http::Error;
use masque_sdk::testing::{HttpRequest, HttpStream};

/// Makes a client for this thread.
pub(super) fn http() -> impl Fn(HttpRequest) -> LocalBoxFuture<'static, Result<HttpStream, Error>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    move |request| {
        let client = client.clone();
        Box::pin(async move {
            let mut sent = http::Request::builder().method(request.method.as_str()).uri(request.url);
            for (name, value) in request.headers {
                sent = sent.header(name, value);
            }
            let sent =
                sent.body(Full::from(request.body)).map_err(|error| Error::Invalid(error.to_string()))?;
            let answer = client.request(sent).await.map_err(|error| Error::Unreachable(error.to_string()))?;
            let (head, body) = answer.into_parts();
            let headers: Vec<_> = head
                .headers
                .iter()
                .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
                .collect();
            let pieces = body
                .into_data_stream()
                .map_ok(|piece| piece.to_vec())
                .map_err(|error| Error::Cut(error.to_string()))
                .filter(|piece| std::future::ready(!matches!(piece, Ok(piece) if piece.is_empty())));
            Ok(HttpStream::new(head.status.as_u16(), headers, pieces))
        })
    }
}
