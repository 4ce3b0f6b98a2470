//! Observes one call from its beginning to its end: its span, its report and the metrics of its plugin.
//!
//! A call has ended when its answer is known; that of a stream when its reader has the last item. A call that is dropped before
//! counts as `cancelled`. What the call uses is added up in [`CallUsage`] while it runs and read at the end, so nothing is done
//! for each item of a reply.

use std::sync::Arc;
use std::time::Instant;

use masque_telemetry::metrics::plugins::{
    CALL_CPU, CALL_DURATION, CALL_MEMORY, CALLS, DENIALS, LIMIT_HITS, STATE_REFUSALS, TRAPS,
};
use masque_telemetry::trace::TraceSpan;

use crate::capability::Call;
use crate::diagnostics::CallDiagnostics;
use crate::error::{CallError, Cause};
use crate::observe::{CallUsage, OK, PluginLabels, known_code, limit_named_in};
use crate::profile::PluginProfile;

/// What is noted of a call while it runs. Clones share it.
#[derive(Clone)]
pub(crate) struct CallNotes {
    pub(super) usage: Arc<CallUsage>,
    pub(super) diagnostics: CallDiagnostics,
}

/// Observes one call. Where it is dropped without [`Self::end`], the call was cancelled.
#[must_use]
pub(crate) struct CallObserver {
    function: &'static str,
    /// Absent where calls of the plugin are not counted.
    labels: Option<PluginLabels>,
    /// Taken at the end.
    span: Option<TraceSpan>,
    notes: CallNotes,
}

impl CallObserver {
    /// A call begins. Its requests to the host belong to its span from here on.
    pub(crate) fn begin(profile: &PluginProfile, call: &mut Call, function: &'static str) -> Self {
        let usage = CallUsage::new(Instant::now());
        if let Some(report) = &call.report {
            report.begin(Arc::clone(&usage));
        }
        call.report = call.report.take().filter(|report| report.lists_host_calls());
        let span = call.trace.span(span_name(function));
        if span.is_recorded() {
            span.set("masque.plugin.name", Arc::clone(&profile.name));
            span.set("masque.plugin.version", Arc::clone(&profile.version));
            span.set("masque.plugin.digest", Arc::clone(&profile.digest));
            span.set("masque.plugin.function", function);
        }
        call.trace = span.parent();
        let notes = CallNotes { usage, diagnostics: CallDiagnostics::default() };
        Self { function, labels: profile.labels(), span: Some(span), notes }
    }

    /// For the code that makes the call.
    pub(crate) fn notes(&self) -> CallNotes {
        self.notes.clone()
    }

    /// The call succeeded, or failed with an error.
    pub(crate) fn end(mut self, error: Option<&CallError>) {
        let outcome = error.map_or(OK, |error| known_code(error.code()));
        self.finish(outcome, error.map(|error| &error.cause));
    }

    /// The plugin itself ended its reply with a failure of this code.
    pub(crate) fn end_failed(mut self, code: &str) {
        self.finish(known_code(code), None);
    }

    fn finish(&mut self, outcome: &'static str, cause: Option<&Cause>) {
        let Some(span) = self.span.take() else { return };
        self.notes.usage.end_spans();
        self.describe(&span, outcome);
        if let Some(PluginLabels { plugin, version }) = &self.labels {
            self.count(&span, plugin, version, outcome, cause);
        }
    }

    fn describe(&self, span: &TraceSpan, outcome: &'static str) {
        if !span.is_recorded() {
            return;
        }
        let usage = &self.notes.usage;
        span.set("masque.plugin.instantiation_time", usage.instantiation().as_secs_f64());
        span.set("masque.plugin.cpu_time", usage.cpu().as_secs_f64());
        span.set("masque.plugin.peak_memory", i64::try_from(usage.peak_memory()).unwrap_or(i64::MAX));
        span.set("masque.plugin.upstream_wait", usage.upstream_wait().as_secs_f64());
        span.set("masque.plugin.outcome", outcome);
        if outcome != OK {
            span.fail(outcome);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    fn count(&self, span: &TraceSpan, plugin: &str, version: &str, outcome: &str, cause: Option<&Cause>) {
        let CallNotes { usage, diagnostics } = &self.notes;
        let function = self.function;
        CALLS.increment(&[plugin, version, function, outcome]);
        span.observe(&CALL_DURATION, &[plugin, version, function], usage.begun().elapsed().as_secs_f64());
        span.observe(&CALL_CPU, &[plugin, version, function], usage.cpu().as_secs_f64());
        span.observe(&CALL_MEMORY, &[plugin, version], usage.peak_memory() as f64);
        if let Some(Cause::Trap(_)) = cause {
            TRAPS.increment(&[plugin, version]);
        }
        let mut limits = diagnostics.limits();
        if let Some(limit) = cause.and_then(limit_of)
            && !limits.contains(&limit)
        {
            limits.push(limit);
        }
        for limit in limits {
            LIMIT_HITS.increment(&[plugin, version, limit]);
        }
        for (grant, count) in diagnostics.denials() {
            DENIALS.add(&[plugin, version, grant], count);
        }
        let refused = diagnostics.state_refusals();
        if refused > 0 {
            STATE_REFUSALS.add(&[plugin, version], refused);
        }
    }
}

impl Drop for CallObserver {
    fn drop(&mut self) {
        self.finish("cancelled", None);
    }
}

/// The limit that ended a call.
fn limit_of(cause: &Cause) -> Option<&'static str> {
    match cause {
        Cause::WallTime(_) => Some("wall"),
        Cause::CpuTime(_) => Some("cpu"),
        Cause::Memory { .. } => Some("memory"),
        Cause::Table { .. } => Some("table_elements"),
        Cause::Stack { .. } => Some("stack"),
        Cause::HostResources(reason) => limit_named_in(reason),
        Cause::Failed(_)
        | Cause::Trap(_)
        | Cause::Contract(_)
        | Cause::Truncated
        | Cause::Busy(_)
        | Cause::Unsupported(_)
        | Cause::Engine(_) => None,
    }
}

fn span_name(function: &'static str) -> &'static str {
    match function {
        "compose" => "plugin.compose",
        "generate" => "plugin.generate",
        "greet" => "plugin.greet",
        "observe" => "plugin.observe",
        "recall" => "plugin.recall",
        "reflect" => "plugin.reflect",
        _ => "plugin.call",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_cause_that_is_a_limit_is_counted_by_its_name() {
        let delta = "one item of its reply had 9 bytes, of 8 (limit `delta_bytes`)";
        for (cause, limit) in [
            (Cause::WallTime(Duration::ZERO), Some("wall")),
            (Cause::CpuTime(Duration::ZERO), Some("cpu")),
            (Cause::Memory { limit: 1 }, Some("memory")),
            (Cause::HostResources(delta.to_owned()), Some("delta_bytes")),
            (Cause::Trap("(limit `cpu`)".to_owned()), None),
        ] {
            assert_eq!(limit_of(&cause), limit, "{cause}");
        }
    }
}
