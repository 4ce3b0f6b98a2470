//! The threads that read, each with a read-only connection of its own. Readers of SQLite block no writer and see the
//! last commit. More threads than cores would only wait for each other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use masque_store::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::error::Result;
use crate::threads::StoreThread;

/// Queries that can wait for one thread. When the queue is full, callers wait.
const QUEUE: usize = 256;

/// How long a query waits for a free thread. A query that runs is not limited by this.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Hands queries to the reading threads.
#[derive(Debug)]
pub(crate) struct Readers {
    threads: Vec<Reader>,
}

#[derive(Debug)]
struct Reader {
    queue: mpsc::Sender<Request>,
    /// Queries that were handed to the thread and are not done.
    pending: Arc<AtomicUsize>,
    thread: StoreThread,
}

/// A message to a thread.
enum Request {
    Run(Query, Pending),
    /// Finish what is queued and end.
    Close,
}

type Query = Box<dyn FnOnce(&Connection) + Send>;

/// Counts one query from the call to its end, also if the caller goes away in between.
struct Pending(Arc<AtomicUsize>);

impl Pending {
    fn count(pending: &Arc<AtomicUsize>) -> Self {
        pending.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(pending))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Readers {
    /// Starts one thread for each connection.
    ///
    /// # Errors
    /// A thread can't be started.
    pub(crate) fn start(connections: Vec<Connection>) -> std::io::Result<Self> {
        let threads = connections.into_iter().map(|connection| {
            let (queue, requests) = mpsc::channel(QUEUE);
            let thread = StoreThread::start("store-reader", move || {
                run(connection, requests);
                Ok(())
            })?;
            Ok(Reader { queue, pending: Arc::default(), thread })
        });
        Ok(Self { threads: threads.collect::<std::io::Result<_>>()? })
    }

    /// Runs a query on the thread with the fewest queries. Of idle ones that is the first, whose caches are warm.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if no thread was free within [`MAX_WAIT`]; the query is not run then.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, StoreError> {
        let least = self.threads.iter().min_by_key(|reader| reader.pending.load(Ordering::Relaxed));
        let reader = least.ok_or_else(closed)?;
        let pending = Pending::count(&reader.pending);
        let (answer, answered) = oneshot::channel();
        // Set by whoever is first: the thread that begins the query, or the caller that has waited too long.
        let is_decided = Arc::new(AtomicBool::new(false));
        let decided = Arc::clone(&is_decided);
        let query: Query = Box::new(move |connection| {
            // A caller that went away needs no answer.
            if !answer.is_closed() && !decided.swap(true, Ordering::Relaxed) {
                let _caller_left = answer.send(query(connection).map_err(StoreError::from));
            }
        });
        let result = async {
            reader.queue.send(Request::Run(query, pending)).await.map_err(|_closed| closed())?;
            answered.await.map_err(|_panicked| StoreError::Internal("a query panicked".into()))?
        };
        tokio::pin!(result);
        match tokio::time::timeout(MAX_WAIT, &mut result).await {
            Ok(result) => result,
            Err(_elapsed) if is_decided.swap(true, Ordering::Relaxed) => result.await,
            Err(_elapsed) => Err(StoreError::Unavailable(format!(
                "no reading thread was free within {} seconds",
                MAX_WAIT.as_secs()
            ))),
        }
    }

    /// Refuses new queries, and returns when the connections are closed.
    pub(crate) async fn close(&self) {
        for reader in &self.threads {
            // Fails if the thread has ended, or is about to.
            let _ = reader.queue.send(Request::Close).await;
        }
        for reader in &self.threads {
            reader.thread.ended().await;
        }
    }

    /// Resolves with the reason when one of the threads ends although nobody closed the store.
    pub(crate) async fn failed(&self) -> StoreError {
        let mut threads: Vec<_> =
            self.threads.iter().map(|reader| Box::pin(reader.thread.failed())).collect();
        std::future::poll_fn(|context| {
            let ended = threads.iter_mut().find_map(|thread| match thread.as_mut().poll(context) {
                Poll::Ready(reason) => Some(reason),
                Poll::Pending => None,
            });
            ended.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

fn run(connection: Connection, mut requests: mpsc::Receiver<Request>) {
    while let Some(request) = requests.blocking_recv() {
        match request {
            Request::Run(query, _pending) => {
                // The caller learns of a panic by the answer that does not come.
                let _panicked = catch_unwind(AssertUnwindSafe(|| query(&connection)));
            }
            Request::Close => requests.close(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_query_that_finds_no_free_thread_for_five_seconds_is_unavailable_and_is_not_run() {
        let readers = Readers::start(vec![Connection::open_in_memory().unwrap()]).unwrap();
        let (release, released) = channel::<()>();
        let (begin, begun) = oneshot::channel();
        let long = readers.read(move |_connection| {
            // The test waits for it.
            let _ = begin.send(());
            released.recv().unwrap();
            Ok("done")
        });
        let rest = async {
            begun.await.unwrap();
            // From here on time passes as soon as nothing else is to be done.
            tokio::time::pause();
            let start = tokio::time::Instant::now();
            let late = readers.read(|_connection| -> Result<()> { panic!("the query was run") }).await;
            match late {
                Err(StoreError::Unavailable(text)) => assert!(text.contains("within 5 seconds"), "{text}"),
                other => panic!("{other:?}"),
            }
            assert!(start.elapsed() >= Duration::from_secs(5));
            release.send(()).unwrap();
        };
        let (long, ()) = futures::future::join(long, rest).await;
        assert_eq!(long, Ok("done"), "a query that runs is not interrupted");
        tokio::time::resume();
        assert_eq!(readers.read(|_connection| Ok(7)).await, Ok(7));
        readers.close().await;
    }
}
