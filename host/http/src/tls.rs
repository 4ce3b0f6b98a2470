//! TLS: the server's certificate, and how it follows its files.
//!
//! Certificates are renewed while a host runs. Both files are read every second and compared by content, so that renaming,
//! writing in place and the swapped links of Kubernetes are all noticed. The two files are never replaced at the same
//! instant, so a new pair is used only when it was the same for two reads. A pair that can't be used is reported in the
//! log, and the pair before it stays in use.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use masque_files::{ReadError, read_bounded, read_trusted};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::certificate_expiry;

/// How often the files are read.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The limit on the size of a file, far above that of any certificate chain.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The files of the certificate, in PEM.
#[derive(Clone, Debug)]
pub struct Options {
    /// The certificate chain, the host's own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a certificate and its key can't be used. The texts quote nothing of the files.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate's file can't be read, or is larger than 1 MiB.
    #[error("the certificate {0} can't be read: {1}")]
    CertificateUnreadable(String, io::Error),
    /// The key's file can't be read, or is larger than 1 MiB.
    #[error("the key {0} can't be read: {1}")]
    KeyUnreadable(String, io::Error),
    /// The certificate's file has no PEM section of that kind.
    #[error("the file holds no certificate")]
    NoCertificate,
    /// The certificate's file is not valid PEM, or its content is not a certificate.
    #[error("the certificate's file is damaged")]
    CertificateMalformed,
    /// The key's file has no PEM section of that kind.
    #[error("the file holds no private key")]
    NoKey,
    /// The key's file is not valid PEM, or the kind of key is not supported.
    #[error("the private key is damaged, or of a kind that can't be used")]
    KeyMalformed,
    /// The key belongs to another certificate.
    #[error("the key is not that of the certificate")]
    Mismatch,
    /// rustls refuses the pair for another reason.
    #[error("certificate and key can't be used: {0}")]
    Library(rustls::Error),
}

impl CertificateError {
    /// Whether the mistake is in the key's file; otherwise it is in the certificate's.
    pub fn is_in_key_file(&self) -> bool {
        matches!(self, Self::KeyUnreadable(..) | Self::NoKey | Self::KeyMalformed | Self::Mismatch)
    }

    /// What the operator can do about it.
    pub fn remedy(&self) -> &'static str {
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

/// Checks that a host could serve with these files.
///
/// # Errors
/// A file can't be read or used, or the key is not that of the certificate.
pub fn verify(options: &Options) -> Result<(), CertificateError> {
    PemFiles::read(options)?.parse().map(|_| ())
}

/// The certificate in use. Clones share it, so all listeners change to a new one together.
#[derive(Clone)]
pub struct ServerCertificate(Arc<RwLock<Arc<ServerConfig>>>);

impl ServerCertificate {
    /// Reads the files, and follows their changes in a task of its own until `stop`.
    ///
    /// # Errors
    /// A file can't be read or used, or the key is not that of the certificate.
    pub fn follow(options: Options, stop: CancellationToken) -> Result<Self, CertificateError> {
        let (certificate, watcher) = Self::open(options)?;
        tokio::spawn(watcher.run(stop));
        Ok(certificate)
    }

    /// Reads the files. The watcher follows their changes once the caller runs it.
    ///
    /// # Errors
    /// As [`ServerCertificate::follow`].
    pub fn open(options: Options) -> Result<(Self, CertificateWatcher), CertificateError> {
        let files = PemFiles::read(&options)?;
        let certificate = Self(Arc::new(RwLock::new(files.parse()?)));
        certificate_expiry::record(&files.certificate);
        let watcher = CertificateWatcher { options, last_parsed: files, certificate: certificate.clone() };
        Ok((certificate, watcher))
    }

