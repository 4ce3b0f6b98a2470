//! Asks a running host, over the Unix socket in its data folder or at an address.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use masque_http::unix_socket;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// How long the host may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer.
const MAX_BYTES: usize = 1 << 20;

/// What the host answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Null if the answer is not JSON.
    pub(crate) body: Value,
}

/// Sends a request to the host on the data folder `folder`.
///
/// # Errors
/// No host runs there, this user may not reach it, or it does not answer in time.
pub(crate) async fn ask(
    folder: &Path,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<Answer> {
    let asking = async {
        let stream = connect(folder).await.with_context(|| {
            let folder = folder.display();
            format!("no host can be reached on the data folder {folder}; name that of your host with --data or --config")
        })?;
        exchange(stream, "localhost", method, path, body).await
    };
    tokio::time::timeout(TIMEOUT, asking).await.context("the host does not answer")?
}

/// Gets `path` of the host that listens on `HOST:PORT` without TLS.
///
/// # Errors
/// Nothing listens there, or it does not answer in time.
pub(crate) async fn ask_address(address: &str, path: &str) -> anyhow::Result<Answer> {
    let asking = async {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("{address} can't be reached"))?;
        exchange(stream, address, Method::GET, path, None).await
    };
    tokio::time::timeout(TIMEOUT, asking).await.context("the host does not answer")?
}

async fn connect(folder: &Path) -> std::io::Result<UnixStream> {
    // `/proc/self/fd` gives a folder with a long path a short one: the address of a socket has 107 bytes.
    let folder = File::open(folder)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), unix_socket::NAME)).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    authority: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let serving = tokio::spawn(connection);
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MAX_BYTES).collect().await.map_err(|error| anyhow::anyhow!(error))?;
    serving.abort();
    let body = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
    Ok(Answer { status: head.status, body })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_host_is_asked_over_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(unix_socket::NAME)).unwrap();
        let host = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1000];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let answer = ask(folder.path(), Method::GET, "/admin/log", None).await.unwrap();
        assert_eq!((answer.status, answer.body), (StatusCode::CONFLICT, serde_json::json!({})));
        assert!(host.await.unwrap().starts_with("GET /admin/log HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn a_folder_without_a_host_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = ask(folder.path(), Method::GET, "/", None).await.err().unwrap();
        let text = format!("{error:#}");
        assert!(text.contains(&folder.path().display().to_string()) && text.contains("--data"), "{text}");
    }
}
