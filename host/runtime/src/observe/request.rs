//! One outgoing request, as a span, as an entry of the call's report and in the metrics of its plugin.
//!
//! Neither query strings nor header values are kept, and secrets are redacted from what is: a key may be in either, and an
//! upstream may answer anything. A path may hold what a user wrote, so it is text only where content is wanted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Method, Uri};
use masque_grants::Origin;
use masque_telemetry::metrics::plugins::{UPSTREAM_FIRST_BYTE, UPSTREAM_REQUESTS};
use masque_telemetry::trace::{SpanKind, SpanParent, TraceContext, TraceSpan};
use serde_json::{Value, json};
use wasmtime_wasi_http::Error;

use super::codes::request_error_code;
use super::detail::{Details, set};
use super::recorded_body::{BodyDirection, RecordedBody};
use super::usage::{CallUsage, Waiting};
use crate::capability::Call;
use crate::http_method::method_name;
use crate::report::{CallReport, HostCall, HostCallUnderWay};
use crate::secret_matcher::SecretMatcher;

/// The outcomes of a request, as metrics know them.
pub(super) const UPSTREAM_OUTCOMES: [&str; 9] =
    ["1xx", "2xx", "3xx", "4xx", "5xx", "cancelled", "denied", "failed", "timeout"];

/// The plugin and version in whose metrics a request counts.
#[derive(Clone, Debug)]
pub(crate) struct PluginLabels {
    pub(crate) plugin: Arc<str>,
    pub(crate) version: Arc<str>,
}

/// Observes the outgoing requests of one call.
pub(crate) struct RequestObserver {
    trace: SpanParent,
    report: Option<Arc<CallReport>>,
    usage: Arc<CallUsage>,
    labels: Option<PluginLabels>,
    secrets: SecretMatcher,
}

/// One outgoing request, as far as it is known.
#[derive(Debug)]
pub(crate) struct ObservedRequest {
    /// The position of the request in the trace.
    context: TraceContext,
    /// Whether there is a span or a report of it.
    is_detailed: bool,
    begun: Instant,
    started: Duration,
    /// Absent where nothing is kept of it.
    target: Option<Target>,
    labels: Option<PluginLabels>,
    usage: Arc<CallUsage>,
    secrets: SecretMatcher,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Target {
    /// `None` where HTTP has no such method.
    method: Option<&'static str>,
    origin: String,
    /// As the report has it: by size and digest, and as text where the report has texts.
    path: Value,
}

impl Target {
    /// The method, or `_OTHER`, as OpenTelemetry's conventions say. A plugin can make up others.
    fn method(&self) -> &'static str {
        self.method.unwrap_or("_OTHER")
    }
}

#[derive(Debug)]
struct Progress {
    status: Option<u16>,
    head: Option<Duration>,
    /// Why it has no answer, or not all of it.
    failed: Option<&'static str>,
    ended: Option<Duration>,
    sent: RecordedBody,
    received: RecordedBody,
}

impl RequestObserver {
    /// Observes requests of `call`. Without `labels` they count in no metric.
    pub(crate) fn new(
        call: &Call,
        usage: Arc<CallUsage>,
        labels: Option<PluginLabels>,
        secrets: SecretMatcher,
    ) -> Self {
        Self { trace: call.trace.clone(), report: call.report.clone(), usage, labels, secrets }
    }

    /// A request begins.
    pub(crate) fn begin(&self, method: &Method, uri: &Uri) -> Arc<ObservedRequest> {
        let is_detailed = self.report.is_some() || self.trace.is_recorded();
        let target = is_detailed.then(|| Target {
            method: method_name(method),
            origin: Origin::of(uri).map(|origin| origin.to_string()).unwrap_or_default(),
            path: self.report.as_ref().map_or(Value::Null, |report| self.describe_path(report, uri)),
        });
        let context = match &target {
            Some(target) if self.trace.is_recorded() => self.begin_span(target, uri),
            _ => self.trace.context(),
        };
        let body = || RecordedBody::new(self.report.as_ref().map(|report| report.texts().clone()));
        let request = Arc::new(ObservedRequest {
            context,
            is_detailed,
            begun: Instant::now(),
            started: self.usage.begun().elapsed(),
            target,
            labels: self.labels.clone(),
            usage: Arc::clone(&self.usage),
            secrets: self.secrets.clone(),
            progress: Mutex::new(Progress {
                status: None,
                head: None,
                failed: None,
                ended: None,
                sent: body(),
                received: body(),
            }),
        });
        if let Some(report) = &self.report {
            report.add_under_way(Arc::clone(&request) as Arc<dyn HostCallUnderWay>);
        }
        request
    }

    /// The digest is that of the path without secrets, so that nobody can try values of a short one.
    fn describe_path(&self, report: &CallReport, uri: &Uri) -> Value {
        Details::new(report, &self.secrets).bytes(self.secrets.redact(uri.path()).as_bytes())
    }

