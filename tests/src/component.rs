//! Components as files: built ones, and damaged or harmful ones.

use std::path::PathBuf;

use wasm_encoder::{
    BlockType, CodeSection, Component, ComponentExportKind, ComponentInstanceSection, ComponentSection,
    Function, FunctionSection, InstanceSection, Instruction, Module, ModuleArg, ModuleSection,
    NestedComponentSection, TypeSection, ValType,
};
use wasmparser::{Parser, Payload};

/// Returns the file of a component in `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    built("MASQUE_FIXTURES", "fixtures", name)
}

/// Returns the bytes of a built-in plugin.
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

/// Makes an empty, valid core module.
pub fn core_module() -> Vec<u8> {
    Module::new().finish()
}

/// Returns the offset of each section of a component and of its modules. A copy that ends there lacks that section and all
/// that follow. Leaves out custom sections at the end (names, producers), without which a component is complete.
pub fn section_offsets(component: &[u8]) -> Vec<usize> {
    let mut offsets = Vec::new();
    let mut meaningful = 0;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.unwrap();
        if let Some((_, range)) = payload.as_section() {
            offsets.push(range.start);
            if !matches!(payload, Payload::CustomSection(_)) {
                meaningful = range.end;
            }
        }
    }
    offsets.retain(|offset| *offset < meaningful);
    offsets.sort_unstable();
    offsets.dedup();
    offsets
}

/// Returns the component with a version of the contract that the host does not support.
pub fn with_unsupported_contract(component: &[u8]) -> Vec<u8> {
    let mut component = component.to_vec();
    let (prefix, version) = (b"masque:companion/", b"@0.1.0");
    let offsets: Vec<_> =
        component.windows(prefix.len()).enumerate().filter(|(_, w)| w == prefix).map(|(at, _)| at).collect();
    assert!(!offsets.is_empty(), "it names the contract");
    for at in offsets {
        let name = &mut component[at..];
        let end = name.windows(version.len()).position(|window| window == version).unwrap();
        name[end + 1..end + version.len()].copy_from_slice(b"0.9.0");
    }
    component
}

/// Returns the component with so many more instances in it. Each has core code, so that it may wait on a stack of its own.
pub fn with_parts(component: &[u8], parts: u32) -> Vec<u8> {
    let (mut depth, mut nested) = (0, 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            // The component itself has the depth 1. None of its other sections defines a component.
            Payload::ComponentSection { .. } if depth == 1 => nested += 1,
            _ => {}
        }
    }
    let mut part = Component::new();
    let mut core = InstanceSection::new();
    core.instantiate(0, Vec::<(&str, ModuleArg)>::new());
    part.section(&ModuleSection(&Module::new())).section(&core);
    let mut instances = ComponentInstanceSection::new();
    for _ in 0..parts {
        instances.instantiate(nested, Vec::<(&str, ComponentExportKind, u32)>::new());
    }
    let mut component = component.to_vec();
    NestedComponentSection(&part).append_to_component(&mut component);
    instances.append_to_component(&mut component);
    component
}

/// Makes a component of one function with `blocks` branches that each write one of many variables, which are all read at
/// the end. The compiler's work grows faster than the size of the file.
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
