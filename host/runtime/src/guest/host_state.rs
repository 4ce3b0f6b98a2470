//! Implements the contract's imports, for every version of the contract.
//!
//! Every import is linked for every component. Grants are checked here and nowhere else; the translations of the contract's
//! versions check none.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use masque_grants::Grants;
use serde_json::json;
use tracing::Level;

use super::call_log::CallLog;
use super::state_budget::StateBudget;
use super::state_key::{check_key, check_text};
use crate::capability::{Call, Models, NestedCall, PluginStateScope, State, StateEntry};
use crate::contract::{Failure, Message, Prompt, Reply};
use crate::counters::PluginCounters;
use crate::diagnostics::CallDiagnostics;
use crate::missing_grant::MissingGrant;
use crate::observe::{CallUsage, ObservedHostCall, scope_name};
use crate::secret_matcher::SecretMatcher;

/// The longest wait for a store. A call of `state` or `history` suspends the guest's whole store meanwhile.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_VALUE_BYTES: usize = 1 << 20;
/// The longest decimal integer of 64 bits.
const MAX_INTEGER_BYTES: usize = 20;
/// The most messages or keys in one answer.
const MAX_PAGE: u32 = 1000;

/// The data of one call that the contract's imports use.
pub(crate) struct HostState {
    pub(crate) grants: Arc<Grants>,
    pub(crate) settings: Arc<str>,
    pub(crate) call: Call,
    pub(crate) log: CallLog,
    pub(crate) diagnostics: CallDiagnostics,
    /// Absent between calls, and where the call may ask no model.
    pub(crate) nested: Option<NestedCallBudget>,
    pub(crate) state_budget: StateBudget,
    pub(crate) counters: Arc<PluginCounters>,
    /// Redacted from the call's report.
    pub(crate) secrets: SecretMatcher,
    pub(crate) usage: Arc<CallUsage>,
}

/// What each nested call inherits, and how many there may be.
pub(crate) struct NestedCallBudget {
    pub(crate) call: NestedCall,
    pub(crate) limit: usize,
    pub(crate) left: usize,
}

impl HostState {
    /// The plugin's settings as a JSON object.
    pub(crate) fn settings(&self) -> Arc<str> {
        self.settings.clone()
    }

    /// Writes one line to the host's log. An unknown level counts as `info`.
    pub(crate) fn log(&self, level: &str, message: &str, fields: &[(String, String)]) {
        let level = match level {
            "error" => Level::ERROR,
            "warn" => Level::WARN,
            "debug" => Level::DEBUG,
            "trace" => Level::TRACE,
            _ => Level::INFO,
        };
        self.log.write(level, message, fields);
    }

    pub(crate) async fn state_get(
        &self,
        scope: PluginStateScope,
        key: &str,
    ) -> Result<Option<StateEntry>, Failure> {
        let observed = self.observe_state("state.get", scope);
        let found = async {
            check_key(key)?;
            with_timeout(self.state(scope)?.get(scope, key)).await
        }
        .await;
        observed.end(&found, |details, found| {
            let found = found.and_then(Option::as_ref);
            json!({
                "scope": scope_name(scope),
                "key": details.bytes(key.as_bytes()),
                "value": found.map(|found| details.bytes(&found.value)),
                "version": found.map(|found| found.version),
            })
        });
        found
    }

