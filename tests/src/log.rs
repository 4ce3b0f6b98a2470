//! Collects the output of a process as it arrives.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

/// The output of a process, both streams. Clones share the text.
#[derive(Clone)]
pub(crate) struct Log {
    text: Arc<watch::Sender<String>>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { text: Arc::new(watch::Sender::new(String::new())) }
    }

    /// Reads `stream` to its end.
    pub(crate) async fn follow(self, stream: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).await.is_ok_and(|count| count > 0) {
            self.text.send_modify(|text| text.push_str(&String::from_utf8_lossy(&line)));
            line.clear();
        }
    }

    pub(crate) fn text(&self) -> String {
        self.text.borrow().clone()
    }

    /// Waits until `find` returns a value for the text so far.
    pub(crate) async fn wait_for<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let mut text = self.text.subscribe();
        loop {
            if let Some(found) = find(&text.borrow_and_update()) {
                return found;
            }
            text.changed().await.expect("the log holds its own sender");
        }
    }
}
