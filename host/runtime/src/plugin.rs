//! A plugin as a companion uses it: a package with a name, settings, grants and limits, and its functions as methods.

use std::fmt;
use std::sync::Arc;

use masque_grants::{Grants, Limits};

use crate::call::{self, CallObserver};
use crate::capability::Call;
use crate::contract::{Exchange, Message, Opening, PluginKind, Prompt, Recollection, Turn};
use crate::counters::PluginCounters;
use crate::error::{CallError, Cause};
use crate::exports::BoundCall;
use crate::observe::begin_series;
use crate::package::Package;
use crate::profile::PluginProfile;
use crate::reply::{Deltas, ReplyBuffer, ReplySink};

/// A plugin that is ready to be called. Every call runs in a store of its own, or in one that was kept where `reuse` is
/// granted.
///
/// Every function fails with [`Cause::Unsupported`] where the component does not export it, with [`Cause::Failed`] where the
/// plugin answers with a failure, with [`Cause::Busy`] where the pool has no free instance, and otherwise with the limit or
/// fault that ended the call. Dropping the returned future ends the call.
pub struct Plugin {
    package: Arc<Package>,
    profile: Arc<PluginProfile>,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name())
            .field("package", &self.package)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// `settings` is a JSON object that was checked against the package's schema.
    pub fn new(
        package: Arc<Package>,
        name: String,
        settings: String,
        grants: Grants,
        limits: Limits,
    ) -> Self {
        Self::make(package, name, settings, grants, limits, true)
    }

    /// A plugin for a trial of its settings. Its calls count in no metric: it may never be in use.
    pub fn for_trial(
        package: Arc<Package>,
        name: String,
        settings: String,
        grants: Grants,
        limits: Limits,
    ) -> Self {
        Self::make(package, name, settings, grants, limits, false)
    }

    fn make(
        package: Arc<Package>,
        name: String,
        settings: String,
        grants: Grants,
        limits: Limits,
        is_counted: bool,
    ) -> Self {
        let profile =
            PluginProfile::new(package.sandbox(), &package.identity(), name, settings, grants, limits);
        Self { profile: Arc::new(PluginProfile { is_counted, ..profile }), package }
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.profile.name
    }

    /// The component behind the plugin.
    pub fn package(&self) -> &Arc<Package> {
        &self.package
    }

    /// What the plugin may do.
    pub fn grants(&self) -> &Arc<Grants> {
        &self.profile.grants
    }

    /// How much one call may use.
    pub fn limits(&self) -> &Limits {
        &self.profile.limits
    }

    /// What was counted over all calls so far.
    pub fn counters(&self) -> &PluginCounters {
        &self.profile.counters
    }

    /// The permits of the instance pool that one call takes.
    pub fn weight(&self) -> u32 {
        self.package.weight()
    }

    /// Makes the series of its version in the metrics that are to be there before their first event. To be called when the
    /// plugin comes into use.
    pub fn begin_series(&self) {
        let Some(labels) = self.profile.labels() else { return };
        let package = &self.package;
        let function = match package.kind() {
            PluginKind::Persona => "compose",
            PluginKind::Memory => "recall",
            PluginKind::Model => "generate",
        };
        let optional =
            [("greet", package.greets()), ("reflect", package.reflects()), ("observe", package.observes())];
        let optional = optional.into_iter().filter_map(|(function, is_there)| is_there.then_some(function));
        let functions: Vec<_> = [function].into_iter().chain(optional).collect();
        begin_series(&labels, &functions, &self.profile.grants);
    }

    /// The prompt for a turn.
    ///
    /// # Errors
    /// Those of every function, see [`Plugin`], and [`Cause::Contract`] for a prompt without a message or with a message that
    /// has no valid role.
    pub async fn compose(
        &self,
        call: Call,
        turn: &Turn,
        recalled: Recollection,
    ) -> Result<Prompt, CallError> {
        let bound = self.package.exports().compose(turn, recalled);
        let check = |prompt: &Prompt| match prompt.messages.as_slice() {
            [] => Err("the prompt has no message"),
            messages => check_roles(messages),
        };
        self.call(call, "compose", "persona", bound, check).await
    }

    /// The first messages of a new conversation, one for each alternative; none if the persona has no greeting.
    ///
    /// # Errors
    /// Those of every function, see [`Plugin`], and [`Cause::Contract`] for a message that is not one of `assistant` with text.
    pub async fn greet(&self, call: Call, opening: &Opening) -> Result<Vec<Message>, CallError> {
        let bound = self.package.exports().greet(opening);
        let check = |greetings: &Vec<Message>| {
            check_roles(greetings)?;
            match greetings.iter().find(|message| &*message.role != "assistant" || !message.has_content()) {
                Some(_) => Err("a greeting is a message of `assistant` with text"),
                None => Ok(()),
            }
        };
        self.call(call, "greet", "greeter", bound, check).await
    }

    /// Background work of a persona after a turn.
    ///
    /// # Errors
    /// Those of every function, see [`Plugin`].
    pub async fn reflect(&self, call: Call, exchange: &Exchange) -> Result<(), CallError> {
        let bound = self.package.exports().reflect(exchange);
        self.call(call, "reflect", "reflector", bound, |()| Ok(())).await
    }

    /// The messages and memories that are relevant for the turn, within `budget` tokens.
    ///
    /// # Errors
    /// Those of every function, see [`Plugin`], and [`Cause::Contract`] for a message that has no valid role.
    pub async fn recall(&self, call: Call, turn: &Turn, budget: u32) -> Result<Recollection, CallError> {
        let bound = self.package.exports().recall(turn, budget);
        let check = |recalled: &Recollection| check_roles(&recalled.messages);
        self.call(call, "recall", "memory", bound, check).await
    }

    /// Background work of a memory after a turn.
    ///
    /// # Errors
    /// Those of every function, see [`Plugin`].
    pub async fn observe(&self, call: Call, exchange: &Exchange) -> Result<(), CallError> {
        let bound = self.package.exports().observe(exchange);
        self.call(call, "observe", "observer", bound, |()| Ok(())).await
    }

    /// The reply to a prompt, as it is written. Resolves when the plugin has accepted the prompt or refused it.
    ///
    /// # Errors
    /// Those of every function, see [`Plugin`]. After the prompt was accepted, [`Deltas::next`] returns the error.
    pub async fn generate(&self, mut call: Call, prompt: &Prompt) -> Result<Deltas, CallError> {
        const FUNCTION: &str = "generate";
        // The permits of a nested call belong to the asking call, so its instance can't be kept.
        let lingers = self.profile.warm_pool.is_some() && call.nested.is_none();
        let buffer = ReplyBuffer::default();
        let max_item_bytes = self.profile.limits.delta_bytes;
        let sink = ReplySink { buffer: buffer.clone(), max_item_bytes, lingers };
        let Some(bound) = self.package.exports().generate(prompt, sink) else {
            return Err(self.error(FUNCTION, Cause::Unsupported("model")));
        };
        let observer = CallObserver::begin(&self.profile, &mut call, FUNCTION);
        let made = call::make(Arc::clone(&self.profile), call, FUNCTION, bound, observer.notes());
        Deltas::open(Box::pin(made), buffer, lingers, Arc::clone(&self.profile), observer).await
    }

    async fn call<R: Send + 'static>(
        &self,
        call: Call,
        function: &'static str,
        interface: &'static str,
        bound: Option<BoundCall<R>>,
        check: impl FnOnce(&R) -> Result<(), &'static str>,
    ) -> Result<R, CallError> {
        match bound {
            Some(bound) => call::run(&self.profile, call, function, bound, check).await,
            None => Err(self.error(function, Cause::Unsupported(interface))),
        }
    }

    fn error(&self, function: &'static str, cause: Cause) -> CallError {
        call::call_error(&self.profile, function, cause)
    }
}

fn check_roles(messages: &[Message]) -> Result<(), &'static str> {
    match messages.iter().find(|message| !message.has_valid_role()) {
        Some(_) => Err("a message has no role, or an overlong one"),
        None => Ok(()),
    }
}
