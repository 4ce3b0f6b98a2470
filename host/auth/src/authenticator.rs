//! How handlers learn who made a request: the trait [`Authenticator`], and its implementation for hosts without
//! authentication. The implementation for tokens and API keys is in `identity`.

use async_trait::async_trait;
use http::request::Parts;
use masque_http::ListenerKind;
use masque_problem::Problem;

use crate::principal::Principal;

/// Finds the principal of a request. The API calls it once for each request to a route that needs a principal, before
/// it reads the body.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// The principal of the request, judged by its head alone.
    ///
    /// # Errors
    /// The problem to answer with: nothing was sent, it proves nothing, or it can't be judged at the moment.
    async fn authenticate(&self, request: &Parts) -> Result<Principal, Problem>;

    /// Whether everyone who reaches the listener gets a principal. Then [`crate::guard::check`] has to stand before
    /// every route.
    fn lets_everyone_in(&self) -> bool;
}

/// Authentication is off: every request is made by the one local user.
#[derive(Debug)]
pub struct LocalAuthenticator;

#[async_trait]
impl Authenticator for LocalAuthenticator {
    async fn authenticate(&self, request: &Parts) -> Result<Principal, Problem> {
        if request.extensions.get() == Some(&ListenerKind::Socket) {
            return Ok(Principal::machine());
        }
        Ok(Principal::anyone())
    }

    fn lets_everyone_in(&self) -> bool {
        true
    }
}
