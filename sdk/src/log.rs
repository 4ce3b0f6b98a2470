//! Sends `tracing` events and `log` records to the host's log.
//!
//! [`export!`](crate::export) installs this before the author's code runs, so that `tracing::info!(turn = 3, "…")` and
//! `log::info!("…")` work without setup. A line holds the fields of open spans, then those of the event.

use crate::host;
use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber, span};

type Fields = Vec<(String, String)>;

/// The most verbose level that is sent. The host bounds the log of a call, and a dependency that logs at `trace` would
/// use it up.
const MAX_LEVEL: tracing::Level = tracing::Level::DEBUG;

/// Makes `tracing` and `log` write to the host. Does nothing after the first call, and keeps what the plugin installed
/// itself.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Both fail only if the author installed something else, which is to be kept.
        let _ = tracing::subscriber::set_global_default(HostSubscriber::default());
        if log::set_logger(&HostLogger).is_ok() {
            log::set_max_level(log::LevelFilter::Debug);
        }
    });
}

/// A `tracing` subscriber that writes each event as one line to the host's log.
#[derive(Default)]
struct HostSubscriber {
    next: AtomicU64,
    spans: Mutex<Vec<Span>>,
}

struct Span {
    id: u64,
    /// The number of clones that are open. The span ends when the last one is closed.
    handles: usize,
    fields: Fields,
}

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl HostSubscriber {
    fn with_spans<T>(&self, act: impl FnOnce(&mut Vec<Span>) -> T) -> T {
        act(&mut self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Subscriber for HostSubscriber {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= MAX_LEVEL
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(MAX_LEVEL.into())
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let mut line = Line::default();
        span.record(&mut line);
        self.with_spans(|spans| spans.push(Span { id, handles: 1, fields: line.fields }));
        span::Id::from_u64(id)
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        let mut line = Line::default();
        values.record(&mut line);
        self.with_spans(|spans| {
            if let Some(span) = spans.iter_mut().find(|open| open.id == span.into_u64()) {
                span.fields.append(&mut line.fields);
            }
        });
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        ENTERED.with_borrow(|entered| {
            self.with_spans(|spans| {
                let open = spans.iter().filter(|span| entered.contains(&span.id));
                line.fields.extend(open.flat_map(|span| span.fields.clone()));
            });
        });
        event.record(&mut line);
        let level = event.metadata().level().as_str().to_lowercase();
        host::log(&level, &line.message, &line.fields);
    }

    fn enter(&self, span: &span::Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, span: &span::Id) {
        ENTERED.with_borrow_mut(|entered| {
            if let Some(last) = entered.iter().rposition(|id| *id == span.into_u64()) {
                entered.remove(last);
            }
        });
    }

    fn clone_span(&self, span: &span::Id) -> span::Id {
        self.with_spans(|spans| {
            spans.iter_mut().filter(|open| open.id == span.into_u64()).for_each(|open| open.handles += 1);
        });
        span.clone()
    }

    fn try_close(&self, span: span::Id) -> bool {
        self.with_spans(|spans| {
            let before = spans.len();
            spans.iter_mut().filter(|open| open.id == span.into_u64()).for_each(|open| open.handles -= 1);
            spans.retain(|open| open.handles > 0);
            spans.len() < before
        })
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: Fields,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            name => self.fields.push((name.into(), value.into())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            // Writing to a `String` never fails.
            "message" => drop(write!(self.message, "{value:?}")),
            name => self.fields.push((name.into(), format!("{value:?}"))),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.fields.push((field.name().into(), value.to_string()));
    }
}

struct HostLogger;

impl log::Log for HostLogger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Debug
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_lowercase();
            host::log(&level, &record.args().to_string(), &[("target".into(), record.target().into())]);
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn lines(act: impl FnOnce()) -> Vec<testing::LogLine> {
        testing::reset();
        tracing::subscriber::with_default(HostSubscriber::default(), act);
        testing::logged()
    }

    #[test]
    fn an_event_reaches_the_host_with_its_fields_and_those_of_open_spans() {
        let lines = lines(|| {
            let span = tracing::info_span!("upstream", host = "example.org", status = tracing::field::Empty);
            let entered = span.enter();
            span.record("status", 503);
            tracing::warn!(attempt = 2, "{} busy", "still");
            drop(entered);
            drop(span);
            tracing::info!("idle");
        });
        assert_eq!(lines[0].level, "warn");
        assert_eq!(lines[0].message, "still busy");
        let wanted = [("host", "example.org"), ("status", "503"), ("attempt", "2")];
        assert_eq!(lines[0].fields, wanted.map(|(name, value)| (name.to_string(), value.to_string())));
        assert_eq!((lines[1].message.as_str(), lines[1].fields.len()), ("idle", 0));
    }

    #[test]
    fn trace_events_are_not_sent() {
        assert_eq!(lines(|| tracing::trace!("bytes")).len(), 0);
    }

    #[test]
    fn a_log_record_reaches_the_host_with_its_target() {
        testing::reset();
        let record =
            log::Record::builder().level(log::Level::Error).target("dep").args(format_args!("no")).build();
        log::Log::log(&HostLogger, &record);
        let line = &testing::logged()[0];
        assert_eq!((line.level.as_str(), line.message.as_str()), ("error", "no"));
        assert_eq!(line.fields, [("target".to_string(), "dep".to_string())]);
    }
}
