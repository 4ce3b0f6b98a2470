//! Sends requests through `wasi:http@0.3`.

use super::request::{Body, BodyWriter, Request, Timeouts};
use super::wasi_body::Incoming;
use super::wasi_error::send_error;
use super::{Error, Response};
use std::fmt::Debug;
use std::time::Duration;
use wasip3::http::client;
use wasip3::http::types::{Fields, Method, Request as Outgoing, RequestOptions, Scheme};

pub(super) async fn send(request: Request) -> Result<Response, Error> {
    let url: http::Uri = request.url.parse().map_err(|error| invalid("URL", &request.url, error))?;
    let scheme = match url.scheme_str() {
        Some("https") => Scheme::Https,
        Some("http") => Scheme::Http,
        _ => {
            return Err(Error::Invalid(format!(
                "the URL `{}` begins with neither http:// nor https://",
                request.url
            )));
        }
    };
    let authority = url.authority().map(http::uri::Authority::as_str);
    let path = url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);

    let mut headers = request.headers;
    if let Body::Whole(bytes) = &request.body {
        headers.push(("content-length".into(), bytes.len().to_string().into_bytes()));
    }
    let headers = Fields::from_list(&headers).map_err(|error| invalid("headers", "", error))?;

    let (mut body, body_reader) = wasip3::wit_stream::new();
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let (outgoing, _) =
        Outgoing::new(headers, Some(body_reader), trailers_reader, Some(options(request.timeouts)));
    let refused = |what: &str| Error::Invalid(format!("the {what} of {} {}", request.method, request.url));
    outgoing.set_method(&method(&request.method)).map_err(|()| refused("method"))?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| refused("scheme"))?;
    outgoing.set_authority(authority).map_err(|()| refused("host"))?;
    outgoing.set_path_with_query(Some(path)).map_err(|()| refused("path"))?;

    // Write the body while `send` runs: before it nobody reads, and the write would wait for ever.
    wasip3::spawn_local(async move {
        match request.body {
            Body::Whole(bytes) => drop(body.write_all(bytes).await),
            Body::Streamed(write) => write(BodyWriter { sink: body }).await,
        }
        // Fails if the server is gone; then nobody waits for the trailers.
        let _ = trailers.write(Ok(None)).await;
    });
    let head = client::send(outgoing).await.map_err(send_error)?;
    let status = head.get_status_code();
    let headers = head.get_headers().copy_all();
    Ok(Response { status, headers, body: Incoming::new(head) })
}

fn options(timeouts: Timeouts) -> RequestOptions {
    let options = RequestOptions::new();
    let nanoseconds =
        |time: Option<Duration>| time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let unsupported = [
        options.set_connect_timeout(nanoseconds(timeouts.connect)).is_err(),
        options.set_first_byte_timeout(nanoseconds(timeouts.first_byte)).is_err(),
        options.set_between_bytes_timeout(nanoseconds(timeouts.between_bytes)).is_err(),
    ];
    if unsupported.contains(&true) {
        tracing::debug!("the host has timeouts of its own");
    }
    options
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.into()),
    }
}

fn invalid(what: &str, value: &str, error: impl Debug) -> Error {
    Error::Invalid(format!("the {what} `{value}`: {error:?}"))
}
