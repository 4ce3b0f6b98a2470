//! Which edges between files the check finds in small crates.

use super::super::{cycles, file_edges, load};
use super::write;

struct Case {
    name: &'static str,
    /// The first is the root.
    files: &'static [(&'static str, &'static str)],
    /// `FROM:LINE TO ITEM`, sorted.
    edges: &'static [&'static str],
}

const B: (&str, &str) =
    ("b.rs", "pub struct B; pub fn make() {} pub enum Kind { One, Two } pub trait Act { fn act(&self); }");

const CASES: &[Case] = &[
    Case {
        name: "a use declaration, with braces, `as`, `self` and a path relative to the parent",
        files: &[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::{b::{self, B as Other, make},\n c::C};\nuse super::b::Kind;"),
            B,
            ("c.rs", "pub struct C;"),
        ],
        edges: &["a.rs:1 b.rs B", "a.rs:1 b.rs make", "a.rs:2 c.rs C", "a.rs:3 b.rs Kind"],
    },
    Case {
        name: "a module is named, but no item in it",
        files: &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b; use super::b as other; pub(in crate::b) fn f() {}"),
            B,
        ],
        edges: &[],
    },
    Case {
        name: "a path through an imported module",
        files: &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b as other;\nfn f() -> other::B { other::make() }"),
            B,
        ],
        edges: &["a.rs:2 b.rs B", "a.rs:2 b.rs make"],
    },
    Case {
        name: "inline paths in expressions, types, patterns, bounds and generic arguments",
        files: &[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "fn f(x: Vec<Option<crate::b::B>>) {\n super::b::make();\n match y { self::super::b::Kind::One => {} _ => {} }\n}\n\
                 struct S<T: crate::b::Act>(T);",
            ),
            B,
        ],
        edges: &["a.rs:1 b.rs B", "a.rs:2 b.rs make", "a.rs:3 b.rs Kind", "a.rs:5 b.rs Act"],
    },
    Case {
        name: "an associated function or a variant belongs to the file of its type",
        files: &[
            ("lib.rs", "mod a; mod b; mod c;"),
            (
                "a.rs",
                "use crate::c::B;\nfn f() { B::new(); B::deep::<u8>(); crate::c::Kind::One; }\nuse crate::b::Kind::Two;",
            ),
            B,
            ("c.rs", "pub use crate::b::{B, Kind};"),
        ],
        edges: &["a.rs:1 b.rs B", "a.rs:2 b.rs Kind", "c.rs:1 b.rs B", "c.rs:1 b.rs Kind"],
    },
    Case {
        name: "a chain of re-exports, renamed on the way, is followed to the definition",
        files: &[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::d::Last;"),
            B,
            ("c/mod.rs", "pub use crate::b::B as Middle;"),
            ("d/mod.rs", "pub(crate) use super::c::Middle as Last;"),
        ],
        edges: &["a.rs:1 b.rs B"],
    },
    Case {
        name: "a re-export through globs is followed to the definition",
        files: &[
            ("lib.rs", "mod a; mod b; mod c; pub use c::*;"),
            ("a.rs", "use crate::B;"),
            B,
            ("c/mod.rs", "pub use super::b::*;"),
        ],
        edges: &["a.rs:1 b.rs B"],
    },
    Case {
        name: "a glob names what its module defines, and of re-exports what is used, and traits",
        files: &[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::c::*;\nfn f(kind: Kind) {}"),
            B,
            ("c/mod.rs", "pub use crate::b::*; pub struct C; struct Hidden;"),
        ],
        edges: &["a.rs:1 b.rs Act", "a.rs:1 c/mod.rs C", "a.rs:2 b.rs Kind"],
    },
    Case {
        name: "a glob of the parent brings its private imports too, where they are used",
        files: &[
            ("lib.rs", "mod b; mod p;"),
            ("p/mod.rs", "mod a; use crate::b::{B, Kind};"),
            ("p/a.rs", "use super::*;\nfn f() -> B { let kind = 1; g(kind) }"),
            B,
        ],
        edges: &["p/a.rs:2 b.rs B", "p/mod.rs:1 b.rs B", "p/mod.rs:1 b.rs Kind"],
    },
    Case {
        name: "a glob of an enum names the enum",
        files: &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "fn f() { use crate::b::Kind::*;\n let One = Two; }"),
            B,
        ],
        edges: &["a.rs:1 b.rs Kind"],
    },
    Case {
        name: "a public re-export in lib.rs and mod.rs is no edge, elsewhere it is, and so is a private import",
        files: &[
            ("lib.rs", "mod b; mod c; mod d; pub use b::B;"),
            B,
            ("c/mod.rs", "pub(super) use crate::b::B; pub(self) use crate::b::Kind;\nuse crate::b::make;"),
            ("d.rs", "pub use crate::b::B;"),
        ],
        edges: &["c/mod.rs:1 b.rs Kind", "c/mod.rs:2 b.rs make", "d.rs:1 b.rs B"],
    },
    Case {
        name: "code of a mod.rs that uses what it re-exports is an edge",
        files: &[
            ("lib.rs", "mod b; pub use b::{B, make}; pub use b::Kind;\npub fn f(make: u8) -> B { make; }"),
            B,
        ],
        edges: &["lib.rs:2 b.rs B"],
    },
    Case {
        name: "a variable is no item, whatever is re-exported under its name",
        files: &[
            (
                "lib.rs",
                "mod b; pub use b::*;\nfn f(x: Option<u8>) { if let Some(make) = x { make; }\n for make in y { make; }\n \
                 g(|make| make); let S { make } = s; println!(\"{}\", make);\n match x { Some(make) => make } }",
            ),
            B,
        ],
        edges: &[],
    },
    Case {
        name: "a variable counts from its declaration on, in its block only",
        files: &[
            ("lib.rs", "mod b; pub use b::*;\nfn f() { { let make = 1; }\n let make = make(); make; }"),
            B,
        ],
        edges: &["lib.rs:3 b.rs make"],
    },
    Case {
        name: "a path from a child module, which needs no `self`",
        files: &[
            ("lib.rs", "mod p;"),
            ("p/mod.rs", "mod b;\nuse b::B;\nuse self::b::Kind;\nfn f() { b::make() }"),
            ("p/b.rs", B.1),
        ],
        edges: &["p/mod.rs:2 p/b.rs B", "p/mod.rs:3 p/b.rs Kind", "p/mod.rs:4 p/b.rs make"],
    },
    Case {
        name: "a module and a function of one name",
        files: &[
            ("lib.rs", "mod make; pub use make::make; mod a;"),
            ("make.rs", "pub fn make() {} pub struct Made;"),
            ("a.rs", "use crate::make;\nfn f() -> make::Made {}"),
        ],
        edges: &["a.rs:1 make.rs make", "a.rs:2 make.rs Made"],
    },
    Case {
        name: "a function is not taken for the crate of its name",
        files: &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::*; fn f() { make::other(); }"),
            ("b.rs", "mod c; pub use c::make;"),
            ("b/c.rs", "pub fn make() {}"),
        ],
        edges: &["b.rs:1 b/c.rs make"],
    },
    Case {
        name: "`#[path]`, on a file and in inline modules",
        files: &[
            (
                "lib.rs",
                "#[path = \"elsewhere/one.rs\"] mod a; mod i { #[path = \"two.rs\"] pub mod b; pub mod c; }\n#[path = \"j\"] mod k { pub mod d; }",
            ),
            (
                "elsewhere/one.rs",
                "mod sub; use crate::i::b::B;\nuse crate::i::c::C;\nuse crate::k::d::D;\nuse sub::Sub;",
            ),
            ("elsewhere/sub.rs", "pub struct Sub;"),
            ("i/two.rs", "pub struct B;"),
            ("i/c.rs", "pub struct C;"),
            ("j/d.rs", "pub struct D;"),
        ],
        edges: &[
            "elsewhere/one.rs:1 i/two.rs B",
            "elsewhere/one.rs:2 i/c.rs C",
            "elsewhere/one.rs:3 j/d.rs D",
            "elsewhere/one.rs:4 elsewhere/sub.rs Sub",
        ],
    },
    Case {
        name: "nested inline modules belong to their file",
        files: &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub mod one { pub mod two { pub struct Deep; use super::super::super::b::B; } }"),
            (
                "b.rs",
                "use crate::a::one::two::Deep;\npub struct B; mod inner { use super::B; fn f() -> crate::b::B {} }",
            ),
        ],
        edges: &["a.rs:1 b.rs B", "b.rs:1 a.rs Deep"],
    },
    Case {
        name: "modules beside and below a file that is no mod.rs",
        files: &[
            ("lib.rs", "mod a;"),
            ("a.rs", "pub mod b; pub struct A;"),
            ("a/b.rs", "mod c; use super::A;\nuse self::c::C;"),
            ("a/b/c.rs", "pub struct C;"),
        ],
        edges: &["a/b.rs:1 a.rs A", "a/b.rs:2 a/b/c.rs C"],
    },
    Case {
        name: "what is compiled for tests only is ignored",
        files: &[
            ("lib.rs", "mod a; mod b; #[cfg(test)] mod tests; #[cfg(all(test, unix))] use b::B;"),
            (
                "a.rs",
                "#[cfg(test)] use crate::b::B; #[cfg(test)] mod tests { use crate::b::*; }\n\
                 impl A { #[cfg(test)] fn f() -> crate::b::B {} }\n\
                 struct S { #[cfg(test)] field: crate::b::B }\n\
                 fn g() { #[cfg(test)] let b = crate::b::B; #[cfg(test)] { crate::b::make() } }",
            ),
            ("tests.rs", "use crate::b::B; mod missing;"),
            B,
        ],
        edges: &[],
    },
    Case {
        name: "what is not compiled for tests only is not ignored",
        files: &[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "#[cfg(not(test))] use crate::b::B;\n#[cfg(any(test, unix))] use crate::b::Kind;\n#[cfg(windows)] mod missing;",
            ),
            B,
        ],
        edges: &["a.rs:1 b.rs B", "a.rs:2 b.rs Kind"],
    },
    Case {
        name: "documentation and other attributes are ignored",
        files: &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "//! [`crate::b::B`]\n/// [`B`](crate::b::B)\n#[derive(crate::b::B)]\nstruct A;"),
            B,
        ],
        edges: &[],
    },
    Case {
        name: "the tokens of macros",
        files: &[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "fn f() { format!(\"{}\", crate::b::make());\n select! { x = super::b::Kind::go() => y, };\n}\n\
                 quoted! { use crate::b::{B, Act as _}; }",
            ),
            B,
        ],
        edges: &["a.rs:1 b.rs make", "a.rs:2 b.rs Kind", "a.rs:4 b.rs Act", "a.rs:4 b.rs B"],
    },
    Case {
        name: "in the tokens of macros, names of other crates, fields, arguments and variables are no items",
        files: &[
            (
                "lib.rs",
                "mod b; pub use b::*;\nfn f() { info!(make = 1, \"x\"); json!({ make: 1 }); log!(x.make() => y.make);\n \
                 log!(other::make() => ::make::B); select! { make = z => make } }",
            ),
            B,
        ],
        edges: &[],
    },
    Case {
        name: "a macro by example: its body, its export, its re-export",
        files: &[
            ("lib.rs", "#[macro_use] mod m; mod a; mod b;"),
            (
                "m.rs",
                "#[macro_export] macro_rules! exported { () => { $crate::b::make(); super::nothing() } }\n\
                 macro_rules! local { ($x:ident) => { $x } }\npub(crate) use local;",
            ),
            ("a.rs", "use crate::m::local;\nfn f() { crate::exported!(); }"),
            B,
        ],
        edges: &["a.rs:1 m.rs local", "a.rs:2 m.rs exported", "m.rs:1 b.rs make"],
    },
    Case {
        name: "a name that a macro makes belongs to the file that calls the macro",
        files: &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::MADE;\nuse crate::b::bindings::deep::Type;"),
            ("b.rs", "thread_local! { pub static MADE: u8 = 1; } generate!(\"world\");"),
        ],
        edges: &["a.rs:1 b.rs MADE", "a.rs:2 b.rs bindings"],
    },
    Case {
        name: "what comes from other crates is ignored, also through a module",
        files: &[
            ("lib.rs", "mod a; mod b; use outside as renamed; extern crate alloc;"),
            (
                "a.rs",
                "use crate::b::{Far, Near};\nuse crate::renamed::X; use std::b::B; use ::b::make; use b::Kind; fn f() { c::d() }",
            ),
            ("b.rs", "pub use outside::*; pub struct Near; pub use outside::b as c;"),
        ],
        edges: &["a.rs:1 b.rs Near"],
    },
    Case {
        name: "the crate under its own name",
        files: &[("lib.rs", "extern crate self as own; mod a; pub mod b;"), ("a.rs", "use own::b::B;"), B],
        edges: &["a.rs:1 b.rs B"],
    },
    Case {
        name: "imports in a body",
        files: &[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "fn f() {\n use crate::b;\n b::make();\n struct B;\n B;\n}\nfn g() { use crate::b::Kind; }",
            ),
            B,
        ],
        edges: &["a.rs:3 b.rs make", "a.rs:7 b.rs Kind"],
    },
    Case {
        name: "an implementation for a type of the parent",
        files: &[("lib.rs", "mod a; pub struct Parent;"), ("a.rs", "impl super::Parent { fn f(self) {} }")],
        edges: &["a.rs:1 lib.rs Parent"],
    },
    Case {
        name: "cycles of globs end",
        files: &[
            ("lib.rs", "mod a; mod b; pub use a::*; pub use b::*;"),
            ("a.rs", "pub use super::*;\nfn f() { Nowhere::f(); }"),
            ("b.rs", "pub use super::*; pub use crate::a::*;"),
        ],
        edges: &[],
    },
];

