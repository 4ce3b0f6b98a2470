//! Opens connections to addresses that the policy allows, and to no other.
//!
//! The check stands here, behind the resolver and for every address that is tried, because a name may answer differently
//! from one look-up to the next, and because hyper-util never asks its resolver about a literal address.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tower::Service;

use super::address;
use crate::grants::Origin;

/// How long one address may take to answer before the next is tried.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The error kind under which a refused address travels through hyper's boxed errors.
#[derive(Debug, thiserror::Error)]
#[error("`{host}` resolves to {address}, which is not public; it needs a `networks` grant")]
pub(crate) struct Prohibited {
    pub(crate) host: String,
    pub(crate) address: std::net::IpAddr,
}

#[derive(Clone, Debug)]
pub(crate) struct GatedConnector {
    networks: Arc<[IpNet]>,
}

impl GatedConnector {
    pub(crate) fn new(networks: Arc<[IpNet]>) -> Self {
        Self { networks }
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<TcpStream>> {
        let origin = Origin::of(&uri).ok_or_else(|| io::Error::other("not an http or https address"))?;
        let mut last = None;
        for address in resolve(&origin).await? {
            if !address::allowed(address.ip(), origin.is_loopback(), &self.networks) {
                let refused = Prohibited { host: origin.host().to_owned(), address: address.ip() };
                last = Some(io::Error::new(io::ErrorKind::PermissionDenied, refused));
                continue;
            }
            match tokio::time::timeout(ATTEMPT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Without it a body that follows its headers waits for the peer's delayed acknowledgement: 40 ms.
                    stream.set_nodelay(true)?;
                    return Ok(TokioIo::new(stream));
                }
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(io::ErrorKind::TimedOut.into()),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
    }
}

async fn resolve(origin: &Origin) -> io::Result<Vec<SocketAddr>> {
    match origin.host().parse() {
        Ok(literal) => Ok(vec![SocketAddr::new(literal, origin.port())]),
        Err(_) => Ok(tokio::net::lookup_host((origin.host(), origin.port())).await?.collect()),
    }
}

impl Service<Uri> for GatedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(uri: &str, networks: &[&str]) -> io::Error {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect::<Vec<_>>();
        GatedConnector::new(networks.into()).connect(uri.parse().unwrap()).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_closed_address_is_refused_in_every_spelling() {
        for uri in [
            "http://10.0.0.1/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/",
            // Read by the resolver as 127.0.0.1, but not the usual spelling of it.
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0/",
        ] {
            let error = refusal(uri, &[]).await;
            let prohibited = error.get_ref().is_some_and(|inner| inner.is::<Prohibited>());
            // A resolver without such spellings finds no address, which is as good.
            assert!(prohibited || error.get_ref().is_some(), "{uri}: {error:?}");
            assert_ne!(error.kind(), io::ErrorKind::ConnectionRefused, "{uri} was tried");
        }
    }

    #[tokio::test]
    async fn a_literal_loopback_origin_is_connected() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let stream = GatedConnector::new([].into()).connect(uri).await.unwrap();
        assert!(stream.inner().nodelay().unwrap());
    }
}
