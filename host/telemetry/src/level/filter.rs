//! The filter of the log: what is asked for, without the details of other crates.

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::{EnvFilter, Layer};

use crate::targets::{LOG, PLUGIN};

/// The most detailed level of crates that are not Masque's.
const MAX_FOREIGN_LEVEL: Level = Level::INFO;
/// How the targets of Masque's own crates begin.
const OWN_TARGETS: &str = "masque";
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Directives that are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLevel {
    /// One of the directives does not end with a level. A filter would take it for the name of a module, and log almost
    /// nothing.
    #[error(
        "`{0}` is not a level; levels are error, warn, info, debug, trace and off, as in `info,masque_http=debug`"
    )]
    UnknownLevel(String),
    /// There is nothing where a level has to be.
    #[error("{0}; write a level such as `debug`, or directives such as `info,masque_http=debug`")]
    Incomplete(String),
    /// The filter can't be parsed.
    #[error("`{0}` can't be read as directives such as `info,masque_http=debug`")]
    Malformed(String),
}

/// Parses a level or directives such as `info,masque_http=debug`.
pub(crate) fn parse(text: &str) -> Result<EnvFilter, InvalidLevel> {
    let quoted = |text: &str| text.escape_debug().to_string();
    if text.trim().is_empty() {
        return Err(InvalidLevel::Incomplete("the level is empty".to_owned()));
    }
    for directive in text.split(',').map(str::trim) {
        let (target, level) = directive.rsplit_once('=').unwrap_or(("", directive));
        let level = level.trim();
        let missing = match (directive, level) {
            ("", _) => Some(format!("a directive of `{}` is empty", quoted(text))),
            (_, "") => Some(format!("`{}` has no level after the `=`", quoted(directive))),
            _ if target.trim().is_empty() && directive.contains('=') => {
                Some(format!("`{}` has no name before the `=`", quoted(directive)))
            }
            _ => None,
        };
        if let Some(missing) = missing {
            return Err(InvalidLevel::Incomplete(missing));
        }
        if !LEVELS.contains(&level) {
            return Err(InvalidLevel::UnknownLevel(quoted(level)));
        }
    }
    let filter = EnvFilter::try_new(text).map_err(|_| InvalidLevel::Malformed(quoted(text)))?;
    // Whatever the operator's filter leaves out: that lines are missing, and that the level was changed, must be seen.
    Ok(match format!("{LOG}=warn").parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    })
}

/// Lets through what is asked for, except the details of other crates.
pub(crate) struct LevelFilterLayer(EnvFilter);

impl LevelFilterLayer {
    pub(crate) fn new(filter: EnvFilter) -> Self {
        Self(filter)
    }
}

fn is_capped(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    *metadata.level() > MAX_FOREIGN_LEVEL && target != PLUGIN && !target.starts_with(OWN_TARGETS)
}

impl<S: Subscriber> Layer<S> for LevelFilterLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_capped(metadata) {
            return Interest::never();
        }
        Layer::<S>::register_callsite(&self.0, metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        !is_capped(metadata) && Layer::<S>::enabled(&self.0, metadata, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Layer::<S>::max_level_hint(&self.0)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Layer::<S>::on_record(&self.0, id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_enter(&self.0, id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_exit(&self.0, id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.0.on_close(id, context);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::registry()
            .with(LevelFilterLayer::new(parse(level).unwrap()))
            .with(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_level_shows_what_libraries_send_and_receive() {
        for level in ["trace", "hyper=trace", "h2=trace,sqlx=debug,trace", "info,fred=debug"] {
            let text = logged(level, || {
                tracing::trace!(target: "hyper::proto::h1::io", "PLANTED");
                tracing::trace!(target: "h2::codec::framed_write", "PLANTED");
                tracing::debug!(target: "sqlx::query", "PLANTED");
                tracing::debug!(target: "fred", "PLANTED");
                let span = tracing::trace_span!(target: "wasmtime", "call", argument = "PLANTED");
                span.in_scope(|| tracing::error!(target: "masque_turns", "seen"));
            });
            assert!(!text.contains("PLANTED"), "{level}: {text}");
        }
    }

    #[test]
    fn lines_of_masque_and_of_plugins_are_let_through_at_every_level() {
        let text = logged("trace", || {
            tracing::trace!(target: "masque_http::connection", "one");
            tracing::trace!(target: "plugin", "two");
            tracing::info!(target: "hyper", "three");
        });
        for line in ["one", "two", "three"] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        let text = logged("warn,masque_http=debug", || {
            tracing::debug!(target: "masque_http::connection", "one");
            tracing::info!(target: "masque_turns", "two");
        });
        assert!(text.contains("one") && !text.contains("two"), "{text}");
    }

    #[test]
    fn lines_about_the_log_itself_are_let_through_whatever_the_level() {
        assert!(logged("off", || tracing::warn!(target: LOG, "changed")).contains("changed"));
    }

    #[test]
    fn directives_that_are_none_are_refused_with_what_is_wrong() {
        for level in ["info", "off", "warn,masque_http=debug", "masque_http[request]=trace"] {
            assert!(parse(level).is_ok(), "{level}");
        }
        for (level, named) in [
            ("loud", "`loud`"),
            ("info,masque_http=loud", "`loud`"),
            ("masque_http", "`masque_http`"),
            ("[=info", "`[=info`"),
            ("a\nb", "`a\\nb`"),
        ] {
            let refused = parse(level).map(drop).unwrap_err().to_string();
            assert!(refused.starts_with(named), "{level}: {refused}");
        }
    }

    #[test]
    fn directives_with_an_empty_part_are_refused_with_what_to_write() {
        for (level, missing) in [
            ("", "the level is empty"),
            (" ", "the level is empty"),
            ("info,", "a directive of `info,` is empty"),
            ("info, ,masque_http=debug", "a directive of `info, ,masque_http=debug` is empty"),
            ("nonsense=", "`nonsense=` has no level after the `=`"),
            ("info,masque_http= ", "`masque_http=` has no level after the `=`"),
            ("=", "`=` has no level after the `=`"),
            ("=debug", "`=debug` has no name before the `=`"),
        ] {
            let refused = parse(level).map(drop).unwrap_err().to_string();
            let expected = format!(
                "{missing}; write a level such as `debug`, or directives such as `info,masque_http=debug`"
            );
            assert_eq!(refused, expected, "{level:?}");
        }
    }
}
