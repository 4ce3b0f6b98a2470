//! A connection without a library above it, for clients that do not behave.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::wait::within;

pub struct RawConnection(TcpStream);

impl RawConnection {
    pub async fn open(address: &str) -> Self {
        Self::with_socket(address, TcpSocket::new_v4().unwrap()).await
    }

    /// One that can take little before someone reads from it.
    pub async fn narrow(address: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::with_socket(address, socket).await
    }

    async fn with_socket(address: &str, socket: TcpSocket) -> Self {
        let connection = within("a connection", socket.connect(address.parse().unwrap())).await.unwrap();
        connection.set_nodelay(true).unwrap();
        Self(connection)
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("room to send", self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    /// A `POST /chat` with this body and a `Content-Length` that may promise more.
    pub async fn chat(&mut self, body: &str, length: usize) {
        let head = format!(
            "POST /chat HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        self.send(format!("{head}{body}")).await;
    }

    /// Reads until `end` has come.
    pub async fn read_until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains(end) {
            let count = within(&format!("{end:?} to come"), self.0.read_buf(&mut text)).await.unwrap();
            assert!(count > 0, "the host closed the connection after {:?}", String::from_utf8_lossy(&text));
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// All that comes until the other side closes, however it does that.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            match within("the host to close the connection", self.0.read_buf(&mut bytes)).await {
                Ok(0) | Err(_) => return bytes,
                Ok(_) => {}
            }
        }
    }

    pub async fn read_exact(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        within("bytes to come", self.0.read_exact(&mut bytes)).await.ok()?;
        Some(bytes)
    }
}
