//! A plugin as a companion uses it: a package with a name, settings, grants and limits, and its functions as methods.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::capability::Call;
use crate::contract::{Description, Exchange, Failure, Message, Opening, Prompt, Recollection, Turn};
use crate::deltas::{self, Deltas, has_text};
use crate::drive::{self, Work};
use crate::egress::Upstream;
use crate::engine::Share;
use crate::error::{CallError, Cause};
use crate::grants::Grants;
use crate::limits::Limits;
use crate::package::Package;
use crate::reuse::{Live, Shelf, comes_to_rest, is_quiet};
use crate::scratch::Scratch;

/// Cheap to share; every call runs in a store of its own, or in one that was kept where `reuse` is granted.
pub struct Plugin {
    package: Arc<Package>,
    name: String,
    settings: Arc<str>,
    grants: Arc<Grants>,
    limits: Limits,
    upstream: Upstream,
    share: Share,
    /// Present where its instances may outlive a call.
    shelf: Option<Arc<Shelf>>,
    /// The folder that was granted, and how much it may hold.
    scratch: Option<(Arc<Scratch>, u64)>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name)
            .field("package", &self.package)
            .finish_non_exhaustive()
    }
}

/// Calls an export of one interface and waits for its answer.
macro_rules! call_export {
    ($plugin:expr, $call:expr, $function:literal, $ability:ident, $interface:literal, $guest:ident, $export:ident, ($($argument:expr),*)) => {{
        let plugin = $plugin;
        let abilities = plugin.package.abilities();
        let Some(indices) = abilities.$ability.clone() else {
            return Err(plugin.error($function, Cause::Unsupported($interface)));
        };
        let pre = abilities.pre.clone();
        drive::run(plugin, $call, $function, move |mut live: Live| -> Work<_> {
            Box::pin(async move {
                let instance = live.instance(&pre).await?;
                let instance = indices.load(&mut live.store, &instance)?;
                let (answer, quiet) = live
                    .store
                    .run_concurrent(async |accessor| {
                        let answer = instance.$guest().$export(accessor, $($argument),*).await?;
                        wasmtime::error::Ok((answer, is_quiet(accessor).await))
                    })
                    .await??;
                live.quiet = quiet;
                Ok((answer, live))
            })
        })
        .await
    }};
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
        let sandbox = package.sandbox();
        let upstream = sandbox.upstreams.client(&grants.networks);
        let share = sandbox.share(&name);
        let scratch = grants
            .scratch
            .and_then(|limit| Some((sandbox.scratches.folder(&name, package.digest())?, limit)));
        let shelf = grants.reuse.map(|scope| sandbox.shelves.shelf(scope));
        Self {
            package,
            name,
            settings: settings.into(),
            grants: Arc::new(grants),
            limits,
            upstream,
            share,
            shelf,
            scratch,
        }
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The component behind it.
    pub fn package(&self) -> &Arc<Package> {
        &self.package
    }

    /// What it may do.
    pub fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// How much one call may use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Places of the pool that one call takes.
    pub fn weight(&self) -> u32 {
        self.package.weight()
    }

    pub(crate) fn settings(&self) -> &Arc<str> {
        &self.settings
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    pub(crate) fn share(&self) -> &Share {
        &self.share
    }

    pub(crate) fn shelf(&self) -> Option<&Arc<Shelf>> {
        self.shelf.as_ref()
    }

    pub(crate) fn scratch(&self) -> Option<&(Arc<Scratch>, u64)> {
        self.scratch.as_ref()
    }

    pub(crate) fn into_package(self) -> Arc<Package> {
        self.package
    }

    /// What the component says of itself.
    pub(crate) async fn describe(&self, call: Call) -> Result<Description, CallError> {
        let abilities = self.package.abilities();
        let (pre, indices) = (abilities.pre.clone(), abilities.about.clone());
        drive::run(self, call, "describe", move |mut live| -> Work<_> {
            Box::pin(async move {
                let instance = live.instance(&pre).await?;
                let instance = indices.load(&mut live.store, &instance)?;
                let described = instance.masque_companion_about().call_describe(&mut live.store).await?;
                Ok((Ok(described), live))
            })
        })
        .await
    }

    /// The prompt for a turn. An answer without a message, or with one that has no role, breaks the contract.
    pub async fn compose(
        &self,
        call: Call,
        turn: &Turn,
        recalled: Recollection,
    ) -> Result<Prompt, CallError> {
        let turn = turn.clone();
        let prompt: Prompt = call_export!(
            self,
            call,
            "compose",
            persona,
            "persona",
            masque_companion_persona,
            call_compose,
            (turn, recalled)
        )?;
        if prompt.messages.is_empty() {
            return Err(self.error("compose", Cause::Contract("the prompt has no message".into())));
        }
        self.check_messages("compose", &prompt.messages)?;
        Ok(prompt)
    }

    /// The first messages of a new conversation, one for each alternative; none where the persona has no words.
    pub async fn greet(&self, call: Call, opening: &Opening) -> Result<Vec<Message>, CallError> {
        let opening = opening.clone();
        let greetings: Vec<Message> = call_export!(
            self,
            call,
            "greet",
            greeter,
            "greeter",
            masque_companion_greeter,
            call_greet,
            (opening)
        )?;
        self.check_messages("greet", &greetings)?;
        match greetings.iter().find(|message| message.role != "assistant" || !has_text(&message.parts)) {
            Some(_) => Err(self
                .error("greet", Cause::Contract("a greeting is a message of `assistant` with text".into()))),
            None => Ok(greetings),
        }
    }

    /// Background work of a persona after a turn.
    pub async fn reflect(&self, call: Call, exchange: &Exchange) -> Result<(), CallError> {
        let exchange = exchange.clone();
        call_export!(
            self,
            call,
            "reflect",
            reflector,
            "reflector",
            masque_companion_reflector,
            call_reflect,
            (exchange)
        )
    }

    /// What of the past bears on the turn, within `budget` tokens.
    pub async fn recall(&self, call: Call, turn: &Turn, budget: u32) -> Result<Recollection, CallError> {
        let turn = turn.clone();
        let recalled: Recollection = call_export!(
            self,
            call,
            "recall",
            memory,
            "memory",
            masque_companion_memory,
            call_recall,
            (turn, budget)
        )?;
        self.check_messages("recall", &recalled.messages)?;
        Ok(recalled)
    }

    /// Background work of a memory after a turn.
    pub async fn observe(&self, call: Call, exchange: &Exchange) -> Result<(), CallError> {
        let exchange = exchange.clone();
        call_export!(
            self,
            call,
            "observe",
            observer,
            "observer",
            masque_companion_observer,
            call_observe,
            (exchange)
        )
    }

    /// The reply to a prompt, as it is written. Resolves when the plugin has accepted the prompt or refused it.
    pub async fn generate(&self, call: Call, prompt: &Prompt) -> Result<Deltas, CallError> {
        let abilities = self.package.abilities();
        let Some(indices) = abilities.model.clone() else {
            return Err(self.error("generate", Cause::Unsupported("model")));
        };
        let (pre, prompt, lingers) = (abilities.pre.clone(), prompt.clone(), self.shelf.is_some());
        let (consumer, finished, batches) = deltas::channel(self.limits.delta_bytes);
        let (accept, accepted) = oneshot::channel::<()>();
        let task = drive::start(self, call, "generate", move |mut live| -> Work<()> {
            Box::pin(async move {
                let instance = live.instance(&pre).await?;
                let instance = indices.load(&mut live.store, &instance)?;
                let (answer, quiet) = live
                    .store
                    .run_concurrent(async |accessor| {
                        let stream =
                            match instance.masque_companion_model().call_generate(accessor, prompt).await? {
                                Ok(stream) => stream,
                                Err(failure) => {
                                    return Ok((Err::<(), Failure>(failure), is_quiet(accessor).await));
                                }
                            };
                        accessor.with(|access| stream.pipe(access, consumer))?;
                        // The reader may have gone; then the task is aborted, and this with it.
                        let _ = accept.send(());
                        // Resolves with an error when the consumer is dropped, which is the only end there is.
                        let _ = finished.await;
                        let quiet = lingers && comes_to_rest(accessor).await;
                        wasmtime::error::Ok((Ok(()), quiet))
                    })
                    .await??;
                live.quiet = quiet;
                Ok((answer, live))
            })
        });
        if accepted.await.is_ok() {
            return Ok(Deltas::new(batches, task, lingers, self.error("generate", Cause::Truncated)));
        }
        match drive::finish(self, "generate", task).await {
            Err(error) => Err(error),
            Ok(()) => Err(self.error("generate", Cause::Truncated)),
        }
    }

    fn check_messages(&self, function: &'static str, messages: &[Message]) -> Result<(), CallError> {
        match messages.iter().find(|message| message.role.is_empty() || message.role.len() > 64) {
            Some(_) => {
                Err(self.error(function, Cause::Contract("a message has no role, or an overlong one".into())))
            }
            None => Ok(()),
        }
    }

    fn error(&self, function: &'static str, cause: Cause) -> CallError {
        CallError {
            plugin: self.name.clone(),
            version: self.package.description().version.clone(),
            function,
            cause,
            denied: Vec::new(),
        }
    }
}
