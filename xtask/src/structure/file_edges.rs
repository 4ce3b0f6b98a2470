//! Collects which file of a crate names items that another file of it defines.
//!
//! Counted are `use` declarations and the paths in expressions, types, patterns, bounds and the tokens of macros.
//! Not counted are `mod` declarations, attributes with the documentation in them, `pub use` in `lib.rs` and `mod.rs`,
//! and all that is compiled for tests only. A name that such a `pub use` brings into its own module counts where the
//! code of the module uses it.

use std::collections::BTreeMap;
use std::path::Path;

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Arm, Attribute, Block, Expr, ImplItem, Item, Macro, Stmt, Token, TraitItem};

use super::load::attributes;
use super::macro_tokens;
use super::names::{Crate, Definition, FileId, Kind, ModuleId};
use super::resolve::{Target, named_by_glob, resolve};
use super::scopes::{Local, Scopes};
use super::test_only::is_test_only;
use super::use_paths::{Binds, flatten, line, text};

/// For each pair of files, the items of the second that the first names, each with the line where it does so first.
pub(crate) type Edges = BTreeMap<(FileId, FileId), BTreeMap<String, usize>>;

pub(crate) fn collect(krate: &Crate) -> Edges {
    let mut edges = Edges::new();
    for (id, module) in krate.modules() {
        let scopes = Scopes::default();
        let mut collector = Collector { krate, module: id, file: module.file, scopes, edges: &mut edges };
        module.code.iter().for_each(|item| collector.visit_item(item));
    }
    edges
}

struct Collector<'a> {
    krate: &'a Crate,
    module: ModuleId,
    file: FileId,
    scopes: Scopes,
    edges: &'a mut Edges,
}

impl Collector<'_> {
    /// Counts what `path` names at a place in a body.
    fn add_path(&mut self, path: &[String], line: usize) {
        let Some((first, rest)) = path.split_first() else { return };
        let targets = match self.scopes.find(first) {
            Some(Local::Item) => return,
            Some(Local::Variable) if rest.is_empty() => return,
            Some(Local::Import(import)) => {
                let path: Vec<_> = import.iter().chain(rest).cloned().collect();
                resolve(self.krate, self.module, &path)
            }
            Some(Local::Variable) | None => self.resolve_beside_globs(path),
        };
        self.add_targets(&targets, line);
    }

    fn resolve_beside_globs(&self, path: &[String]) -> Vec<Target> {
        let mut targets = resolve(self.krate, self.module, path);
        let is_outside = targets.iter().all(|target| *target == Target::Outside);
        let is_relative =
            path.first().is_some_and(|first| !matches!(first.as_str(), "crate" | "self" | "super"));
        if is_outside && is_relative {
            for glob in self.scopes.globs() {
                // Only a module or an enum of this crate; anything else would be the rest of a path outside.
                if resolve(self.krate, self.module, glob).contains(&Target::Outside) {
                    continue;
                }
                let path: Vec<_> = glob.iter().chain(path).cloned().collect();
                targets.extend(resolve(self.krate, self.module, &path).into_iter().filter(is_certain));
            }
        }
        targets
    }

    fn add_targets(&mut self, targets: &[Target], line: usize) {
        for target in targets {
            if let Target::Item(definition) = target {
                self.add(definition, line);
            }
        }
    }

    fn add(&mut self, definition: &Definition, line: usize) {
        if definition.file == self.file {
            return;
        }
        let items = self.edges.entry((self.file, definition.file)).or_default();
        let first = items.entry(definition.name.clone()).or_insert(line);
        *first = line.min(*first);
    }

    fn is_exempt(&self, item: &syn::ItemUse) -> bool {
        let is_public = match &item.vis {
            syn::Visibility::Inherited => false,
            syn::Visibility::Restricted(restricted) => !restricted.path.is_ident("self"),
            syn::Visibility::Public(_) => true,
        };
        let name = self.krate.file(self.file).file_name();
        is_public && name.is_some_and(|name| Path::new(name) == "lib.rs" || Path::new(name) == "mod.rs")
    }

    fn in_scope(&mut self, visit: impl FnOnce(&mut Self)) {
        self.scopes.enter();
        visit(self);
        self.scopes.leave();
    }
}

