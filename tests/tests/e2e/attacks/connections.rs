//! Plugins that use up connections to an upstream, over HTTP/2 and TLS.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::{join, join_all};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use masque_tests::{Authority, Host, Setup, within};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::network::requester;

/// A server that allows few streams on a connection, and answers no request before so many have arrived.
struct CrowdedServer {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl CrowdedServer {
    async fn start(authority: &Authority, max_streams: u32, requests: usize) -> Self {
        let issued = authority.issue();
        let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, arrived) = (connections.clone(), watch::Sender::new(0_usize));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counted, arrived) = (acceptor.clone(), counted.clone(), arrived.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    counted.fetch_add(1, Ordering::SeqCst);
                    let service = service_fn(move |_: Request<Incoming>| {
                        let arrived = arrived.clone();
                        async move {
                            arrived.send_modify(|arrived| *arrived += 1);
                            arrived.subscribe().wait_for(|arrived| *arrived >= requests).await.unwrap();
                            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"open"))))
                        }
                    });
                    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    builder.max_concurrent_streams(max_streams);
                    // The host closes the connection when it ends.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { port, connections }
    }

    fn origin(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

/// A host that trusts the authority, with a companion and a persona of each name that may reach the origin.
async fn host(authority: &Authority, origin: &str, names: &[&str]) -> Host {
    let grants = format!("grants.http = [\"{origin}\"]");
    let companions = names.iter().map(|name| requester(name, &grants)).collect::<Vec<_>>().join("\n");
    let setup = Setup::file(&companions).beside("roots.pem", authority.pem().as_bytes());
    let roots = setup.folder().join("roots.pem");
    setup.environment("SSL_CERT_FILE", roots.to_str().unwrap()).start().await
}

#[tokio::test]
async fn turns_beyond_a_servers_stream_limit_do_not_wait_for_each_other() {
    const TURNS: usize = 5;
    let authority = Authority::new();
    let server = CrowdedServer::start(&authority, 2, TURNS).await;
    let host = host(&authority, &server.origin(), &["requester"]).await;
    let client = host.client();
    let body = json!({ "message": format!("GET {}/", server.origin()), "companion": "requester" });
    let turns = (0..TURNS).map(|_| client.chat(&body).send());
    for answer in within("the answers", join_all(turns)).await {
        answer.expect(200);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_plugin_that_uses_all_its_connections_delays_no_other_plugin() {
    /// The most connections of one plugin to one origin, each with one stream.
    const CONNECTIONS: usize = 16;
    let authority = Authority::new();
    let server = CrowdedServer::start(&authority, 1, CONNECTIONS + 1).await;
    let host = host(&authority, &server.origin(), &["greedy", "modest"]).await;
    let client = host.client();
    let body =
        |companion: &str| json!({ "message": format!("GET {}/", server.origin()), "companion": companion });
    let (greedy, modest) = (body("greedy"), body("modest"));
    // Two of these wait for a connection, until the server has seen the other plugin's request and answers.
    let turns = (0..CONNECTIONS + 2).map(|_| client.chat(&greedy).send());
    let (greedy, modest) = within("the answers", join(join_all(turns), client.chat(&modest).send())).await;
    modest.expect(200);
    for answer in greedy {
        answer.expect(200);
    }
}