    /// The names are those of OpenTelemetry's conventions for HTTP clients. `url.full` is left out, which has the query.
    fn begin_span(&self, target: &Target, uri: &Uri) -> TraceContext {
        let span = self.trace.span_of_kind(target.method.unwrap_or("HTTP"), SpanKind::Client);
        span.set("http.request.method", target.method());
        if span.captures_content() {
            span.set("url.path", self.secrets.redact(uri.path()).into_owned());
        }
        if let Some(origin) = Origin::of(uri) {
            span.set("server.address", origin.host().to_owned());
            span.set("server.port", i64::from(origin.port()));
            span.set("url.scheme", if origin.is_tls() { "https" } else { "http" });
        }
        let context = span.context();
        self.usage.keep_span(span);
        context
    }
}

impl ObservedRequest {
    /// The position of the request in the trace, for the upstream.
    pub(crate) fn context(&self) -> TraceContext {
        self.context
    }

    /// Whether the bodies are to be observed.
    pub(crate) fn is_detailed(&self) -> bool {
        self.is_detailed
    }

    /// The guest waits for bytes until the returned value is dropped.
    pub(crate) fn wait(&self) -> Waiting {
        self.usage.wait_for_upstream()
    }

    /// The head of the answer is there.
    pub(crate) fn record_head(&self, status: u16) {
        let head = self.begun.elapsed();
        {
            let mut progress = self.progress();
            (progress.status, progress.head) = (Some(status), Some(head));
        }
        self.usage.change_span(self.context.span_id(), |span| {
            span.set("http.response.status_code", i64::from(status));
            if is_failure(status) {
                span.fail(status.to_string());
            }
        });
        if let Some(PluginLabels { plugin, version }) = &self.labels {
            UPSTREAM_REQUESTS.increment(&[plugin, version, status_class(status)]);
            UPSTREAM_FIRST_BYTE.observe(&[plugin, version], head.as_secs_f64());
        }
    }

    /// The request has no answer.
    pub(crate) fn record_failure(&self, error: &Error) {
        self.fail(request_error_code(error));
    }

    /// Bytes were sent or received.
    pub(super) fn record_bytes(&self, direction: BodyDirection, bytes: &[u8]) {
        let mut progress = self.progress();
        match direction {
            BodyDirection::Sent => progress.sent.push(bytes),
            BodyDirection::Received => progress.received.push(bytes),
        }
    }

    /// The body of the answer has ended, by an error if there is one, or is no longer read.
    pub(crate) fn end(&self, error: Option<&Error>) {
        let code = error.map(request_error_code);
        let (sent, received, has_failed) = {
            let mut progress = self.progress();
            if progress.ended.is_some() {
                return;
            }
            progress.ended = Some(self.begun.elapsed());
            progress.failed = code;
            let has_failed = progress.status.is_some_and(is_failure);
            (progress.sent.bytes(), progress.received.bytes(), has_failed)
        };
        if let Some(span) = self.take_span() {
            span.set("http.request.body.size", i64::try_from(sent).unwrap_or(i64::MAX));
            span.set("http.response.body.size", i64::try_from(received).unwrap_or(i64::MAX));
            // A status that is a failure is the span's error already.
            if let Some(code) = code.filter(|_| !has_failed) {
                span.fail(code);
            }
        }
    }

    fn fail(&self, code: &'static str) {
        {
            let mut progress = self.progress();
            if progress.ended.is_some() {
                return;
            }
            (progress.failed, progress.ended) = (Some(code), Some(self.begun.elapsed()));
        }
        if let Some(span) = self.take_span() {
            span.fail(code);
        }
        if let Some(PluginLabels { plugin, version }) = &self.labels {
            let outcome = match code {
                "denied" | "timeout" | "cancelled" => code,
                _ => "failed",
            };
            UPSTREAM_REQUESTS.increment(&[plugin, version, outcome]);
        }
    }

    fn take_span(&self) -> Option<TraceSpan> {
        self.usage.take_span(self.context.span_id())
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostCallUnderWay for ObservedRequest {
    fn host_call(&self) -> HostCall {
        let progress = self.progress();
        let target = self.target.as_ref();
        let outcome = match (progress.failed, progress.status) {
            (Some(code), _) => code,
            (None, Some(_)) => "ok",
            (None, None) => "running",
        };
        let mut detail = json!({
            "method": target.map(Target::method),
            "origin": target.map(|target| target.origin.as_str()),
            "path": target.map(|target| &target.path),
            "status": progress.status,
            "request": progress.sent.describe(&self.secrets),
            "response": progress.received.describe(&self.secrets),
        });
        if let Some(head) = progress.head {
            set(&mut detail, "head_us", u64::try_from(head.as_micros()).map_or(Value::Null, Value::from));
        }
        HostCall {
            interface: "http",
            operation: target.map(Target::method).unwrap_or_default().to_owned(),
            started: self.started,
            duration: progress.ended.unwrap_or_else(|| self.begun.elapsed()),
            outcome: outcome.to_owned(),
            detail,
        }
    }
}

/// Counts a request as cancelled unless its head has arrived or its failure is known.
pub(crate) struct RequestGuard(pub(crate) Arc<ObservedRequest>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let has_head = self.0.progress().head.is_some();
        if !has_head {
            self.0.fail("cancelled");
        }
    }
}

/// Whether a status is an error of a request, as OpenTelemetry's conventions say for clients.
fn is_failure(status: u16) -> bool {
    status >= 400
}

fn status_class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
