//! Who made a request: the owner of the data, how the request proved it, and what it may do.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use masque_store::{Owner, UserProfile};

use crate::key::ApiKey;
use crate::owner::{DEFAULT_TENANT, LOCAL_ISSUER};
use crate::scope::{Scope, Scopes};

/// Who made a request, as far as it was proven. Displayed as the actor of an audit entry, such as
/// `key:0123456789abcdef` or `user:masque|ana`.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Whose data the request is about.
    pub owner: Owner,
    /// What proved it.
    pub actor: Actor,
    /// What the request may do.
    pub scopes: Scopes,
    /// The API key that was sent, or that the sent token was minted with. Its limits and budgets apply.
    pub key: Option<Arc<ApiKey>>,
    /// What the token says about the user.
    pub profile: UserProfile,
}

/// What a principal was proven by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Nothing: authentication is off.
    Anyone,
    /// Access to the Unix socket in the data folder, which only the host's own user has.
    Machine,
    /// An API key.
    Key,
    /// A token.
    Token,
}

impl Principal {
    /// The principal of the Unix socket. Whoever may open the socket can read and write the data folder, so it has
    /// every scope.
    pub(crate) fn machine() -> Self {
        let scopes = Scope::ALL.into_iter().collect();
        Self {
            owner: local_owner(),
            actor: Actor::Machine,
            scopes,
            key: None,
            profile: UserProfile::default(),
        }
    }

    /// The principal of every TCP request while authentication is off. It reads what operators read, and writes nothing
    /// of theirs.
    pub(crate) fn anyone() -> Self {
        let scopes = [Scope::Chat, Scope::AdminRead, Scope::MetricsRead].into_iter().collect();
        Self {
            owner: local_owner(),
            actor: Actor::Anyone,
            scopes,
            key: None,
            profile: UserProfile::default(),
        }
    }

    /// The companions that the principal may talk to, and whose conversations it can reach; `None` for all. Only an API key
    /// can restrict this.
    pub fn allowed_companions(&self) -> Option<&BTreeSet<String>> {
        self.key.as_ref().and_then(|key| key.companions.as_ref())
    }

    /// Whether the principal may talk to the companion.
    pub fn may_talk_to(&self, companion: &str) -> bool {
        self.allowed_companions().is_none_or(|allowed| allowed.contains(companion))
    }
}

fn local_owner() -> Owner {
    Owner { tenant: DEFAULT_TENANT.into(), issuer: LOCAL_ISSUER.into(), subject: "local".into() }
}

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
