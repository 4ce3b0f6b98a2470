//! What a plugin is allowed: small values, parsed at the edge, each with one pure question.
//!
//! The default is nothing. A grant decides what a call does, never whether a component links.

mod credential;
mod http;

use std::sync::Arc;

pub use self::credential::{Credential, Secret};
pub use self::http::{HttpGrant, Origin};
pub use ipnet::IpNet;

/// For whom an instance may serve again. Without it every call has an instance of its own, and nothing can leak from one
/// to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// For calls about the same conversation.
    Conversation,
    /// For calls on behalf of the same user.
    User,
    /// For everyone: only for a plugin that holds nothing of anyone's ([`Grants::may_serve_anyone`]).
    Anyone,
}

/// All grants of one plugin.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Where requests may go.
    pub http: Vec<HttpGrant>,
    /// Addresses that are otherwise closed (private, loopback, link-local, metadata), opened for this plugin.
    pub networks: Vec<IpNet>,
    /// Put on requests to their own origin, by the host, behind the guest's back.
    pub credentials: Vec<Arc<Credential>>,
    /// State of the conversation and of the user.
    pub state: bool,
    /// State that all users share.
    pub state_shared: bool,
    /// Earlier messages of the conversation.
    pub history: bool,
    /// The companion's models.
    pub models: bool,
    /// Bytes in a folder that all users of the plugin share.
    pub scratch: Option<u64>,
    /// Instances that outlive a call.
    pub reuse: Option<Reuse>,
}

impl Grants {
    /// Whether its instances may serve one user after another: with none of the grants through which it holds what is one
    /// user's own. The error names those that it has.
    ///
    /// # Errors
    /// The names of the grants that stand against it.
    pub fn may_serve_anyone(&self) -> Result<(), Vec<&'static str>> {
        let held = [
            ("state", self.state),
            ("state_shared", self.state_shared),
            ("history", self.history),
            ("credentials", !self.credentials.is_empty()),
        ];
        let held: Vec<_> = held.into_iter().filter_map(|(name, held)| held.then_some(name)).collect();
        if held.is_empty() { Ok(()) } else { Err(held) }
    }
}

/// A grant that can't be read. Each message shows the right form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not an origin.
    #[error("`{0}` is not an origin; write it as `https://api.example.com` or `http://127.0.0.1:11434`")]
    Origin(String),
    /// A part that an origin or grant does not have.
    #[error("`{given}` has {part}, which a grant does not take; write it as `https://api.example.com/v1/`")]
    Part {
        /// What was written.
        given: String,
        /// The part that is too much.
        part: &'static str,
    },
    /// A method that is not one.
    #[error("`{0}` is not an HTTP method; write a grant with methods as `GET,POST https://api.example.com`")]
    Method(String),
    /// A header name or value that HTTP does not allow.
    #[error("credential `{name}`: {reason}")]
    Credential {
        /// The credential's name.
        name: String,
        /// What is wrong, without the value.
        reason: String,
    },
}
