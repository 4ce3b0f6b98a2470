//! Sets up a host: its file, its environment, its launcher. Also runs other commands of the binary.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tempfile::TempDir;
use tokio::process::Command;

use crate::authority::{Authority, Issued};
use crate::model::MockModel;
use crate::wait::WAIT_LIMIT;

/// A host that is not started: its folder and options.
pub struct Setup {
    pub(crate) folder: TempDir,
    toml: Option<String>,
    environment: Vec<(String, String)>,
    launcher: Vec<String>,
    /// The name and the socket that it is passed.
    passed: Option<(String, TcpListener)>,
    data: PathBuf,
    /// Whether it gets what other hosts have compiled.
    shares_compiled: bool,
    /// The certificate that the clients of this host trust.
    pub(crate) trusted: Option<String>,
}

/// The result of a command.
pub struct CommandOutput {
    pub status: ExitStatus,
    /// Standard output, then standard error.
    pub text: String,
}

impl Setup {
    /// A host without file and environment.
    pub fn defaults() -> Self {
        let folder = tempfile::Builder::new().prefix("masque-").tempdir().unwrap();
        let data = folder.path().join("data");
        Self {
            folder,
            toml: None,
            environment: Vec::new(),
            launcher: Vec::new(),
            passed: None,
            data,
            shares_compiled: true,
            trusted: None,
        }
    }

    /// A host with this `masque.toml`.
    pub fn file(toml: &str) -> Self {
        Self::defaults().and(toml)
    }

    /// A host whose companion uses this model through the plugin `openai`.
    pub fn model(model: &MockModel) -> Self {
        Self::model_with(model, "")
    }

    /// The same with further settings of the plugin, one on each line.
    pub fn model_with(model: &MockModel, settings: &str) -> Self {
        Self::file("[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"mock\"]\n")
            .and(&model.plugin("mock", settings))
    }

    /// Adds to the file.
    pub fn and(mut self, toml: &str) -> Self {
        let file = self.toml.get_or_insert_default();
        file.push_str(toml);
        file.push('\n');
        self
    }

    /// Adds a file beside `masque.toml`.
    pub fn beside(self, name: &str, content: &[u8]) -> Self {
        std::fs::write(self.folder.path().join(name), content).unwrap();
        self
    }

    /// Turns on TLS, with a certificate of this authority in `tls.crt` and `tls.key`.
    pub fn encrypted(mut self, authority: &Authority, issued: &Issued) -> Self {
        self.trusted = Some(authority.pem().to_owned());
        self.and("[tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n")
            .beside("tls.crt", issued.certificate.as_bytes())
            .beside("tls.key", issued.key.as_bytes())
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the host through another command, which must replace itself with the host, so that signals reach the host.
    pub fn launched_by(mut self, words: &[&str]) -> Self {
        self.launcher = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Compiles its components itself, as a host does at its first start.
    pub fn compiling(mut self) -> Self {
        self.shares_compiled = false;
        self
    }

    /// Passes a listening socket to `masque serve` under this name, as a service manager does. The caller keeps it open.
    pub fn passing(mut self, name: &str, socket: &TcpListener) -> Self {
        self.passed = Some((name.to_owned(), socket.try_clone().unwrap()));
        self
    }

    /// Whether it gets what other hosts have compiled. One that is launched by another command may run as another user.
    pub(crate) fn shares_compiled(&self) -> bool {
        self.shares_compiled && self.launcher.is_empty()
    }

    /// Uses this data folder.
    pub fn on_data(mut self, folder: &Path) -> Self {
        self.data = folder.to_owned();
        self
    }

    /// Returns the host's folder, which is removed with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Runs `masque serve`, which must refuse to start. Panics if it does not end by itself.
    pub async fn serve_to_end(&self) -> CommandOutput {
        self.to_end(self.serve()).await
    }

    /// Runs `masque check`.
    pub async fn check(&self) -> CommandOutput {
        let mut command = self.command("check");
        self.name_file(&mut command);
        self.to_end(command).await
    }

    /// Runs `masque WORDS` with the folder, environment and file of this host.
    pub async fn run(&self, words: &[&str]) -> CommandOutput {
        let (first, rest) = words.split_first().unwrap();
        let mut command = self.command(first);
        self.name_file(&mut command);
        command.args(rest);
        self.to_end(command).await
    }

    pub(crate) fn serve(&self) -> Command {
        let mut command = match &self.passed {
            None => self.command("serve"),
            Some((name, socket)) => {
                // The socket arrives as standard input and becomes the first descriptor after standard error.
                const PASS: &str = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=\"$0\"; exec \"$@\"";
                let shell = ["sh", "-c", PASS, name].map(str::to_owned);
                let mut command = self.launched("serve", self.launcher.iter().chain(&shell));
                command.stdin(OwnedFd::from(socket.try_clone().unwrap()));
                command
            }
        };
        self.name_file(&mut command);
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(&self.data);
        command
    }

    fn name_file(&self, command: &mut Command) {
        if let Some(toml) = &self.toml {
            std::fs::write(self.folder.path().join("masque.toml"), toml).unwrap();
            // Relative, since messages of the host name the file as it was given.
            command.args(["--config", "masque.toml"]);
        }
    }

    fn command(&self, subcommand: &str) -> Command {
        self.launched(subcommand, self.launcher.iter())
    }

    fn launched<'a>(&self, subcommand: &str, launcher: impl Iterator<Item = &'a String>) -> Command {
        let mut words = launcher.map(PathBuf::from).chain([binary()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(subcommand);
        command.current_dir(self.folder.path());
        // Clear the environment: no proxy, key or setting of this machine may reach the host.
        command.env_clear();
        // LLVM_PROFILE_FILE says where a host that measures coverage writes its counters.
        for name in ["PATH", "TMPDIR", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", self.folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn to_end(&self, mut command: Command) -> CommandOutput {
        let output = match tokio::time::timeout(WAIT_LIMIT, command.output()).await {
            Ok(output) => output.unwrap(),
            Err(_) => panic!("the command did not end by itself"),
        };
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        CommandOutput { status: output.status, text }
    }
}

/// Returns the host's binary: the one in `MASQUE_BIN`, otherwise the one beside this test.
pub fn binary() -> PathBuf {
    let path = match std::env::var_os("MASQUE_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            // target/PROFILE/deps/TEST
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(2).unwrap().join("masque")
        }
    };
    assert!(path.is_file(), "there is no {}: run `cargo xtask build`, or `cargo xtask test`", path.display());
    path
}
