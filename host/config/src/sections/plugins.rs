//! `[plugins.NAME]`: where the component comes from, its settings, its grants and its limits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use masque_grants::{Builtin, Grants, MAX_COMPONENT_BYTES, Name};
use serde_json::{Map, Value};

use super::grants::{self, ParsedGrants};
use super::plugin_limits::{self, PluginLimits};
use super::settings::{self, ParsedSettings};
use crate::diagnostic::Diagnostic;
use crate::report::Report;
use crate::section::{Located, Section};
use crate::value::{self, Expected, InvalidValue};
use crate::wording::nearest;

const SOURCE: Expected =
    Expected { what: "a built-in plugin or the path of a .wasm file", example: "\"builtin:card\"" };

/// A component with its settings, grants and limits.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Where the component comes from.
    pub source: PluginSource,
    /// The settings as the plugin receives them: a setting `{ file = … }` is already the text of the file, or a data URL.
    pub settings: Map<String, Value>,
    /// The files that settings name, as the operator wrote them, by the JSON pointer of the setting.
    pub setting_files: BTreeMap<String, PathBuf>,
    /// The grants, including the values of the credentials.
    pub grants: Grants,
    /// What one call may use.
    pub limits: PluginLimits,
}

impl Plugin {
    /// The settings as the JSON text that the plugin receives.
    pub fn settings_json(&self) -> String {
        Value::Object(self.settings.clone()).to_string()
    }
}

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// A component inside the binary.
    Builtin(Builtin),
    /// A file. A relative path in the configuration was resolved against the folder of the configuration file.
    File(PathBuf),
    /// A component of the active set that hosts share, which this host keeps by its digest.
    Stored {
        /// The digest, as `sha256:…`.
        digest: String,
        /// Where this host keeps it.
        file: PathBuf,
    },
}

/// Writes the source as it is written in the file.
impl fmt::Display for PluginSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(builtin) => builtin.fmt(f),
            Self::File(path) => path.display().fmt(f),
            Self::Stored { digest, .. } => digest.fmt(f),
        }
    }
}

/// A plugin as it was read; its credentials are still names.
#[derive(Debug)]
pub(crate) struct ParsedPlugin {
    pub(crate) source: Option<PluginSource>,
    pub(crate) settings: ParsedSettings,
    pub(crate) grants: ParsedGrants,
    pub(crate) limits: PluginLimits,
    /// Whether the section has no errors.
    pub(crate) is_valid: bool,
}

/// Where the components that are not built in are.
pub(crate) struct ComponentFolders<'a> {
    /// The folder at which relative paths start.
    pub(crate) base: &'a Path,
    /// The plugins folder.
    pub(crate) plugins: &'a Path,
    /// The components in the plugins folder.
    pub(crate) components: &'a BTreeMap<Name, PathBuf>,
}

/// Reads the sections; `max_memory` is what the sandbox can give to a plugin.
pub(crate) fn read(
    sections: BTreeMap<Name, Section<'_, '_>>,
    folders: &ComponentFolders<'_>,
    max_memory: usize,
) -> BTreeMap<Name, ParsedPlugin> {
    let read = |(name, section)| {
        let plugin = read_one(&name, section, folders, max_memory);
        (name, plugin)
    };
    sections.into_iter().map(read).collect()
}

fn read_one(
    name: &Name,
    mut section: Section<'_, '_>,
    folders: &ComponentFolders<'_>,
    max_memory: usize,
) -> ParsedPlugin {
    let report = section.report;
    let errors_before = report.error_count();
    let named = section.read("source", SOURCE, |value| {
        value::text(value).and_then(|text| source(text, folders.base, report))
    });
    let source = match (section.has("source"), folders.components.get(name)) {
        (true, None) => named,
        (true, Some(component)) => {
            report.add(Diagnostic::warning(
                report.location(&named.as_ref().map_or(section.span(), |source| source.span.clone())),
                format!("`source` in [plugins.{name}] counts, and {} is ignored", component.display()),
                "Remove one of the two.",
            ));
            named
        }
        (false, Some(component)) => {
            Some(Located { value: PluginSource::File(component.clone()), span: section.span() })
        }
        (false, None) => {
            let component = folders.plugins.join(format!("{name}.wasm"));
            let alternative = format!(", or put the component at {}", component.display());
            section.require_unless("source", SOURCE, &alternative);
            None
        }
    };
    let settings = settings::read_settings(&mut section, "settings", folders.base);
    let grants = grants::read(section.table("grants"));
    let limits = plugin_limits::read(section.table("limits"), max_memory);
    section.finish();
    let is_valid = report.error_count() == errors_before;
    ParsedPlugin { source: source.map(|source| source.value), settings, grants, limits, is_valid }
}

fn source(text: &str, base: &Path, report: &Report<'_>) -> Result<PluginSource, InvalidValue> {
    if let Some(name) = text.strip_prefix("builtin:") {
        return name.parse().map(PluginSource::Builtin).map_err(|error| {
            let remedy = match nearest(name, Builtin::ALL.map(Builtin::name)) {
                Some(meant) => format!("Did you mean `builtin:{meant}`?"),
                None => "Name one of these, or the path of a component.".to_owned(),
            };
            InvalidValue::Other(format!("there is no `{}`; {error}", text.escape_debug()), remedy)
        });
    }
    if text.contains("://") || text.contains("@sha256:") {
        return Err(InvalidValue::Other(
            "this version loads no plugin over the network, from a registry or otherwise".to_owned(),
            "Download the component and name its path, for example `source = \"plugins/mine.wasm\"`."
                .to_owned(),
        ));
    }
    if !Path::new(text).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wasm")) {
        return Err(InvalidValue::Form);
    }
    let path = base.join(text);
    report.record_file(&path);
    report.warn_of_writers(Path::new(text), &path);
    let metadata = path.metadata().map_err(|error| {
        let remedy = "Name a component file; a relative path starts at the configuration file's folder.";
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                InvalidValue::Other(format!("there is no file {text}"), remedy.to_owned())
            }
            _ => InvalidValue::Other(format!("{text} can't be read: {error}"), remedy.to_owned()),
        }
    })?;
    if metadata.is_dir() {
        return Err(InvalidValue::Other(
            format!("{text} is not a file"),
            "Name the component itself.".to_owned(),
        ));
    }
    masque_files::check_is_regular(&metadata).map_err(|error| {
        InvalidValue::Other(
            format!("{text} can't be read: {error}"),
            "Name the component file itself.".to_owned(),
        )
    })?;
    if metadata.len() > MAX_COMPONENT_BYTES as u64 {
        let max = value::show_size(MAX_COMPONENT_BYTES);
        return Err(InvalidValue::Other(
            format!("{text} is larger than {max}"),
            "Build it with optimisation and without debug information.".to_owned(),
        ));
    }
    Ok(PluginSource::File(path))
}
