//! What went wrong on the way out, in the words of `wasi:http`.
//!
//! The libraries beneath wrap one error in another, some of them several times in the same type, so every layer is looked
//! at. Nothing of an error's text reaches the guest.

use std::error::Error as StdError;
use std::io;

use wasmtime_wasi_http::Error;

use super::connector::{Prohibited, Unresolved};

/// hyper's error, by the causes it carries.
pub(super) fn translate(error: &hyper_util::client::legacy::Error) -> Error {
    let fallback =
        if error.is_connect() { Error::DestinationUnavailable } else { Error::ConnectionTerminated };
    by_cause(error).unwrap_or(fallback)
}

/// The first cause that has a name of its own.
fn by_cause(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(named) = named(cause) {
            return Some(named);
        }
        next = cause.source();
    }
    None
}

fn named(cause: &(dyn StdError + 'static)) -> Option<Error> {
    if cause.is::<Prohibited>() {
        return Some(Error::DestinationIpProhibited);
    }
    if cause.is::<Unresolved>() {
        return Some(Error::DnsError { rcode: None, info_code: None });
    }
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(match tls {
            rustls::Error::InvalidCertificate(_) => Error::TlsCertificateError,
            _ => Error::TlsProtocolError,
        });
    }
    if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
        if hyper.is_incomplete_message() {
            return Some(Error::ConnectionTerminated);
        }
        if hyper.is_parse() {
            return Some(Error::HttpProtocolError);
        }
    }
    let io = cause.downcast_ref::<io::Error>()?;
    // `io::Error::source` passes over the error that it holds, on to that one's source.
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
    use http::Request;
    use http_body_util::{BodyExt, Empty};
    use tokio::io::AsyncWriteExt;
    use wasmtime_wasi_http::WasiBody;

    use super::*;
    use crate::egress::Upstreams;

    #[test]
    fn a_cause_is_found_however_deep_it_is_wrapped() {
        use rustls::{CertificateError, Error as Tls};
        let tls = |error: Tls| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        let certificate = tls(Tls::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(matches!(by_cause(&certificate), Some(Error::TlsCertificateError)));
        assert!(matches!(by_cause(&tls(Tls::DecryptError)), Some(Error::TlsProtocolError)));
        let unresolved = io::Error::other(io::Error::other(Unresolved(io::Error::other("no such name"))));
        assert!(matches!(by_cause(&unresolved), Some(Error::DnsError { .. })));
        let refused = io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert!(matches!(by_cause(&refused), Some(Error::ConnectionRefused)));
        assert!(by_cause(&io::Error::other("anything")).is_none());
    }

    async fn failure(uri: String) -> Error {
        let upstream = Upstreams::new().unwrap().client(&[]);
        let body: WasiBody = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::get(uri).body(body).unwrap();
        translate(&upstream.request(request).await.unwrap_err())
    }

    #[tokio::test]
    async fn each_way_to_fail_has_its_own_name() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let plain = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        });
        assert!(matches!(failure(format!("https://127.0.0.1:{port}/")).await, Error::TlsProtocolError));
        plain.abort();
        // RFC 6761, 6.4: a name that no resolver may find.
        let unknown = failure("http://nowhere.invalid/".to_owned()).await;
        assert!(matches!(unknown, Error::DnsError { .. }), "{unknown:?}");
        assert!(matches!(failure("http://10.0.0.1/".to_owned()).await, Error::DestinationIpProhibited));
    }
}
