//! An attempt to make something of changed files, whoever makes it: a host that follows its own files, or one that publishes
//! them for all.

use masque_config::FileSnapshot;

/// Makes something of files when they have changed. [`crate::follow`] decides when.
pub(crate) trait Reload: Send + Sync {
    /// The files behind what was made last.
    fn files(&self) -> FileSnapshot;

    /// Whether an attempt is due although no file has changed yet.
    fn is_due(&self) -> bool;

    /// Makes one attempt. Dropping the future is safe at any point.
    fn reload(&mut self) -> impl Future<Output = ReloadAttempt> + Send;

    /// Records an attempt that panicked. The panic hook has reported where.
    fn refuse_after_panic(&self);
}

/// A finished attempt.
pub(crate) struct ReloadAttempt {
    /// The files that the attempt read.
    pub(crate) files: FileSnapshot,
    /// Whether another attempt with the same files may have another result.
    pub(crate) needs_retry: bool,
    /// Whether the files said something other than the reading before.
    pub(crate) has_changed: bool,
}

/// Whether the files changed since they were read. Then the reading may mix old and new content.
pub(crate) async fn have_changed(files: &FileSnapshot) -> bool {
    let before = files.clone();
    // A panic is reported by the panic hook and says nothing about the files.
    tokio::task::spawn_blocking(move || before.differs_from(&before.retake())).await.unwrap_or(false)
}
