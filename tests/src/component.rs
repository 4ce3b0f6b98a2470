//! Components as files: those that were built, and what becomes of one that is damaged or made to hurt.

use std::path::PathBuf;

use wasm_encoder::{
    BlockType, CodeSection, Component, Function, FunctionSection, Instruction, Module, ModuleSection,
    TypeSection, ValType,
};
use wasmparser::{Parser, Payload};

/// The file of a component in `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    built("MASQUE_FIXTURES", "fixtures", name)
}

/// The bytes of a plugin that ships.
pub fn shipped(name: &str) -> Vec<u8> {
    std::fs::read(built("MASQUE_PLUGINS", "plugins", name)).unwrap()
}

fn built(variable: &str, folder: &str, name: &str) -> PathBuf {
    let folder = match std::env::var_os(variable) {
        Some(folder) => PathBuf::from(folder),
        None => {
            // target/PROFILE/deps/TEST
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(3).unwrap().join(folder)
        }
    };
    let path = folder.join(format!("{name}.wasm"));
    assert!(path.is_file(), "there is no {}: run `cargo xtask test`", path.display());
    path
}

/// A core module, in good order and empty.
pub fn core_module() -> Vec<u8> {
    Module::new().finish()
}

/// Where each section of a component begins, those of the modules within it included: a copy that breaks off there has
/// lost that section and all that follow. Sections that mean nothing to the host (names, producers) at the end are left
/// out, since a component without them is whole.
pub fn cuts(component: &[u8]) -> Vec<usize> {
    let mut cuts = Vec::new();
    let mut meaningful = 0;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.unwrap();
        if let Some((_, range)) = payload.as_section() {
            cuts.push(range.start);
            if !matches!(payload, Payload::CustomSection(_)) {
                meaningful = range.end;
            }
        }
    }
    cuts.retain(|cut| *cut < meaningful);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// The same component against a version of the contract that this host does not have.
pub fn of_another_version(component: &[u8]) -> Vec<u8> {
    let mut component = component.to_vec();
    let (prefix, version) = (b"masque:companion/", b"@0.1.0");
    let places: Vec<_> =
        component.windows(prefix.len()).enumerate().filter(|(_, w)| w == prefix).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "it names the contract");
    for at in places {
        let name = &mut component[at..];
        let end = name.windows(version.len()).position(|window| window == version).unwrap();
        name[end + 1..end + version.len()].copy_from_slice(b"0.9.0");
    }
    component
}

/// A component of one function with `blocks` branches that each write one of many variables, all of which are alive at
/// the end: the compiler's work grows faster than the file.
pub fn slow_to_compile(blocks: u32) -> Vec<u8> {
    const VARIABLES: u32 = 1000;
    let mut function = Function::new([(VARIABLES, ValType::I32)]);
    for block in 0..blocks {
        function
            .instructions()
            .local_get(0)
            .if_(BlockType::Empty)
            .local_get(1 + (block * 31) % VARIABLES)
            .i32_const(1)
            .i32_add()
            .local_set(1 + (block * 7) % VARIABLES)
            .end();
    }
    for variable in 0..VARIABLES {
        function.instruction(&Instruction::LocalGet(1 + variable)).instruction(&Instruction::LocalSet(0));
    }
    function.instruction(&Instruction::End);
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut code = CodeSection::new();
    code.function(&function);
    module.section(&types).section(&functions).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    component.finish()
}
