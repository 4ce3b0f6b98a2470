//! Loads components: checks, compiles and links them, and calls `describe` of each without any grant, within the limits of the
//! plugin that it is loaded for.

use std::sync::Arc;
use std::time::Instant;

use masque_grants::{Grants, Limits, MAX_COMPONENT_BYTES, is_name};
use masque_telemetry::metrics::plugins::LOAD_DURATION;
use wasmtime::component::{Component, InstancePre};

use crate::call;
use crate::capability::Call;
use crate::contract::{Description, PluginKind, versions};
use crate::engine::{CORE_INSTANCES, STACKS_PER_PERMIT, TABLES_PER_MEMORY};
use crate::error::LoadError;
use crate::file::FileFormat;
use crate::guest::Guest;
use crate::package::Package;
use crate::profile::{ComponentIdentity, PluginProfile};
use crate::sandbox::Sandbox;
use crate::secret_matcher::SecretMatcher;
use crate::stacks::required_stacks;
use crate::text::sanitize;

/// The most bytes of a settings schema.
const MAX_SCHEMA_BYTES: usize = 64 << 10;
/// The version in errors of `describe`, which is called before the version is known.
const UNKNOWN_VERSION: &str = "(not described yet)";

impl Sandbox {
    /// Checks, compiles and links a component, then runs its `describe` within `limits`.
    ///
    /// # Errors
    /// The bytes are no component, it does not compile or link, it exports no plugin or several, or it describes itself
    /// wrongly or not within the limits.
    pub async fn load(
        self: &Arc<Self>,
        bytes: Arc<[u8]>,
        limits: &Limits,
    ) -> Result<Arc<Package>, LoadError> {
        let begun = Instant::now();
        check_preamble(&bytes)?;
        let (component, digest) = self.compiler.component(bytes.clone()).await?;
        let digest = format!("sha256:{digest}");
        let stacks = required_stacks(&bytes).map_err(|error| LoadError::Compile(error.to_string()))?;
        drop(bytes);
        let (pre, weight) = self.link(&component, stacks)?;
        let exports = versions::find_exports(&pre)?;

        // The component has no name yet. Its log lines name its digest, as `/status` does.
        let identity = ComponentIdentity { digest: &digest, version: UNKNOWN_VERSION, weight };
        let (name, settings) = (digest.clone(), "{}".to_owned());
        let deadline = Instant::now() + limits.wall;
        let profile = PluginProfile::new(self, &identity, name, settings, Grants::default(), limits.clone());
        let described =
            call::run(&Arc::new(profile), Call::until(deadline), "describe", exports.describe(), |_| Ok(()))
                .await;
        let description = described.map_err(|error| LoadError::Describe(Box::new(error)))?;
        check_description(&description, exports.kind())?;
        LOAD_DURATION.observe(&[], begun.elapsed().as_secs_f64());
        Ok(Arc::new(Package::new(digest, description, weight, exports, self.clone())))
    }

    /// Returns the linked component, and the permits of the pool that one instance takes: for its memories, its tables and
    /// the stacks that it may hold.
    fn link(&self, component: &Component, stacks: u64) -> Result<(InstancePre<Guest>, u32), LoadError> {
        let component_type = component.component_type();
        for (name, _) in component_type.imports(&self.engine) {
            if !is_offered(name) {
                return Err(LoadError::Import(name.to_owned()));
            }
        }
        let weight = component
            .resources_required()
            .map_or(1, |needs| needs.num_memories.max(needs.num_tables.div_ceil(TABLES_PER_MEMORY)));
        let pre =
            self.linker.instantiate_pre(component).map_err(|error| LoadError::Link(format!("{error:#}")))?;
        Ok((pre, weight.max(permits_for_stacks(stacks))))
    }
}

