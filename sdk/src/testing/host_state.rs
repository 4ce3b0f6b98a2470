//! The in-memory host of a thread: what a test set, and what the plugin did.

use super::http::{HttpRequest, HttpResponse, Transport};
use crate::{Message, Reply, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Default)]
pub(super) struct HostState {
    pub(super) user_name: Option<String>,
    pub(super) settings: Option<String>,
    /// By scope and key: the value and its version.
    pub(super) state: BTreeMap<(u8, String), (Vec<u8>, u64)>,
    pub(super) history: Vec<Message>,
    /// The names of the grants that were taken away.
    pub(super) denied: BTreeSet<String>,
    pub(super) replies: VecDeque<Result<Reply>>,
    pub(super) log: Vec<LogLine>,
    pub(super) responses: VecDeque<HttpResponse>,
    pub(super) requests: Vec<HttpRequest>,
    pub(super) transport: Option<Transport>,
}

thread_local! {
    static HOST: RefCell<HostState> = RefCell::default();
}

/// Reads or changes the host of this thread.
pub(super) fn with_host<T>(act: impl FnOnce(&mut HostState) -> T) -> T {
    HOST.with_borrow_mut(act)
}

/// A line that the plugin logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The text.
    pub message: String,
    /// The structured fields.
    pub fields: Vec<(String, String)>,
}
