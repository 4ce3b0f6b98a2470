//! From a component's bytes to machine code: out of the cache, or compiled in a child process.
//!
//! The threat: a component that was made to take minutes or gigabytes to compile. Compiling can't be cancelled within a process
//! and takes every core. The policy: a child of the same binary compiles, niced, one at a time, with limits on CPU time,
//! memory and wall time. The code is cached, so that each component is compiled once.

mod cache;
mod child;
mod child_limits;
mod code_loader;
mod compiler;

pub use self::child::compile_from_stdin;
pub use self::compiler::Compiler;
pub(crate) use self::compiler::ComponentCompiler;
