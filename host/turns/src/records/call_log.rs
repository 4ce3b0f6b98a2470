//! The calls of plugins of one turn, as they happen.
//!
//! A call is listed when it begins, so that one that is cut off with its turn is listed too. The log also knows how long the
//! calls waited for upstreams, which is not the host's own time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use masque_runtime::contract::{Prompt, Recollection};
use masque_runtime::{CallReport, Plugin, ReportContent};
use masque_store::UsageRecord;
use masque_telemetry::metrics::turns::RECALLS;

use crate::failure::{CANCELLED, known_code};

/// The calls of one turn, job or greeting, in the order in which they began.
#[derive(Debug)]
pub(crate) struct CallLog {
    began: Instant,
    content: Option<ReportContent>,
    calls: Mutex<Vec<LoggedCall>>,
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct LoggedCall {
    pub(crate) function: &'static str,
    pub(crate) plugin: Arc<Plugin>,
    /// From the beginning of the turn.
    pub(crate) started: Duration,
    /// `None` while it runs.
    pub(crate) duration: Option<Duration>,
    /// `ok`, or the code of the failure, from a closed list.
    pub(crate) outcome: &'static str,
    pub(crate) report: Arc<CallReport>,
    /// `None` if there is to be no record.
    pub(crate) input: Option<CallInput>,
    pub(crate) output: CallOutput,
}

/// What a plugin was given beside the turn.
#[derive(Clone, Debug)]
pub(crate) enum CallInput {
    /// The budget of a recollection in tokens.
    Recall { budget: u32 },
    /// The recollection, which is the output of the call before.
    Compose,
    /// The prompt of the turn, or of the plugin that asks.
    Generate { prompt: Arc<Prompt>, asked_by: Option<String> },
}

/// What a plugin has returned.
#[derive(Clone, Debug)]
pub(crate) enum CallOutput {
    /// Nothing yet, or it failed.
    Nothing,
    Recollection(Box<Recollection>),
    Prompt(Arc<Prompt>),
    Reply {
        finish: String,
        text_bytes: usize,
        usage: UsageRecord,
    },
}

impl CallLog {
    /// A log of a turn that arrived at `began`. Without `content` nothing is reported of its calls.
    pub(crate) fn new(began: Instant, content: Option<ReportContent>) -> Arc<Self> {
        Arc::new(Self { began, content, calls: Mutex::default() })
    }

    /// A log of calls of which nobody wants a record.
    pub(crate) fn unrecorded() -> Arc<Self> {
        Self::new(Instant::now(), None)
    }

    /// The time since the request arrived.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// What the record is to contain; `None` if there is none.
    pub(crate) fn content(&self) -> Option<ReportContent> {
        self.content
    }

    /// Lists a call that begins. `input` is asked for if there is to be a record. The call is cut off unless it ends before the returned value is dropped.
    pub(crate) fn begin(
        self: &Arc<Self>,
        function: &'static str,
        plugin: &Arc<Plugin>,
        input: impl FnOnce() -> CallInput,
    ) -> OpenCall {
        // How long it waits for upstreams is wanted in any case.
        let report = CallReport::new(self.content.unwrap_or(ReportContent::Times));
        let (now, is_recorded) = (Instant::now(), self.content.is_some());
        let call = LoggedCall {
            function,
            plugin: Arc::clone(plugin),
            started: now.duration_since(self.began),
            duration: None,
            outcome: CANCELLED,
            report: Arc::clone(&report),
            input: is_recorded.then(input),
            output: CallOutput::Nothing,
        };
        let mut calls = self.calls();
        let index = calls.len();
        calls.push(call);
        OpenCall { log: Arc::clone(self), index, began: now, report, is_recorded }
    }

    /// The calls of a turn that has ended.
    pub(crate) fn take(&self) -> Vec<LoggedCall> {
        std::mem::take(&mut self.calls())
    }

    /// How long the calls waited for upstreams, those that plugins asked included.
    pub(crate) fn upstream_wait(&self) -> Duration {
        self.calls().iter().map(|call| call.report.upstream_wait()).sum()
    }

    fn calls(&self) -> MutexGuard<'_, Vec<LoggedCall>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that runs.
pub(crate) struct OpenCall {
    log: Arc<CallLog>,
    index: usize,
    began: Instant,
    report: Arc<CallReport>,
    is_recorded: bool,
}

impl OpenCall {
    /// Collects what the call uses.
    pub(crate) fn report(&self) -> Option<Arc<CallReport>> {
        Some(Arc::clone(&self.report))
    }

    /// The call has succeeded. `output` is asked for if there is to be a record.
    pub(crate) fn succeed(self, output: impl FnOnce() -> CallOutput) {
        let output = self.is_recorded.then(output);
        self.change(|call| {
            call.outcome = "ok";
            call.output = output.unwrap_or(CallOutput::Nothing);
        });
    }

    /// The call has failed with this code, which may be a plugin's own text.
    pub(crate) fn fail(&self, code: &str) {
        self.change(|call| call.outcome = known_code(code));
    }

    fn change<T>(&self, change: impl FnOnce(&mut LoggedCall) -> T) -> Option<T> {
        self.log.calls().get_mut(self.index).map(change)
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let duration = self.began.elapsed();
        let ended = self.change(|call| {
            call.duration = Some(duration);
            (call.function == "recall").then(|| (Arc::clone(&call.plugin), call.outcome))
        });
        if let Some(Some((memory, outcome))) = ended {
            RECALLS.increment(&[memory.name(), outcome]);
        }
    }
}
