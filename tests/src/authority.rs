//! A certificate authority, and TLS clients that check the certificate of a host.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::wait::within;

/// Issues certificates that its clients trust.
pub struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for this machine and its key, as PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
    /// The certificate as a client receives it.
    pub shown: CertificateDer<'static>,
}

impl Authority {
    #[allow(clippy::new_without_default, reason = "each authority has a new key")]
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than that of the certificates: OpenSSL takes one that names itself as its issuer for self-signed.
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        // Python checks strictly from 3.13 on: an authority says what its key is for, and a certificate whose key signed it.
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { certificate: der, pem, issuer: Issuer::new(params, key) }
    }

    pub fn issue(&self) -> Issued {
        self.issue_changed(|_| {})
    }

    /// A certificate that expires at the end of this year.
    pub fn issue_until(&self, year: i32) -> Issued {
        self.issue_changed(|params| params.not_after = rcgen::date_time_ymd(year, 12, 31))
    }

    fn issue_changed(&self, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let shown = certificate.der().clone();
        Issued { certificate: certificate.pem(), key: key.serialize_pem(), shown }
    }

    /// The certificate that clients trust, as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Opens a TLS connection and offers these protocols (ALPN).
    pub async fn connect(&self, address: &str, protocols: &[&str]) -> TlsStream<TcpStream> {
        self.connect_by(address, protocols, rustls::DEFAULT_VERSIONS).await
    }

    /// Opens a TLS connection with these versions of TLS.
    pub async fn connect_by(
        &self,
        address: &str,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        within("a handshake", TlsConnector::from(Arc::new(config)).connect(name, socket)).await.unwrap()
    }
}

/// Returns the certificate that the host sent.
pub fn shown_by(connection: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    connection.get_ref().1.peer_certificates().unwrap()[0].clone()
}
