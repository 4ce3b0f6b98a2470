//! Where each key of the file stands, by its JSON pointer, kept after the file is read: some mistakes show only once a
//! plugin has been loaded and has said what settings it takes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::document::Document;
use super::problem::{Place, Position};
use super::types::Name;

/// An index of the file; empty where there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locations {
    file: PathBuf,
    positions: BTreeMap<String, Position>,
    /// Plugins that only the plugins folder knows.
    components: BTreeMap<Name, PathBuf>,
}

impl Locations {
    pub(super) fn new(document: &Document, root: &DeTable<'_>) -> Self {
        let mut locations = Self { file: document.name().to_path_buf(), ..Self::default() };
        locations.add_table(document, "", root);
        locations
    }

    /// The same with the components of the plugins folder.
    pub(super) fn and_components(self, components: BTreeMap<Name, PathBuf>) -> Self {
        Self { components, ..self }
    }

    /// Whether there is no file, or nothing in it.
    pub(super) fn are_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Whether the file says anything of the plugin.
    pub(crate) fn knows_plugin(&self, plugin: &str) -> bool {
        self.positions.contains_key(&format!("/plugins/{plugin}"))
    }

    /// A setting of a plugin, by a JSON pointer into its settings (`""` is all of them).
    pub(crate) fn setting(&self, plugin: &str, pointer: &str) -> Place {
        self.nearest("plugin", &format!("/plugins/{plugin}"), &format!("/settings{pointer}"))
    }

    /// A key of a plugin, such as `source` or `grants/http/0`.
    pub(crate) fn plugin(&self, plugin: &str, key: &str) -> Place {
        self.nearest("plugin", &format!("/plugins/{plugin}"), &format!("/{key}"))
    }

    /// A key of a companion, such as `persona` or `models/1`.
    pub(crate) fn companion(&self, companion: &str, key: &str) -> Place {
        self.nearest("companion", &format!("/companions/{companion}"), &format!("/{key}"))
    }

    /// The place of the pointer, or of the nearest thing around it that is in the file: a key that is missing has none.
    fn nearest(&self, kind: &str, entry: &str, inner: &str) -> Place {
        let pointer = format!("{entry}{inner}");
        let mut pointer = pointer.as_str();
        loop {
            if let Some(position) = self.positions.get(pointer) {
                return Place::File { path: self.file.clone(), position: Some(*position) };
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
                        return Place::whole_file(component);
                    }
                    return Place::Builtin(format!("{kind} `{name}`"));
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