/// At least one. A component with more instances than the engine allows is refused when it is first instantiated.
fn permits_for_stacks(stacks: u64) -> u32 {
    let permits = stacks.div_ceil(u64::from(STACKS_PER_PERMIT)).clamp(1, u64::from(CORE_INSTANCES));
    u32::try_from(permits).unwrap_or(CORE_INSTANCES)
}

/// Whether the host offers an import of that name. The linker checks its version and type afterwards.
fn is_offered(import: &str) -> bool {
    const PACKAGES: [&str; 7] = [
        "wasi:cli/",
        "wasi:clocks/",
        "wasi:filesystem/",
        "wasi:http/",
        "wasi:io/",
        "wasi:random/",
        "wasi:sockets/",
    ];
    PACKAGES.iter().any(|package| import.starts_with(package)) || versions::offers(import)
}

/// Refuses bytes that are not a component, before a parser reads them.
fn check_preamble(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(LoadError::TooLarge { bytes: bytes.len(), limit: MAX_COMPONENT_BYTES });
    }
    match FileFormat::of(bytes) {
        FileFormat::Component => Ok(()),
        FileFormat::Module => Err(LoadError::CoreModule),
        FileFormat::Other => Err(LoadError::NotWasm),
    }
}

/// Refuses a description that the contract does not allow.
fn check_description(description: &Description, kind: PluginKind) -> Result<(), LoadError> {
    let wrong = |field, reason: String| Err(LoadError::Description { field, reason });
    if description.kind != kind.as_str() {
        return wrong("kind", format!("it says `{}` and exports a {kind}", clip(&description.kind)));
    }
    if !is_name(&description.name) {
        return wrong("name", format!("`{}` does not match [a-z0-9-]{{1,64}}", clip(&description.name)));
    }
    let version = &description.version;
    let characters = version.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b));
    if !characters || version.len() > 64 || version.split('.').count() < 3 {
        return wrong("version", format!("`{}` is not a semantic version such as `1.2.3`", clip(version)));
    }
    if description.settings_schema.len() > MAX_SCHEMA_BYTES {
        return wrong(
            "settings-schema",
            format!("it has {} bytes, of {MAX_SCHEMA_BYTES}", description.settings_schema.len()),
        );
    }
    match serde_json::from_str::<serde_json::Value>(&description.settings_schema) {
        Ok(schema) if schema.is_object() => Ok(()),
        Ok(_) => wrong("settings-schema", "it is not a JSON object".into()),
        Err(error) => wrong("settings-schema", error.to_string()),
    }
}

/// Shortens a plugin's text for an error message.
fn clip(text: &str) -> String {
    sanitize(&text.chars().take(80).collect::<String>(), &SecretMatcher::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_component_is_refused_by_its_format() {
        assert!(matches!(check_preamble(b""), Err(LoadError::NotWasm)));
        assert!(matches!(check_preamble(b"#!/bin/sh\n"), Err(LoadError::NotWasm)));
        assert!(matches!(check_preamble(b"\0asm\x01\0\0\0"), Err(LoadError::CoreModule)));
        assert!(check_preamble(b"\0asm\x0d\0\x01\0").is_ok());
    }

    #[test]
    fn a_component_with_many_parts_takes_permits_for_their_stacks() {
        for (stacks, permits) in [(0, 1), (3, 1), (4, 1), (5, 2), (34, 9), (u64::MAX, CORE_INSTANCES)] {
            assert_eq!(permits_for_stacks(stacks), permits, "{stacks}");
        }
    }

    #[test]
    fn only_the_offered_imports_pass() {
        for (import, offered) in [
            ("wasi:http/client@0.3.2", true),
            ("wasi:sockets/tcp@0.2.6", true),
            ("masque:companion/state@0.1.0", true),
            ("masque:companion/state@0.2.0", false),
            ("masque:companion/secrets@0.1.0", false),
            ("wasi:nn/graph@0.2.0", false),
            ("wasi:keyvalue/store@0.2.0", false),
            ("env", false),
        ] {
            assert_eq!(is_offered(import), offered, "{import}");
        }
    }
}
