//! The limit on the size of files (`ulimit -f`, `LimitFSIZE=` of systemd).
//!
//! A write beyond it sends SIGXFSZ, which ends a process without a word unless it is handled. With a handler the write fails
//! with EFBIG instead (`setrlimit(2)`), and is treated like one on a full disk. The handler does not survive `exec`, so
//! processes that the host starts keep the default.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// SIGXFSZ on Linux (`signal(7)`).
const SIGXFSZ: i32 = 25;

/// Makes writes beyond the limit fail instead of ending the process, from here to its end. Must be called within a tokio
/// runtime.
///
/// # Errors
/// The handler can't be installed.
pub(crate) fn make_writes_fail() -> io::Result<()> {
    // The handler stays when the listener is dropped; nobody waits for the signal.
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}
