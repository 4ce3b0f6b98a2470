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
use crate::config::Sources;

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
    sources: Sources,
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
                settle(&mut self.folders).await;
            }
            if changed || asked && (self.again || self.sources.are_unsettled()) {
                let Done { sources, again } = self.reloader.reload().await;
                (self.sources, self.again) = (sources, again);
                (asked, settled) = (false, false);
                continue;
            }
            asked = true;
            tokio::select! {
                () = self.folders.changed() => {
                    settle(&mut self.folders).await;
                    settled = true;
                }
                () = tokio::time::sleep(LOOK) => settled = false,
            }
        }
    }

    async fn have_changed(&self) -> bool {
        let sources = self.sources.clone();
        // Where a network is away even metadata takes its time. A panic has been reported.
        let look = tokio::task::spawn_blocking(move || sources.differ(&sources.again()));
        look.await.unwrap_or(false)
    }
}

/// Whatever tells that something has happened.
pub(super) trait Events {
    /// Resolves when it has.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}

/// Waits until nothing has happened for a moment.
async fn settle(events: &mut impl Events) {
    let end = Instant::now() + LONGEST;
    loop {
        let now = Instant::now();
        if now >= end || tokio::time::timeout_at((now + QUIET).min(end), events.changed()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something happens so many times, with pauses between.
    struct Every {
        pause: Duration,
        times: u32,
    }

    impl Events for Every {
        async fn changed(&mut self) {
            match self.times.checked_sub(1) {
                Some(left) => self.times = left,
                None => std::future::pending().await,
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    async fn settling(pause: Duration, times: u32) -> Duration {
        let start = Instant::now();
        settle(&mut Every { pause, times }).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_close_together_is_one_change() {
        let short = Duration::from_millis(60);
        assert_eq!(settling(short, 3).await, 3 * short + QUIET);
        assert_eq!(settling(2 * QUIET, 3).await, QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_stops_writing_is_not_waited_for() {
        assert_eq!(settling(Duration::from_millis(60), u32::MAX).await, LONGEST);
    }
}
