//! Compiles components in a child process of this same binary.

use masque_runtime::Compiler;

/// The hidden command with which the binary compiles a component. A child process can be killed when it takes too much
/// time or memory.
pub(crate) const COMPILE_COMMAND: &str = "compile-component";

/// A compiler that starts this binary with [`COMPILE_COMMAND`]. If the binary's path is unknown, components are compiled in
/// this process.
pub(crate) fn compiler() -> Compiler {
    match std::env::current_exe() {
        Ok(program) => Compiler::Child { program, arguments: vec![COMPILE_COMMAND.to_owned()] },
        Err(error) => {
            tracing::warn!(%error, "this binary can't be found again, so components are compiled within the process");
            Compiler::InProcess
        }
    }
}
