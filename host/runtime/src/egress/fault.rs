//! Translates errors of outgoing requests into error codes of `wasi:http`.
//!
//! The libraries wrap one error in another, some of them several times in the same type, so every layer is inspected. No text
//! of an error reaches the guest.

use std::error::Error as StdError;
use std::io;

use wasmtime_wasi_http::Error;

use super::connection::OpenError;
use super::connector::{ProhibitedAddress, ResolveError};

/// The code for an error of a request on an open connection, by its causes.
pub(super) fn translate(error: &hyper::Error) -> Error {
    by_cause(error).unwrap_or(Error::ConnectionTerminated)
}

/// The code for a connection that could not be opened, by its causes.
pub(super) fn translate_open(error: &OpenError) -> Error {
    by_cause(error).unwrap_or(Error::DestinationUnavailable)
}

/// The code of the first cause that has one.
fn by_cause(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(code) = code_of(cause) {
            return Some(code);
        }
        next = cause.source();
    }
    None
}

fn code_of(cause: &(dyn StdError + 'static)) -> Option<Error> {
    if cause.is::<ProhibitedAddress>() {
        return Some(Error::DestinationIpProhibited);
    }
    if cause.is::<ResolveError>() {
        return Some(Error::DnsError { rcode: None, info_code: None });
    }
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(match tls {
            rustls::Error::InvalidCertificate(_) => Error::TlsCertificateError,
            _ => Error::TlsProtocolError,
        });
    }
    if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
        // The server did not answer a ping.
        if hyper.is_timeout() {
            return Some(Error::ConnectionReadTimeout);
        }
        if hyper.is_incomplete_message() {
            return Some(Error::ConnectionTerminated);
        }
        if hyper.is_parse() {
            return Some(Error::HttpProtocolError);
        }
    }
    let io = cause.downcast_ref::<io::Error>()?;
    // `io::Error::source` skips the error that it holds and returns the source of that one.
    if let Some(inner) = io.get_ref().and_then(|inner| by_cause(inner)) {
        return Some(inner);
    }
    match io.kind() {
        io::ErrorKind::ConnectionRefused => Some(Error::ConnectionRefused),
        io::ErrorKind::TimedOut => Some(Error::ConnectionTimeout),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some(Error::DestinationUnavailable)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use http_body_util::{BodyExt, Empty};
    use masque_grants::Origin;
    use tokio::io::AsyncWriteExt;
    use wasmtime_wasi_http::WasiBody;

    use super::*;
    use crate::egress::UpstreamClients;

    #[test]
    fn a_cause_is_found_at_any_depth() {
        use rustls::{CertificateError, Error as Tls};
        let tls = |error: Tls| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        let certificate = tls(Tls::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(matches!(by_cause(&certificate), Some(Error::TlsCertificateError)));
        assert!(matches!(by_cause(&tls(Tls::DecryptError)), Some(Error::TlsProtocolError)));
        let unresolved = io::Error::other(io::Error::other(ResolveError(io::Error::other("no such name"))));
        assert!(matches!(by_cause(&unresolved), Some(Error::DnsError { .. })));
        let refused = io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert!(matches!(by_cause(&refused), Some(Error::ConnectionRefused)));
        assert!(by_cause(&io::Error::other("anything")).is_none());
    }

    async fn failure(uri: String) -> Error {
        let upstream = UpstreamClients::new().unwrap().client("plugin", &[]);
        let body: WasiBody = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::get(&uri).body(body).unwrap();
        let origin = Origin::of(request.uri()).unwrap();
        let long = Duration::from_secs(20);
        upstream.send(request, &origin, long, long).await.err().unwrap().code
    }

    #[tokio::test]
    async fn each_kind_of_error_has_its_own_code() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let plain = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        });
        assert!(matches!(failure(format!("https://127.0.0.1:{port}/")).await, Error::TlsProtocolError));
        plain.abort();
        // RFC 6761, section 6.4: no resolver may find this name.
        let unknown = failure("http://nowhere.invalid/".to_owned()).await;
        assert!(matches!(unknown, Error::DnsError { .. }), "{unknown:?}");
        assert!(matches!(failure("http://10.0.0.1/".to_owned()).await, Error::DestinationIpProhibited));
    }
}
