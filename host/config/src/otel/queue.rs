//! `OTEL_BSP_*`: how spans wait to be sent, in batches.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::variables::Variables;

const DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";
const EXPORT_TIMEOUT: &str = "OTEL_BSP_EXPORT_TIMEOUT";
const MAX_SPANS: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const MAX_BATCH: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";

/// The least size of the queue: the spans of one turn, which are sent together.
const SPANS_OF_A_TURN: usize = 128;

/// How spans wait to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceQueue {
    /// The most spans that wait.
    pub max_spans: usize,
    /// The most spans that are sent together.
    pub max_batch: usize,
    /// How long a batch waits for further spans.
    pub delay: Duration,
}

pub(super) fn read(variables: Variables<'_>) -> TraceQueue {
    let max_spans = number(variables, MAX_SPANS, 2048, SPANS_OF_A_TURN..=1_000_000);
    let max_batch = number(variables, MAX_BATCH, 512.min(max_spans), 1..=1_000_000);
    if max_batch > max_spans {
        let what = format!("a batch of {max_batch} spans does not fit into a queue of {max_spans}");
        variables.refuse(MAX_BATCH, &what, "Lower it, or raise OTEL_BSP_MAX_QUEUE_SIZE.");
    }
    TraceQueue { max_spans, max_batch, delay: milliseconds(variables, DELAY, Duration::from_secs(5)) }
}

/// The longest time for one batch, as the processor of batches has it.
pub(super) fn export_timeout(variables: Variables<'_>) -> Duration {
    milliseconds(variables, EXPORT_TIMEOUT, Duration::from_secs(30))
}

/// A time in milliseconds, up to an hour.
pub(super) fn milliseconds(variables: Variables<'_>, name: &str, default: Duration) -> Duration {
    let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(number(variables, name, default, 1..=3_600_000))
}

fn number<T: FromStr + PartialOrd + Display + Copy>(
    variables: Variables<'_>,
    name: &str,
    default: T,
    range: RangeInclusive<T>,
) -> T {
    let Some(text) = variables.get(name) else { return default };
    match text.trim().parse::<T>() {
        Ok(number) if range.contains(&number) => number,
        _ => {
            let what = format!(
                "`{}` is not a whole number from {} to {}",
                text.escape_debug(),
                range.start(),
                range.end()
            );
            variables.refuse(name, &what, &format!("Unset it for {default}."));
            default
        }
    }
}
