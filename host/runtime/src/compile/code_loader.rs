//! Loads machine code. Every function reads, hashes or maps whole files, or compiles: none is for an async worker.

use std::path::Path;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::{CompileCache, NotCached};
use crate::error::LoadError;

/// The engine that code is loaded into, and the cache that it is kept in.
pub(crate) struct CodeLoader {
    engine: Engine,
    cache: Option<CompileCache>,
}

impl CodeLoader {
    /// A loader without a cache if the folder can't be used: compiling takes longer then, and everything works.
    pub(crate) fn open(engine: &Engine, cache: Option<&Path>) -> Self {
        let open = |folder: &Path| match CompileCache::open(folder, engine) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::warn!(
                    %error,
                    folder = %folder.display(),
                    "compiled components are not kept: every start compiles them again"
                );
                None
            }
        };
        Self { engine: engine.clone(), cache: cache.and_then(open) }
    }

    /// The digest by which code is cached: SHA-256 of the component, in hexadecimal.
    pub(crate) fn digest(bytes: &[u8]) -> String {
        format!("{:x}", Sha256::digest(bytes))
    }

    /// Compiles in this process.
    pub(crate) fn compile(&self, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
        self.engine.precompile_component(bytes).map_err(|error| LoadError::Compile(format!("{error:#}")))
    }

    /// Loads new code, and stores it in the cache.
    pub(crate) fn load_and_store(&self, digest: &str, code: &[u8]) -> Result<Component, LoadError> {
        let component = deserialize(&self.engine, code)?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(digest, code)
        {
            tracing::warn!(%error, "the compiled component is not kept; it will be compiled again");
        }
        Ok(component)
    }

    /// Loads code from the cache.
    ///
    /// # Errors
    /// There is none that can be trusted and loaded.
    pub(crate) fn find(&self, digest: &str) -> Result<Component, NotCached> {
        let code = self.cache.as_ref().ok_or(NotCached::Absent)?.get(digest)?;
        deserialize(&self.engine, &code).map_err(|error| {
            tracing::warn!(%error, "a kept component does not load; compiling it again");
            NotCached::Invalid
        })
    }
}

/// Loads machine code that this host's compiler made.
#[allow(unsafe_code, reason = "the only way to load compiled code")]
fn deserialize(engine: &Engine, code: &[u8]) -> Result<Component, LoadError> {
    // SAFETY: the bytes come from our own compiler child, or from the cache, which checks that they carry the MAC of this
    // host's key. Wasmtime itself refuses code of another version or configuration.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| LoadError::Compile(format!("{error:#}")))
}
