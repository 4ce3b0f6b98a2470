//! The options of the HTTP API.

use std::sync::Arc;

use masque_api::Options;
use masque_config::Config;

use super::http::{body_limits, cors};

/// The limits, listeners and origins of the API.
pub(crate) fn options(config: &Config) -> Options {
    Options {
        max_url_bytes: config.server.max_url_bytes,
        max_message_bytes: config.server.max_message_bytes,
        body: body_limits(&config.server),
        keepalive: config.stream.keepalive,
        has_admin_listener: config.admin.listen.is_some(),
        cors: cors(&config.cors),
        trusted_proxies: Arc::from(config.server.trusted_proxies.as_slice()),
        issuer: config.auth.issuer.clone(),
        record_content: config.records.content.name(),
        record_share: config.records.share,
        record_max_age: config.records.max_age,
    }
}
