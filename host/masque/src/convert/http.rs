//! The options of listeners, TLS, CORS and request bodies.

use masque_http::{BodyLimits, ConnectionOptions, cors, tls};

use masque_config::{Config, Cors, Diagnostic, Server, Tls};

pub(crate) fn connections(server: &Server) -> ConnectionOptions {
    ConnectionOptions { header_timeout: server.header_timeout, write_timeout: server.write_timeout }
}

pub(super) fn body_limits(server: &Server) -> BodyLimits {
    BodyLimits { max_bytes: server.max_body_bytes, timeout: server.body_timeout }
}

pub(super) fn cors(cors: &Cors) -> cors::Options {
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
