//! From a component's bytes to machine code: out of the cache where it is known, else compiled, in a child of its own.
//!
//! The threat: a component that was made to take minutes or gigabytes to compile. Compiling can't be cancelled within a
//! process and takes every core. The policy: a child of the same binary compiles, niced, one at a time, with limits on
//! CPU time, memory and wall time; what it makes is kept, so that it is paid for once.

mod cache;
mod child;

use std::path::PathBuf;

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
    cache: Option<Cache>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Workshop {
    pub(crate) fn new(
        engine: &Engine,
        compiler: Compiler,
        cache: Option<&std::path::Path>,
    ) -> Result<Self, SandboxError> {
        let cache =
            cache.map(|folder| Cache::open(folder, engine)).transpose().map_err(SandboxError::Cache)?;
        Ok(Self { compiler, cache, one_at_a_time: tokio::sync::Mutex::default() })
    }

    /// The compiled component, and the digest of its bytes in hexadecimal.
    pub(crate) async fn component(
        &self,
        engine: &Engine,
        bytes: std::sync::Arc<[u8]>,
    ) -> Result<(Component, String), LoadError> {
        let digest = format!("{:x}", Sha256::digest(&bytes));
        if let Some(component) = self.cached(engine, &digest) {
            return Ok((component, digest));
        }
        let _turn = self.one_at_a_time.lock().await;
        // Whoever waited for the same component finds it now.
        if let Some(component) = self.cached(engine, &digest) {
            return Ok((component, digest));
        }
        let code = match &self.compiler {
            Compiler::InProcess => {
                let engine = engine.clone();
                tokio::task::spawn_blocking(move || engine.precompile_component(&bytes))
                    .await
                    .map_err(|error| LoadError::Compile(error.to_string()))?
                    .map_err(|error| LoadError::Compile(format!("{error:#}")))?
            }
            Compiler::Child { program, arguments } => child::compile(program, arguments, &bytes).await?,
        };
        let component = deserialize(engine, &code)?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(&digest, &code)
        {
            tracing::warn!(%error, "the compiled component is not kept; it will be compiled again");
        }
        Ok((component, digest))
    }

    fn cached(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let code = self.cache.as_ref()?.get(digest)?;
        match deserialize(engine, &code) {
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
