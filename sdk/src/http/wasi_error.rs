//! Translates the error codes of `wasi:http@0.3`. The same code means different errors before and within a body.

use super::Error;
use wasip3::http::types::ErrorCode;

/// The error of a request whose response has not begun.
pub(super) fn send_error(code: ErrorCode) -> Error {
    match code {
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => Error::Timeout(name(&code)),
        ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => {
            Error::Unreachable(name(&code))
        }
        other => other_error(other),
    }
}

/// The error of a body that has begun.
pub(super) fn body_error(code: ErrorCode) -> Error {
    match code {
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => Error::Stalled(name(&code)),
        ErrorCode::ConnectionTerminated
        | ErrorCode::HttpResponseIncomplete
        | ErrorCode::HttpProtocolError => Error::Cut(name(&code)),
        ErrorCode::InternalError(_) => Error::Cut(name(&code)),
        other => other_error(other),
    }
}

fn other_error(code: ErrorCode) -> Error {
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

/// The host's own text if there is one, otherwise the name of the code.
fn name(code: &ErrorCode) -> String {
    match code {
        ErrorCode::InternalError(Some(text)) => text.clone(),
        other => format!("{other:?}").trim_start_matches("ErrorCode::").into(),
    }
}
