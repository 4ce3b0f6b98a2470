//! When the certificate that clients are shown expires.

use masque_telemetry::metrics::http::CERTIFICATE_EXPIRY;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Shows the expiry of a chain, in PEM, as a metric. A certificate whose expiry can't be read is left out: rustls has accepted
/// the chain, and clients judge it by themselves.
pub(crate) fn record(chain: &[u8]) {
    if let Some(expiry) = first_expiry(chain) {
        CERTIFICATE_EXPIRY.set(&[], expiry);
    }
}

/// The end of the first certificate of the chain that expires, in seconds since 1970: from then on clients refuse the chain.
fn first_expiry(chain: &[u8]) -> Option<u64> {
    let certificates = CertificateDer::pem_slice_iter(chain).filter_map(Result::ok);
    let expiry = |certificate: CertificateDer<'_>| {
        let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
        u64::try_from(parsed.validity().not_after.timestamp()).ok()
    };
    certificates.filter_map(expiry).min()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32) -> String {
        let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.not_after = date_time_ymd(year, 1, 1);
        parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn a_chain_expires_with_the_first_of_its_certificates() {
        // 2030-01-01 and 2060-01-01, the latter of which is written in another form.
        let (early, late) = (certificate(2030), certificate(2060));
        assert_eq!(first_expiry(early.as_bytes()), Some(1_893_456_000));
        assert_eq!(first_expiry(late.as_bytes()), Some(2_840_140_800));
        assert_eq!(first_expiry(format!("{late}{early}").as_bytes()), Some(1_893_456_000));
        assert_eq!(first_expiry(b"no certificate"), None);
    }
}
