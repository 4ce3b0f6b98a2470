//! Why traces can't be sent, as far as it is known before anything is sent.

use std::io;
use std::path::PathBuf;

/// Why traces can't be sent. The texts quote nothing of files, and neither headers nor the endpoint.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// A PEM file can't be read.
    #[error("{} can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// A file has no PEM section of the kind that is needed, or is damaged.
    #[error("{} holds no {expected} in PEM", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        expected: &'static str,
    },
    /// Certificates and key can't be used.
    #[error("the certificates for the collector can't be used: {0}")]
    Tls(rustls::Error),
    /// The exporter refuses the options.
    #[error("traces can't be exported: {0}")]
    Exporter(opentelemetry_otlp::ExporterBuildError),
}

impl OtlpError {
    /// The file in which the mistake is, if it is in one.
    pub fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Unreadable { path, .. } | Self::Malformed { path, .. } => Some(path),
            Self::Tls(_) | Self::Exporter(_) => None,
        }
    }
}
