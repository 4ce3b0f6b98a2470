//! Compiles components in a child process of this same binary.

use std::path::Path;

use masque_runtime::Compiler;

/// The hidden command with which the binary compiles a component. A child process can be killed when it takes too much
/// time or memory.
pub(crate) const COMPILE_COMMAND: &str = "compile-component";

/// The binary of this process, also after another file has taken its name or it was removed (`proc(5)`). A child of another
/// version would make code that this host can't load.
const THIS_BINARY: &str = "/proc/self/exe";

/// A compiler that starts this binary with [`COMPILE_COMMAND`]. If the binary can't be reached, components are compiled in
/// this process.
pub(crate) fn compiler() -> Compiler {
    match Path::new(THIS_BINARY).metadata() {
        Ok(_) => Compiler::Child { program: THIS_BINARY.into(), arguments: vec![COMPILE_COMMAND.to_owned()] },
        Err(error) => {
            tracing::warn!(%error, "this binary can't be found again, so components are compiled within the process");
            Compiler::InProcess
        }
    }
}