    /// The acceptor for one connection, with the certificate that is in use now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// A new `ServerConfig` has no sessions of the one before, so a client that resumes sees the new certificate.
    fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

/// Follows the files of a [`ServerCertificate`].
pub struct CertificateWatcher {
    options: Options,
    /// The last pair that was parsed, whether it could be used or not.
    last_parsed: PemFiles,
    certificate: ServerCertificate,
}

impl CertificateWatcher {
    /// Reads the files every second until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut previous: Option<Result<PemFiles, String>> = None;
        // The read error that was logged last, so that it is logged once.
        let mut reported = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let options = self.options.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || PemFiles::read(&options)).await else {
                continue;
            };
            let read = read.map_err(|error| error.to_string());
            let is_stable = previous.as_ref() == Some(&read);
            match &read {
                Ok(files) if is_stable && *files != self.last_parsed => {
                    self.last_parsed = files.clone();
                    match files.parse() {
                        Ok(config) => {
                            self.certificate.replace(config);
                            certificate_expiry::record(&self.last_parsed.certificate);
                            tracing::info!("new connections are shown the changed certificate");
                        }
                        Err(error) => {
                            tracing::warn!(
                                "the changed certificate is refused, the one before stays: {error}"
                            )
                        }
                    }
                    reported = None;
                }
                Err(error) if is_stable && reported.as_ref() != Some(error) => {
                    tracing::warn!("the certificate can't be read again, the one before stays: {error}");
                    reported = Some(error.clone());
                }
                Ok(_) if is_stable => reported = None,
                _ => {}
            }
            previous = Some(read);
        }
    }
}

/// The contents of both files. Has no `Debug`, because one of them is a secret.
#[derive(Clone, PartialEq, Eq)]
struct PemFiles {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl PemFiles {
    fn read(options: &Options) -> Result<Self, CertificateError> {
        let certificate = read_bounded(&options.certificate, MAX_FILE_BYTES).map_err(|error| {
            CertificateError::CertificateUnreadable(
                options.certificate.display().to_string(),
                io_error(error),
            )
        })?;
        let key = read_trusted(&options.key, MAX_FILE_BYTES).map_err(|error| {
            CertificateError::KeyUnreadable(options.key.display().to_string(), io_error(error))
        })?;
        Ok(Self { certificate, key })
    }

    fn parse(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pair = certified_key(&self.certificate, &self.key, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Library)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn io_error(error: ReadError) -> io::Error {
    match error {
        ReadError::TooLarge => io::Error::new(io::ErrorKind::InvalidData, "it is larger than 1 MiB"),
        error => error.into(),
    }
}

fn certified_key(
    certificate: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, pem::Error>>()
        .map_err(|_| CertificateError::CertificateMalformed)?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => CertificateError::NoKey,
        _ => CertificateError::KeyMalformed,
    })?;
    // Load the key before it is compared with the certificate, so that the error names the right file.
    provider.key_provider.load_private_key(key.clone_key()).map_err(|_| CertificateError::KeyMalformed)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificateError::Mismatch,
        rustls::Error::InvalidCertificate(_) => CertificateError::CertificateMalformed,
        other => CertificateError::Library(other),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn files(certificate: &str, key: &str) -> Result<Arc<ServerConfig>, CertificateError> {
        PemFiles { certificate: certificate.into(), key: key.into() }.parse()
    }

    fn issue() -> (String, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn a_key_that_every_user_may_write_is_refused_and_a_certificate_is_not() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = issue();
        let options = Options { certificate: folder.path().join("crt"), key: folder.path().join("key") };
        for (path, text, mode) in [(&options.certificate, certificate, 0o666), (&options.key, key, 0o600)] {
            std::fs::write(path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        verify(&options).unwrap();
        std::fs::set_permissions(&options.key, std::fs::Permissions::from_mode(0o666)).unwrap();
        let error = verify(&options).unwrap_err();
        assert!(error.is_in_key_file() && error.to_string().contains("chmod go-w"), "{error}");
    }

    #[test]
    fn an_unusable_certificate_or_key_is_refused_with_what_is_wrong() {
        let ((certificate, key), (other, other_key)) = (issue(), issue());
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
            let error = files(certificate, key).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some(wrong));
        }
    }
}
