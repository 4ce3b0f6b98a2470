//! One server.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use redis::{Connection, RedisResult, Value};
use tempfile::TempDir;

/// Runs the server `$2…` in the folder `$1`, and keeps it until its input ends.
const KEEPER: &str = r#"
folder=$1
shift
cd "$folder"
"$@" >>"$folder/log" 2>&1 &
server=$!
echo "$server"
cat >/dev/null
kill -KILL "$server" 2>/dev/null
rm -rf "$folder"
"#;

/// How often a start is tried: another process can take the port before the server does.
const STARTS: u32 = 10;

/// A server that runs for as long as this value, or the test process, lives, unless it is [killed](Self::kill).
#[derive(Debug)]
pub struct TestServer {
    folder: PathBuf,
    /// The program, and what stands before the arguments.
    program: Vec<String>,
    arguments: Vec<String>,
    port: u16,
    /// The shells; the last one keeps the server that runs.
    keepers: Vec<Child>,
    process: u32,
    password: Option<String>,
}

impl TestServer {
    /// Starts `redis-server`.
    ///
    /// # Panics
    /// If it is not installed, or does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The server of `MASQUE_TEST_REDIS_URL`, of the form `redis://127.0.0.1:PORT`, which keeps running; otherwise starts
    /// `redis-server`. For tests that share a server and take none down.
    ///
    /// # Panics
    /// If that variable has another form, or its server does not answer; otherwise as [`Self::start`].
    pub fn given_or_started() -> Self {
        let Some(url) = std::env::var("MASQUE_TEST_REDIS_URL").ok().filter(|url| !url.is_empty()) else {
            return Self::start();
        };
        let port = url.strip_prefix("redis://127.0.0.1:").and_then(|port| port.parse().ok());
        let server = Self {
            folder: PathBuf::new(),
            program: Vec::new(),
            arguments: Vec::new(),
            port: port.expect("MASQUE_TEST_REDIS_URL is not of the form redis://127.0.0.1:PORT"),
            keepers: Vec::new(),
            process: 0,
            password: None,
        };
        assert!(server.answers(), "no server answers at {url}");
        server
    }

    /// Starts `redis-server` with further arguments, as `["--maxmemory", "2mb"]`.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_program(&["redis-server"], arguments)
    }

    /// Starts a program that takes the arguments of `redis-server`.
    pub(super) fn start_program(program: &[&str], arguments: &[&str]) -> Self {
        for _ in 0..STARTS {
            let mut server = Self::new(program, arguments);
            if server.run() {
                return server;
            }
        }
        panic!("`{}` does not start; install `redis-server`", program.join(" "));
    }

    /// Starts a server that speaks TLS on this port, and nothing else.
    pub(super) fn start_tls(port: &str, arguments: &[&str]) -> Self {
        let mut all = vec!["--port", "0"];
        all.extend(arguments);
        let mut server = Self::new(&["redis-server"], &all);
        server.port = port.parse().unwrap();
        assert!(server.run(), "`redis-server` does not start with TLS");
        server
    }

    /// Starts a sentinel with this configuration, a file that it writes to.
    pub(super) fn start_sentinel(configuration: &str) -> Self {
        for _ in 0..STARTS {
            let mut server = Self::new(&["redis-server"], &["sentinel.conf", "--sentinel"]);
            std::fs::write(server.folder.join("sentinel.conf"), configuration).unwrap();
            if server.run() {
                return server;
            }
        }
        panic!("`redis-server` does not start as a sentinel");
    }

    fn new(program: &[&str], arguments: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            folder: TempDir::with_prefix("masque-redis-").unwrap().keep(),
            program: owned(program),
            arguments: owned(arguments),
            port: free_port(),
            keepers: Vec::new(),
            process: 0,
            password: None,
        }
    }

    /// Starts the server again on its port, with what it kept in its folder.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.run(), "`{}` does not start again", self.program.join(" "));
    }

    fn run(&mut self) -> bool {
        let port = self.port.to_string();
        let is_sentinel = self.arguments.iter().any(|argument| argument == "--sentinel");
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&self.folder)
            .args(&self.program)
            .args(self.arguments.iter().filter(|argument| argument.ends_with(".conf")))
            .args(["--port", &port, "--bind", "127.0.0.1"])
            .args(if is_sentinel { [].as_slice() } else { ["--save", "", "--appendonly", "no"].as_slice() })
            .args(self.arguments.iter().filter(|argument| !argument.ends_with(".conf")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.process = line.trim().parse().unwrap();
        self.keepers.push(keeper);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if self.answers() {
                return true;
            }
            if self.is_defunct() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Whether the server answers. One that wants a password does too.
    fn answers(&self) -> bool {
        match self.connect().and_then(|mut connection| redis::cmd("PING").query::<Value>(&mut connection)) {
            Ok(_) => true,
            Err(error) => !error.is_io_error() || self.speaks_tls(),
        }
    }

    fn speaks_tls(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "--tls-port")
            && std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// The port on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of the server's process.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// The server's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The URL, without a user.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The URL with what stands before the host, as `user:password`.
    pub fn url_of(&self, user: &str) -> String {
        format!("redis://{user}@127.0.0.1:{}", self.port)
    }

    /// Sends a command, with all rights.
    ///
    /// # Errors
    /// What the server said.
    pub fn try_command(&self, words: &[&str]) -> RedisResult<Value> {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query(&mut self.connect()?)
    }

    /// Sends a command, with all rights.
    ///
    /// # Panics
    /// If it fails.
    pub fn command(&self, words: &[&str]) -> Value {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Sets a password for the user without a name, which [`Self::command`] uses from then on.
    pub fn set_password(&mut self, password: &str) {
        self.command(&["CONFIG", "SET", "requirepass", password]);
        self.password = Some(password.to_owned());
    }

    /// A connection with all rights.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn connect(&self) -> RedisResult<Connection> {
        let url = match &self.password {
            Some(password) => {
                let encoded = utf8_percent_encode(password, NON_ALPHANUMERIC);
                self.url_of(&format!(":{encoded}"))
            }
            None => self.url(),
        };
        redis::Client::open(url)?.get_connection_with_timeout(Duration::from_secs(1))
    }

    /// Ends the server at once.
    pub fn kill(&self) {
        self.signal("KILL");
        while self.signal("0") && !self.is_defunct() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops the server without ending it: connections stay, and nothing is answered.
    pub fn stop(&self) {
        assert!(self.signal("STOP"));
    }

    /// Lets a stopped server go on.
    pub fn resume(&self) {
        assert!(self.signal("CONT"));
    }

    fn signal(&self, name: &str) -> bool {
        let mut command = Command::new("kill");
        command.arg(format!("-{name}")).arg(self.process.to_string()).stderr(Stdio::null());
        command.status().unwrap().success()
    }

    /// Whether the process has ended, and its shell has not taken note of it yet.
    fn is_defunct(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.process)).unwrap_or_default();
        status.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        for mut keeper in self.keepers.drain(..) {
            drop(keeper.stdin.take());
            if let Err(error) = keeper.wait() {
                tracing::warn!(%error, "the keeper of a Redis server can't be waited for");
            }
        }
    }
}

/// A port that nobody uses at the moment. It is below those that the system gives to clients, so that it is still free when
/// a server is started again.
pub(super) fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id().wrapping_mul(97).wrapping_add(tried)) % 22_000;
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until something is so, for half a minute at most.
///
/// # Panics
/// If it does not become so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
