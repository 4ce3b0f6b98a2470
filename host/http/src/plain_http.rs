//! Clients that speak plain HTTP to the port of HTTPS.
//!
//! To such a client, the alert that TLS answers with is no HTTP, so its error says nothing of the cause. It gets a short
//! answer of HTTP/1.1 instead. Nothing of its request is looked at.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 30\r\n\
    connection: close\r\n\
    \r\n\
    This port speaks HTTPS alone.\n";
/// How long, and for how many bytes, the rest of the request is read.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

/// Waits for the first byte and returns whether it is that of a method. The first byte of TLS is 0x16 (RFC 8446, section
/// 5.1). The byte is left to be read.
pub(crate) async fn is_spoken_on(socket: &TcpStream) -> bool {
    let mut first = [0; 1];
    let peeked = socket.peek(&mut first).await;
    let [byte] = first;
    peeked.is_ok_and(|count| count == 1) && byte.is_ascii_uppercase()
}

/// Answers and closes the connection. What the client still sends is read for a moment: closing a socket with unread data
/// resets the connection, and the client could lose the answer.
pub(crate) async fn refuse(mut socket: TcpStream) {
    let answer = async {
        socket.write_all(ANSWER).await?;
        socket.shutdown().await?;
        tokio::io::copy(&mut (&mut socket).take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    if !matches!(tokio::time::timeout(LINGER, answer).await, Ok(Ok(_))) {
        tracing::debug!("a client of plain HTTP went away, or kept sending");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_length_that_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head} {}", body.len());
        assert!(head.lines().all(|line| !line.starts_with(' ')), "{head}");
    }
}
