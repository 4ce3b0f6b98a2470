//! The native baseline: a turn without a sandbox. It runs the same plugins, compiled natively and called as functions, with
//! the same store, the same two durable writes and the same events over HTTP. The difference to a host is the cost of the
//! sandbox and of the host's other features together.
//!
//! The baseline is as fast as possible, so that the comparison does not favour the host: each core has a thread with its
//! own listener, connections and model client, and threads share only the store.

mod transport;
mod turn;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use masque_sdk::testing;
use masque_store_sqlite::SqliteStore;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::LocalSet;

use turn::Companion;

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// The model server, `HOST:PORT`.
    #[arg(long)]
    model: String,
    /// The name of the model.
    #[arg(long)]
    name: String,
    /// The folder of the database.
    #[arg(long)]
    data: PathBuf,
}

/// Prints its address, then serves until it is killed.
pub(crate) async fn serve(options: Options) -> anyhow::Result<()> {
    let store = SqliteStore::open(&options.data).await?;
    let first = listen("127.0.0.1:0".parse()?)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..std::thread::available_parallelism()?.get() {
        listeners.push(listen(address)?);
    }
    println!("{address}");
    let threads = listeners.into_iter().map(|listener| {
        let (store, options) = (Arc::clone(&store), options.clone());
        std::thread::spawn(move || serve_on_thread(listener, store, &options))
    });
    for thread in threads.collect::<Vec<_>>() {
        tokio::task::spawn_blocking(move || thread.join())
            .await?
            .ok()
            .context("a thread of the native baseline ended")??;
    }
    Ok(())
}

/// Makes one of several listeners that share a port.
fn listen(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket.listen(1024)?.into_std()?)
}

/// Serves the connections of one listener on this thread.
fn serve_on_thread(
    listener: std::net::TcpListener,
    store: Arc<SqliteStore>,
    options: &Options,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    testing::set_transport(transport::http());
    let companion = Rc::new(Companion::new(store, &options.model, &options.name));
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let companion = Rc::clone(&companion);
            let service = service_fn(move |request| {
                let companion = Rc::clone(&companion);
                async move { Ok::<_, Infallible>(companion.answer(request).await) }
            });
            tokio::task::spawn_local(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(socket), service),
            );
        }
    })
}
