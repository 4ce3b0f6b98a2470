//! Valkey, from the tree of Debian 13 that `cargo xtask test` makes.
#![allow(clippy::print_stderr, reason = "it says what is skipped")]

use std::path::Path;

use super::server::TestServer;

impl TestServer {
    /// Starts the Valkey of the tree of Debian 13 that `cargo xtask test` makes. Where there is none, says that `untested` is
    /// not tested.
    ///
    /// # Panics
    /// If there is none and `CI` is `true`, or it does not start.
    pub fn start_valkey(untested: &str) -> Option<Self> {
        let tree = std::env::var_os("MASQUE_TEST_DEBIAN13").filter(|tree| !tree.is_empty());
        let script = tree.map(|tree| Path::new(&tree).join("run-program"));
        match script.filter(|script| script.is_file()) {
            Some(script) => {
                Some(Self::start_program(&[script.to_str().unwrap(), "usr/bin/valkey-server"], &[]))
            }
            None => {
                let how = "`cargo xtask test --install` makes a tree of Debian 13 with Valkey 8";
                assert!(std::env::var("CI").as_deref() != Ok("true"), "{untested}: {how}");
                eprintln!("skipped: {untested}. {how}.");
                None
            }
        }
    }
}
