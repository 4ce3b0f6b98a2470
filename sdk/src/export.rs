//! Exports a plugin as a component: the macro [`export!`](crate::export), and the functions of the component, which read
//! the settings and call the author's function.

use crate::bindings::{about, greeter, memory, model, observer, persona, reflector, types};
use crate::describe::{Described, describe};
use crate::{Greeter, Memory, Model, Observer, Persona, Reflector, log, settings};
use wasip3::wit_bindgen::StreamReader;

/// Exports a type as a plugin: its kind, then the optional interfaces that it implements.
///
/// ```
/// # use masque_sdk::{Exchange, Memory, Observer, Recollection, Result, Turn};
/// # #[derive(serde::Deserialize, schemars::JsonSchema)]
/// # struct Diary {}
/// # impl Memory for Diary {
/// #     async fn recall(&self, _: Turn, _: u32) -> Result<Recollection> { Ok(Recollection::default()) }
/// # }
/// # impl Observer for Diary { async fn observe(&self, _: Exchange) -> Result<()> { Ok(()) } }
/// masque_sdk::export!(Diary: memory, observer; state_version = 2);
/// # fn main() {}
/// ```
///
/// The kinds are `persona` (with `greeter` and `reflector`), `memory` (with `observer`) and `model`. `state_version` is
/// the version of the plugin's stored state, 0 by default. Raise it when an older version of the plugin can't read the
/// new state.
///
/// A kind with an interface of another kind does not compile:
///
/// ```compile_fail
/// # use masque_sdk::{Memory, Recollection, Result, Turn};
/// # #[derive(serde::Deserialize, schemars::JsonSchema)]
/// # struct Diary {}
/// # impl Memory for Diary {
/// #     async fn recall(&self, _: Turn, _: u32) -> Result<Recollection> { Ok(Recollection::default()) }
/// # }
/// masque_sdk::export!(Diary: memory, greeter);
/// # fn main() {}
/// ```
///
/// Name and version are the crate's. On targets other than WebAssembly nothing is exported, so that tests run natively.
#[macro_export]
macro_rules! export {
    ($plugin:ident: $kind:ident $(, $interface:ident)* $(; state_version = $state:expr)? $(,)?) => {
        impl $crate::Described for $plugin {
            const KIND: &'static str = $crate::__kind!($kind $($interface)*);
            const NAME: &'static str = env!("CARGO_PKG_NAME");
            const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            const STATE_VERSION: u32 = 0 $(+ $state)?;
        }
        $crate::__export_one!(about $plugin);
        $crate::__export_one!($kind $plugin);
        $($crate::__export_one!($interface $plugin);)*
    };
}

/// Expands to the name of the kind, or to a compile error if an interface belongs to another kind.
#[doc(hidden)]
#[macro_export]
macro_rules! __kind {
    (persona $(greeter)? $(reflector)?) => {
        "persona"
    };
    (persona reflector greeter) => {
        "persona"
    };
    (memory $(observer)?) => {
        "memory"
    };
    (model) => {
        "model"
    };
    ($($other:ident)*) => {
        compile_error!(
            "a plugin is a `persona` (with `greeter`, `reflector`), a `memory` (with `observer`) or a `model`"
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_one {
    (about $plugin:ident) => { $crate::__export_interface!(about export_about $plugin Described); };
    (persona $plugin:ident) => { $crate::__export_interface!(persona export_persona $plugin Persona); };
    (greeter $plugin:ident) => { $crate::__export_interface!(greeter export_greeter $plugin Greeter); };
    (reflector $plugin:ident) => { $crate::__export_interface!(reflector export_reflector $plugin Reflector); };
    (memory $plugin:ident) => { $crate::__export_interface!(memory export_memory $plugin Memory); };
    (observer $plugin:ident) => { $crate::__export_interface!(observer export_observer $plugin Observer); };
    (model $plugin:ident) => { $crate::__export_interface!(model export_model $plugin Model); };
    ($other:ident $plugin:ident) => {};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_interface {
    ($interface:ident $export:ident $plugin:ident $wanted:ident) => {
        #[cfg(target_arch = "wasm32")]
        $crate::__private::$interface::$export!($plugin with_types_in $crate::__private::$interface);
        // On other targets, require the same trait, so that a native check finds what a build for WebAssembly would.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            fn is<T: $crate::$wanted>() {}
            is::<$plugin>();
        };
    };
}

impl<P: Described> about::exports::masque::companion::about::Guest for P {
    fn describe() -> types::Description {
        describe::<P>()
    }
}

impl<P: Persona> persona::exports::masque::companion::persona::Guest for P {
    async fn compose(
        turn: types::Turn,
        recalled: types::Recollection,
    ) -> Result<types::Prompt, types::Failure> {
        log::install();
        Persona::compose(&settings::load::<P>()?, turn, recalled).await
    }
}

impl<P: Greeter> greeter::exports::masque::companion::greeter::Guest for P {
    async fn greet(opening: types::Opening) -> Result<Vec<types::Message>, types::Failure> {
        log::install();
        Greeter::greet(&settings::load::<P>()?, opening).await
    }
}

impl<P: Reflector> reflector::exports::masque::companion::reflector::Guest for P {
    async fn reflect(exchange: types::Exchange) -> Result<(), types::Failure> {
        log::install();
        Reflector::reflect(&settings::load::<P>()?, exchange).await
    }
}

impl<P: Memory> memory::exports::masque::companion::memory::Guest for P {
    async fn recall(turn: types::Turn, budget: u32) -> Result<types::Recollection, types::Failure> {
        log::install();
        Memory::recall(&settings::load::<P>()?, turn, budget).await
    }
}

impl<P: Observer> observer::exports::masque::companion::observer::Guest for P {
    async fn observe(exchange: types::Exchange) -> Result<(), types::Failure> {
        log::install();
        Observer::observe(&settings::load::<P>()?, exchange).await
    }
}

impl<P: Model> model::exports::masque::companion::model::Guest for P {
    #[cfg(target_arch = "wasm32")]
    async fn generate(prompt: types::Prompt) -> Result<StreamReader<types::Delta>, types::Failure> {
        use crate::{Failure, reply::ReplyWriter};

        log::install();
        let plugin = settings::load::<P>()?;
        let (writer, reader) = model::wit_stream::new();
        let (begin, begun) = futures::channel::oneshot::channel();
        let mut reply = ReplyWriter::new(writer, begin);
        wasip3::spawn_local(async move {
            let outcome = Model::generate(&plugin, prompt, &mut reply).await;
            reply.end(outcome).await;
        });
        match begun.await {
            Ok(outcome) => outcome.map(|()| reader),
            Err(_) => Err(Failure::truncated("the model's task ended without a word")),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    async fn generate(_: types::Prompt) -> Result<StreamReader<types::Delta>, types::Failure> {
        Err(types::Failure::internal("there is no host here; see masque_sdk::testing"))
    }
}