/// Whether the path ended at something that the sources show.
fn is_certain(target: &Target) -> bool {
    matches!(target, Target::Item(definition) if definition.kind != Kind::Unknown)
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if self.is_exempt(item) {
            return;
        }
        for path in flatten(item) {
            let targets = resolve(self.krate, self.module, &path.segments);
            self.add_targets(&targets, path.line);
            if path.binds != Binds::Glob {
                continue;
            }
            for target in targets {
                let Target::Module(source) = target else { continue };
                for definition in named_by_glob(self.krate, source, self.module) {
                    self.add(&definition, path.line);
                }
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            let segments: Vec<_> = path.segments.iter().map(|segment| text(&segment.ident)).collect();
            self.add_path(&segments, line(&first.ident));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        // The name of a macro alone may be a function's too; an imported macro counts where it is imported.
        if call.path.segments.len() > 1 {
            self.visit_path(&call.path);
        }
        if call.path.is_ident("macro_rules") {
            // Other paths are resolved where the macro is used.
            let paths = macro_tokens::paths(call.tokens.clone());
            for path in
                paths.iter().filter(|path| path.segments.first().is_some_and(|first| first == "crate"))
            {
                self.add_path(&path.segments, path.line);
            }
            return;
        }
        match call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated) {
            Ok(arguments) => {
                for argument in &arguments {
                    match argument {
                        // A named argument.
                        Expr::Assign(argument) => self.visit_expr(&argument.right),
                        argument => self.visit_expr(argument),
                    }
                }
            }
            Err(_) => {
                for path in macro_tokens::paths(call.tokens.clone()) {
                    self.add_path(&path.segments, path.line);
                }
            }
        }
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        let name = text(&pattern.ident);
        if name.starts_with(char::is_uppercase) {
            // A constant, or a variant that a glob brings.
            self.add_path(&[name], line(&pattern.ident));
        } else {
            self.scopes.add_variable(name);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_block(&mut self, block: &'ast Block) {
        self.in_scope(|this| {
            this.scopes.add_items(block);
            visit::visit_block(this, block);
        });
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if is_test_only(&local.attrs) {
            return;
        }
        if let Some(init) = &local.init {
            self.visit_local_init(init);
        }
        self.visit_pat(&local.pat);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.in_scope(|this| visit::visit_item_fn(this, item));
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => return,
        };
        if !is_test_only(attributes) {
            self.in_scope(|this| visit::visit_impl_item(this, item));
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        self.in_scope(|this| visit::visit_trait_item(this, item));
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_test_only(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        if !is_test_only(&field.attrs) {
            visit::visit_field_value(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !is_test_only(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let is_left_out = match statement {
            Stmt::Macro(statement) => is_test_only(&statement.attrs),
            Stmt::Expr(Expr::Block(block), _) => is_test_only(&block.attrs),
            _ => false,
        };
        if !is_left_out {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_arm(&mut self, arm: &'ast Arm) {
        if !is_test_only(&arm.attrs) {
            self.in_scope(|this| visit::visit_arm(this, arm));
        }
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.in_scope(|this| visit::visit_expr_closure(this, closure));
    }

    fn visit_expr_if(&mut self, branch: &'ast syn::ExprIf) {
        self.in_scope(|this| {
            this.visit_expr(&branch.cond);
            this.visit_block(&branch.then_branch);
        });
        if let Some((_, otherwise)) = &branch.else_branch {
            self.visit_expr(otherwise);
        }
    }

    fn visit_expr_while(&mut self, repeated: &'ast syn::ExprWhile) {
        self.in_scope(|this| visit::visit_expr_while(this, repeated));
    }

    fn visit_expr_let(&mut self, condition: &'ast syn::ExprLet) {
        self.visit_expr(&condition.expr);
        self.visit_pat(&condition.pat);
    }

    fn visit_expr_for_loop(&mut self, repeated: &'ast syn::ExprForLoop) {
        self.visit_expr(&repeated.expr);
        self.in_scope(|this| {
            this.visit_pat(&repeated.pat);
            this.visit_block(&repeated.body);
        });
    }
}
