//! Carries `tracing` events and `log` records to the host's log.
//!
//! Installed by [`export!`](crate::export) before the author's code runs, so that `tracing::info!(turn = 3, "…")` and
//! `log::info!("…")` work without a word of set-up. The fields of open spans are written before those of the event.

use crate::host;
use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber, span};

type Fields = Vec<(String, String)>;

/// `trace` is left out: a call's log is bounded, and a dependency that traces would use it up.
const FINEST: tracing::Level = tracing::Level::DEBUG;

/// Makes `tracing` and `log` write to the host. The second time and from then on it does nothing, and it leaves alone
/// what a plugin installed by itself.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Both fail only where the author installed something else, which is then what the author wants.
        let _ = tracing::subscriber::set_global_default(ToHost::default());
        if log::set_logger(&LogToHost).is_ok() {
            log::set_max_level(log::LevelFilter::Debug);
        }
    });
}

/// A subscriber as small as the host's `log` needs one.
#[derive(Default)]
struct ToHost {
    next: AtomicU64,
    spans: Mutex<Vec<Span>>,
}

struct Span {
    id: u64,
    /// A clone of a span is closed by itself; the span is gone with the last one.
    handles: usize,
    fields: Fields,
}

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl ToHost {
    fn with_spans<T>(&self, act: impl FnOnce(&mut Vec<Span>) -> T) -> T {
        act(&mut self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Subscriber for ToHost {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= FINEST
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(FINEST.into())
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
            // Writing to a String does not fail.
            "message" => drop(write!(self.message, "{value:?}")),
            name => self.fields.push((name.into(), format!("{value:?}"))),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.fields.push((field.name().into(), value.to_string()));
    }
}

struct LogToHost;

impl log::Log for LogToHost {
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
        tracing::subscriber::with_default(ToHost::default(), act);
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
    fn what_only_traces_is_left_out() {
        assert_eq!(lines(|| tracing::trace!("bytes")).len(), 0);
    }

    #[test]
    fn a_log_record_reaches_the_host_with_its_target() {
        testing::reset();
        let record =
            log::Record::builder().level(log::Level::Error).target("dep").args(format_args!("no")).build();
        log::Log::log(&LogToHost, &record);
        let line = &testing::logged()[0];
        assert_eq!((line.level.as_str(), line.message.as_str()), ("error", "no"));
        assert_eq!(line.fields, [("target".to_string(), "dep".to_string())]);
    }
}
