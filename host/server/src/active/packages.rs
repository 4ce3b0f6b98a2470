//! From a source to a package: components are read once and compiled once, however many plugins they play.

use std::collections::BTreeMap;
use std::sync::Arc;

use masque_runtime::{Cause, LARGEST_COMPONENT, LoadError, Package, Sandbox};
use sha2::{Digest, Sha256};

use super::ActiveSet;
use crate::config::Source;

/// Why a source gives no package, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) what: String,
    pub(crate) remedy: String,
    /// Whether it lies in the moment and not in the component.
    pub(crate) passing: bool,
}

/// What was compiled so far, by the digest of its bytes as packages give it.
pub(crate) struct Packages<'a> {
    sandbox: &'a Arc<Sandbox>,
    compiled: BTreeMap<String, Result<Arc<Package>, Refusal>>,
}

impl<'a> Packages<'a> {
    /// With the packages that are loaded already.
    pub(crate) fn new(sandbox: &'a Arc<Sandbox>, current: Option<&ActiveSet>) -> Self {
        let known = current.into_iter().flat_map(|current| current.plugins.values()).map(|plugin| {
            let package = plugin.package();
            (package.digest().to_owned(), Ok(Arc::clone(package)))
        });
        Self { sandbox, compiled: known.collect() }
    }

    pub(crate) async fn load(&mut self, source: &Source) -> Result<Arc<Package>, Refusal> {
        let bytes = read(source).await?;
        let digest = format!("sha256:{:x}", Sha256::digest(&bytes));
        if let Some(known) = self.compiled.get(&digest) {
            return known.clone();
        }
        let package = self.sandbox.load(bytes).await.map_err(|error| refusal(source, &error));
        self.compiled.insert(digest, package.clone());
        package
    }
}

async fn read(source: &Source) -> Result<Arc<[u8]>, Refusal> {
    let path = match source {
        Source::Builtin(builtin) => return Ok(crate::builtin::component(*builtin).into()),
        Source::File(path) => path,
    };
    let unreadable = |error: std::io::Error| Refusal {
        what: format!("the file can't be read: {error}"),
        remedy: "Name a component file; a relative path starts at the configuration file's folder.".into(),
        passing: false,
    };
    let metadata = tokio::fs::metadata(path).await.map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Refusal {
            what: "it is not a file".into(),
            remedy: "Name the component file itself, which ends in `.wasm`.".into(),
            passing: false,
        });
    }
    // Before it is read: it may be a disk image.
    if metadata.len() > LARGEST_COMPONENT as u64 {
        return Err(Refusal {
            what: format!("the file has {} bytes", metadata.len()),
            remedy: format!("Build a smaller component: {LARGEST_COMPONENT} bytes is the most."),
            passing: false,
        });
    }
    Ok(tokio::fs::read(path).await.map_err(unreadable)?.into())
}

fn refusal(source: &Source, error: &LoadError) -> Refusal {
    let passing = matches!(error, LoadError::Describe(call) if matches!(call.cause, Cause::Busy(_)));
    let remedy = match (source, error) {
        _ if passing => "Try again when fewer calls are under way; a host that runs does so by itself.",
        (Source::Builtin(_), _) => "Build the plugins and the host again from one checkout.",
        (_, LoadError::NotWasm | LoadError::CoreModule) => {
            "Build it for the target `wasm32-wasip2`, and name the file from that target's folder."
        }
        (_, LoadError::Import(_) | LoadError::Link(_)) => "Build it with the SDK of this host's version.",
        (_, LoadError::Exports(_) | LoadError::Description { .. }) => {
            "Export one persona, memory or model with the SDK's macro."
        }
        _ => "Build the component again, and look at what its build says.",
    };
    Refusal { what: error.to_string(), remedy: remedy.into(), passing }
}
