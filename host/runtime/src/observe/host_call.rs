//! One request of a guest to the contract's imports, as a span and as an entry of the call's report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use masque_telemetry::trace::{SpanParent, TraceSpan};
use serde_json::{Value, json};

use super::codes::known_code;
use super::detail::Details;
use super::usage::CallUsage;
use crate::capability::Call;
use crate::contract::Failure;
use crate::report::{CallReport, HostCall};
use crate::secret_matcher::SecretMatcher;

/// A request that has begun. Where it is dropped before its end, the call was cancelled.
#[must_use]
pub(crate) struct ObservedHostCall(Option<Observation>);

struct Observation {
    span: TraceSpan,
    report: Option<Arc<CallReport>>,
    interface: &'static str,
    operation: &'static str,
    begun: Instant,
    started: Duration,
    secrets: SecretMatcher,
}

impl ObservedHostCall {
    /// Begins a request. `name` is its interface and function, such as `state.get`. Nothing is observed where `call` wants
    /// neither a span nor a report.
    pub(crate) fn begin(call: &Call, usage: &CallUsage, secrets: &SecretMatcher, name: &'static str) -> Self {
        if call.report.is_none() && !call.trace.is_recorded() {
            return Self(None);
        }
        let (interface, operation) = name.split_once('.').unwrap_or(("", name));
        Self(Some(Observation {
            span: call.trace.span(name),
            report: call.report.clone(),
            interface,
            operation,
            begun: Instant::now(),
            started: usage.begun().elapsed(),
            secrets: secrets.clone(),
        }))
    }

    /// Where steps within the request begin; `outside` where it is not observed.
    pub(crate) fn trace(&self, outside: &SpanParent) -> SpanParent {
        self.0.as_ref().map_or_else(|| outside.clone(), |observation| observation.span.parent())
    }

    /// Adds an attribute to the span.
    pub(crate) fn set(&self, name: &'static str, value: &'static str) {
        if let Some(observation) = &self.0 {
            observation.span.set(name, value);
        }
    }

    /// Describes something for the report before it is given away.
    pub(crate) fn describe(&self, describe: impl FnOnce(&Details<'_>) -> Value) -> Value {
        match &self.0 {
            Some(Observation { report: Some(report), secrets, .. }) => {
                describe(&Details::new(report, secrets))
            }
            _ => Value::Null,
        }
    }

    /// Ends the request. `detail` describes what was asked and answered.
    pub(crate) fn end<T>(
        mut self,
        result: &Result<T, Failure>,
        detail: impl FnOnce(&Details<'_>, Option<&T>) -> Value,
    ) {
        let Some(observation) = self.0.take() else { return };
        let outcome = result.as_ref().map_or_else(|failure| known_code(&failure.code), |_| "ok");
        let describe = |details: &Details<'_>| detail(details, result.as_ref().ok());
        observation.end(outcome, Some(describe));
    }
}

impl Observation {
    fn end(self, outcome: &'static str, detail: Option<impl FnOnce(&Details<'_>) -> Value>) {
        if outcome != "ok" {
            self.span.fail(outcome);
        }
        let Some(report) = self.report else { return };
        let details = Details::new(&report, &self.secrets);
        report.add(HostCall {
            interface: self.interface,
            operation: self.operation.to_owned(),
            started: self.started,
            duration: self.begun.elapsed(),
            outcome: outcome.to_owned(),
            detail: detail.map_or_else(|| json!({}), |detail| detail(&details)),
        });
    }
}

impl Drop for ObservedHostCall {
    fn drop(&mut self) {
        if let Some(observation) = self.0.take() {
            observation.end("cancelled", None::<fn(&Details<'_>) -> Value>);
        }
    }
}
