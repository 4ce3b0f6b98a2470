//! A connection to a server that a test can cut, stall and slow down: a proxy on a free port. It also counts how often a
//! client waited for the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::tap::Tap;

/// The proxy. Dropping it breaks its connections.
pub struct Link {
    port: u16,
    state: Arc<watch::Sender<LinkState>>,
    round_trips: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// What the proxy does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Passes everything on.
    Open,
    /// Passes everything on, each piece after this time.
    Slow(Duration),
    /// Holds everything back, as a server that hangs.
    Stalled,
    /// Breaks every connection, also new ones, as a server that is gone.
    Cut,
}

impl Link {
    /// A proxy in front of this port of the loopback address.
    pub async fn to(server: u16) -> Self {
        Self::launch(server, None).await
    }

    /// The same, and `tap` reads what clients send.
    pub async fn tapped(server: u16, tap: &Arc<Tap>) -> Self {
        Self::launch(server, Some(Arc::clone(tap))).await
    }

    async fn launch(server: u16, tap: Option<Arc<Tap>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new(LinkState::Open));
        let round_trips = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, server, Arc::clone(&state), Arc::clone(&round_trips), tap));
        Self { port, state, round_trips, task }
    }

    /// The port of the proxy.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what happens to all connections.
    pub fn set(&self, state: LinkState) {
        self.state.send_replace(state);
    }

    /// How often a client has sent something after it had received something, or at first: over all connections, the number
    /// of round trips if each connection has one request at a time.
    pub fn round_trips(&self) -> usize {
        self.round_trips.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        self.set(LinkState::Cut);
    }
}

async fn accept(
    listener: TcpListener,
    server: u16,
    state: Arc<watch::Sender<LinkState>>,
    round_trips: Arc<AtomicUsize>,
    tap: Option<Arc<Tap>>,
) {
    for number in 0.. {
        let (client, _) = listener.accept().await.unwrap();
        let (mut cut, pump) = (state.subscribe(), Arc::clone(&state));
        let (round_trips, tap) = (Arc::clone(&round_trips), tap.clone());
        tokio::spawn(async move {
            if *cut.borrow() == LinkState::Cut {
                return;
            }
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let ((client_read, client_write), (server_read, server_write)) =
                (client.into_split(), server.into_split());
            // Whether the server has said something since the client last did.
            let answered = AtomicUsize::new(1);
            let asks = |bytes: &[u8]| {
                if let Some(tap) = &tap {
                    tap.read(number, bytes);
                }
                round_trips.fetch_add(answered.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            };
            let answers = |_: &[u8]| answered.store(1, Ordering::Relaxed);
            tokio::select! {
                () = copy(client_read, server_write, &pump, asks) => {}
                () = copy(server_read, client_write, &pump, answers) => {}
                _ = cut.wait_for(|state| *state == LinkState::Cut) => {}
            }
        });
    }
}

/// Passes on what is read until one side ends.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: &watch::Sender<LinkState>,
    seen: impl Fn(&[u8]),
) {
    let mut buffer = vec![0; 64 << 10];
    let mut changes = state.subscribe();
    while let Ok(length) = from.read(&mut buffer).await
        && length > 0
    {
        seen(&buffer[..length]);
        let now = changes.wait_for(|state| *state != LinkState::Stalled).await.map(|state| *state);
        if let Ok(LinkState::Slow(delay)) = now {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
