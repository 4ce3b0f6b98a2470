//! `[tls]`: the files of the certificate and its key. Whether they fit together is checked where TLS is served, which has
//! the cryptographic library for it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::diagnostic::Location;
use crate::section::Section;
use crate::value::Expected;

/// The certificate of the host and its key.
#[derive(Clone, Debug, Serialize)]
pub struct Tls {
    /// The chain; the certificate of the host is first.
    pub certificate: PemFile,
    /// The private key.
    pub key: PemFile,
}

/// A PEM file, and where it is named.
#[derive(Clone, Debug, Serialize)]
pub struct PemFile {
    /// The path, resolved against the folder of the configuration file.
    pub path: PathBuf,
    /// Where the configuration names it.
    #[serde(skip)]
    pub location: Location,
}

/// Reads the section: both files, or none.
pub(crate) fn read(mut section: Section<'_, '_>, base: &Path) -> Option<Tls> {
    const CERTIFICATE: &str = "\"/etc/masque/tls.crt\"";
    const KEY: &str = "\"/etc/masque/tls.key\"";
    let mut file = |key, example| {
        let path = section.path(key, example, base);
        path.map(|found| PemFile { location: section.report.location(&found.span), path: found.value })
    };
    let certificate = file("certificate", CERTIFICATE);
    let key = file("key", KEY);
    for (present, required, example) in [("certificate", "key", KEY), ("key", "certificate", CERTIFICATE)] {
        if section.has(present) {
            section.require(required, Expected { what: "a path", example });
        }
    }
    section.finish();
    Some(Tls { certificate: certificate?, key: key? })
}
