//! Who is asking, and what they may do. Every handler gets its [`Principal`] through an [`Authenticator`] and in no
//! other way.
//!
//! [`Identity`] tells principals by token (`token`) or API key (`key`), by what is known of keys and revocations at the
//! moment (`known`); [`Local`] lets everyone in as one user, behind the checks of [`guard`]. What a route needs is the
//! API's business, how often one may ask is that of `limits`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use http::request::Parts;
use masque_store::{KeyHash, KeyId, Owner, Quota};

use crate::api::arrival::Via;
use crate::problem::Problem;

pub(crate) mod guard;
mod identity;
pub(crate) mod key;
mod known;
mod machine;
#[cfg(test)]
mod measure;
mod scope;
mod store_problem;
pub(crate) mod token;
pub(crate) mod wanted;

pub(crate) use identity::{Identity, Validity, credential};
pub(crate) use machine::{Task, on_the_machine};
pub(crate) use scope::{Scope, Scopes, UnknownScope};
pub(crate) use store_problem::store_problem;
pub(crate) use wanted::Wanted;

/// Where no provider names another.
pub(crate) const DEFAULT_TENANT: &str = "default";
/// The issuer of users that are API keys. That of tokens is configured, and can't be this one.
pub(crate) const KEY_ISSUER: &str = "api-key";
/// The issuer of the one user there is without authentication.
pub(crate) const LOCAL_ISSUER: &str = "local";

/// Who made a request, as far as it could be proven.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    /// Whose data the request is about.
    pub(crate) owner: Owner,
    pub(crate) actor: Actor,
    pub(crate) scopes: Scopes,
    /// The API key that was sent, or that the token was made with: its budgets hold.
    pub(crate) key: Option<Arc<ApiKey>>,
}

/// By what a principal was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Nothing: authentication is off.
    Anyone,
    /// Access to the socket in the data folder, which only the host's own user has.
    Machine,
    Key,
    Token,
}

/// What a principal needs to know of an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiKey {
    pub(crate) id: KeyId,
    pub(crate) tenant: String,
    pub(crate) scopes: Scopes,
    /// `None` allows all.
    pub(crate) companions: Option<BTreeSet<String>>,
    pub(crate) requests: Option<Quota>,
    pub(crate) tokens_per_day: Option<u64>,
    hash: KeyHash,
    /// The secret before a rotation, and the end of its time in milliseconds since the Unix epoch.
    previous: Option<(KeyHash, i64)>,
    expires_at: Option<i64>,
    revoked: bool,
}

impl ApiKey {
    /// How long it is good for yet; `None` has no end.
    pub(crate) fn remaining(&self, now: SystemTime) -> Option<Duration> {
        let end = UNIX_EPOCH + Duration::from_millis(u64::try_from(self.expires_at?).unwrap_or(0));
        Some(end.duration_since(now).unwrap_or_default())
    }

    /// Whether its time is over.
    fn has_ended(&self) -> bool {
        self.remaining(SystemTime::now()).is_some_and(|left| left.is_zero())
    }
}

impl Principal {
    /// Whether it may talk to the companion, whom its key may not allow.
    pub(crate) fn may_meet(&self, companion: &str) -> bool {
        let allowed = self.key.as_ref().and_then(|key| key.companions.as_ref());
        allowed.is_none_or(|allowed| allowed.contains(companion))
    }
}

/// Who did something, for the audit.
impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.actor, &self.key) {
            (Actor::Anyone, _) => formatter.write_str("anyone"),
            (Actor::Machine, _) => formatter.write_str("machine"),
            (Actor::Key, Some(key)) => write!(formatter, "key:{}", key.id),
            (Actor::Key | Actor::Token, _) => {
                write!(formatter, "user:{}|{}", self.owner.issuer, self.owner.subject)
            }
        }
    }
}

/// Called once for each request to a route that needs a principal, before the body is read.
#[async_trait]
pub(crate) trait Authenticator: Send + Sync {
    /// The principal, or the problem that the client is answered.
    async fn authenticate(&self, request: &Parts) -> Result<Principal, Problem>;

    /// Whether anyone who reaches the listener is let in: then [`guard::check`] stands before every route.
    fn lets_everyone_in(&self) -> bool;
}

/// Everyone is the machine's own user.
#[derive(Debug)]
pub(crate) struct Local;

#[async_trait]
impl Authenticator for Local {
    async fn authenticate(&self, request: &Parts) -> Result<Principal, Problem> {
        if request.extensions.get() == Some(&Via::Socket) {
            return Ok(machine());
        }
        let scopes = [Scope::Chat, Scope::AdminRead].into_iter().collect();
        Ok(Principal { owner: local(), actor: Actor::Anyone, scopes, key: None })
    }

    fn lets_everyone_in(&self) -> bool {
        true
    }
}

/// Whoever may use the socket owns the data folder, and with it everything.
fn machine() -> Principal {
    let scopes = Scope::ALL.into_iter().collect();
    Principal { owner: local(), actor: Actor::Machine, scopes, key: None }
}

fn local() -> Owner {
    Owner { tenant: DEFAULT_TENANT.into(), issuer: LOCAL_ISSUER.into(), subject: "local".into() }
}
