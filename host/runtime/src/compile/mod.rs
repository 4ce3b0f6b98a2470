//! From a component's bytes to machine code: out of the cache where it is known, else compiled, in a child of its own.
//!
//! The threat: a component that was made to take minutes or gigabytes to compile. Compiling can't be cancelled within a
//! process and takes every core. The policy: a child of the same binary compiles, niced, one at a time, with limits on
//! CPU time, memory and wall time; what it makes is kept, so that it is paid for once.

mod cache;
mod child;

use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use self::cache::Cache;
pub use self::child::compile_from_stdin;
use crate::error::{LoadError, SandboxError};

/// Where components are compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// In this process: for tests and tools, whose components are their own.
    InProcess,
    /// In a child: the program with these arguments, which calls [`compile_from_stdin`].
    Child {
        /// Usually this very binary.
        program: PathBuf,
        /// What makes it compile and do nothing else.
        arguments: Vec<String>,
    },
}

/// Turns bytes into components.
pub(crate) struct Workshop {
    compiler: Compiler,
    shelf: Arc<Shelf>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

/// What is done to machine code, all of it reading, hashing or mapping whole files: not for an async worker.
struct Shelf {
    engine: Engine,
    cache: Option<Cache>,
}

impl Workshop {
    pub(crate) fn new(
        engine: &Engine,
        compiler: Compiler,
        cache: Option<&std::path::Path>,
    ) -> Result<Self, SandboxError> {
        let cache =
            cache.map(|folder| Cache::open(folder, engine)).transpose().map_err(SandboxError::Cache)?;
        let shelf = Arc::new(Shelf { engine: engine.clone(), cache });
        Ok(Self { compiler, shelf, one_at_a_time: tokio::sync::Mutex::default() })
    }

    /// The compiled component, and the digest of its bytes in hexadecimal.
    pub(crate) async fn component(&self, bytes: Arc<[u8]>) -> Result<(Component, String), LoadError> {
        let (digest, kept) = self
            .apart({
                let bytes = bytes.clone();
                move |shelf| {
                    let digest = format!("{:x}", Sha256::digest(&bytes));
                    let kept = shelf.find(&digest);
                    Ok((digest, kept))
                }
            })
            .await?;
        if let Some(component) = kept {
            return Ok((component, digest));
        }
        let _turn = self.one_at_a_time.lock().await;
        // Whoever waited for the same component finds it now.
        let name = digest.clone();
        if let Some(component) = self.apart(move |shelf| Ok(shelf.find(&name))).await? {
            return Ok((component, digest));
        }
        let code = match &self.compiler {
            Compiler::InProcess => self.apart(move |shelf| shelf.compile(&bytes)).await?,
            Compiler::Child { program, arguments } => child::compile(program, arguments, &bytes).await?,
        };
        let name = digest.clone();
        let component = self.apart(move |shelf| shelf.keep(&name, &code)).await?;
        Ok((component, digest))
    }

    /// Runs on a thread for blocking work.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> Result<T, LoadError> + Send + 'static,
    ) -> Result<T, LoadError> {
        let shelf = self.shelf.clone();
        tokio::task::spawn_blocking(move || work(&shelf))
            .await
            .unwrap_or_else(|error| Err(LoadError::Compile(error.to_string())))
    }
}

impl Shelf {
    fn compile(&self, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
        self.engine.precompile_component(bytes).map_err(|error| LoadError::Compile(format!("{error:#}")))
    }

    /// Loads new code, and keeps it for the next time.
    fn keep(&self, digest: &str, code: &[u8]) -> Result<Component, LoadError> {
        let component = deserialize(&self.engine, code)?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(digest, code)
        {
            tracing::warn!(%error, "the compiled component is not kept; it will be compiled again");
        }
        Ok(component)
    }

    fn find(&self, digest: &str) -> Option<Component> {
        let code = self.cache.as_ref()?.get(digest)?;
        match deserialize(&self.engine, &code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%error, "a kept component does not load; compiling it again");
                None
            }
        }
    }
}

/// Machine code that this host's compiler made.
#[allow(unsafe_code, reason = "the only way to load compiled code")]
fn deserialize(engine: &Engine, code: &[u8]) -> Result<Component, LoadError> {
    // SAFETY: the bytes come from our own compiler child, or from the cache, which checks that they carry the MAC of this
    // host's key. Wasmtime itself refuses code of another version or configuration.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| LoadError::Compile(format!("{error:#}")))
}
