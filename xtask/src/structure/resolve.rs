//! Follows a path through modules, imports, re-exports and globs to the file that defines what it names.

use super::names::{Crate, Definition, Kind, Meaning, Module, ModuleId};

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Module(ModuleId),
    Item(Definition),
    /// Something of another crate, or a name that can't be resolved.
    Outside,
}

/// The names that are being looked up, which ends cycles of imports.
type Trail = Vec<(ModuleId, String)>;

/// Everything that `path` names in `module`, in all namespaces.
pub(crate) fn resolve(krate: &Crate, module: ModuleId, path: &[String]) -> Vec<Target> {
    resolve_path(krate, module, path, &mut Trail::new())
}

/// The items that a glob import of `source` into `viewer` names without their names being written: what the file of
/// `source` itself defines, and traits, whose methods are used without naming the trait.
pub(crate) fn named_by_glob(krate: &Crate, source: ModuleId, viewer: ModuleId) -> Vec<Definition> {
    let mut named = Vec::new();
    collect_glob(krate, source, viewer, &mut Vec::new(), &mut named);
    let file = krate.module(source).file;
    named.retain(|definition| definition.file == file || definition.kind == Kind::Trait);
    named
}

fn collect_glob(
    krate: &Crate,
    source: ModuleId,
    viewer: ModuleId,
    seen: &mut Vec<ModuleId>,
    named: &mut Vec<Definition>,
) {
    if seen.contains(&source) {
        return;
    }
    seen.push(source);
    let module = krate.module(source);
    for name in module.bindings.keys() {
        let targets = look_up(krate, source, name, Some(viewer), &mut Trail::new());
        named.extend(targets.into_iter().filter_map(|target| match target {
            Target::Item(definition) => Some(definition),
            _ => None,
        }));
    }
    for glob in module.globs.iter().filter(|glob| krate.is_visible(glob.visibility, viewer)) {
        for target in resolve(krate, source, &glob.path) {
            if let Target::Module(next) = target {
                collect_glob(krate, next, source, seen, named);
            }
        }
    }
}

fn resolve_path(krate: &Crate, module: ModuleId, path: &[String], trail: &mut Trail) -> Vec<Target> {
    let Some((first, rest)) = path.split_first() else { return vec![Target::Outside] };
    let mut targets = match first.as_str() {
        "crate" => vec![Target::Module(Crate::ROOT)],
        "self" => vec![Target::Module(module)],
        "super" => vec![parent(krate, module)],
        name => look_up(krate, module, name, None, trail),
    };
    if targets.is_empty() {
        targets.push(own_name(krate, first));
    }
    for segment in rest {
        targets = members(krate, &targets, segment, trail);
    }
    targets
}

/// The crate itself, under the name that `extern crate self as name` gives it.
fn own_name(krate: &Crate, name: &str) -> Target {
    let bindings = krate.module(Crate::ROOT).bindings.get(name).into_iter().flatten();
    let mut roots =
        bindings.filter(|binding| matches!(binding.meaning, Meaning::Module(id) if id == Crate::ROOT));
    roots.next().map_or(Target::Outside, |_| Target::Module(Crate::ROOT))
}

/// What `name` means behind a path that names `targets`.
fn members(krate: &Crate, targets: &[Target], name: &str, trail: &mut Trail) -> Vec<Target> {
    let mut found = Vec::new();
    for target in targets {
        let Target::Module(module) = target else { continue };
        let members = match name {
            "self" => vec![Target::Module(*module)],
            "super" => vec![parent(krate, *module)],
            name => member(krate, *module, name, trail),
        };
        found.extend(members);
    }
    if !found.is_empty() {
        return found;
    }
    // A variant or an associated item belongs to the type before it; behind a function there is nothing, so the
    // path means a crate of the same name.
    let is_type = |target: &&Target| matches!(target, Target::Item(item) if item.kind != Kind::Value);
    let types: Vec<_> = targets.iter().filter(is_type).cloned().collect();
    if types.is_empty() { vec![Target::Outside] } else { types }
}

/// What `name` means in a module that a path leads to. A name that is neither written there nor comes from another
/// crate is made by a macro of the module.
fn member(krate: &Crate, module: ModuleId, name: &str, trail: &mut Trail) -> Vec<Target> {
    let found = look_up(krate, module, name, None, trail);
    if !found.is_empty() {
        return found;
    }
    if imports_all_of_another_crate(krate, module, &mut Vec::new()) {
        return vec![Target::Outside];
    }
    let file = krate.module(module).file;
    vec![Target::Item(Definition { file, name: name.to_owned(), kind: Kind::Unknown })]
}

/// What `name` means in the scope of a module; with a `viewer`, only what that module may see.
fn look_up(
    krate: &Crate,
    id: ModuleId,
    name: &str,
    viewer: Option<ModuleId>,
    trail: &mut Trail,
) -> Vec<Target> {
    let module = krate.module(id);
    let is_cycle = trail.iter().any(|(module, looked_up)| *module == id && looked_up == name);
    trail.push((id, name.to_owned()));
    let mut found = Vec::new();
    for binding in module.bindings.get(name).into_iter().flatten() {
        if viewer.is_some_and(|viewer| !krate.is_visible(binding.visibility, viewer)) {
            continue;
        }
        match &binding.meaning {
            Meaning::Module(module) => found.push(Target::Module(*module)),
            Meaning::Item(definition) => found.push(Target::Item(definition.clone())),
            // `use name::name` asks for its own name: the first `name` is then a module or a crate.
            Meaning::Import(_) if is_cycle => {}
            Meaning::Import(path) => found.extend(resolve_path(krate, id, path, trail)),
        }
    }
    if found.is_empty() && !is_cycle {
        found = look_up_in_globs(krate, id, module, name, viewer, trail);
    }
    trail.pop();
    let mut unique = Vec::new();
    for target in found {
        if !unique.contains(&target) {
            unique.push(target);
        }
    }
    unique
}

fn look_up_in_globs(
    krate: &Crate,
    id: ModuleId,
    module: &Module,
    name: &str,
    viewer: Option<ModuleId>,
    trail: &mut Trail,
) -> Vec<Target> {
    let mut found = Vec::new();
    for glob in &module.globs {
        if viewer.is_some_and(|viewer| !krate.is_visible(glob.visibility, viewer)) {
            continue;
        }
        for target in resolve_path(krate, id, &glob.path, trail) {
            match target {
                Target::Module(source) if source != id => {
                    found.extend(look_up(krate, source, name, Some(id), trail));
                }
                Target::Item(item) if has_variant(&item, name) => found.push(Target::Item(item)),
                _ => {}
            }
        }
    }
    found
}

fn has_variant(item: &Definition, name: &str) -> bool {
    matches!(&item.kind, Kind::Enum(variants) if variants.iter().any(|variant| variant == name))
}

fn imports_all_of_another_crate(krate: &Crate, id: ModuleId, seen: &mut Vec<ModuleId>) -> bool {
    if seen.contains(&id) {
        return false;
    }
    seen.push(id);
    krate.module(id).globs.iter().any(|glob| {
        resolve(krate, id, &glob.path).iter().any(|target| match target {
            Target::Module(source) => imports_all_of_another_crate(krate, *source, seen),
            Target::Item(_) => false,
            Target::Outside => true,
        })
    })
}

fn parent(krate: &Crate, module: ModuleId) -> Target {
    krate.module(module).parent.map_or(Target::Outside, Target::Module)
}
