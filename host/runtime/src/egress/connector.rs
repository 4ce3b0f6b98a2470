//! Opens connections to addresses that the policy allows, and to no others.
//!
//! The check is made here, after resolving and for every address that is tried. A name may resolve differently from one look-up
//! to the next, and hyper-util never asks its resolver about a literal address.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use masque_grants::{IpNet, Origin};
use masque_read_bound::{BoundedRead, ReadProgress};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower::Service;

use super::address;

/// How long one address may take to answer before the next is tried.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// An address that the policy refuses. It is found again inside hyper's boxed errors.
#[derive(Debug, thiserror::Error)]
#[error("`{host}` resolves to {address}, which is not public; it needs a `networks` grant")]
pub(crate) struct ProhibitedAddress {
    pub(crate) host: String,
    pub(crate) address: std::net::IpAddr,
}

/// A name that could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("the name could not be resolved: {0}")]
pub(crate) struct ResolveError(pub(crate) io::Error);

/// Connects under one network policy.
#[derive(Clone, Debug)]
pub(crate) struct GatedConnector {
    networks: Arc<[IpNet]>,
    /// One permit for each look-up that may run. All connectors share them.
    look_ups: Arc<Semaphore>,
}

impl GatedConnector {
    pub(crate) fn new(networks: Arc<[IpNet]>, look_ups: Arc<Semaphore>) -> Self {
        Self { networks, look_ups }
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<BoundedRead<TcpStream>>> {
        let origin = Origin::of(&uri).ok_or_else(|| io::Error::other("not an http or https address"))?;
        let mut last = None;
        for address in self.resolve(&origin).await? {
            if !address::is_allowed(address.ip(), origin.is_loopback(), &self.networks) {
                let refused = ProhibitedAddress { host: origin.host().to_owned(), address: address.ip() };
                last = Some(io::Error::new(io::ErrorKind::PermissionDenied, refused));
                continue;
            }
            match tokio::time::timeout(ATTEMPT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Otherwise a body that follows its headers waits 40 ms for the peer's delayed acknowledgement.
                    stream.set_nodelay(true)?;
                    return Ok(TokioIo::new(BoundedRead::new(stream, ReadProgress::default())));
                }
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(io::ErrorKind::TimedOut.into()),
            }
        }
        let nowhere = || io::Error::other(ResolveError(io::Error::other("it has no address")));
        Err(last.unwrap_or_else(nowhere))
    }

    async fn resolve(&self, origin: &Origin) -> io::Result<Vec<SocketAddr>> {
        if let Ok(literal) = origin.host().parse() {
            return Ok(vec![SocketAddr::new(literal, origin.port())]);
        }
        let (host, port) = (origin.host().to_owned(), origin.port());
        let resolver = move || Ok((host.as_str(), port).to_socket_addrs()?.collect());
        look_up(self.look_ups.clone(), resolver).await.map_err(|error| io::Error::other(ResolveError(error)))
    }
}

/// Runs a look-up on a thread for blocking work. Dropping the future does not cancel the look-up, which keeps its permit.
async fn look_up<T: Send + 'static>(
    permits: Arc<Semaphore>,
    resolver: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
    let task = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        resolver()
    });
    task.await.map_err(io::Error::other)?
}

impl Service<Uri> for GatedConnector {
    type Response = TokioIo<BoundedRead<TcpStream>>;
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

    fn connector(networks: Vec<IpNet>) -> GatedConnector {
        GatedConnector::new(networks.into(), Arc::new(Semaphore::new(1)))
    }

    async fn refusal(uri: &str, networks: &[&str]) -> io::Error {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect::<Vec<_>>();
        connector(networks).connect(uri.parse().unwrap()).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_closed_address_is_refused_in_every_spelling() {
        for uri in [
            "http://10.0.0.1/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/",
            // Unusual spellings that the resolver reads as 127.0.0.1.
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0/",
        ] {
            let error = refusal(uri, &[]).await;
            let prohibited = error.get_ref().is_some_and(|inner| inner.is::<ProhibitedAddress>());
            // A resolver that does not know such spellings finds no address, which is just as safe.
            let unresolved = error.get_ref().is_some_and(|inner| inner.is::<ResolveError>());
            assert!(prohibited || unresolved, "{uri}: {error:?}");
            assert_ne!(error.kind(), io::ErrorKind::ConnectionRefused, "{uri} was tried");
        }
    }

    #[tokio::test]
    async fn a_literal_loopback_origin_can_be_connected() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let stream = connector(Vec::new()).connect(uri).await.unwrap();
        assert!(stream.inner().inner().nodelay().unwrap());
    }

    #[tokio::test]
    async fn an_abandoned_look_up_keeps_its_permit() {
        let permits = Arc::new(Semaphore::new(1));
        let (answer, answered) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let slow = tokio::spawn(look_up(permits.clone(), move || {
            begin.send(()).unwrap();
            answered.recv().map_err(io::Error::other)
        }));
        begun.await.unwrap();
        slow.abort();
        assert!(slow.await.unwrap_err().is_cancelled());
        assert_eq!(permits.available_permits(), 0, "the thread is still taken");
        answer.send(()).unwrap();
        assert_eq!(look_up(permits, || Ok(7)).await.unwrap(), 7);
    }
}
