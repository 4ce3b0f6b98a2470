//! What an operator is told at the start.

use masque_store::LiveHosts;
use masque_store_redis::testing::{TestCluster, TestSentinel, TestServer, TestTls};
use masque_store_redis::{RedisOpenError, RedisOptions, open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::fixtures::*;

/// Something that gives each client this answer. Returns its URL.
async fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://127.0.0.1:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                while client.read(&mut request).await.is_ok_and(|read| read > 0) {
                    if client.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_at_the_start_is_used_once_it_is_there() {
    let mut server = TestServer::start();
    server.kill();
    let shared = host(&server.url()).await;
    assert!(reason(&shared).contains("refused"), "{}", reason(&shared));
    server.restart();
    until_connected(&shared).await;
    let lines = lines_of(server.port());
    assert_eq!(lines.len(), 2, "away, used: {lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_asked_for_and_never_shown() {
    let mut server = TestServer::start();
    server.set_password("right1");
    let error = refusal(&server.url()).await;
    assert!(matches!(error, RedisOpenError::NeedsPassword { .. }), "{error:?}");
    for user in [":wrong1", "nobody:wrong1", "default:wrong1"] {
        let error = refusal(&server.url_of(user)).await;
        assert!(matches!(error, RedisOpenError::WrongPassword { .. }), "{error:?}");
        assert!(!error.to_string().contains("wrong1"), "{error}");
    }
    for user in [":right1", "default:right1", ":%72ight1"] {
        let shared = host(&server.url_of(user)).await;
        assert!(is_connected(&shared), "{}", reason(&shared));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_can_come_from_a_file() {
    let mut server = TestServer::start();
    server.set_password("right1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "right1\n").unwrap();
    let options = RedisOptions::from_url(&server.url()).unwrap().with_password_file(&file).unwrap();
    assert!(!format!("{options:?}").contains("right1"));
    let shared = open(&options, Uuid::now_v7(), host_id(1), LiveHosts::default()).await.unwrap();
    assert!(is_connected(&shared));
    std::fs::write(&file, "\n").unwrap();
    let error = RedisOptions::from_url(&server.url()).unwrap().with_password_file(&file).unwrap_err();
    assert!(matches!(error, RedisOpenError::PasswordFile { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_redis_or_too_old_is_said() {
    let web = answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let error = refusal(&web).await;
    assert!(matches!(error, RedisOpenError::NotRedis { .. }), "{error:?}");
    let ancient = answering("-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n").await;
    let error = refusal(&ancient).await;
    assert!(matches!(error, RedisOpenError::OldServer { .. }), "{error:?}");
    let old = answering("%3\r\n$7\r\nversion\r\n$6\r\n6.0.16\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n").await;
    let error = refusal(&old).await;
    assert!(matches!(&error, RedisOpenError::OldServer { found, .. } if found == "6.0.16"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_kind_than_the_url_says_is_refused() {
    let server = TestServer::start();
    let cluster = TestCluster::start();
    let sentinel = TestSentinel::start();
    let node = format!("127.0.0.1:{}", server.port());
    for (url, told) in [
        (format!("redis+cluster://{node}"), "write redis://"),
        (format!("redis+sentinel://{node}/masque"), "write redis://"),
        (cluster.nodes[0].url(), "write redis+cluster://"),
        (sentinel.sentinel.url(), "write redis+sentinel://"),
    ] {
        let error = refusal(&url).await;
        assert!(matches!(error, RedisOpenError::WrongKind { .. }), "{url}: {error:?}");
        assert!(error.to_string().contains(told), "{url}: {error}");
    }
    let error = refusal(&sentinel.url().replace("/masque", "/other")).await;
    assert!(matches!(error, RedisOpenError::NoService { .. }), "{error:?}");
    let error = refusal(&format!("{}/99", server.url())).await;
    assert!(matches!(error, RedisOpenError::Refused { .. }), "{error:?}");

    // A replica may become the primary.
    let shared = host(&sentinel.replica.url()).await;
    assert!(reason(&shared).contains("replica"), "{}", reason(&shared));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_by_tls_checks_the_certificate() {
    let tls = TestTls::start();
    let open_with = async |url: &str, authority: Option<&[u8]>| {
        let mut options = RedisOptions::from_url(url).unwrap();
        if let Some(pem) = authority {
            options = options.with_root_certificates(pem.to_vec());
        }
        open(&options, Uuid::now_v7(), host_id(1), LiveHosts::default()).await
    };
    for url in [tls.url(), tls.url().replace("rediss", "valkeys")] {
        let shared = open_with(&url, Some(&tls.authority)).await.unwrap();
        assert!(is_connected(&shared), "{}", reason(&shared));
    }
    let error = match open_with(&tls.url(), None).await {
        Err(error) => error,
        Ok(shared) => panic!("it opened: {:?}", shared.health.status()),
    };
    assert!(matches!(error, RedisOpenError::Tls { .. }), "an unknown authority: {error:?}");
    let error = open_with(&tls.url().replace("localhost", "127.0.0.2"), Some(&tls.authority)).await.err();
    // Nothing listens on this address of the machine, or the certificate is not for it.
    assert!(matches!(error, None | Some(RedisOpenError::Tls { .. })), "{error:?}");
    let plain = TestServer::start();
    let url = plain.url().replace("redis://", "rediss://");
    // A server without TLS may also wait for the rest of what it takes for a command.
    let error = open_with(&url, Some(&tls.authority)).await.err();
    assert!(matches!(error, None | Some(RedisOpenError::Tls { .. })), "a server without TLS: {error:?}");
    let error = open_with(&tls.server.url(), None).await.err();
    assert!(matches!(error, None | Some(RedisOpenError::NotRedis { .. })), "{error:?}");
}
