//! The CPU budget of a call: how its time is measured, and how a guest that computes yields.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Store, UpdateDeadline};

use crate::contract::Failure;
use crate::cpu_meter::CpuMeter;
use crate::guest::Guest;
use crate::instance::{LiveInstance, Work};

/// A guest that has computed for longer than this yields for one tick at each tick, so that tasks that wait for a socket are
/// served first.
///
/// Beside six guests that spin on two cores (the example `fairness`, unoptimised, on a machine with a further load of 13), the
/// p99 of ordinary calls is 40 ms, against 9 ms without them, and their median stays below 0.5 ms. Pauses in proportion to the
/// number of such guests showed no gain.
const LONG_YIELD_AFTER: Duration = Duration::from_millis(20);

/// Makes the guest yield at every tick.
pub(super) fn yield_at_every_tick(store: &mut Store<Guest>, meter: Arc<CpuMeter>, tick: Duration) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        if meter.spent() < LONG_YIELD_AFTER {
            Ok(UpdateDeadline::Yield(1))
        } else {
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::time::sleep(tick))))
        }
    });
}

/// Adds up the thread's CPU time over the polls of the store's future. A call hook would miss what the host does on the
/// guest's behalf, such as lifting its results.
pub(super) struct MeteredWork<R> {
    pub(super) work: Work<R>,
    pub(super) meter: Arc<CpuMeter>,
}

/// The CPU limit that ran out.
pub(super) struct CpuLimitExceeded(pub(super) Duration);

impl<R> Future for MeteredWork<R> {
    type Output = Result<wasmtime::Result<(Result<R, Failure>, LiveInstance)>, CpuLimitExceeded>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let before = thread_time();
        let polled = self.work.as_mut().poll(cx);
        self.meter.add(thread_time().saturating_sub(before));
        match (polled, self.meter.exceeded_limit()) {
            (Poll::Ready(done), _) => Poll::Ready(Ok(done)),
            (Poll::Pending, Some(limit)) => Poll::Ready(Err(CpuLimitExceeded(limit))),
            (Poll::Pending, None) => Poll::Pending,
        }
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}
