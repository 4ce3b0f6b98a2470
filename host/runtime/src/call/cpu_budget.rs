//! The CPU budget of a call: how its time is measured, and how a guest that computes yields.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use wasmtime::{Store, UpdateDeadline};

use super::poll_time::PollTime;
use crate::contract::Failure;
use crate::cpu_meter::CpuMeter;
use crate::guest::Guest;
use crate::instance::{LiveInstance, Work};
use crate::observe::CallUsage;
use crate::time_slice::OnTick;

/// Makes the guest yield at ticks. Its time slice decides when and for how long.
pub(super) fn yield_at_ticks(store: &mut Store<Guest>, meter: Arc<CpuMeter>, tick: Duration) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        let decision = meter.slice().on_tick(Instant::now(), tick);
        Ok(match decision {
            OnTick::Continue => UpdateDeadline::Continue(1),
            OnTick::Yield => UpdateDeadline::Yield(1),
            OnTick::YieldForOneTick => {
                let meter = meter.clone();
                let pause = async move {
                    tokio::time::sleep(tick).await;
                    meter.slice().end_long_yield();
                };
                UpdateDeadline::YieldCustom(1, Box::pin(pause))
            }
        })
    });
}

/// Adds up the thread's CPU time over the polls of the store's future. A call hook would miss what the host does on the
/// guest's behalf, such as lifting its results.
pub(super) struct MeteredWork<R> {
    pub(super) work: Work<R>,
    pub(super) meter: Arc<CpuMeter>,
    pub(super) usage: Arc<CallUsage>,
}

/// The CPU limit that ran out.
pub(super) struct CpuLimitExceeded(pub(super) Duration);

impl<R> Future for MeteredWork<R> {
    type Output = Result<wasmtime::Result<(Result<R, Failure>, LiveInstance)>, CpuLimitExceeded>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (now, spent) = (Instant::now(), self.meter.spent());
        self.meter.slice().resume(now);
        let time = PollTime::begin(now);
        let polled = self.work.as_mut().poll(cx);
        // A nested call runs within this poll and has added its time to the meter.
        let nested = self.meter.spent().saturating_sub(spent);
        let used = time.end(Instant::now()).saturating_sub(nested);
        self.meter.add(used);
        self.usage.add_cpu(used);
        self.meter.slice().suspend(used);
        match (polled, self.meter.exceeded_limit()) {
            (Poll::Ready(done), _) => Poll::Ready(Ok(done)),
            (Poll::Pending, Some(limit)) => Poll::Ready(Err(CpuLimitExceeded(limit))),
            (Poll::Pending, None) => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::*;

    const TICK: Duration = Duration::from_millis(2);
    /// No test spends as much.
    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_wait_of_the_guest_ends_its_time_slice() {
        let meter = Arc::new(CpuMeter::new(LIMIT, None));
        let decide = |meter: &CpuMeter| meter.slice().on_tick(Instant::now() + TICK, TICK);
        while decide(&meter) == OnTick::Yield {
            meter.slice().suspend(TICK);
        }
        meter.slice().end_long_yield();
        let work: Work<()> = Box::pin(pending());
        let usage = CallUsage::new(Instant::now());
        let mut metered = Box::pin(MeteredWork { work, meter: meter.clone(), usage });
        let polled = poll_fn(|cx| Poll::Ready(metered.as_mut().poll(cx).is_pending())).await;
        assert!(polled, "the guest waits");
        assert_eq!(decide(&meter), OnTick::Yield);
    }
}
