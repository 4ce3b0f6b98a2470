//! A service that starts as one service and becomes another, once.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use http::Request;
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

/// Answers with the loading service until [`StartupSwitch::set_ready`] is called, then with the ready service. Clones
/// share the state, so a connection that was accepted while the host loads is served by the ready service afterwards.
#[derive(Clone, Debug)]
pub struct StartupSwitch<S>(Arc<Services<S>>);

#[derive(Debug)]
struct Services<S> {
    loading: S,
    ready: OnceLock<S>,
}

impl<S> StartupSwitch<S> {
    /// A switch that answers with `loading` for now.
    pub fn new(loading: S) -> Self {
        Self(Arc::new(Services { loading, ready: OnceLock::new() }))
    }

    /// Answers with `ready` from now on. Only the first call has an effect.
    pub fn set_ready(&self, ready: S) {
        // The error is the rejected second service.
        let _ = self.0.ready.set(ready);
    }
}

impl<S> Service<Request<Body>> for StartupSwitch<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Oneshot<S, Request<Body>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.0.ready.get().unwrap_or(&self.0.loading).clone();
        service.oneshot(request)
    }
}
