//! The names of a function's body: variables, which are no items, and the items and imports of its blocks.

use syn::{Block, Item, Stmt};

use super::load::attributes;
use super::test_only::is_test_only;
use super::use_paths::{Binds, flatten, text};

/// What a name stands for in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Local {
    Variable,
    /// An item of a block, in the same file.
    Item,
    /// An import of a block, with its path.
    Import(Vec<String>),
}

/// The scopes around a place in the code, the innermost last.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    frames: Vec<Frame>,
}

#[derive(Debug, Default)]
struct Frame {
    names: Vec<(String, Local)>,
    globs: Vec<Vec<String>>,
}

impl Scopes {
    pub(crate) fn enter(&mut self) {
        self.frames.push(Frame::default());
    }

    pub(crate) fn leave(&mut self) {
        self.frames.pop();
    }

    /// Adds a variable to the innermost scope. Outside every scope (the pattern of a constant) it is forgotten.
    pub(crate) fn add_variable(&mut self, name: String) {
        if let Some(frame) = self.frames.last_mut() {
            frame.names.push((name, Local::Variable));
        }
    }

    /// Adds the items and imports of a block, which are known from its first line on.
    pub(crate) fn add_items(&mut self, block: &Block) {
        let Some(frame) = self.frames.last_mut() else { return };
        for statement in &block.stmts {
            let Stmt::Item(item) = statement else { continue };
            if is_test_only(attributes(item)) {
                continue;
            }
            let ident = match item {
                Item::Const(item) => &item.ident,
                Item::Enum(item) => &item.ident,
                Item::Fn(item) => &item.sig.ident,
                Item::Static(item) => &item.ident,
                Item::Struct(item) => &item.ident,
                Item::Trait(item) => &item.ident,
                Item::Type(item) => &item.ident,
                Item::Use(item) => {
                    for path in flatten(item) {
                        match path.binds {
                            Binds::Name(name) => frame.names.push((name, Local::Import(path.segments))),
                            Binds::Glob => frame.globs.push(path.segments),
                            Binds::Nothing => {}
                        }
                    }
                    continue;
                }
                _ => continue,
            };
            frame.names.push((text(ident), Local::Item));
        }
    }

    /// What the innermost scope that knows `name` means by it.
    pub(crate) fn find(&self, name: &str) -> Option<&Local> {
        let names = self.frames.iter().rev().flat_map(|frame| frame.names.iter().rev());
        names.into_iter().find(|(known, _)| known == name).map(|(_, local)| local)
    }

    /// The paths of the glob imports of all scopes.
    pub(crate) fn globs(&self) -> impl Iterator<Item = &Vec<String>> {
        self.frames.iter().flat_map(|frame| &frame.globs)
    }
}
