//! Flattens a `use` declaration: `use a::{b, c as d, e::*};` is three paths.

use syn::ext::IdentExt;
use syn::{Ident, ItemUse, UseTree};

/// One path of a `use` declaration.
#[derive(Clone, Debug)]
pub(crate) struct UsePath {
    /// The parts of the path, without the `*` of a glob and without a final `self`.
    pub(crate) segments: Vec<String>,
    pub(crate) binds: Binds,
    /// The line of its last part.
    pub(crate) line: usize,
}

/// What a path brings into scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Binds {
    Name(String),
    /// `as _`: the methods of a trait.
    Nothing,
    Glob,
}

/// The paths of a declaration. A path from the root of the crates (`::name`) leads outside and is left out.
pub(crate) fn flatten(item: &ItemUse) -> Vec<UsePath> {
    let mut paths = Vec::new();
    if item.leading_colon.is_none() {
        walk(&item.tree, &mut Vec::new(), &mut paths);
    }
    paths
}

fn walk(tree: &UseTree, prefix: &mut Vec<String>, paths: &mut Vec<UsePath>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(text(&path.ident));
            walk(&path.tree, prefix, paths);
            prefix.pop();
        }
        UseTree::Name(name) => {
            let binds = if name.ident == "self" { prefix.last().cloned() } else { Some(text(&name.ident)) };
            let binds = binds.map_or(Binds::Nothing, Binds::Name);
            paths.push(UsePath { segments: joined(prefix, &name.ident), binds, line: line(&name.ident) });
        }
        UseTree::Rename(rename) => {
            let binds = if rename.rename == "_" { Binds::Nothing } else { Binds::Name(text(&rename.rename)) };
            paths.push(UsePath { segments: joined(prefix, &rename.ident), binds, line: line(&rename.ident) });
        }
        UseTree::Glob(glob) => {
            let line = glob.star_token.span.start().line;
            paths.push(UsePath { segments: prefix.clone(), binds: Binds::Glob, line });
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, prefix, paths)),
    }
}

fn joined(prefix: &[String], last: &Ident) -> Vec<String> {
    let mut segments = prefix.to_vec();
    if last != "self" || segments.is_empty() {
        segments.push(text(last));
    }
    segments
}

/// The name without the `r#` of a raw identifier.
pub(crate) fn text(ident: &Ident) -> String {
    ident.unraw().to_string()
}

pub(crate) fn line(ident: &Ident) -> usize {
    ident.span().start().line
}
