//! The options of listeners, TLS, CORS and request bodies.

use std::sync::Arc;

use masque_http::{BodyLimits, ConnectionOptions, Lifecycle, RequestContext, cors, tls};

use crate::config::{Config, Cors, Diagnostic, Server, Tls};

pub(crate) fn connections(server: &Server) -> ConnectionOptions {
    ConnectionOptions { header_timeout: server.header_timeout, write_timeout: server.write_timeout }
}

pub(crate) fn body_limits(server: &Server) -> BodyLimits {
    BodyLimits { max_bytes: server.max_body_bytes, timeout: server.body_timeout }
}

pub(crate) fn request_context(server: &Server, lifecycle: Lifecycle) -> RequestContext {
    RequestContext { lifecycle, trusted_proxies: Arc::from(server.trusted_proxies.as_slice()) }
}

pub(crate) fn cors(cors: &Cors) -> cors::Options {
    match cors {
        Cors::Nobody => cors::Options::Nobody,
        Cors::Anyone => cors::Options::Anyone,
        Cors::Origins(origins) => cors::Options::Origins(origins.clone()),
    }
}

pub(crate) fn tls(tls: &Tls) -> tls::Options {
    tls::Options { certificate: tls.certificate.path.clone(), key: tls.key.path.clone() }
}

/// Checks the files of `[tls]`, and places an error at the setting that names the file.
pub(crate) fn verify_tls(config: &Config) -> Vec<Diagnostic> {
    let Some(files) = &config.tls else { return Vec::new() };
    match tls::verify(&tls(files)) {
        Ok(()) => Vec::new(),
        Err(error) => {
            let file = if error.is_in_key_file() { &files.key } else { &files.certificate };
            vec![Diagnostic::error(file.location.clone(), error.to_string(), error.remedy())]
        }
    }
}