    pub(crate) async fn state_set(
        &self,
        scope: PluginStateScope,
        key: &str,
        value: Vec<u8>,
        if_version: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<u64, Failure> {
        let observed = self.observe_state("state.set", scope);
        let described = observed.describe(|details| details.bytes(&value));
        let written = async {
            check_key(key)?;
            if value.len() > MAX_VALUE_BYTES {
                let reason = format!("a value has at most {MAX_VALUE_BYTES} bytes, not {}", value.len());
                return Err(Failure::new("invalid", reason));
            }
            let state = self.state(scope)?;
            self.write(key.len() + value.len(), state.set(scope, key, value, if_version, ttl)).await
        }
        .await;
        observed.end(&written, |details, version| {
            json!({
                "scope": scope_name(scope),
                "key": details.bytes(key.as_bytes()),
                "value": described,
                "if_version": if_version,
                "ttl_ms": ttl.and_then(|ttl| u64::try_from(ttl.as_millis()).ok()),
                "version": version,
            })
        });
        written
    }

    pub(crate) async fn state_delete(
        &self,
        scope: PluginStateScope,
        key: &str,
        if_version: Option<u64>,
    ) -> Result<(), Failure> {
        let observed = self.observe_state("state.delete", scope);
        let deleted = async {
            check_key(key)?;
            let state = self.state(scope)?;
            self.write(key.len(), state.delete(scope, key, if_version)).await
        }
        .await;
        observed.end(&deleted, |details, _| {
            let key = details.bytes(key.as_bytes());
            json!({ "scope": scope_name(scope), "key": key, "if_version": if_version })
        });
        deleted
    }

    pub(crate) async fn state_add(
        &self,
        scope: PluginStateScope,
        key: &str,
        amount: i64,
    ) -> Result<i64, Failure> {
        let observed = self.observe_state("state.add", scope);
        let added = async {
            check_key(key)?;
            let state = self.state(scope)?;
            self.write(key.len() + MAX_INTEGER_BYTES, state.add(scope, key, amount)).await
        }
        .await;
        observed.end(&added, |details, sum| {
            let sum = sum.map(|sum| details.bytes(sum.to_string().as_bytes()));
            let key = details.bytes(key.as_bytes());
            json!({ "scope": scope_name(scope), "key": key, "value": sum })
        });
        added
    }

    /// Makes a write of `bytes` within the call's budget. `work` is dropped if there is no room for it.
    async fn write<T>(
        &self,
        bytes: usize,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        if let Err(limit) = self.state_budget.charge(bytes) {
            return Err(self.refuse_write(Failure::new("denied", limit)));
        }
        // The grants were checked before, so `denied` is the quota of what the plugin stores.
        with_timeout(work).await.map_err(|failure| match &*failure.code {
            "denied" => self.refuse_write(failure),
            _ => failure,
        })
    }

    /// Counts a write that was refused because of a limit, and keeps the limit for the call's error. The first refusal of a
    /// call is logged.
    fn refuse_write(&self, failure: Failure) -> Failure {
        let refused = self.counters.add_state_refusal();
        self.diagnostics.record_state_refusal();
        if self.state_budget.is_first_refusal() {
            self.log.refused_write(&failure.message, refused);
            self.diagnostics.record_refusal(failure.message.clone());
        }
        failure
    }

    pub(crate) async fn state_list(
        &self,
        scope: PluginStateScope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Failure> {
        let observed = self.observe_state("state.list", scope);
        let found = async {
            check_text(prefix)?;
            after.map_or(Ok(()), check_text)?;
            with_timeout(self.state(scope)?.list(scope, prefix, after, limit.min(MAX_PAGE))).await
        }
        .await;
        observed.end(&found, |details, keys| {
            json!({
                "scope": scope_name(scope),
                "prefix": details.bytes(prefix.as_bytes()),
                "after": after.map(|after| details.bytes(after.as_bytes())),
                "limit": limit,
                "count": keys.map(Vec::len),
                "keys": keys.map(|keys| details.keys(keys)),
            })
        });
        found
    }

    pub(crate) async fn history_page(
        &self,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Message>, Failure> {
        let observed = self.observe("history.page");
        let page = async {
            if !self.grants.history {
                return Err(self.deny(MissingGrant::History));
            }
            let Some(history) = &self.call.history else {
                return Err(Failure::new("unavailable", "no history in this call"));
            };
            with_timeout(history.page(before, limit.min(MAX_PAGE))).await
        }
        .await;
        observed.end(&page, |details, page| {
            json!({
                "before": before.map(|before| details.bytes(before.as_bytes())),
                "limit": limit,
                "count": page.map(Vec::len),
                "messages": page.map(|page| details.messages(page)),
            })
        });
        page
    }

    /// Asks the companion's model. The answer is bounded by the call's own deadline.
    pub(crate) async fn ask(&mut self, prompt: Prompt) -> Result<Reply, Failure> {
        let observed = self.observe("models.ask");
        let described = observed.describe(|details| details.prompt(&prompt));
        let trace = observed.trace(&self.call.trace);
        let asked = match self.begin_nested_call() {
            Ok((models, nested)) => {
                let nested = NestedCall { trace, ..nested };
                tokio::time::timeout_at(nested.deadline().into(), models.ask(prompt, nested))
                    .await
                    .unwrap_or_else(|_| Err(Failure::new("timeout", "the call's deadline passed")))
            }
            Err(failure) => Err(failure),
        };
        observed.end(
            &asked,
            |details, reply| json!({ "prompt": described, "reply": reply.map(|reply| details.reply(reply)) }),
        );
        asked
    }

    /// Begins to observe a request of the guest.
    fn observe(&self, name: &'static str) -> ObservedHostCall {
        ObservedHostCall::begin(&self.call, &self.usage, &self.secrets, name)
    }

    fn observe_state(&self, name: &'static str, scope: PluginStateScope) -> ObservedHostCall {
        let observed = self.observe(name);
        observed.set("masque.state.scope", scope_name(scope));
        observed
    }

    /// Takes one of the nested calls that this call may make.
    fn begin_nested_call(&mut self) -> Result<(Arc<dyn Models>, NestedCall), Failure> {
        if !self.grants.models {
            return Err(self.deny(MissingGrant::Models));
        }
        let Some(models) = self.call.models.clone() else {
            return Err(Failure::new("denied", "a call that was itself asked can't ask on"));
        };
        let Some(NestedCallBudget { call, limit, left }) = &mut self.nested else {
            return Err(Failure::new("unavailable", "no question outside of a call"));
        };
        let Some(rest) = left.checked_sub(1) else {
            let reason = format!("more than {limit} questions in one call (limit `questions`)");
            self.diagnostics.record_refusal(reason.clone());
            return Err(Failure::new("denied", reason));
        };
        *left = rest;
        Ok((models, call.clone()))
    }

    /// The state of the call, if the plugin was granted the scope.
    fn state(&self, scope: PluginStateScope) -> Result<&dyn State, Failure> {
        if !self.grants.state {
            return Err(self.deny(MissingGrant::State));
        }
        if scope == PluginStateScope::Shared && !self.grants.state_shared {
            return Err(self.deny(MissingGrant::StateShared));
        }
        self.call.state.as_deref().ok_or_else(|| Failure::new("unavailable", "no state in this call"))
    }

    fn deny(&self, missing: MissingGrant) -> Failure {
        let failure = Failure::new("denied", format!("needs the grant `{}`", missing.key()));
        self.diagnostics.record_missing_grant(missing);
        failure
    }
}

/// Ends the wait for a store that is slow or can't be reached.
async fn with_timeout<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(STORE_TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => Err(Failure::new("timeout", "the store did not answer within 2 s")),
    }
}
