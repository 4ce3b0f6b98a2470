//! A proxy on the wire between a store and its server. It counts round trips, and it can lose answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use masque_store_postgres::PostgresOptions;
use masque_store_postgres::testing::{TestDatabase, TestServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What passed the proxy. The server ends each round trip with `ReadyForQuery`.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Round trips that completed a statement.
    pub(crate) statements: AtomicU32,
    /// Round trips that prepared a statement, or that only asked whether the server is there.
    pub(crate) others: AtomicU32,
    /// Whether answers are thrown away and their connections closed, instead of passed on.
    pub(crate) loses_answers: AtomicBool,
}

pub(crate) struct Proxy {
    port: u16,
    pub(crate) traffic: Arc<Traffic>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let traffic = Arc::new(Traffic::default());
        let shared = Arc::clone(&traffic);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(("127.0.0.1", TestServer::shared().port())).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (mut from_client, to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                tokio::spawn(async move {
                    let _ended = tokio::io::copy(&mut from_client, &mut to_server).await;
                });
                tokio::spawn(pass_answers(from_server, to_client, Arc::clone(&shared)));
            }
        });
        Self { port, traffic, accepting }
    }

    /// How to reach a database through the proxy, with one connection.
    pub(crate) fn options(&self, database: &TestDatabase) -> PostgresOptions {
        let url = format!("postgresql://postgres@127.0.0.1:{}/{}?sslmode=disable", self.port, database.name);
        let mut options = PostgresOptions::from_url(&url).unwrap();
        options.max_connections = 1;
        options
    }

    /// Statements since the last call.
    pub(crate) fn statements(&self) -> u32 {
        self.traffic.statements.swap(0, Ordering::SeqCst)
    }

    /// Accepts no more connections.
    pub(crate) fn stop(&self) {
        self.accepting.abort();
    }
}

/// Passes the server's messages on, each a type, a length and a body.
async fn pass_answers(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, traffic: Arc<Traffic>) {
    let mut has_completed = false;
    loop {
        let mut head = [0; 5];
        if server.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length - 4];
        if server.read_exact(&mut body).await.is_err() {
            return;
        }
        match head[0] {
            b'C' => has_completed = true,
            b'Z' if std::mem::take(&mut has_completed) => {
                traffic.statements.fetch_add(1, Ordering::SeqCst);
            }
            b'Z' => {
                traffic.others.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        if has_completed && traffic.loses_answers.load(Ordering::SeqCst) {
            return;
        }
        if client.write_all(&head).await.is_err() || client.write_all(&body).await.is_err() {
            return;
        }
    }
}
