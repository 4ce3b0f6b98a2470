//! The functions that a component exports, found once when it is loaded and called with shared arguments.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Lower, StreamReader, TypedFunc,
};

use super::translate::Translate;
use super::types;
use crate::contract::{Description, Exchange, Message, Opening, PluginKind, Prompt, Recollection, Turn};
use crate::error::LoadError;
use crate::exports::{BoundCall, PluginExports};
use crate::guest::Guest;
use crate::instance::{LiveInstance, Work, is_quiet};
use crate::reply::ReplySink;

/// The interface that every plugin exports.
pub(crate) const ABOUT: &str = "masque:companion/about@0.1.0";

/// The full name of an interface of this version.
fn interface(name: &str) -> String {
    format!("masque:companion/{name}@0.1.0")
}

/// The result of a function of the contract.
type Answer<T> = (Result<T, types::Failure>,);

/// The exports of one component.
struct Exports {
    pre: InstancePre<Guest>,
    kind: PluginKind,
    describe: Function<(), (types::Description,)>,
    compose: Option<Function<(types::Turn, types::Recollection), Answer<types::Prompt>>>,
    greet: Option<Function<(types::Opening,), Answer<Vec<types::Message>>>>,
    reflect: Option<Function<(types::Exchange,), Answer<()>>>,
    recall: Option<Function<(types::Turn, u32), Answer<types::Recollection>>>,
    observe: Option<Function<(types::Exchange,), Answer<()>>>,
    generate: Option<Function<(types::Prompt,), Answer<StreamReader<types::Delta>>>>,
}

/// Finds what a component exports of version 0.1.0; `None` if it does not export [`ABOUT`].
///
/// # Errors
/// The component exports no plugin, more than one, or an interface that lacks a function.
pub(crate) fn find_exports(pre: &InstancePre<Guest>) -> Result<Option<Box<dyn PluginExports>>, LoadError> {
    let Some(describe) = Function::find(pre, "about", "describe")? else { return Ok(None) };
    let compose = Function::find(pre, "persona", "compose")?;
    let recall = Function::find(pre, "memory", "recall")?;
    let generate = Function::find(pre, "model", "generate")?;
    let kind = match (&compose, &recall, &generate) {
        (Some(_), None, None) => PluginKind::Persona,
        (None, Some(_), None) => PluginKind::Memory,
        (None, None, Some(_)) => PluginKind::Model,
        (None, None, None) => {
            return Err(LoadError::Exports(format!(
                "the component exports none of `{}`, `{}` and `{}`",
                interface("persona"),
                interface("memory"),
                interface("model")
            )));
        }
        _ => {
            return Err(LoadError::Exports(
                "the component exports more than one of persona, memory and model; make one component of each".into(),
            ));
        }
    };
    Ok(Some(Box::new(Exports {
        pre: pre.clone(),
        kind,
        describe,
        compose,
        greet: Function::find(pre, "greeter", "greet")?,
        reflect: Function::find(pre, "reflector", "reflect")?,
        recall,
        observe: Function::find(pre, "observer", "observe")?,
        generate,
    })))
}

/// A function that a component exports, with the types of its arguments and its answer. Clones are of the same component.
struct Function<P, R> {
    index: ComponentExportIndex,
    /// Whether an instance of the component had the function with these types.
    is_checked: Arc<AtomicBool>,
    types: PhantomData<fn(P) -> R>,
}

impl<P, R> Clone for Function<P, R> {
    fn clone(&self) -> Self {
        Self { index: self.index, is_checked: Arc::clone(&self.is_checked), types: PhantomData }
    }
}

impl<P, R> Function<P, R>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    /// Returns `None` where the component does not export the interface.
    fn find(
        pre: &InstancePre<Guest>,
        interface_name: &str,
        function: &str,
    ) -> Result<Option<Self>, LoadError> {
        let component = pre.component();
        let interface = interface(interface_name);
        let Some(instance) = component.get_export_index(None, interface.as_str()) else { return Ok(None) };
        match component.get_export_index(Some(&instance), function) {
            Some(index) => Ok(Some(Self { index, is_checked: Arc::default(), types: PhantomData })),
            None => Err(LoadError::Link(format!("`{interface}` does not export the function `{function}`"))),
        }
    }

    /// Instantiates the component if it has no instance yet. The first call of a function checks its type: it compares the name
    /// of every field of every record, and the type is the same in every instance.
    #[allow(
        unsafe_code,
        reason = "wasmtime has no safe way to call a function whose type was checked before"
    )]
    async fn load(
        &self,
        pre: &InstancePre<Guest>,
        live: &mut LiveInstance,
    ) -> wasmtime::Result<TypedFunc<P, R>> {
        let instance = live.instance(pre).await?;
        if !self.is_checked.load(Ordering::Relaxed) {
            let function = instance.get_typed_func(&mut live.store, self.index)?;
            self.is_checked.store(true, Ordering::Relaxed);
            return Ok(function);
        }
        let function = instance.get_func(&mut live.store, self.index);
        let function =
            function.ok_or_else(|| wasmtime::Error::msg("the component exports no such function"))?;
        // SAFETY: the export at this index of this component was found to have these types. `pre`, `index` and `is_checked`
        // are of one component, since `find` is the only source of them.
        Ok(unsafe { TypedFunc::new_unchecked(function) })
    }
}

