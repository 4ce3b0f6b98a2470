//! Sends over `wasi:http@0.3`.

use super::request::{Body, BodyWriter, Request, Timeouts};
use super::{Error, Response};
use std::fmt::Debug;
use std::time::Duration;
use wasip3::http::client;
use wasip3::http::types::{
    ErrorCode, Fields, Method, Request as Outgoing, RequestOptions, Response as Head, Scheme, Trailers,
};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult};

/// Large enough that what a fast model sends between two reads arrives in one; memory of the sandbox, not of the host.
const CHUNK: usize = 16 * 1024;

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

    // The body is written while `send` is under way; before it, nobody would read.
    wasip3::spawn_local(async move {
        match request.body {
            Body::Whole(bytes) => drop(body.write_all(bytes).await),
            Body::Streamed(write) => write(BodyWriter { sink: body }).await,
        }
        // Where the other side is gone nobody waits for the trailers.
        let _ = trailers.write(Ok(None)).await;
    });
    let head = client::send(outgoing).await.map_err(before_the_body)?;
    let status = head.get_status_code();
    let headers = head.get_headers().copy_all();
    let (result, result_reader) = wasip3::wit_future::new(|| Ok(()));
    let (stream, trailers) = Head::consume_body(head, result_reader);
    let body = Incoming { stream: Some((stream, trailers)), _result: result };
    Ok(Response { status, headers, body })
}

/// What only shows once the stream has ended: whether that was the body's end.
type Ending = FutureReader<Result<Option<Trailers>, ErrorCode>>;

/// A body on its way in.
pub(super) struct Incoming {
    /// Gone at the body's end.
    stream: Option<(StreamReader<u8>, Ending)>,
    /// Dropping it tells the host that the body has been handled.
    _result: FutureWriter<Result<(), ErrorCode>>,
}

impl Incoming {
    pub(super) async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        while let Some((stream, _)) = &mut self.stream {
            let (status, chunk) = stream.read(Vec::with_capacity(CHUNK)).await;
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
            if !matches!(status, StreamResult::Complete(_)) {
                break;
            }
        }
        // The stream's end looks the same however it came about; only the trailers say which.
        match self.stream.take() {
            Some((stream, trailers)) => {
                drop(stream);
                trailers.await.map(|_| None).map_err(within_the_body)
            }
            None => Ok(None),
        }
    }
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

fn before_the_body(code: ErrorCode) -> Error {
    match code {
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => Error::Timeout(name(&code)),
        ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => {
            Error::Unreachable(name(&code))
        }
        other => common(other),
    }
}

fn within_the_body(code: ErrorCode) -> Error {
    match code {
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => Error::Stalled(name(&code)),
        ErrorCode::ConnectionTerminated
        | ErrorCode::HttpResponseIncomplete
        | ErrorCode::HttpProtocolError => Error::Cut(name(&code)),
        ErrorCode::InternalError(_) => Error::Cut(name(&code)),
        other => common(other),
    }
}

fn common(code: ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => Error::Denied(name(&code)),
        ErrorCode::DnsTimeout | ErrorCode::ConnectionTimeout | ErrorCode::ConnectionWriteTimeout => {
            Error::Timeout(name(&code))
        }
        ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_) => Error::Invalid(name(&code)),
        ErrorCode::HttpResponseBodySize(_) | ErrorCode::HttpResponseHeaderSectionSize(_) => {
            Error::TooLarge(name(&code))
        }
        other => Error::Unreachable(name(&other)),
    }
}

fn name(code: &ErrorCode) -> String {
    match code {
        ErrorCode::InternalError(Some(text)) => text.clone(),
        other => format!("{other:?}").trim_start_matches("ErrorCode::").into(),
    }
}