fn edges_of(files: &[(&str, &str)]) -> (Vec<String>, usize) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    let krate = load::load(&folder.path().join(files[0].0)).unwrap();
    let edges = file_edges::collect(&krate);
    let root = folder.path().canonicalize().unwrap();
    let name = |file| krate.file(file).strip_prefix(&root).unwrap().display();
    let mut lines = Vec::new();
    for ((from, to), items) in &edges {
        lines.extend(items.iter().map(|(item, line)| format!("{}:{line} {} {item}", name(*from), name(*to))));
    }
    lines.sort();
    (lines, cycles::find(&edges).len())
}

#[test]
fn every_form_of_naming_an_item_is_an_edge_to_the_file_that_defines_it() {
    let mut failed = Vec::new();
    for case in CASES {
        let (found, _) = edges_of(case.files);
        if found != case.edges {
            failed.push(format!("{}:\n  expected {:#?}\n  found {found:#?}", case.name, case.edges));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_cycle_is_found_through_several_files_and_only_once() {
    let around = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; use crate::d::D; pub struct A;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c.rs", "use crate::a::A; pub struct C;"),
        ("d.rs", "pub struct D;"),
    ];
    assert_eq!(edges_of(&around).1, 1);
    let mut cut = around;
    cut[3].1 = "pub struct C;";
    assert_eq!(edges_of(&cut).1, 0);
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("lib.rs", "mod gone;")]);
    let error = format!("{:#}", load::load(&folder.path().join("lib.rs")).err().unwrap());
    assert!(error.contains("gone.rs"), "{error}");
}