impl<P, T> Function<P, Answer<T>>
where
    P: ComponentNamedList + Lower + Send + Sync + 'static,
    T: Lift + Send + Sync + 'static,
    Answer<T>: ComponentNamedList + Lift,
{
    /// A call whose answer is translated.
    fn bind<D>(&self, pre: &InstancePre<Guest>, arguments: P) -> BoundCall<D>
    where
        T: Translate<D>,
        D: Send + 'static,
    {
        let (function, pre) = (self.clone(), pre.clone());
        Box::new(move |mut live| -> Work<D> {
            Box::pin(async move {
                let function = function.load(&pre, &mut live).await?;
                let (answer, quiet) = live
                    .store
                    .run_concurrent(async |accessor| {
                        let (answer,) = function.call_concurrent(accessor, arguments).await?;
                        wasmtime::error::Ok((answer, is_quiet(accessor).await))
                    })
                    .await??;
                live.set_quiet(quiet);
                Ok((answer.translate(), live))
            })
        })
    }
}

impl PluginExports for Exports {
    fn kind(&self) -> PluginKind {
        self.kind
    }

    fn greets(&self) -> bool {
        self.greet.is_some()
    }

    fn reflects(&self) -> bool {
        self.reflect.is_some()
    }

    fn observes(&self) -> bool {
        self.observe.is_some()
    }

    fn describe(&self) -> BoundCall<Description> {
        let (describe, pre) = (self.describe.clone(), self.pre.clone());
        Box::new(move |mut live| -> Work<Description> {
            Box::pin(async move {
                let describe = describe.load(&pre, &mut live).await?;
                let (description,) = describe.call_async(&mut live.store, ()).await?;
                Ok((Ok(description.translate()), live))
            })
        })
    }

    fn compose(&self, turn: &Turn, recalled: Recollection) -> Option<BoundCall<Prompt>> {
        Some(self.compose.as_ref()?.bind(&self.pre, (turn.translate(), recalled.translate())))
    }

    fn greet(&self, opening: &Opening) -> Option<BoundCall<Vec<Message>>> {
        Some(self.greet.as_ref()?.bind(&self.pre, (opening.translate(),)))
    }

    fn reflect(&self, exchange: &Exchange) -> Option<BoundCall<()>> {
        Some(self.reflect.as_ref()?.bind(&self.pre, (exchange.translate(),)))
    }

    fn recall(&self, turn: &Turn, budget: u32) -> Option<BoundCall<Recollection>> {
        Some(self.recall.as_ref()?.bind(&self.pre, (turn.translate(), budget)))
    }

    fn observe(&self, exchange: &Exchange) -> Option<BoundCall<()>> {
        Some(self.observe.as_ref()?.bind(&self.pre, (exchange.translate(),)))
    }

    fn generate(&self, prompt: &Prompt, sink: ReplySink) -> Option<BoundCall<()>> {
        let (generate, pre) = (self.generate.clone()?, self.pre.clone());
        let prompt: types::Prompt = prompt.translate();
        Some(Box::new(move |mut live| -> Work<()> {
            Box::pin(async move {
                let function = generate.load(&pre, &mut live).await?;
                let (answer, quiet) = live
                    .store
                    .run_concurrent(async |accessor| {
                        let (answer,) = function.call_concurrent(accessor, (prompt,)).await?;
                        wasmtime::error::Ok(match answer {
                            Ok(stream) => {
                                let quiet = sink.receive(accessor, stream, Translate::translate).await?;
                                (Ok(()), quiet)
                            }
                            Err(failure) => (Err(failure.translate()), is_quiet(accessor).await),
                        })
                    })
                    .await??;
                live.set_quiet(quiet);
                Ok((answer, live))
            })
        }))
    }
}
