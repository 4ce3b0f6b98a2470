//! Notices that what the active set is made of has changed, and has the next one made.
//!
//! The kernel's events say that there may be something to look at, and a look at the metadata says whether there is: what
//! happened in between is no one's concern, however a file came to be another one. Network file systems have no events, and
//! queues of events overflow, so there is a look from time to time without one.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Reloader;
use super::folders::Folders;
use super::reload::Done;
use crate::config::FileSnapshot;

/// Who writes several files, or one in several pieces, rarely pauses for longer.
const QUIET: Duration = Duration::from_millis(100);
/// Who never pauses is not waited for any longer.
const LONGEST: Duration = Duration::from_secs(1);
/// Between looks that no event asked for.
const LOOK: Duration = Duration::from_secs(5);

/// Goes on until the host stops.
pub(crate) async fn follow(reloader: Reloader, stop: CancellationToken) {
    // An attempt that is cut short has published nothing, and its compiler is ended with it.
    stop.run_until_cancelled(Follower::new(reloader).run()).await;
}

struct Follower {
    reloader: Reloader,
    folders: Folders,
    sources: FileSnapshot,
    /// Whether the last attempt may end otherwise although nothing changes.
    again: bool,
}

impl Follower {
    fn new(reloader: Reloader) -> Self {
        let sources = reloader.sources();
        Self { reloader, folders: Folders::open(), sources, again: false }
    }

    async fn run(mut self) {
        // Whether an event or the time asks for a look, and whether the files have been given time to settle.
        let (mut asked, mut settled) = (false, false);
        loop {
            // Before the look, so that nothing falls between the two.
            self.folders.watch(&self.sources).await;
            let changed = self.have_changed().await;
            if changed && !settled {
                self.settle().await;
            }
            if changed || asked && (self.again || self.sources.has_recent_changes()) {
                let Done { sources, again } = self.reloader.reload().await;
                (self.sources, self.again) = (sources, again);
                (asked, settled) = (false, false);
                continue;
            }
            asked = true;
            tokio::select! {
                () = self.folders.changed() => {
                    self.settle().await;
                    settled = true;
                }
                () = tokio::time::sleep(LOOK) => settled = false,
            }
        }
    }

    async fn have_changed(&self) -> bool {
        self.sources.differs_from(&look(&self.sources).await)
    }

    /// What else happens in the same folders, such as a log that grows beside the configuration, is not waited for.
    async fn settle(&self) {
        settle(&self.sources).await;
    }
}

/// What can be looked at again and again.
trait Looks {
    type Found;

    /// How it is found now.
    fn look(&self) -> impl Future<Output = Self::Found> + Send;

    fn same(before: &Self::Found, after: &Self::Found) -> bool;
}

impl Looks for FileSnapshot {
    type Found = Self;

    async fn look(&self) -> Self {
        look(self).await
    }

    fn same(before: &Self, after: &Self) -> bool {
        !before.differs_from(after)
    }
}

/// How the files are found now. Where a network is away even metadata takes its time.
async fn look(sources: &FileSnapshot) -> FileSnapshot {
    let looked = sources.clone();
    // A panic has been reported; until the next look it is as if nothing had changed.
    tokio::task::spawn_blocking(move || looked.retake()).await.unwrap_or_else(|_| sources.clone())
}

/// Waits until two looks, a moment apart, find the same.
async fn settle<L: Looks>(files: &L) {
    let end = Instant::now() + LONGEST;
    let mut before = files.look().await;
    loop {
        tokio::time::sleep_until((Instant::now() + QUIET).min(end)).await;
        let after = files.look().await;
        if L::same(&before, &after) || Instant::now() >= end {
            return;
        }
        before = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something is written every `pause`, so many times.
    struct Written {
        since: Instant,
        pause: Duration,
        times: u32,
    }

    impl Looks for Written {
        type Found = u32;

        async fn look(&self) -> u32 {
            let passed = self.since.elapsed().as_millis() / self.pause.as_millis();
            u32::try_from(passed).unwrap_or(u32::MAX).min(self.times)
        }

        fn same(before: &u32, after: &u32) -> bool {
            before == after
        }
    }

    async fn settling(pause: Duration, times: u32) -> Duration {
        let since = Instant::now();
        settle(&Written { since, pause, times }).await;
        since.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_close_together_is_one_change() {
        let short = Duration::from_millis(60);
        // The looks at 0, 100 and 200 ms find another file each, the one at 300 ms the same.
        assert_eq!(settling(short, 3).await, 3 * QUIET);
        assert_eq!(settling(2 * QUIET, 3).await, QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_stops_writing_is_not_waited_for() {
        assert_eq!(settling(Duration::from_millis(60), u32::MAX).await, LONGEST);
    }
}
