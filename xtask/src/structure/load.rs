//! Reads the files of a target and registers the names that they define and import.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use syn::{Attribute, Expr, ExprLit, ForeignItem, Item, ItemMod, Lit, Meta};

use super::names::{Crate, Definition, FileId, Glob, Kind, Meaning, ModuleId, Visibility};
use super::test_only::{is_conditional, is_test_only};
use super::use_paths::{Binds, flatten, text};

/// Reads the target with this root file. Fails where a file is missing or is not Rust.
pub(crate) fn load(root: &Path) -> anyhow::Result<Crate> {
    let mut krate = Crate::default();
    let folder = root.parent().unwrap_or(Path::new("")).to_owned();
    load_file(&mut krate, root, None, &Folders { own: folder.clone(), children: folder })?;
    Ok(krate)
}

/// Where the modules that a module declares are looked for.
struct Folders {
    /// The folder of the file, to which a `#[path]` outside inline modules is relative.
    own: PathBuf,
    /// The folder of modules without `#[path]`.
    children: PathBuf,
}

/// Reads a file as a module. Returns `None` where the whole file is for tests only.
fn load_file(
    krate: &mut Crate,
    path: &Path,
    parent: Option<ModuleId>,
    folders: &Folders,
) -> anyhow::Result<Option<ModuleId>> {
    let source = fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    let parsed = syn::parse_file(&source).with_context(|| format!("could not parse {}", path.display()))?;
    if is_test_only(&parsed.attrs) {
        return Ok(None);
    }
    let file = krate.add_file(&fs::canonicalize(path)?);
    let module = krate.add_module(parent, file);
    register(krate, module, file, parsed.items, folders, false)?;
    Ok(Some(module))
}

fn register(
    krate: &mut Crate,
    module: ModuleId,
    file: FileId,
    items: Vec<Item>,
    folders: &Folders,
    is_inline: bool,
) -> anyhow::Result<()> {
    for item in items {
        if is_test_only(attributes(&item)) {
            continue;
        }
        match item {
            Item::Mod(item) => register_module(krate, module, file, item, folders, is_inline)?,
            item => {
                register_names(krate, module, file, &item);
                krate.module_mut(module).code.push(item);
            }
        }
    }
    Ok(())
}

fn register_module(
    krate: &mut Crate,
    parent: ModuleId,
    file: FileId,
    item: ItemMod,
    folders: &Folders,
    is_inline: bool,
) -> anyhow::Result<()> {
    let name = text(&item.ident);
    let visibility = visibility(krate, parent, &item.vis);
    let given = path_attribute(&item.attrs);
    let relative_to = if is_inline { &folders.children } else { &folders.own };
    let module = if let Some((_, items)) = item.content {
        let folder = given.map_or_else(|| folders.children.join(&name), |path| relative_to.join(path));
        let module = krate.add_module(Some(parent), file);
        register(krate, module, file, items, &Folders { own: folder.clone(), children: folder }, true)?;
        module
    } else {
        let (path, children) = if let Some(given) = given {
            let path = relative_to.join(given);
            let children = path.parent().unwrap_or(Path::new("")).to_owned();
            (path, children)
        } else {
            let nested = folders.children.join(&name).join("mod.rs");
            let flat = folders.children.join(format!("{name}.rs"));
            (if nested.is_file() { nested } else { flat }, folders.children.join(&name))
        };
        if !path.is_file() && is_conditional(&item.attrs) {
            return Ok(());
        }
        let own = path.parent().unwrap_or(Path::new("")).to_owned();
        match load_file(krate, &path, Some(parent), &Folders { own, children })? {
            Some(module) => module,
            None => return Ok(()),
        }
    };
    krate.bind(parent, name, visibility, Meaning::Module(module));
    Ok(())
}

fn register_names(krate: &mut Crate, module: ModuleId, file: FileId, item: &Item) {
    let (ident, vis, kind) = match item {
        Item::Const(item) => (&item.ident, &item.vis, Kind::Value),
        Item::Fn(item) => (&item.sig.ident, &item.vis, Kind::Value),
        Item::Static(item) => (&item.ident, &item.vis, Kind::Value),
        Item::Struct(item) => (&item.ident, &item.vis, Kind::Type),
        Item::Trait(item) => (&item.ident, &item.vis, Kind::Trait),
        Item::TraitAlias(item) => (&item.ident, &item.vis, Kind::Trait),
        Item::Type(item) => (&item.ident, &item.vis, Kind::Type),
        Item::Union(item) => (&item.ident, &item.vis, Kind::Type),
        Item::Enum(item) => {
            let variants = item.variants.iter().map(|variant| text(&variant.ident)).collect();
            (&item.ident, &item.vis, Kind::Enum(variants))
        }
        Item::ExternCrate(item) => {
            let name = text(item.rename.as_ref().map_or(&item.ident, |(_, name)| name));
            if item.ident == "self" {
                let visibility = visibility(krate, module, &item.vis);
                krate.bind(module, name, visibility, Meaning::Module(Crate::ROOT));
            }
            return;
        }
        Item::ForeignMod(item) => {
            for item in &item.items {
                let (ident, vis) = match item {
                    ForeignItem::Fn(item) => (&item.sig.ident, &item.vis),
                    ForeignItem::Static(item) => (&item.ident, &item.vis),
                    _ => continue,
                };
                let definition = Definition { file, name: text(ident), kind: Kind::Value };
                let visibility = visibility(krate, module, vis);
                krate.bind(module, text(ident), visibility, Meaning::Item(definition));
            }
            return;
        }
        Item::Macro(item) => {
            let Some(ident) = &item.ident else { return };
            let meaning = Meaning::Item(Definition { file, name: text(ident), kind: Kind::Value });
            if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) {
                krate.bind(Crate::ROOT, text(ident), Visibility::Everywhere, meaning.clone());
            }
            krate.bind(module, text(ident), Visibility::Within(module), meaning);
            return;
        }
        Item::Use(item) => {
            let visibility = visibility(krate, module, &item.vis);
            for path in flatten(item) {
                match path.binds {
                    Binds::Name(name) => {
                        krate.bind(module, name, visibility, Meaning::Import(path.segments));
                    }
                    Binds::Glob => {
                        krate.module_mut(module).globs.push(Glob { visibility, path: path.segments });
                    }
                    Binds::Nothing => {}
                }
            }
            return;
        }
        _ => return,
    };
    let visibility = visibility(krate, module, vis);
    let definition = Definition { file, name: text(ident), kind };
    krate.bind(module, text(ident), visibility, Meaning::Item(definition));
}

/// Who sees an item of `module`. `pub(in path)` counts as visible everywhere.
fn visibility(krate: &Crate, module: ModuleId, visibility: &syn::Visibility) -> Visibility {
    match visibility {
        syn::Visibility::Public(_) => Visibility::Everywhere,
        syn::Visibility::Inherited => Visibility::Within(module),
        syn::Visibility::Restricted(restricted) => {
            if restricted.path.is_ident("self") {
                Visibility::Within(module)
            } else if restricted.path.is_ident("super") {
                krate.module(module).parent.map_or(Visibility::Everywhere, Visibility::Within)
            } else {
                Visibility::Everywhere
            }
        }
    }
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(path), .. }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    })
}

/// The attributes of an item.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
