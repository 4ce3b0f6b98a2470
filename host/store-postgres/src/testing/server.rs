//! PostgreSQL as it is installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this module is only used by tests: it fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::migrations::migrate;
use crate::options::PostgresOptions;

/// Makes a cluster in `$1` with the programs of `$2` on the port `$3` and the settings of `$4`, and keeps it until its input ends. PostgreSQL refuses
/// to run as root, so root runs it as the user `postgres`.
const KEEPER: &str = r#"
set -e
folder=$1 programs=$2 port=$3 settings=$4
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then
    chown postgres "$folder"
    as() { runuser -u postgres -- "$@"; }
fi
cd "$folder"
stop() { as "$programs/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$folder"; }
trap stop EXIT
as "$programs/initdb" -D "$folder/data" -U postgres --auth=trust -E UTF8 --locale=C --no-sync >"$folder/log" 2>&1 \
    || { cat "$folder/log" >&2; exit 1; }
as "$programs/pg_ctl" -D "$folder/data" -l "$folder/server.log" -w -o "-p $port -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories=$folder -c fsync=off -c synchronous_commit=on -c full_page_writes=off \
    -c max_connections=300 -c deadlock_timeout=200ms -c autovacuum=off $settings" start >/dev/null \
    || { cat "$folder/server.log" >&2; exit 1; }
echo ready
cat >/dev/null
"#;

/// A server that runs for as long as this value, or the test process, lives.
#[derive(Debug)]
pub struct TestServer {
    keeper: Child,
    programs: PathBuf,
    port: u16,
    databases: AtomicU32,
    template: tokio::sync::OnceCell<String>,
}

/// A database of a [`TestServer`]; dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    programs: PathBuf,
    port: u16,
    /// Its name.
    pub name: String,
    /// Its URL, with a user who may do everything.
    pub url: String,
}

impl TestServer {
    /// The server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<TestServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server of its own. Takes a second.
    ///
    /// # Panics
    /// If no server is installed in `/usr/lib/postgresql`, or it does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with settings such as `fsync=on`. By default nothing is flushed to the disk.
    ///
    /// # Panics
    /// As [`TestServer::start`].
    pub fn start_with(settings: &[&str]) -> Self {
        let settings: String = settings.iter().map(|setting| format!(" -c {setting}")).collect();
        let programs =
            installed().expect("no PostgreSQL server in /usr/lib/postgresql; install `postgresql`");
        // The keeper removes the folder.
        let folder = TempDir::with_prefix("masque-pg-").unwrap().keep();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args([folder.as_path(), &programs])
            .arg(port.to_string())
            .arg(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "PostgreSQL did not start");
        Self { keeper, programs, port, databases: AtomicU32::new(0), template: tokio::sync::OnceCell::new() }
    }

    /// The URL of a database of this server, for a user without a password.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL in a database with `psql`; returns what it prints.
    ///
    /// # Panics
    /// If a statement fails.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.psql_at(&self.url("postgres", database), sql)
    }

    /// Runs SQL at a URL with `psql`; returns what it prints.
    pub(super) fn psql_at(&self, url: &str, sql: &str) -> String {
        let output = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(url)
            .args(["-c", sql])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// An empty database.
    pub fn empty_database(&self) -> TestDatabase {
        self.database("template1")
    }

    /// A database with the schema of this build.
    ///
    /// # Panics
    /// If it can't be made.
    pub async fn migrated_database(&self) -> TestDatabase {
        let template = self.template.get_or_init(|| async {
            self.psql("postgres", "CREATE DATABASE masque_template");
            let options = PostgresOptions::from_url(&self.url("postgres", "masque_template")).unwrap();
            migrate(&options).await.unwrap();
            "masque_template".to_owned()
        });
        self.database(template.await)
    }

    fn database(&self, template: &str) -> TestDatabase {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        // The server waits up to 5 s for connections that have the template open.
        let arguments = ["-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string(), "-T", template];
        let made = Command::new(self.programs.join("createdb")).args(arguments).arg(&name).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let url = self.url("postgres", &name);
        TestDatabase { programs: self.programs.clone(), port: self.port, name, url }
    }
}

impl TestDatabase {
    /// How a host reaches it.
    ///
    /// # Panics
    /// Never: its URL is well formed.
    pub fn options(&self) -> PostgresOptions {
        PostgresOptions::from_url(&self.url).unwrap()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            tracing::warn!(%error, "the keeper of a PostgreSQL server can't be waited for");
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let dropped = Command::new(self.programs.join("dropdb"))
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
                "-p",
                &self.port.to_string(),
                "--if-exists",
                "--force",
            ])
            .arg(&self.name)
            .output();
        if let Err(error) = dropped {
            tracing::warn!(%error, "a database of a test was not dropped");
        }
    }
}

/// The programs of the newest server that is installed.
fn installed() -> Option<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql").read_dir().ok()?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/initdb").is_file())
        .max_by_key(|path| number(path))
        .map(|path| path.join("bin"))
}
