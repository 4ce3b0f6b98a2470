//! A server that speaks TLS only.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::server::TestServer;

/// A server that speaks TLS only, with a certificate for `localhost` and `127.0.0.1` of an authority of its own.
#[derive(Debug)]
pub struct TestTls {
    /// The server. Its own URL has no TLS and does not work.
    pub server: TestServer,
    /// The certificate of the authority, in PEM.
    pub authority: Vec<u8>,
    _certificates: TempDir,
}

impl TestTls {
    /// Starts it.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn start() -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();

        let folder = TempDir::with_prefix("masque-redis-tls-").unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let certificate = write("certificate", &certificate.pem());
        let key = write("key", &key.serialize_pem());
        let authority = write("authority", &authority_pem);
        let port = super::server::free_port().to_string();
        let server = TestServer::start_tls(
            &port,
            &[
                "--tls-port",
                &port,
                "--tls-cert-file",
                &certificate,
                "--tls-key-file",
                &key,
                "--tls-ca-cert-file",
                &authority,
                "--tls-auth-clients",
                "no",
            ],
        );
        Self { server, authority: authority_pem.into_bytes(), _certificates: folder }
    }

    /// The URL.
    pub fn url(&self) -> String {
        format!("rediss://localhost:{}", self.server.port())
    }
}
