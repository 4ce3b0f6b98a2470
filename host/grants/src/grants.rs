//! All grants of one plugin.
//!
//! The default is no grant at all. A grant decides what a call may do, never whether a component links.

use std::sync::Arc;

use ipnet::IpNet;

use crate::credential::Credential;
use crate::http_grant::HttpGrant;

/// Which calls may share an instance. Without this grant every call has a new instance, and no data can leak from one
/// call to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Calls about the same conversation.
    Conversation,
    /// Calls on behalf of the same user.
    User,
    /// All calls. Only for a plugin that has no access to the data of a user ([`Grants::may_serve_anyone`]).
    Anyone,
}

/// All grants of one plugin.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Where HTTP requests may go.
    pub http: Vec<HttpGrant>,
    /// Networks that are closed to plugins by default (private, loopback, link-local, metadata) and open to this one.
    pub networks: Vec<IpNet>,
    /// Secret headers that the host adds to requests to their origin. The guest never sees them.
    pub credentials: Vec<Arc<Credential>>,
    /// State of the conversation and of the user.
    pub state: bool,
    /// State that all users share.
    pub state_shared: bool,
    /// Earlier messages of the conversation.
    pub history: bool,
    /// Calls to the companion's models.
    pub models: bool,
    /// The size in bytes of a scratch folder that all users of the plugin share.
    pub scratch: Option<u64>,
    /// Whether an instance outlives its call, and which calls share it.
    pub reuse: Option<Reuse>,
}

impl Grants {
    /// Checks that an instance may serve one user after another: the plugin has none of the grants through which it
    /// holds data of one user.
    ///
    /// # Errors
    /// The names of the grants that forbid it.
    pub fn may_serve_anyone(&self) -> Result<(), Vec<&'static str>> {
        let per_user = [
            ("state", self.state),
            ("state_shared", self.state_shared),
            ("history", self.history),
            ("credentials", !self.credentials.is_empty()),
        ];
        let granted: Vec<_> =
            per_user.into_iter().filter_map(|(name, is_granted)| is_granted.then_some(name)).collect();
        if granted.is_empty() { Ok(()) } else { Err(granted) }
    }
}
