//! The modules of a crate and the names in them: what is defined where, what is imported from where, and who sees it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A module of a [`Crate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ModuleId(usize);

/// A source file of a [`Crate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId(usize);

/// One target: a tree of modules, spread over files.
#[derive(Default)]
pub(crate) struct Crate {
    files: Vec<PathBuf>,
    modules: Vec<Module>,
}

pub(crate) struct Module {
    pub(crate) parent: Option<ModuleId>,
    pub(crate) file: FileId,
    pub(crate) bindings: BTreeMap<String, Vec<Binding>>,
    pub(crate) globs: Vec<Glob>,
    /// The code of the module, without what is compiled for tests only and without its modules.
    pub(crate) code: Vec<syn::Item>,
}

/// What a name stands for in a module.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) visibility: Visibility,
    pub(crate) meaning: Meaning,
}

#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    Module(ModuleId),
    Item(Definition),
    /// A name imported by `use`, with its path.
    Import(Vec<String>),
}

/// An item and the file that defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) file: FileId,
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With the names of its variants, which a glob may import.
    Enum(Vec<String>),
    Trait,
    /// A struct, union or alias: a path may go on behind its name.
    Type,
    /// A function, constant, static or macro: a path ends with its name.
    Value,
    /// Made by the expansion of a macro.
    Unknown,
}

/// A glob import, with the path of what it imports from.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    pub(crate) visibility: Visibility,
    pub(crate) path: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Visibility {
    /// In the whole crate or beyond.
    Everywhere,
    /// In this module and the modules in it.
    Within(ModuleId),
}

impl Crate {
    pub(crate) const ROOT: ModuleId = ModuleId(0);

    /// The id of a file; the same file has the same id, however often it is a module.
    pub(crate) fn add_file(&mut self, path: &Path) -> FileId {
        if let Some(index) = self.files.iter().position(|file| file == path) {
            return FileId(index);
        }
        self.files.push(path.to_owned());
        FileId(self.files.len() - 1)
    }

    /// Adds an empty module. The first one is the root.
    pub(crate) fn add_module(&mut self, parent: Option<ModuleId>, file: FileId) -> ModuleId {
        let (bindings, globs, code) = Default::default();
        self.modules.push(Module { parent, file, bindings, globs, code });
        ModuleId(self.modules.len() - 1)
    }

    pub(crate) fn bind(&mut self, module: ModuleId, name: String, visibility: Visibility, meaning: Meaning) {
        self.module_mut(module).bindings.entry(name).or_default().push(Binding { visibility, meaning });
    }

    pub(crate) fn modules(&self) -> impl Iterator<Item = (ModuleId, &Module)> {
        self.modules.iter().enumerate().map(|(index, module)| (ModuleId(index), module))
    }

    #[expect(clippy::indexing_slicing, reason = "an id comes from `add_file` of the same crate")]
    pub(crate) fn file(&self, id: FileId) -> &Path {
        &self.files[id.0]
    }

    #[expect(clippy::indexing_slicing, reason = "an id comes from `add_module` of the same crate")]
    pub(crate) fn module(&self, id: ModuleId) -> &Module {
        &self.modules[id.0]
    }

    #[expect(clippy::indexing_slicing, reason = "an id comes from `add_module` of the same crate")]
    pub(crate) fn module_mut(&mut self, id: ModuleId) -> &mut Module {
        &mut self.modules[id.0]
    }

    /// Whether code in `viewer` may name something of this visibility.
    pub(crate) fn is_visible(&self, visibility: Visibility, viewer: ModuleId) -> bool {
        let Visibility::Within(module) = visibility else { return true };
        let mut current = Some(viewer);
        while let Some(id) = current {
            if id == module {
                return true;
            }
            current = self.module(id).parent;
        }
        false
    }
}
