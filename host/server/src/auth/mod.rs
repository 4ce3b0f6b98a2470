//! Who is asking. Every handler gets its [`Owner`] through [`Authenticator`] and in no other way; no header names a
//! user. Until tokens exist there is one implementation, [`Local`], behind the same trait.

use async_trait::async_trait;
use http::request::Parts;
use masque_store::Owner;

use crate::problem::Problem;

pub(crate) mod guard;

/// Who made a request, as far as it could be proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) owner: Owner,
}

/// Called once for each request to a route that reads or writes someone's data, before the body is read.
#[async_trait]
pub(crate) trait Authenticator: Send + Sync {
    /// The principal, or the problem that the client is answered.
    async fn authenticate(&self, request: &Parts) -> Result<Principal, Problem>;

    /// Whether anyone who reaches the socket is let in: then [`guard::check`] stands before every route.
    fn lets_everyone_in(&self) -> bool;
}

/// Everyone is the machine's own user.
#[derive(Debug)]
pub(crate) struct Local;

#[async_trait]
impl Authenticator for Local {
    async fn authenticate(&self, _request: &Parts) -> Result<Principal, Problem> {
        let owner = Owner { tenant: "default".into(), issuer: "local".into(), subject: "local".into() };
        Ok(Principal { owner })
    }

    fn lets_everyone_in(&self) -> bool {
        true
    }
}
