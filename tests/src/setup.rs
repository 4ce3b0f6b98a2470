//! How a host is set up before it starts: its file, its environment, what launches it.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tempfile::TempDir;
use tokio::process::Command;

use crate::authority::{Authority, Issued};
use crate::host::Host;
use crate::model::MockModel;
use crate::wait::PATIENCE;

/// A host to be: a folder of its own, and everything that it will find there.
pub struct Setup {
    pub(crate) folder: TempDir,
    toml: Option<String>,
    environment: Vec<(String, String)>,
    launcher: Vec<String>,
    data: PathBuf,
    /// The certificate that this host's clients trust.
    pub(crate) trusted: Option<String>,
}

/// A command that ran to its end.
pub struct Outcome {
    pub status: ExitStatus,
    /// Standard output, then standard error.
    pub text: String,
}

impl Setup {
    /// No file, nothing set: what a newcomer starts.
    pub fn defaults() -> Self {
        let folder = tempfile::Builder::new().prefix("masque-").tempdir().unwrap();
        let data = folder.path().join("data");
        Self { folder, toml: None, environment: Vec::new(), launcher: Vec::new(), data, trusted: None }
    }

    /// With this `masque.toml`.
    pub fn file(toml: &str) -> Self {
        Self::defaults().and(toml)
    }

    /// Elara, speaking through `model` and the plugin `openai`, with the key that the model wants.
    pub fn model(model: &MockModel) -> Self {
        Self::model_with(model, "")
    }

    /// The same with further settings of the plugin, one a line.
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

    /// Over TLS, with a certificate of this authority in `tls.crt` and `tls.key`.
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

    /// Puts words before the command. They must end by replacing themselves with it, so that signals reach the host.
    pub fn launched_by(mut self, words: &[&str]) -> Self {
        self.launcher = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Uses another data folder than its own.
    pub fn on_data(mut self, folder: &Path) -> Self {
        self.data = folder.to_owned();
        self
    }

    /// A folder that is removed with the host.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Starts the host and waits until it is ready.
    pub async fn start(self) -> Host {
        Host::start(self).await
    }

    /// `masque serve`, which is expected to refuse: a panic if it does not end by itself.
    pub async fn serve_to_end(&self) -> Outcome {
        self.to_end(self.serve()).await
    }

    /// `masque check`.
    pub async fn check(&self) -> Outcome {
        let mut command = self.command("check");
        self.name_file(&mut command);
        self.to_end(command).await
    }

    /// `masque WORDS`, in the folder and environment of this host, with its file.
    pub async fn run(&self, words: &[&str]) -> Outcome {
        let (first, rest) = words.split_first().unwrap();
        let mut command = self.command(first);
        self.name_file(&mut command);
        command.args(rest);
        self.to_end(command).await
    }

    pub(crate) fn serve(&self) -> Command {
        let mut command = self.command("serve");
        self.name_file(&mut command);
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(&self.data);
        command
    }

    fn name_file(&self, command: &mut Command) {
        if let Some(toml) = &self.toml {
            std::fs::write(self.folder.path().join("masque.toml"), toml).unwrap();
            // Relative, as an operator would write it: messages name the file as it was named to the host.
            command.args(["--config", "masque.toml"]);
        }
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut words = self.launcher.iter().map(PathBuf::from).chain([binary()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(subcommand);
        command.current_dir(self.folder.path());
        // Nothing of the machine's: no proxy, no key, no setting of another Masque.
        command.env_clear();
        for name in ["PATH", "TMPDIR", "LD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", self.folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn to_end(&self, mut command: Command) -> Outcome {
        // It may compile components, one after the other, as a child that steps back for everyone else.
        let output = match tokio::time::timeout(5 * PATIENCE, command.output()).await {
            Ok(output) => output.unwrap(),
            Err(_) => panic!("the command did not end by itself"),
        };
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Outcome { status: output.status, text }
    }
}

/// The host's binary: the one that `cargo xtask test` names, else the one beside this test.
fn binary() -> PathBuf {
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
