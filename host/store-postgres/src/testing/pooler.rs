//! PgBouncer before a [`TestServer`], in transaction mode.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "this module is only used by tests: it fails by panicking, and says what is skipped"
)]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::server::{TestDatabase, TestServer, free_port};
use crate::options::PostgresOptions;

/// Runs the program of its other arguments with the configuration in `$1`, and keeps it until its input ends. What PgBouncer
/// logs before it is up goes to standard error.
const KEEPER: &str = r#"
set -e
folder=$1
shift
mkfifo "$folder/log"
"$@" "$folder/pgbouncer.ini" >/dev/null 2>"$folder/log" &
pooler=$!
trap 'kill "$pooler" 2>/dev/null || true; rm -rf "$folder"' EXIT
exec 3<"$folder/log"
while IFS= read -r line <&3; do
    case $line in
    *'process up'*) echo ready; cat <&3 >/dev/null & cat >/dev/null; exit 0 ;;
    esac
    echo "$line" >&2
done
exit 1
"#;

/// A PgBouncer that is on this machine.
#[derive(Clone, Debug)]
pub struct PgBouncer {
    command: Vec<OsString>,
    /// Its major and minor number.
    pub version: (u32, u32),
}

/// A PgBouncer that runs for as long as this value, or the test process, lives.
#[derive(Debug)]
pub struct TestPooler {
    keeper: Child,
    port: u16,
}

impl PgBouncer {
    /// The one of the tree of Debian 13 that `cargo xtask test` makes. Where there is none, says that `untested` is not
    /// tested.
    ///
    /// # Panics
    /// If there is none and `CI` is `true`.
    pub fn of_debian13(untested: &str) -> Option<Self> {
        let tree = std::env::var_os("MASQUE_TEST_DEBIAN13").filter(|tree| !tree.is_empty());
        let script = tree.map(|tree| Path::new(&tree).join("run-program"));
        match script.filter(|script| script.is_file()) {
            Some(script) => Some(Self::find(vec![script.into(), "usr/sbin/pgbouncer".into()])),
            None => {
                let how = "`cargo xtask test --install` makes a tree of Debian 13 with PgBouncer 1.24";
                assert!(std::env::var("CI").as_deref() != Ok("true"), "{untested}: {how}");
                eprintln!("skipped: {untested}. {how}.");
                None
            }
        }
    }

    /// The one that is installed, if it is older than 1.21: it does not know prepared statements in transaction mode.
    pub fn installed_and_too_old() -> Option<Self> {
        let program = Path::new("/usr/sbin/pgbouncer");
        let found = program.is_file().then(|| Self::find(vec![program.into()]))?;
        (found.version < (1, 21)).then_some(found)
    }

    fn find(command: Vec<OsString>) -> Self {
        let (program, arguments) = command.split_first().unwrap();
        let output = Command::new(program).args(arguments).arg("--version").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let number =
            text.lines().next().and_then(|line| line.strip_prefix("PgBouncer ")).expect("no PgBouncer");
        let mut parts = number.split('.').map(|part| part.parse().unwrap());
        let version = (parts.next().unwrap(), parts.next().unwrap());
        Self { command, version }
    }
}

impl TestPooler {
    /// Starts PgBouncer before a server. `settings` replace and complete its configuration.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(program: &PgBouncer, server: &TestServer, settings: &[(&str, &str)]) -> Self {
        // The keeper removes the folder.
        let folder = TempDir::with_prefix("masque-pgbouncer-").unwrap().keep();
        let port = free_port();
        let users = folder.join("users");
        let mut configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\nadmin_users = postgres\n\
             pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 1000\n",
            server.port(),
            users.display(),
        );
        // It refuses to stay root.
        configuration.push_str(if is_root() { "user = nobody\n" } else { "" });
        for (name, value) in settings {
            writeln!(configuration, "{name} = {value}").unwrap();
        }
        std::fs::write(folder.join("pgbouncer.ini"), configuration).unwrap();
        std::fs::write(users, "\"postgres\" \"\"\n").unwrap();
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&folder)
            .args(&program.command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "PgBouncer did not start");
        Self { keeper, port }
    }

    /// How a host reaches a database through it.
    ///
    /// # Panics
    /// Never: the URL is well formed.
    pub fn options(&self, database: &TestDatabase) -> PostgresOptions {
        let url = format!("postgresql://postgres@127.0.0.1:{}/{}?sslmode=disable", self.port, database.name);
        PostgresOptions::from_url(&url).unwrap()
    }
}

impl Drop for TestPooler {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            tracing::warn!(%error, "the keeper of a PgBouncer can't be waited for");
        }
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
