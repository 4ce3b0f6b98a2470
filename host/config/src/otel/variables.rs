//! The variables, and where their mistakes are reported.

use std::path::{Path, PathBuf};

use crate::diagnostic::Location;
use crate::environment::Environment;
use crate::report::Report;

/// Variables that have one name for all signals and one for traces, which takes precedence.
#[derive(Clone, Copy)]
pub(super) enum Shared {
    Endpoint,
    Protocol,
    Headers,
    Timeout,
    Compression,
    Certificate,
    ClientCertificate,
    ClientKey,
}

impl Shared {
    pub(super) fn names(self) -> [&'static str; 2] {
        match self {
            Self::Endpoint => ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
            Self::Protocol => ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"],
            Self::Headers => ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"],
            Self::Timeout => ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"],
            Self::Compression => ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"],
            Self::Certificate => ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"],
            Self::ClientCertificate => {
                ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"]
            }
            Self::ClientKey => ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"],
        }
    }
}

/// The variables, and where their mistakes are reported.
#[derive(Clone, Copy)]
pub(super) struct Variables<'a> {
    pub(super) environment: &'a Environment,
    pub(super) report: &'a Report<'a>,
}

impl<'a> Variables<'a> {
    pub(super) fn get(self, name: &str) -> Option<&'a str> {
        self.environment.get(name)
    }

    /// The value that counts, with the name of its variable.
    pub(super) fn shared(self, variable: Shared) -> Option<(&'static str, &'a str)> {
        variable.names().into_iter().find_map(|name| Some((name, self.get(name)?.trim())))
    }

    pub(super) fn path(self, variable: Shared, folder: &Path) -> Option<PathBuf> {
        self.shared(variable).map(|(_, path)| folder.join(path))
    }

    pub(super) fn refuse(self, name: &str, what: &str, remedy: &str) {
        self.report.error(Location::Variable(name.to_owned()), what, remedy);
    }
}
