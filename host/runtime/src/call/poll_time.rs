//! The CPU time of one poll, mostly without asking the kernel.
//!
//! The clock of a thread's CPU time takes a system call (0.2 to 1 µs), and a streamed turn has some hundred polls, most of which
//! take a few microseconds. The wall clock takes none, and a poll never uses more CPU time than wall time. The policy: a short
//! poll is charged its wall time; a long one is charged the CPU time of its thread since the last look at that clock before it,
//! which is a moment old at most. So a call is never charged less than it used. The accepted consequence: it may be charged
//! more, by [`SHORT_POLL`] or [`MAX_AGE`] for each poll in which its thread lost the processor.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A poll that takes less wall time than this is charged all of it. A thread that loses its processor gets it back after a
/// longer time: a scheduler's slice is 0.7 ms or more (Linux, `sched(7)`).
const SHORT_POLL: Duration = Duration::from_micros(100);
/// How old the last look at the thread's clock may be when a poll begins. On a busy thread it is at most one look in that time,
/// 0.2 % of its time.
const MAX_AGE: Duration = Duration::from_micros(200);

/// A look at the clock of this thread.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    cpu: Duration,
}

thread_local! {
    static LAST_LOOK: Cell<Option<Look>> = const { Cell::new(None) };
}

/// Measures one poll, which begins and ends on the same thread.
pub(super) struct PollTime {
    began: Instant,
    /// The thread's CPU time at some moment before the poll.
    cpu_before: Duration,
}

impl PollTime {
    /// A poll begins.
    pub(super) fn begin(now: Instant) -> Self {
        let recent = LAST_LOOK.get().filter(|look| now.saturating_duration_since(look.at) < MAX_AGE);
        let look = recent.unwrap_or_else(|| take_look(now));
        Self { began: now, cpu_before: look.cpu }
    }

    /// The poll ends. Returns what it is charged: at least the CPU time that it used.
    pub(super) fn end(self, now: Instant) -> Duration {
        let wall = now.saturating_duration_since(self.began);
        charge(wall, || take_look(now).cpu.saturating_sub(self.cpu_before))
    }
}

/// What a poll is charged that took `wall` time. `cpu` is at least the CPU time that it used.
fn charge(wall: Duration, cpu: impl FnOnce() -> Duration) -> Duration {
    if wall < SHORT_POLL { wall } else { wall.min(cpu()) }
}

fn take_look(now: Instant) -> Look {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let cpu = Duration::new(
        time.tv_sec.try_into().unwrap_or_default(),
        time.tv_nsec.try_into().unwrap_or_default(),
    );
    let look = Look { at: now, cpu };
    LAST_LOOK.set(Some(look));
    look
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread_time() -> Duration {
        take_look(Instant::now()).cpu
    }

    /// Uses at least that much CPU time of this thread.
    fn spin(time: Duration) {
        let from = thread_time();
        while thread_time() - from < time {}
    }

    #[test]
    fn a_poll_is_charged_its_wall_time_or_the_threads_cpu_time_whichever_is_less() {
        let us = Duration::from_micros;
        for (wall, cpu, charged) in
            [(0, 0, 0), (99, 5000, 99), (100, 30, 30), (4000, 30, 30), (150, 300, 150)]
        {
            assert_eq!(charge(us(wall), || us(cpu)), us(charged), "{wall} µs, {cpu} µs");
        }
    }

    #[test]
    fn a_poll_is_never_charged_less_than_it_used() {
        for work in [Duration::ZERO, SHORT_POLL / 4, SHORT_POLL, 20 * SHORT_POLL] {
            let timer = PollTime::begin(Instant::now());
            let from = thread_time();
            spin(work);
            let used = thread_time() - from;
            assert!(timer.end(Instant::now()) >= used, "{used:?}");
        }
    }

    #[test]
    fn a_poll_whose_thread_loses_the_processor_is_not_charged_for_the_wait() {
        let timer = PollTime::begin(Instant::now());
        // A thread that waits has lost its processor too.
        std::thread::park_timeout(Duration::from_millis(50));
        let charged = timer.end(Instant::now());
        assert!(charged < Duration::from_millis(25), "{charged:?}");
    }

    #[test]
    fn what_other_tasks_used_long_before_a_poll_is_not_charged() {
        take_look(Instant::now());
        spin(Duration::from_millis(20));
        LAST_LOOK.set(LAST_LOOK.get().map(|look| Look { at: look.at - MAX_AGE, cpu: Duration::ZERO }));
        let timer = PollTime::begin(Instant::now());
        std::thread::park_timeout(Duration::from_millis(50));
        let charged = timer.end(Instant::now());
        assert!(charged < Duration::from_millis(15), "{charged:?}");
    }
}
