//! Where each key of the file is, by its JSON pointer. This index outlives the reading of the file: some mistakes show only
//! after a plugin was loaded and has said which settings it takes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use masque_grants::Name;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Location, Position};
use crate::document::Document;

/// The locations of all keys of the file. Empty if there is no file.
#[derive(Clone, Debug, Default)]
pub struct KeyLocations {
    file: PathBuf,
    positions: BTreeMap<String, Position>,
    /// The components in the plugins folder, for plugins without a section in the file.
    components: BTreeMap<Name, PathBuf>,
    /// Whether companions and plugins come from the active set that hosts share, and not from a file.
    is_of_active_set: bool,
}

impl KeyLocations {
    pub(crate) fn new(document: &Document, root: &DeTable<'_>) -> Self {
        let mut locations = Self { file: document.name().to_path_buf(), ..Self::default() };
        locations.add_table(document, "", root);
        locations
    }

    /// The locations of companions and plugins that come from the active set that hosts share.
    pub(crate) fn of_active_set() -> Self {
        Self { is_of_active_set: true, ..Self::default() }
    }

    pub(crate) fn with_components(self, components: BTreeMap<Name, PathBuf>) -> Self {
        Self { components, ..self }
    }

    /// Whether there is no file, or the file has no keys.
    pub(crate) fn are_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Whether the file has a companion or plugin, or the plugins folder a component.
    pub fn describe_active_set(&self) -> bool {
        !self.components.is_empty()
            || ["/companions", "/plugins"].iter().any(|table| self.positions.contains_key(*table))
    }

    /// Whether the file has a section for the plugin.
    pub fn has_plugin(&self, plugin: &str) -> bool {
        self.positions.contains_key(&format!("/plugins/{plugin}"))
    }

    /// The location of a plugin's setting; `pointer` is a JSON pointer into the settings, and `""` stands for all of them.
    pub fn setting(&self, plugin: &str, pointer: &str) -> Location {
        self.nearest("plugin", &format!("/plugins/{plugin}"), &format!("/settings{pointer}"))
    }

    /// The location of a plugin's key, such as `source` or `grants/http/0`.
    pub fn plugin(&self, plugin: &str, key: &str) -> Location {
        self.nearest("plugin", &format!("/plugins/{plugin}"), &format!("/{key}"))
    }

    /// The location of a companion's key, such as `persona` or `models/1`.
    pub fn companion(&self, companion: &str, key: &str) -> Location {
        self.nearest("companion", &format!("/companions/{companion}"), &format!("/{key}"))
    }

    /// The location of the key, or, if the file does not have it, of the nearest table or list around it.
    fn nearest(&self, kind: &str, entry: &str, inner: &str) -> Location {
        let pointer = format!("{entry}{inner}");
        let mut pointer = pointer.as_str();
        loop {
            if let Some(position) = self.positions.get(pointer) {
                return Location::File { path: self.file.clone(), position: Some(*position) };
            }
            match pointer.rfind('/') {
                Some(parent) if parent >= entry.len() => {
                    pointer = pointer.get(..parent).unwrap_or_default();
                }
                _ => {
                    let name = entry.rsplit('/').next().unwrap_or_default();
                    if kind == "plugin"
                        && let Some(component) = self.components.get(name)
                    {
                        return Location::whole_file(component);
                    }
                    let name = format!("{kind} `{name}`");
                    return if self.is_of_active_set {
                        Location::ActiveSet(name)
                    } else {
                        Location::Builtin(name)
                    };
                }
            }
        }
    }

    fn add_table(&mut self, document: &Document, pointer: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let pointer = format!("{pointer}/{}", key.get_ref().replace('~', "~0").replace('/', "~1"));
            let span = if value.get_ref().is_table() { key.span() } else { value.span() };
            self.positions.insert(pointer.clone(), document.position(&span));
            self.add_value(document, &pointer, value.get_ref());
        }
    }

    fn add_value(&mut self, document: &Document, pointer: &str, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => self.add_table(document, pointer, table),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let pointer = format!("{pointer}/{index}");
                    self.positions.insert(pointer.clone(), document.position(&item.span()));
                    self.add_value(document, &pointer, item.get_ref());
                }
            }
            _ => {}
        }
    }
}
