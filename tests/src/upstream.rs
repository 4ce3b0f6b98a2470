//! A server for requests of plugins. It gives every request the same answer and records the requests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running server; dropping it ends the server. Each connection serves one request.
pub struct Upstream {
    address: SocketAddr,
    /// The head of the request of each connection, or an empty text.
    heads: watch::Sender<Vec<String>>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub async fn answering(text: &str) -> Self {
        Self::start(
            Ipv4Addr::LOCALHOST.into(),
            Some(format!("200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())),
        )
        .await
    }

    /// Starts a server whose answers have a header of so many bytes.
    pub async fn with_header(bytes: usize) -> Self {
        let value = "v".repeat(bytes);
        let answer = format!("200 OK\r\nx-large: {value}\r\ncontent-length: 4\r\n\r\nopen");
        Self::start(Ipv4Addr::LOCALHOST.into(), Some(answer)).await
    }

    /// Starts a server on this address.
    pub async fn on(address: IpAddr) -> Self {
        Self::start(address, Some("200 OK\r\ncontent-length: 4\r\n\r\nopen".to_owned())).await
    }

    pub async fn redirecting_to(url: &str) -> Self {
        let answer = format!("302 Found\r\nlocation: {url}\r\ncontent-length: 0\r\n\r\n");
        Self::start(Ipv4Addr::LOCALHOST.into(), Some(answer)).await
    }

    /// Starts a server that reads requests and never answers.
    pub async fn silent() -> Self {
        Self::start(Ipv4Addr::LOCALHOST.into(), None).await
    }

    async fn start(address: IpAddr, answer: Option<String>) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = watch::Sender::default();
        let recorded = heads.clone();
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, answer.clone(), recorded.clone()));
            }
        });
        Self { address, heads, task }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the heads of all requests so far, with an empty one for a connection without a request.
    pub fn seen(&self) -> Vec<String> {
        self.heads.borrow().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut connection: TcpStream, answer: Option<String>, heads: watch::Sender<Vec<String>>) {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match connection.read(&mut buffer).await {
            Ok(count) if count > 0 => head.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    heads.send_modify(|heads| heads.push(String::from_utf8_lossy(&head).into_owned()));
    match answer {
        Some(answer) => {
            let answer = format!("HTTP/1.1 {}", answer.replacen("\r\n", "\r\nconnection: close\r\n", 1));
            // Fails if the host has closed the connection, which it may.
            let _ = connection.write_all(answer.as_bytes()).await;
        }
        // Wait until the host closes the connection.
        None => while connection.read(&mut buffer).await.is_ok_and(|count| count > 0) {},
    }
}
