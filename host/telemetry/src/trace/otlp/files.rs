//! The PEM files for a collector over TLS, read and checked before anything is sent.

use std::fs;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::OtlpError;
use super::options::OtlpOptions;

/// What the files hold, as PEM and parsed: the gRPC client parses by itself.
#[derive(Default)]
pub(super) struct TlsFiles {
    pub(super) authorities: Option<Certificates>,
    pub(super) client: Option<(Certificates, Key)>,
}

pub(super) struct Certificates {
    pub(super) pem: Vec<u8>,
    pub(super) parsed: Vec<CertificateDer<'static>>,
}

pub(super) struct Key {
    pub(super) pem: Vec<u8>,
    pub(super) parsed: PrivateKeyDer<'static>,
}

impl TlsFiles {
    pub(super) fn read(options: &OtlpOptions) -> Result<Self, OtlpError> {
        let authorities = options.certificate.as_deref().map(certificates).transpose()?;
        let client = match &options.client {
            Some(identity) => Some((certificates(&identity.certificate)?, key(&identity.key)?)),
            None => None,
        };
        Ok(Self { authorities, client })
    }
}

fn certificates(path: &Path) -> Result<Certificates, OtlpError> {
    let pem = read(path)?;
    let parsed: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    if parsed.is_empty() {
        return Err(OtlpError::Malformed { path: path.to_owned(), expected: "certificate" });
    }
    Ok(Certificates { pem, parsed })
}

fn key(path: &Path) -> Result<Key, OtlpError> {
    let pem = read(path)?;
    let parsed = PrivateKeyDer::from_pem_slice(&pem);
    let parsed =
        parsed.map_err(|_| OtlpError::Malformed { path: path.to_owned(), expected: "private key" })?;
    Ok(Key { pem, parsed })
}

fn read(path: &Path) -> Result<Vec<u8>, OtlpError> {
    fs::read(path).map_err(|source| OtlpError::Unreadable { path: path.to_owned(), source })
}
