//! Turns bytes into components, and decides where and when compiling happens.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use masque_telemetry::metrics::plugins::{COMPILE_CACHE, COMPILE_DURATION};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::NotCached;
use super::child;
use super::child_limits::ChildLimits;
use super::code_loader::CodeLoader;
use crate::engine::MemoryReservation;
use crate::error::LoadError;

/// Where components are compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// In this process: for tests and tools that compile only components of their own.
    InProcess,
    /// In a child: the program with these arguments, which calls [`compile_from_stdin`](crate::compile_from_stdin).
    Child {
        /// Usually this very binary.
        program: PathBuf,
        /// Arguments that make it compile and do nothing else.
        arguments: Vec<String>,
    },
}

/// Turns bytes into components, one compilation at a time.
pub(crate) struct ComponentCompiler {
    compiler: Compiler,
    reservation: MemoryReservation,
    loader: Arc<CodeLoader>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl ComponentCompiler {
    /// A compiler for an engine with that reservation. `cache` is the folder of the compile cache; with `None`, or if it can't
    /// be used or trusted, nothing is cached.
    pub(crate) fn new(
        engine: &Engine,
        reservation: MemoryReservation,
        compiler: Compiler,
        cache: Option<&Path>,
    ) -> Self {
        if let (Compiler::Child { .. }, Some(lowered)) = (&compiler, ChildLimits::of_this_process().lowered())
        {
            tracing::warn!("the compiler of components has a lower limit than usual: {lowered}");
        }
        let loader = Arc::new(CodeLoader::open(engine, cache));
        Self { compiler, reservation, loader, one_at_a_time: tokio::sync::Mutex::default() }
    }

    /// The compiled component, and the digest of its bytes in hexadecimal.
    ///
    /// # Errors
    /// The component does not compile within the limits.
    pub(crate) async fn component(&self, bytes: Arc<[u8]>) -> Result<(Component, String), LoadError> {
        let (digest, cached) = self
            .spawn_blocking({
                let bytes = bytes.clone();
                move |loader| {
                    let digest = CodeLoader::digest(&bytes);
                    let cached = loader.find(&digest);
                    Ok((digest, cached))
                }
            })
            .await?;
        let reason = match cached {
            Ok(component) => {
                COMPILE_CACHE.increment(&["hit"]);
                return Ok((component, digest));
            }
            Err(reason) => reason,
        };
        let _turn = self.one_at_a_time.lock().await;
        // Another call may have compiled the same component while this one waited.
        let name = digest.clone();
        if let Ok(component) = self.spawn_blocking(move |loader| Ok(loader.find(&name))).await? {
            COMPILE_CACHE.increment(&["hit"]);
            return Ok((component, digest));
        }
        COMPILE_CACHE.increment(&[match reason {
            NotCached::Absent => "miss",
            NotCached::Invalid => "invalid",
        }]);
        let begun = Instant::now();
        let code = match &self.compiler {
            Compiler::InProcess => self.spawn_blocking(move |loader| loader.compile(&bytes)).await?,
            Compiler::Child { program, arguments } => {
                child::compile(program, arguments, self.reservation, &bytes).await?
            }
        };
        COMPILE_DURATION.observe(&[], begun.elapsed().as_secs_f64());
        let name = digest.clone();
        let component = self.spawn_blocking(move |loader| loader.load_and_store(&name, &code)).await?;
        Ok((component, digest))
    }

    /// Runs `work` on a thread for blocking work.
    async fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&CodeLoader) -> Result<T, LoadError> + Send + 'static,
    ) -> Result<T, LoadError> {
        let loader = self.loader.clone();
        tokio::task::spawn_blocking(move || work(&loader))
            .await
            .unwrap_or_else(|error| Err(LoadError::Compile(error.to_string())))
    }
}
