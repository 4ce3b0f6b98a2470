//! `[plugins.NAME]`: where the component comes from, its settings, what it is granted and what it may spend.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use masque_runtime::LARGEST_COMPONENT;

use super::grants;
use super::host;
use super::problem::Problem;
use super::report::{Report, nearest};
use super::section::{Found, Section};
use super::settings;
use super::types::{Limits, Name, Source};
use super::values::{Form, Wrong};
use crate::builtin::Builtin;

const SOURCE: Form =
    Form { what: "a built-in plugin or the path of a .wasm file", example: "\"builtin:card\"" };

/// A plugin as far as it could be read.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) source: Option<Source>,
    pub(super) settings: serde_json::Map<String, serde_json::Value>,
    pub(super) grants: grants::Draft,
    pub(super) limits: Limits,
    /// Nothing in its section is wrong.
    pub(super) sound: bool,
}

/// Where components are, beside those that are built in.
pub(super) struct Places<'a> {
    /// Where relative paths start.
    pub(super) beside: &'a Path,
    /// The plugins folder.
    pub(super) folder: &'a Path,
    /// What is in it.
    pub(super) components: &'a BTreeMap<Name, PathBuf>,
}

/// `memory` is the most that a plugin can be given.
pub(super) fn read(
    sections: BTreeMap<Name, Section<'_, '_>>,
    places: &Places<'_>,
    memory: usize,
) -> BTreeMap<Name, Draft> {
    let read = |(name, section)| {
        let draft = one(&name, section, places, memory);
        (name, draft)
    };
    sections.into_iter().map(read).collect()
}

fn one(name: &Name, mut section: Section<'_, '_>, places: &Places<'_>, memory: usize) -> Draft {
    let (report, folder) = (section.report, places.beside);
    let errors = report.errors();
    let named = section.read("source", SOURCE, |value| {
        value.get_ref().as_str().ok_or(Wrong::Type).and_then(|text| source(text, folder, report))
    });
    let source = match (section.has("source"), places.components.get(name)) {
        (true, None) => named,
        (true, Some(component)) => {
            report.add(Problem::warning(
                report.place(&named.as_ref().map_or(section.span(), |source| source.span.clone())),
                format!("`source` in [plugins.{name}] counts, and {} is ignored", component.display()),
                "Remove one of the two.",
            ));
            named
        }
        (false, Some(component)) => {
            Some(Found { value: Source::File(component.clone()), span: section.span() })
        }
        (false, None) => {
            let component = places.folder.join(format!("{name}.wasm"));
            let otherwise = format!(", or put the component at {}", component.display());
            section.require_unless("source", SOURCE, &otherwise);
            None
        }
    };
    let settings = settings::with_files(&mut section, "settings", folder);
    let grants = grants::read(section.table("grants"));
    let limits = host::limits(section.table("limits"), memory);
    section.finish();
    let sound = report.errors() == errors;
    Draft { source: source.map(|source| source.value), settings, grants, limits, sound }
}

fn source(text: &str, folder: &Path, report: &Report<'_>) -> Result<Source, Wrong> {
    if let Some(name) = text.strip_prefix("builtin:") {
        return name.parse().map(Source::Builtin).map_err(|error| {
            let remedy = match nearest(name, Builtin::ALL.map(Builtin::name)) {
                Some(meant) => format!("Did you mean `builtin:{meant}`?"),
                None => "Name one of these, or the path of a component.".to_owned(),
            };
            Wrong::Other(format!("there is no `{}`; {error}", text.escape_debug()), remedy)
        });
    }
    if text.contains("://") || text.contains("@sha256:") {
        return Err(Wrong::Other(
            "this version loads no plugin over the network, from a registry or otherwise".to_owned(),
            "Download the component and name its path, for example `source = \"plugins/mine.wasm\"`."
                .to_owned(),
        ));
    }
    if !Path::new(text).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wasm")) {
        return Err(Wrong::Form);
    }
    let path = folder.join(text);
    report.read_file(&path);
    let metadata = path.metadata().map_err(|error| {
        let remedy = "Name a component file; a relative path starts at the configuration file's folder.";
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                Wrong::Other(format!("there is no file {text}"), remedy.to_owned())
            }
            _ => Wrong::Other(format!("{text} can't be read: {error}"), remedy.to_owned()),
        }
    })?;
    if !metadata.is_file() {
        return Err(Wrong::Other(format!("{text} is not a file"), "Name the component itself.".to_owned()));
    }
    if metadata.len() > LARGEST_COMPONENT as u64 {
        let most = super::values::show_size(LARGEST_COMPONENT);
        return Err(Wrong::Other(
            format!("{text} is larger than {most}"),
            "Build it with optimisation and without debug information.".to_owned(),
        ));
    }
    Ok(Source::File(path))
}
