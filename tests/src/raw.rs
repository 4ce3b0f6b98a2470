//! A TCP connection without an HTTP library, for clients that violate the protocol.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::wait::within;

pub struct RawConnection(TcpStream);

impl RawConnection {
    pub async fn open(address: &str) -> Self {
        let socket = if address.starts_with('[') { TcpSocket::new_v6() } else { TcpSocket::new_v4() };
        Self::with_socket(address, socket.unwrap()).await
    }

    /// Opens a connection with a small receive buffer.
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

    /// Sends `bytes` up to `times` times without reading. Returns whether the host closed the connection.
    pub async fn flood(&mut self, bytes: &[u8], times: usize) -> bool {
        for _ in 0..times {
            if within("room to send, or the end", self.0.write_all(bytes)).await.is_err() {
                return true;
            }
        }
        false
    }

    /// Sends `bytes` without end and reads all responses, until the host closes the connection.
    pub async fn flood_and_read(&mut self, bytes: &[u8]) {
        let (mut reads, mut writes) = self.0.split();
        let send = async { while writes.write_all(bytes).await.is_ok() {} };
        let read = async {
            let mut piece = vec![0; 1 << 16];
            while reads.read(&mut piece).await.is_ok_and(|count| count > 0) {}
        };
        let ended = async {
            tokio::select! {
                () = send => {}
                () = read => {}
            }
        };
        within("the host to close the connection", ended).await;
    }

    /// Sends a `POST /chat` with this body and a `Content-Length` that may be larger.
    pub async fn chat(&mut self, body: &str, length: usize) {
        let head = format!(
            "POST /chat HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        self.send(format!("{head}{body}")).await;
    }

    /// Reads until `end` has arrived.
    pub async fn read_until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains(end) {
            let count = within(&format!("{end:?} to come"), self.0.read_buf(&mut text)).await.unwrap();
            assert!(count > 0, "the host closed the connection after {:?}", String::from_utf8_lossy(&text));
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Reads until the host closes the connection, also with a reset.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            match within("the host to close the connection", self.0.read_buf(&mut bytes)).await {
                Ok(0) | Err(_) => return bytes,
                Ok(_) => {}
            }
        }
    }

    /// Whether the host has closed its side, even if data that it sent before is still on its way. Reads the sockets of
    /// Linux, whose ports and states are hexadecimal.
    pub fn given_up_by_host(&self) -> bool {
        const ESTABLISHED: &str = "01";
        let port = |address: std::net::SocketAddr| format!("{:04X}", address.port());
        let (host, ours) = (port(self.0.peer_addr().unwrap()), port(self.0.local_addr().unwrap()));
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut hosts = sockets.lines().filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [local, remote] = [1, 2].map(|field| fields.get(field)?.rsplit(':').next());
            (local? == host && remote? == ours).then(|| fields.get(3).copied()).flatten()
        });
        hosts.all(|state| state != ESTABLISHED)
    }

    pub async fn read_exact(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        within("bytes to come", self.0.read_exact(&mut bytes)).await.ok()?;
        Some(bytes)
    }
}
