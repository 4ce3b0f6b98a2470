//! Notices that a file behind the active set has changed, and has the next generation made.
//!
//! An event of the kernel (inotify) only starts a comparison of the files' metadata; the comparison decides. Network file
//! systems send no events and event queues overflow, so the files are also compared at intervals.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use masque_config::FileSnapshot;
use tokio_util::sync::CancellationToken;

use crate::attempt::{Reload, ReloadAttempt};
use crate::debounce::{Observable, debounce};
use crate::reload::Reloader;
use crate::watcher::FolderWatcher;

/// The interval of comparisons without an event.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Follows the files until `stop` is cancelled. An attempt that is cut short has published nothing, and its compiler ends
/// with it.
pub async fn follow(reloader: Reloader, stop: CancellationToken) {
    stop.run_until_cancelled(follow_files(reloader)).await;
}

/// Follows the files without end.
pub(crate) async fn follow_files(reloader: impl Reload) {
    Follower::new(reloader).run().await
}

struct Follower<R> {
    reloader: R,
    watcher: FolderWatcher,
    /// The files as the last attempt found them.
    files: FileSnapshot,
    /// Whether the last attempt may have another result although no file changes.
    needs_retry: bool,
}

impl<R: Reload> Follower<R> {
    fn new(reloader: R) -> Self {
        let (files, needs_retry) = (reloader.files(), reloader.is_due());
        Self { reloader, watcher: FolderWatcher::open(), files, needs_retry }
    }

    async fn run(mut self) {
        // `is_triggered`: an event or the interval asked for a comparison. `is_debounced`: the files have been waited for.
        let (mut is_triggered, mut is_debounced) = (self.needs_retry, false);
        loop {
            // Set the watches before comparing, so that no change is missed between the two.
            self.watcher.watch(&self.files).await;
            let has_changed = self.have_files_changed().await;
            if has_changed && !is_debounced {
                debounce(&self.files).await;
            }
            if has_changed || is_triggered && (self.needs_retry || self.files.has_recent_changes()) {
                let ReloadAttempt { mut files, needs_retry, has_changed } = self.attempt().await;
                files.learn_unstable_numbers(&self.files, !has_changed);
                (self.files, self.needs_retry) = (files, needs_retry);
                (is_triggered, is_debounced) = (false, false);
                continue;
            }
            is_triggered = true;
            tokio::select! {
                () = self.watcher.changed() => {
                    // Compares only the files of the set: a log that grows in the same folder delays nothing.
                    debounce(&self.files).await;
                    is_debounced = true;
                }
                () = tokio::time::sleep(POLL_INTERVAL) => is_debounced = false,
            }
        }
    }

    /// Makes one attempt. One that panics is a refused change: nothing was published, and the same files are not tried
    /// again.
    async fn attempt(&mut self) -> ReloadAttempt {
        match AssertUnwindSafe(self.reloader.reload()).catch_unwind().await {
            Ok(attempt) => attempt,
            Err(_panic) => {
                self.reloader.refuse_after_panic();
                ReloadAttempt { files: retake(&self.files).await, needs_retry: false, has_changed: true }
            }
        }
    }

    async fn have_files_changed(&self) -> bool {
        self.files.differs_from(&retake(&self.files).await)
    }
}

impl Observable for FileSnapshot {
    type State = Self;

    async fn observe(&self) -> Self {
        retake(self).await
    }

    fn is_same(before: &Self, after: &Self) -> bool {
        !before.differs_from(after)
    }
}

/// Reads the metadata of the same paths again, on a blocking thread: on a network file system that is away even this
/// takes its time.
async fn retake(files: &FileSnapshot) -> FileSnapshot {
    let before = files.clone();
    // A panic is reported by the panic hook; until the next comparison the files count as unchanged.
    tokio::task::spawn_blocking(move || before.retake()).await.unwrap_or_else(|_| files.clone())
}
