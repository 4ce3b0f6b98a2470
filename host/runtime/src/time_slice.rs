//! How long a guest has computed since it last waited, and whether it has to yield at a tick of the epoch.
//!
//! The threat: a guest that computes keeps a worker thread, and tasks that wait for a socket are served late. The policy: a guest
//! that has run for half a tick yields at the next one, and a guest that has computed for long without a wait yields for a whole
//! tick. Both are counted since the guest last waited, not over the whole call: after a wait the engine's epoch has always moved
//! on, and a long stream that computes little at a time adds up to much. The accepted consequence: a guest that waits often is
//! never slowed down; its CPU limit still ends it.

use std::time::{Duration, Instant};

/// A guest that has computed for longer than this since it last waited yields for one tick at each tick, so that tasks that wait
/// for a socket are served first.
///
/// Beside six guests that spin on two cores (the example `fairness`, unoptimised, on a machine with a further load of 13), the
/// p99 of ordinary calls is 40 ms, against 9 ms without them, and their median stays below 0.5 ms. Pauses in proportion to the
/// number of such guests showed no gain.
const LONG_YIELD_AFTER: Duration = Duration::from_millis(20);

/// What a guest does at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnTick {
    /// It runs on until the next tick.
    Continue,
    /// It lets other tasks run once.
    Yield,
    /// It lets other tasks run for one tick.
    YieldForOneTick,
}

/// The yield that a guest is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Yielding {
    No,
    /// Until it is polled again.
    Once,
    /// Until [`TimeSlice::end_long_yield`].
    ForOneTick,
}

/// The time that a guest has computed since it last waited.
#[derive(Debug)]
pub(crate) struct TimeSlice {
    /// CPU time of earlier polls since the last wait.
    cpu: Duration,
    /// When the guest was last resumed.
    resumed: Instant,
    yielding: Yielding,
}

impl TimeSlice {
    /// `now` is the moment at which the guest begins.
    pub(crate) fn new(now: Instant) -> Self {
        Self { cpu: Duration::ZERO, resumed: now, yielding: Yielding::No }
    }

    /// The guest is resumed: after a wait, after a yield, or because something else in its task woke up.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.resumed = now;
        if self.yielding == Yielding::Once {
            self.yielding = Yielding::No;
        }
    }

    /// The guest is suspended after `used` CPU time. Unless it yields, it waits for something, and the next slice begins.
    pub(crate) fn suspend(&mut self, used: Duration) {
        match self.yielding {
            Yielding::No => self.cpu = Duration::ZERO,
            Yielding::Once | Yielding::ForOneTick => self.cpu = self.cpu.saturating_add(used),
        }
    }

    /// Decides what the guest does at a tick, and records a yield. Called while the guest runs; ticks are `tick` apart.
    pub(crate) fn on_tick(&mut self, now: Instant, tick: Duration) -> OnTick {
        // The first tick after a wait may be one that passed during the wait.
        if now.saturating_duration_since(self.resumed) < tick / 2 {
            return OnTick::Continue;
        }
        if self.cpu < LONG_YIELD_AFTER {
            self.yielding = Yielding::Once;
            OnTick::Yield
        } else {
            self.yielding = Yielding::ForOneTick;
            OnTick::YieldForOneTick
        }
    }

    /// The yield for one tick is over.
    pub(crate) fn end_long_yield(&mut self) {
        self.yielding = Yielding::No;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(2);

    /// Runs the guest for a whole tick, to its yield. Returns what it did at the tick.
    fn compute(slice: &mut TimeSlice, now: &mut Instant) -> OnTick {
        slice.resume(*now);
        *now += TICK;
        let done = slice.on_tick(*now, TICK);
        slice.suspend(TICK);
        if done == OnTick::YieldForOneTick {
            *now += TICK;
            slice.end_long_yield();
        }
        done
    }

    #[test]
    fn a_guest_that_computes_without_a_wait_yields_for_longer_after_20_ms() {
        let mut now = Instant::now();
        let mut slice = TimeSlice::new(now);
        let done: Vec<_> = (0..14).map(|_| compute(&mut slice, &mut now)).collect();
        assert_eq!(done[..10], [OnTick::Yield; 10]);
        assert_eq!(done[10..], [OnTick::YieldForOneTick; 4]);
    }

    #[test]
    fn a_stream_that_computes_much_in_all_and_little_at_a_time_never_yields_for_a_tick() {
        let mut now = Instant::now();
        let mut slice = TimeSlice::new(now);
        for delta in 0..1000 {
            assert_eq!(compute(&mut slice, &mut now), OnTick::Yield, "delta {delta}");
            slice.resume(now);
            slice.suspend(TICK);
            now += 10 * TICK;
        }
    }

    #[test]
    fn a_tick_that_passed_during_a_wait_is_no_reason_to_yield() {
        let mut now = Instant::now();
        let mut slice = TimeSlice::new(now);
        slice.suspend(Duration::from_micros(10));
        now += 100 * TICK;
        slice.resume(now);
        assert_eq!(slice.on_tick(now + Duration::from_micros(10), TICK), OnTick::Continue);
        assert_eq!(slice.on_tick(now + TICK, TICK), OnTick::Yield);
    }

    #[test]
    fn waking_up_during_a_long_yield_does_not_count_as_a_wait() {
        let mut now = Instant::now();
        let mut slice = TimeSlice::new(now);
        while compute(&mut slice, &mut now) == OnTick::Yield {}
        slice.resume(now);
        assert_eq!(slice.on_tick(now + TICK, TICK), OnTick::YieldForOneTick);
        slice.suspend(TICK);
        // Another future of the same task wakes it.
        slice.resume(now + TICK);
        slice.suspend(Duration::ZERO);
        slice.end_long_yield();
        now += 2 * TICK;
        assert_eq!(compute(&mut slice, &mut now), OnTick::YieldForOneTick);
    }
}
