//! A collector over TLS whose certificate a private authority has issued.

use std::path::PathBuf;

use opentelemetry_sdk::trace::SpanExporter as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::super::export::exporter;
use super::super::last_failure::LastFailure;
use super::*;

/// A collector over TLS, and the certificates of two authorities as files.
struct Encrypted {
    collector: Collector,
    /// Of the authority that issued the collector's certificate.
    authority: PathBuf,
    /// Of another one with the same name.
    other: PathBuf,
    _folder: TempDir,
}

impl Encrypted {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let path = folder.path().join(name);
            std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
            (path, Issuer::new(params, key))
        };
        let ((path, issuer), (other, _)) = (authority("authority.pem"), authority("other.pem"));
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &issuer).unwrap().pem();
        let collector = Collector::start_encrypted(&certificate, &key.serialize_pem()).await.unwrap();
        Self { collector, authority: path, other, _folder: folder }
    }

    fn options(&self, protocol: Protocol, certificate: Option<&PathBuf>) -> OtlpOptions {
        let path = if protocol == Protocol::Http { "/v1/traces?key=sk-1" } else { "" };
        let url = format!("{}{path}", self.collector.url());
        OtlpOptions { certificate: certificate.cloned(), ..options(&url, protocol) }
    }
}

#[tokio::test]
async fn a_collector_over_tls_receives_traces_over_both_protocols() {
    let encrypted = Encrypted::start().await;
    for protocol in [Protocol::Http, Protocol::Grpc] {
        let options = encrypted.options(protocol, Some(&encrypted.authority));
        OtlpExport::verify(&options).unwrap();
        let export = OtlpExport::start(&options).unwrap();
        let context = end_turn(&Tracer::new(export.sink(), 1.0), false);
        let of_turn = |spans: &[crate::testing::ReceivedSpan]| {
            let id = context.trace_id_text();
            (spans.iter().filter(|span| span.trace_id == id).count() == 2).then_some(())
        };
        tokio::time::timeout(LONG, encrypted.collector.wait_for_spans(of_turn)).await.unwrap().unwrap();
        export.shutdown(LONG).await;
    }
    let requests = encrypted.collector.requests();
    assert!(requests.iter().all(|request| request.headers["x-api-key"] == "token-of-the-collector"));
}

#[tokio::test]
async fn a_collector_whose_authority_is_not_trusted_gets_nothing_and_costs_a_turn_nothing() {
    let encrypted = Encrypted::start().await;
    for certificate in [Some(&encrypted.other), None] {
        for protocol in [Protocol::Http, Protocol::Grpc] {
            let options = encrypted.options(protocol, certificate);
            let export = OtlpExport::start(&options).unwrap();
            let before = SPANS_DROPPED.value(&["export"]);
            // `finish` is not async, so nothing here can wait.
            end_turn(&Tracer::new(export.sink(), 1.0), false);
            export.shutdown(LONG).await;
            assert!(SPANS_DROPPED.value(&["export"]) - before >= 2, "{protocol:?}");
        }
    }
    assert_eq!(encrypted.collector.requests().len(), 0);
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_is_named_as_the_cause_with_what_to_do() {
    let encrypted = Encrypted::start().await;
    for (certificate, reason) in [(Some(&encrypted.other), "BadSignature"), (None, "UnknownIssuer")] {
        for protocol in [Protocol::Http, Protocol::Grpc] {
            let failure = LastFailure::default();
            let options = encrypted.options(protocol, certificate);
            let refused = exporter(&options, &failure).unwrap().export(Vec::new()).await.unwrap_err();
            let cause = failure.explain(&refused);
            let expected = format!("invalid peer certificate: {reason}; the collector's certificate is from");
            assert!(cause.contains(&expected), "{protocol:?}: {cause}");
            assert!(cause.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"), "{protocol:?}: {cause}");
            assert!(!cause.contains("sk-1") && !cause.contains("token"), "{protocol:?}: {cause}");
        }
    }
    // A collector that is away is another matter, and is said as well.
    let failure = LastFailure::default();
    let away = options("http://127.0.0.1:1/v1/traces?key=sk-1", Protocol::Http);
    let refused = exporter(&away, &failure).unwrap().export(Vec::new()).await.unwrap_err();
    let cause = failure.explain(&refused);
    assert!(cause.contains("refused") && !cause.contains("CERTIFICATE"), "{cause}");
    assert!(!cause.contains("sk-1"), "{cause}");
}
