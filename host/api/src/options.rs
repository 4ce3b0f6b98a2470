//! What the operator sets about the API.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use masque_http::{BodyLimits, Lifecycle, RequestContext, cors};

/// The settings of the API. The binary fills them from the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest path with its query, in bytes.
    pub max_url_bytes: usize,
    /// The longest message of a turn, in bytes.
    pub max_message_bytes: usize,
    /// The limits of every request body.
    pub body: BodyLimits,
    /// How long an event stream may be silent before a comment line is sent.
    pub keepalive: Duration,
    /// Whether operators have a listener of their own. The public listener then does not serve their routes.
    pub has_admin_listener: bool,
    /// Which web pages may call the API.
    pub cors: cors::Options,
    /// The networks of proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The issuer of this host's own tokens: the default issuer of a revocation.
    pub issuer: String,
    /// What is recorded of turns: `full`, `digests` or `off`.
    pub record_content: &'static str,
    /// The share of turns that are recorded, from 0 to 1.
    pub record_share: f64,
    /// How long the record of a turn is kept.
    pub record_max_age: Duration,
}

impl Options {
    /// Returns what the request tracking of `masque-http` needs.
    pub(crate) fn request_context(&self, lifecycle: Lifecycle) -> RequestContext {
        RequestContext { lifecycle, trusted_proxies: Arc::clone(&self.trusted_proxies) }
    }
}
