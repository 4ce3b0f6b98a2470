//! From a plugin's source to a compiled package. Each component is compiled once, however many plugins use it.

use std::collections::BTreeMap;
use std::sync::Arc;

use masque_config::{PluginLimits, PluginSource, content_digest};
use masque_files::{check_is_regular, read_bounded};
use masque_grants::MAX_COMPONENT_BYTES;
use masque_runtime::{Cause, LoadError, Package, Sandbox};

use crate::builtins::BuiltinComponents;
use crate::set::ActiveSet;

/// Why a source gives no package, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackageError {
    pub(crate) what: String,
    pub(crate) remedy: String,
    /// Whether the same component may load at another time, since the host was only too busy.
    pub(crate) is_temporary: bool,
}

/// Loads packages and keeps each result by the digest of the component.
pub(crate) struct PackageLoader<'a> {
    sandbox: &'a Arc<Sandbox>,
    builtins: BuiltinComponents,
    by_digest: BTreeMap<String, Arc<Package>>,
    /// What was refused, with the limits that it was described within: a component may load for a plugin with other limits.
    refused: Vec<(String, PluginLimits, PackageError)>,
}

impl<'a> PackageLoader<'a> {
    /// A loader that reuses the packages of `current`.
    pub(crate) fn new(
        sandbox: &'a Arc<Sandbox>,
        builtins: BuiltinComponents,
        current: Option<&ActiveSet>,
    ) -> Self {
        let plugins = current.into_iter().flat_map(|current| current.plugins.values());
        let by_digest = plugins
            .map(|plugin| {
                let package = plugin.package();
                (package.digest().to_owned(), Arc::clone(package))
            })
            .collect();
        Self { sandbox, builtins, by_digest, refused: Vec::new() }
    }

    /// The package of a source: read, compiled and described within the limits of the plugin, or taken from an earlier load
    /// of the same bytes.
    pub(crate) async fn load(
        &mut self,
        source: &PluginSource,
        limits: PluginLimits,
    ) -> Result<Arc<Package>, PackageError> {
        let bytes = read_component(source, self.builtins).await?;
        let digest = content_digest(&bytes);
        if let PluginSource::Stored { digest: named, file } = source
            && *named != digest
        {
            return Err(PackageError {
                what: format!("the host keeps other bytes under this digest, in {}", file.display()),
                remedy: "Remove the file: the host fetches the component again.".into(),
                is_temporary: true,
            });
        }
        if let Some(loaded) = self.by_digest.get(&digest) {
            return Ok(Arc::clone(loaded));
        }
        let same = |(refused, within, _): &&(String, PluginLimits, PackageError)| {
            *refused == digest && *within == limits
        };
        if let Some((.., error)) = self.refused.iter().find(same) {
            return Err(error.clone());
        }
        match self.sandbox.load(bytes, &limits.into()).await {
            Ok(package) => {
                self.by_digest.insert(digest, Arc::clone(&package));
                Ok(package)
            }
            Err(error) => {
                let error = package_error(source, &error);
                self.refused.push((digest, limits, error.clone()));
                Err(error)
            }
        }
    }
}

/// The bytes of a component.
pub(crate) async fn read_component(
    source: &PluginSource,
    builtins: BuiltinComponents,
) -> Result<Arc<[u8]>, PackageError> {
    let path = match source {
        PluginSource::Builtin(builtin) => return Ok((builtins)(*builtin).into()),
        PluginSource::File(path) | PluginSource::Stored { file: path, .. } => path,
    };
    let unreadable = |error: std::io::Error| PackageError {
        what: format!("the file can't be read: {error}"),
        remedy: "Name a component file; a relative path starts at the configuration file's folder.".into(),
        is_temporary: false,
    };
    let metadata = tokio::fs::metadata(path).await.map_err(unreadable)?;
    if let Err(error) = check_is_regular(&metadata) {
        return Err(PackageError {
            what: format!("the file can't be read: {error}"),
            remedy: "Name the component file itself, which ends in `.wasm`.".into(),
            is_temporary: false,
        });
    }
    // Check the size before reading: the file may be a disk image.
    if metadata.len() > MAX_COMPONENT_BYTES as u64 {
        return Err(PackageError {
            what: format!("the file has {} bytes", metadata.len()),
            remedy: format!("Build a smaller component: {MAX_COMPONENT_BYTES} bytes is the most."),
            is_temporary: false,
        });
    }
    let path = path.clone();
    let read = tokio::task::spawn_blocking(move || read_bounded(&path, MAX_COMPONENT_BYTES as u64));
    let read = read.await.map_err(|error| unreadable(std::io::Error::other(error)))?;
    Ok(read.map_err(|error| unreadable(error.into()))?.into())
}

/// Whether a limit that an operator may raise ended the call.
fn is_limit(cause: &Cause) -> bool {
    matches!(cause, Cause::WallTime(_) | Cause::CpuTime(_) | Cause::Memory { .. })
}

fn package_error(source: &PluginSource, error: &LoadError) -> PackageError {
    let is_busy = matches!(error, LoadError::Describe(call) if matches!(call.cause, Cause::Busy(_)));
    let remedy = match (source, error) {
        (_, LoadError::NoCompiler(error)) => no_compiler_remedy(error),
        _ if is_busy => "Try again when fewer calls are under way; a host that runs does so by itself.",
        (_, LoadError::Describe(call)) if is_limit(&call.cause) => {
            "Build a component that needs less to describe itself, or raise the plugin's `limits`."
        }
        (PluginSource::Builtin(_), _) => "Build the plugins and the host again from one checkout.",
        (_, LoadError::NotWasm | LoadError::CoreModule) => {
            "Build it for the target `wasm32-wasip2`, and name the file from that target's folder."
        }
        (_, LoadError::Compile(_)) => "If it is still being copied, wait. Otherwise build it again.",
        (_, LoadError::Import(_) | LoadError::Link(_)) => "Build it with the SDK of this host's version.",
        (_, LoadError::Exports(_) | LoadError::Description { .. }) => {
            "Export one persona, memory or model with the SDK's macro."
        }
        _ => "Build the component again, and look at what its build says.",
    };
    let is_temporary = is_busy || matches!(error, LoadError::NoCompiler(_));
    PackageError { what: error.to_string(), remedy: remedy.into(), is_temporary }
}

/// What lets the host start its compiler, by the error of the system.
fn no_compiler_remedy(error: &std::io::Error) -> &'static str {
    /// Error numbers of Linux (`errno(3)`).
    const EAGAIN: i32 = 11;
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    match error.raw_os_error() {
        Some(EMFILE | ENFILE) => {
            "Raise the limit on open files (`ulimit -n`, `LimitNOFILE=` of systemd) to 1024 or more."
        }
        Some(EAGAIN | ENOMEM) => {
            "Raise the limits on memory (`ulimit -v`) and on processes and threads (`ulimit -u`, `TasksMax=` of systemd)."
        }
        _ => "Let the host start its own binary as a second process.",
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use masque_grants::Builtin;

    use super::*;

    #[test]
    fn a_compiler_that_a_limit_kept_from_starting_is_answered_with_that_limit() {
        for (number, limit) in [(24, "ulimit -n"), (23, "ulimit -n"), (11, "ulimit -u"), (12, "ulimit -v")] {
            for source in [PluginSource::Builtin(Builtin::Card), PluginSource::File("ida.wasm".into())] {
                let error = LoadError::NoCompiler(io::Error::from_raw_os_error(number));
                let error = package_error(&source, &error);
                assert!(error.remedy.contains(limit) && error.is_temporary, "{error:?}");
            }
        }
    }
}
