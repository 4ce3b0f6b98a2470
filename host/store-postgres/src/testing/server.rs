//! PostgreSQL as it is installed, or as `MASQUE_TEST_DATABASE_URL` names it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this module is only used by tests: it fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::given;
use crate::migrations::migrate;
use crate::options::PostgresOptions;

/// Makes a cluster in `$1` with the programs of `$2` on the port `$3` with the settings `$4`, and keeps it until its input ends.
/// PostgreSQL refuses to run as root, so root runs it as the user `postgres`.
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
    -c unix_socket_directories=$folder -c synchronous_commit=on -c max_connections=300 $settings" start >/dev/null \
    || { cat "$folder/server.log" >&2; exit 1; }
echo ready
cat >/dev/null
"#;

/// Settings of a server that is fast and keeps nothing for long: no crash of the machine is survived.
const NOT_DURABLE: &str = "-c fsync=off -c full_page_writes=off -c deadlock_timeout=200ms -c autovacuum=off";

/// A server that runs for as long as this value, or the test process, lives; or one that was given.
#[derive(Debug)]
pub struct TestServer {
    /// The shell that keeps it; `None` for a server that was given.
    keeper: Option<Child>,
    programs: PathBuf,
    port: u16,
    databases: AtomicU32,
    template: OnceCell<String>,
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
    /// The server that all tests of this process share: that of `MASQUE_TEST_DATABASE_URL`, otherwise one that is started.
    ///
    /// # Panics
    /// If that variable has no URL of a server for tests, or the server does not answer; otherwise as [`Self::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<TestServer> = OnceLock::new();
        SHARED.get_or_init(|| given::port().map_or_else(Self::start, Self::running))
    }

    /// A server that runs already. Its programs are those of its version, where they are installed.
    fn running(port: u16) -> Self {
        let programs = installed().expect("no PostgreSQL in /usr/lib/postgresql; install `postgresql`");
        let mut server =
            Self { keeper: None, programs, port, databases: AtomicU32::new(0), template: OnceCell::new() };
        let version: u32 = server.psql("postgres", "SHOW server_version_num").parse().unwrap();
        let of_version = Path::new("/usr/lib/postgresql").join((version / 10_000).to_string()).join("bin");
        if of_version.join("pg_dump").is_file() {
            server.programs = of_version;
        }
        server
    }

    /// Starts a server of its own, which writes without waiting for the disk. Takes a second.
    ///
    /// # Panics
    /// If no server is installed in `/usr/lib/postgresql`, or it does not start.
    pub fn start() -> Self {
        Self::start_in(&std::env::temp_dir(), NOT_DURABLE)
    }

    /// Starts a server whose commits are on disk, as in production, with its data in a new folder in `parent`.
    ///
    /// # Panics
    /// As [`Self::start`]. The server's user must be able to reach `parent`.
    pub fn start_durable(parent: &Path) -> Self {
        Self::start_in(parent, "")
    }

    /// As [`Self::start`], with further settings such as `fsync=on`.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with(settings: &[&str]) -> Self {
        let settings: String = settings.iter().map(|setting| format!(" -c {setting}")).collect();
        Self::start_in(&std::env::temp_dir(), &format!("{NOT_DURABLE}{settings}"))
    }

    fn start_in(parent: &Path, settings: &str) -> Self {
        let programs =
            installed().expect("no PostgreSQL server in /usr/lib/postgresql; install `postgresql`");
        // The keeper removes the folder.
        let folder = TempDir::with_prefix_in("masque-pg-", parent).unwrap().keep();
        let port = free_port();
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
        Self { keeper: Some(keeper), programs, port, databases: AtomicU32::new(0), template: OnceCell::new() }
    }

    /// The URL of a database of this server, for a user without a password.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of the server's first process, whose children serve the connections.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn process(&self) -> u32 {
        let file = self.psql("postgres", "SELECT pg_read_file('postmaster.pid')");
        file.lines().next().unwrap().parse().unwrap()
    }

    /// Runs SQL in a database with `psql`; returns what it prints.
    ///
    /// # Panics
    /// If a statement fails.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.psql_as("postgres", database, sql)
    }

    /// The same as another user.
    ///
    /// # Panics
    /// If a statement fails.
    pub fn psql_as(&self, user: &str, database: &str, sql: &str) -> String {
        self.psql_at(&self.url(user, database), sql)
    }

    /// Ends all connections to a database, and returns how many deadlocks there were in it. A server process may keep what it has
    /// counted for ten seconds, but not beyond its end.
    ///
    /// # Panics
    /// If a connection does not end, or the database is unknown.
    pub fn end_connections_and_count_deadlocks(&self, database: &str) -> u64 {
        let end = format!(
            "SELECT count(*) FILTER (WHERE NOT pg_terminate_backend(pid, 60000)) FROM pg_stat_activity
              WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        );
        assert_eq!(self.psql(database, &end), "0", "a connection does not end");
        let count = format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{database}'");
        self.psql(database, &count).parse().unwrap()
    }

    /// One of the programs that come with the server.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Runs SQL at a URL with `psql`; returns what it prints.
    pub(super) fn psql_at(&self, url: &str, sql: &str) -> String {
        let mut command = Command::new(self.programs.join("psql"));
        let output =
            run(command.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Writes a dump of a database with `pg_dump`.
    ///
    /// # Panics
    /// If it fails.
    pub fn dump(&self, database: &TestDatabase, file: &Path) {
        let mut command = Command::new(self.programs.join("pg_dump"));
        run(command.args(["-F", "c", "-f"]).arg(file).args(["-d", &database.url]));
    }

    /// Restores a dump into an empty database with `pg_restore`.
    ///
    /// # Panics
    /// If it fails.
    pub fn restore(&self, database: &TestDatabase, file: &Path) {
        let mut command = Command::new(self.programs.join("pg_restore"));
        run(command.args(["--exit-on-error", "-d", &database.url]).arg(file));
    }

    /// Runs a shell script in the server's data folder, as the server's user.
    ///
    /// # Panics
    /// If it fails.
    pub fn shell(&self, script: &str) {
        let script = script.replace('\'', "''");
        // The server writes the row to the script, and minds if nobody reads it.
        self.psql("postgres", &format!("COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; {script}'"));
    }

    /// Restarts this server as a standby, which only reads. There is no primary, so it waits for one.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart_as_standby(&self) {
        let control = self.programs.join("pg_ctl");
        // In a session of its own, since the process that starts it ends with the server; and after the end of that process's parent,
        // which serves this command and would fail with the server.
        self.shell(&format!(
            "touch standby.signal && (setsid sh -c \"while kill -0 $PPID; do sleep 0.01; done; {} -D . -m fast -W restart\" \
             >/dev/null 2>&1 </dev/null &)",
            control.display()
        ));
        for attempt in 1.. {
            let asked = Command::new(self.programs.join("psql"))
                .args(["-X", "-q", "-t", "-A", "-d"])
                .arg(self.url("postgres", "postgres"))
                .args(["-c", "SELECT pg_is_in_recovery()"])
                .output()
                .unwrap();
            if asked.stdout.trim_ascii() == b"t" {
                return;
            }
            assert!(attempt < 5000, "the standby does not answer");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
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
            let name = given::database_name("template");
            self.psql("postgres", &format!("CREATE DATABASE {name}"));
            let options = PostgresOptions::from_url(&self.url("postgres", &name)).unwrap();
            migrate(&options).await.unwrap();
            name
        });
        self.database(template.await)
    }

    fn database(&self, template: &str) -> TestDatabase {
        let name = given::database_name(&self.databases.fetch_add(1, Ordering::Relaxed).to_string());
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
        let Some(keeper) = &mut self.keeper else { return };
        drop(keeper.stdin.take());
        if let Err(error) = keeper.wait() {
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

/// A port that nobody uses at the moment. It is below those that the system gives to clients, so that it is still free when the
/// server has made its cluster, which takes seconds on a busy machine.
pub(super) fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        // Test processes begin at different ports, and at others than for their servers of Redis.
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        let first = std::process::id().wrapping_mul(97).wrapping_add(11_000);
        let port = u16::try_from(10_000 + first.wrapping_add(tried) % 22_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
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
