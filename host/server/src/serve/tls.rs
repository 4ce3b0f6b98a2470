//! TLS: what the host shows its clients, and how it follows its files.
//!
//! Certificates are renewed while a host runs. Both files are read again every second and compared by content, so that
//! renaming, writing in place and the swapped links of Kubernetes all count alike. A pair is taken once it has been the
//! same for two looks, since the two files are never replaced at one instant; one that can't be used changes nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Diagnostic, Tls};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);
/// Far longer than any chain.
const MAX_BYTES: u64 = 1 << 20;

/// Mistakes in the files of `[tls]`, before a host starts with them.
pub(crate) fn verify(config: &Config) -> Vec<Diagnostic> {
    let Some(tls) = &config.tls else { return Vec::new() };
    match Files::read(tls).and_then(|files| files.parse()) {
        Ok(_) => Vec::new(),
        Err(unfit) => {
            let place = if unfit.of_key() { &tls.key.location } else { &tls.certificate.location };
            vec![Diagnostic::error(place.clone(), unfit.to_string(), unfit.remedy())]
        }
    }
}

/// The pair in use, shared by all listeners.
#[derive(Clone)]
pub(super) struct Certificates(Arc<RwLock<Arc<ServerConfig>>>);

impl Certificates {
    /// Reads the files, and follows them until `stop`.
    pub(super) fn follow(tls: &Tls, stop: CancellationToken) -> Result<Self, Unfit> {
        let files = Files::read(tls)?;
        let certificates = Self(Arc::new(RwLock::new(files.parse()?)));
        let watch = Watch { tls: tls.clone(), taken: files, certificates: certificates.clone() };
        tokio::spawn(watch.run(stop));
        Ok(certificates)
    }

    /// For one connection: the pair as it is at this moment.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Sessions of the pair before can't be resumed: who comes back sees the new one.
    fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

struct Watch {
    tls: Tls,
    /// The last pair that was judged, in use or not.
    taken: Files,
    certificates: Certificates,
}

impl Watch {
    async fn run(mut self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<Result<Files, String>> = None;
        let mut told = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            let tls = self.tls.clone();
            let Ok(seen) = tokio::task::spawn_blocking(move || Files::read(&tls)).await else { continue };
            let seen = seen.map_err(|unfit| unfit.to_string());
            let settled = before.as_ref() == Some(&seen);
            match &seen {
                Ok(files) if settled && *files != self.taken => {
                    self.taken = files.clone();
                    match files.parse() {
                        Ok(config) => {
                            self.certificates.replace(config);
                            tracing::info!("new connections are shown the changed certificate");
                        }
                        Err(unfit) => {
                            tracing::warn!(
                                "the changed certificate is refused, the one before stays: {unfit}"
                            )
                        }
                    }
                    told = None;
                }
                Err(unfit) if settled && told.as_ref() != Some(unfit) => {
                    tracing::warn!("the certificate can't be read again, the one before stays: {unfit}");
                    told = Some(unfit.clone());
                }
                Ok(_) if settled => told = None,
                _ => {}
            }
            before = Some(seen);
        }
    }
}

/// Both files as they were at one look. Has no `Debug`: one of them is a secret.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(tls: &Tls) -> Result<Self, Unfit> {
        let certificate = bounded(&tls.certificate.path).map_err(|error| {
            Unfit::CertificateUnreadable(tls.certificate.path.display().to_string(), error)
        })?;
        let key = bounded(&tls.key.path)
            .map_err(|error| Unfit::KeyUnreadable(tls.key.path.display().to_string(), error))?;
        Ok(Self { certificate, key })
    }

    fn parse(&self) -> Result<Arc<ServerConfig>, Unfit> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pair = pair(&self.certificate, &self.key, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Unfit::Library)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 1 MiB"));
    }
    Ok(bytes)
}

fn pair(certificate: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, Unfit> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, pem::Error>>()
        .map_err(|_| Unfit::CertificateMalformed)?;
    if chain.is_empty() {
        return Err(Unfit::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => Unfit::NoKey,
        _ => Unfit::KeyMalformed,
    })?;
    // Apart from the certificate, so that the mistake is placed in the right file.
    provider.key_provider.load_private_key(key.clone_key()).map_err(|_| Unfit::KeyMalformed)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Unfit::Mismatch,
        rustls::Error::InvalidCertificate(_) => Unfit::CertificateMalformed,
        other => Unfit::Library(other),
    })
}

/// Why a pair can't be used. Quotes nothing of the files.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the certificate {0} can't be read: {1}")]
    CertificateUnreadable(String, io::Error),
    #[error("the key {0} can't be read: {1}")]
    KeyUnreadable(String, io::Error),
    #[error("the file holds no certificate")]
    NoCertificate,
    #[error("the certificate's file is damaged")]
    CertificateMalformed,
    #[error("the file holds no private key")]
    NoKey,
    #[error("the private key is damaged, or of a kind that can't be used")]
    KeyMalformed,
    #[error("the key is not that of the certificate")]
    Mismatch,
    #[error("certificate and key can't be used: {0}")]
    Library(rustls::Error),
}

impl Unfit {
    /// Whether the mistake is in the key's file.
    fn of_key(&self) -> bool {
        matches!(self, Self::KeyUnreadable(..) | Self::NoKey | Self::KeyMalformed | Self::Mismatch)
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::CertificateUnreadable(..) | Self::KeyUnreadable(..) => {
                "Name a file that the host's user may read."
            }
            Self::NoCertificate | Self::CertificateMalformed => {
                "Name a PEM file with the host's own certificate first, then those that lead to its authority."
            }
            Self::NoKey | Self::KeyMalformed => {
                "Name a PEM file with one key, not encrypted: PKCS#8, or of RSA or an elliptic curve by itself."
            }
            Self::Mismatch => {
                "Name the key that the certificate was issued for, which is the first in its file."
            }
            Self::Library(_) => "Have the certificate issued anew.",
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn files(certificate: &str, key: &str) -> Result<Arc<ServerConfig>, Unfit> {
        Files { certificate: certificate.into(), key: key.into() }.parse()
    }

    fn issued() -> (String, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn a_pair_that_does_not_fit_is_refused_with_what_is_wrong() {
        let ((certificate, key), (other, other_key)) = (issued(), issued());
        assert!(files(&certificate, &key).is_ok());
        assert!(files(&format!("{certificate}{other}"), &key).is_ok(), "a chain");
        for (certificate, key, wrong) in [
            ("", &*key, "the file holds no certificate"),
            (&*key, &*key, "the file holds no certificate"),
            (&*certificate, "", "the file holds no private key"),
            (&*certificate, &*certificate, "the file holds no private key"),
            (&*certificate, &*other_key, "the key is not that of the certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", &*key, "the certificate's file is damaged"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                &*key,
                "the certificate's file is damaged",
            ),
            (
                &*certificate,
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "the private key is damaged, or of a kind that can't be used",
            ),
        ] {
            let unfit = files(certificate, key).err().map(|unfit| unfit.to_string());
            assert_eq!(unfit.as_deref(), Some(wrong));
        }
    }
}
