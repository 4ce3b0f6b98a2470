//! Starts and stops the programs that are measured.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::load::{LoadReport, Options, Protocol};
use crate::mock::Pace;

/// The time within which a program must answer. It includes compiling the components for the first time.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// The name of the data folder in the host's folder.
pub(crate) const DATA: &str = "data";
/// The name of the host's log in its data folder.
pub(crate) const LOG: &str = "log";
const SECRET: &str = "Rw1zPq9vTk4sYb7nXe2mJc8hLd5gAf3u";

/// Returns a command that runs this program.
pub(crate) fn own_command() -> anyhow::Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

/// Another process of this program that serves. Dropping the value kills it.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) pid: u32,
    _process: Child,
}

impl Server {
    /// Starts a model server.
    pub(crate) async fn mock() -> anyhow::Result<Self> {
        Self::start(own_command()?.arg("mock")).await
    }

    /// Starts a model server that speaks HTTP/2 over TLS. Clients have to trust the certificate in `file`.
    pub(crate) async fn mock_http2(file: &Path) -> anyhow::Result<Self> {
        Self::start(own_command()?.args(["mock", "--certificate"]).arg(file)).await
    }

    /// Starts the server of turns without a sandbox, with its data in `data`.
    pub(crate) async fn native_baseline(mock: &Self, pace: Pace, data: &Path) -> anyhow::Result<Self> {
        let mut command = own_command()?;
        command
            .args(["native-baseline", "--model", &mock.address, "--name", &pace.name(), "--data"])
            .arg(data);
        Self::start(&mut command).await
    }

    async fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut process = command.stdout(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true).spawn()?;
        let output = process.stdout.take().context("no output")?;
        let address = BufReader::new(output).lines().next_line().await?.context("a server ended at once")?;
        let pid = process.id().context("a server ended at once")?;
        Ok(Self { address, pid, _process: process })
    }
}

/// Runs clients in a process of their own. Fails if a turn failed.
pub(crate) async fn load(options: &Options) -> anyhow::Result<LoadReport> {
    let mut command = own_command()?;
    command.args(["load", "--to", &options.to, "--tokens", &options.tokens.to_string()]);
    command.args(["--protocol", options.protocol.as_str()]);
    command.args(["--clients", &options.clients.to_string(), "--model", &options.model]);
    command.args(["--turns", &options.turns.to_string(), "--millis", &options.millis.to_string()]);
    command.args(["--ramp", &options.ramp.to_string(), "--companion", &options.companion]);
    command.args(["--users", &options.users.to_string()]);
    if let Some(bearer) = &options.bearer {
        command.args(["--bearer", bearer]);
    }
    for (flag, set) in [("--stream", options.stream), ("--keyed", options.keyed)] {
        if set {
            command.arg(flag);
        }
    }
    let output = command.stderr(Stdio::inherit()).kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "the clients ended with {}", output.status);
    let report: LoadReport = serde_json::from_slice(&output.stdout)?;
    if report.failures > 0 {
        bail!(
            "{} of {} turns failed: {}",
            report.failures,
            report.turns + report.failures,
            report.failure.unwrap_or_default()
        );
    }
    ensure!(report.turns > 0, "no turn ended in time");
    Ok(report)
}

/// The features of a host that are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    /// Tokens, API keys and revocations. A host with users limits them, too.
    pub(crate) tokens: bool,
    /// Rate limits of users and addresses, and a limit of each user's concurrent turns.
    pub(crate) limits: bool,
    /// An idempotency key with each request.
    pub(crate) idempotency: bool,
}

impl Mode {
    pub(crate) const ON: Self = Self { tokens: true, limits: true, idempotency: true };
    pub(crate) const OFF: Self = Self { tokens: false, limits: false, idempotency: false };
}

/// A running host, with its data on the disk.
pub(crate) struct Host {
    pub(crate) address: String,
    pub(crate) pid: u32,
    pub(crate) bearer: Option<String>,
    /// An API key that may mint tokens and act for users.
    pub(crate) key: Option<String>,
    pub(crate) mode: Mode,
    /// The time from exec to the first successful answer of `/readyz`.
    pub(crate) ready_after: Duration,
    pub(crate) folder: PathBuf,
    process: Child,
    _folder: Option<TempDir>,
}

/// The configuration of a companion of the built-in plugins.
pub(crate) const ELARA: &str =
    "[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"mock\"]\n";

/// The options of a host.
pub(crate) struct Start<'a> {
    pub(crate) bin: &'a Path,
    /// The folder in which the host's folder is made.
    pub(crate) out: &'a Path,
    pub(crate) mock: &'a Server,
    /// The scheme of the model server's address.
    pub(crate) scheme: &'static str,
    pub(crate) pace: Pace,
    pub(crate) mode: Mode,
    /// The configuration of the companion `elara`, which the turns use.
    pub(crate) elara: String,
    /// Further lines of the configuration.
    pub(crate) extra: String,
    /// Further variables of the environment.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The folder of compiled components, which several hosts can share.
    pub(crate) compiled: PathBuf,
}

impl Start<'_> {
    /// Starts a host in a folder that is removed with it.
    pub(crate) async fn host(&self) -> anyhow::Result<Host> {
        let folder = tempfile::Builder::new().prefix("host-").tempdir_in(self.out)?;
        let path = folder.path().to_owned();
        let mut host = self.host_in(&path).await?;
        host._folder = Some(folder);
        Ok(host)
    }

    /// Starts a host in a folder that is kept.
    pub(crate) async fn host_in(&self, folder: &Path) -> anyhow::Result<Host> {
        std::fs::write(folder.join("masque.toml"), self.configuration())?;
        // The log must not be beside the configuration: the host watches that folder and would never see it unchanged.
        std::fs::create_dir_all(folder.join(DATA))?;
        let log = folder.join(DATA).join(LOG);
        let key = match self.mode.tokens {
            true => Some(self.create_key(folder).await?),
            false => None,
        };
        let begun = Instant::now();
        let mut process = self
            .command(folder, "serve")
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("{} can't be started", self.bin.display()))?;
        let output = process.stdout.take().context("no output")?;
        let mut lines = BufReader::new(output).lines();
        let address = loop {
            let line = tokio::time::timeout(START_TIMEOUT, lines.next_line()).await??;
            let Some(line) = line else {
                bail!("the host did not start: {}", std::fs::read_to_string(&log)?)
            };
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.to_owned();
            }
        };
        wait_until_ready(&address).await?;
        let ready_after = begun.elapsed();
        let pid = process.id().context("the host ended")?;
        let mut host = Host {
            address,
            pid,
            bearer: None,
            key: key.clone(),
            mode: self.mode,
            ready_after,
            folder: folder.to_owned(),
            process,
            _folder: None,
        };
        if let Some(key) = key {
            let request = json!({ "user_id": "bench", "expires_in_hours": 24 });
            let minted = post(&host.address, "/auth/token", &key, &request).await?;
            host.bearer = minted.get("access_token").and_then(Value::as_str).map(str::to_owned);
        }
        Ok(host)
    }

    fn command(&self, folder: &Path, subcommand: &str) -> Command {
        let mut command = Command::new(self.bin);
        command.arg(subcommand).args(["--config", "masque.toml", "--data", DATA]).current_dir(folder);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if self.mode.tokens {
            command.env("JWT_SECRET_KEY", SECRET);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    async fn create_key(&self, folder: &Path) -> anyhow::Result<String> {
        let mut command = self.command(folder, "keys");
        command.args([
            "create",
            "bench",
            "--scope",
            "tokens:mint",
            "--scope",
            "chat",
            "--scope",
            "users:act",
        ]);
        let output = command.output().await.context("masque keys")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let key = text.split_whitespace().find(|word| word.starts_with("msq_")).map(str::to_owned);
        key.with_context(|| format!("no key: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn configuration(&self) -> String {
        // The limits are so high that nothing is refused, but every request is counted.
        let limits = match self.mode.limits || self.mode.tokens {
            true => {
                "[limits.user]\nper_minute = 1000000\nburst = 1000000\nturns = 100000\n\
                     [limits.address]\nper_minute = 1000000\nburst = 1000000\n"
            }
            false => "",
        };
        let (address, model, extra) = (&self.mock.address, self.pace.name(), &self.extra);
        let (elara, scheme) = (&self.elara, self.scheme);
        let compiled = self.compiled.display();
        format!(
            "[data]\ncompiled = \"{compiled}\"\n[server]\nmax_connections = 5000\n[turn]\nmax_concurrent = 16000\n\
             [sandbox]\ninstances = 6000\n{limits}\
             {elara}[plugins.mock]\nsource = \"builtin:openai\"\n\
             settings = {{ base_url = \"{scheme}://{address}/v1\", model = \"{model}\" }}\n\
             grants = {{ http = [\"{scheme}://{address}\"] }}\n{extra}"
        )
    }
}

impl Host {
    /// Returns options for clients of this host.
    pub(crate) fn clients(&self, pace: Pace, stream: bool) -> Options {
        Options {
            bearer: self.bearer.clone(),
            model: String::new(),
            keyed: self.mode.idempotency,
            ..clients(&self.address, Protocol::Masque, pace, stream)
        }
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.process.kill().await?;
        Ok(())
    }
}

/// Returns options for clients of a server with this protocol.
pub(crate) fn clients(address: &str, protocol: Protocol, pace: Pace, stream: bool) -> Options {
    Options {
        to: address.to_owned(),
        protocol,
        bearer: None,
        model: pace.name(),
        tokens: pace.tokens,
        stream,
        keyed: false,
        clients: 1,
        turns: usize::MAX,
        millis: 86_400_000,
        ramp: 0,
        companion: "elara".to_owned(),
        users: 0,
    }
}

/// Returns options for clients of the model server, or of a proxy with the same protocol.
pub(crate) fn direct(address: &str, pace: Pace, stream: bool) -> Options {
    clients(address, Protocol::Openai, pace, stream)
}

async fn wait_until_ready(address: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    while get(address, "/readyz").await.is_none_or(|status| status != 200) {
        ensure!(begun.elapsed() < START_TIMEOUT, "{address} does not get ready");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Sends a GET request and returns the status, or `None` if there is no answer.
pub(crate) async fn get(address: &str, path: &str) -> Option<u16> {
    let request = http::Request::get(path).header("host", address);
    let response = send(address, request.body(String::new()).ok()?).await.ok()?;
    Some(response.0)
}

async fn post(address: &str, path: &str, bearer: &str, body: &Value) -> anyhow::Result<Value> {
    let request = http::Request::post(path)
        .header("host", address)
        .header("authorization", format!("Bearer {bearer}"))
        .header("content-type", "application/json")
        .body(body.to_string())?;
    let (status, body) = send(address, request).await?;
    ensure!(status == 200, "{path} answers with {status}: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body)?)
}

async fn send(address: &str, request: http::Request<String>) -> anyhow::Result<(u16, Vec<u8>)> {
    use http_body_util::BodyExt as _;
    let socket = tokio::net::TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await?.to_bytes().to_vec()))
}

/// Makes a turn in a new conversation, without streaming.
pub(crate) async fn make_turn(address: &str, bearer: Option<&str>, companion: &str) -> anyhow::Result<()> {
    make_turn_in(address, bearer, companion, None).await.map(drop)
}

/// Makes a turn in this conversation, or in a new one, without streaming. Returns the id of the conversation.
pub(crate) async fn make_turn_in(
    address: &str,
    bearer: Option<&str>,
    companion: &str,
    conversation: Option<&str>,
) -> anyhow::Result<String> {
    let body = match conversation {
        Some(id) => json!({ "message": "Tell me.", "conversation_id": id }),
        None => json!({ "message": "Tell me.", "companion": companion }),
    };
    let reply = post(address, "/chat", bearer.unwrap_or_default(), &body).await?;
    let id = reply.get("conversation_id").and_then(Value::as_str).map(str::to_owned);
    id.context("no conversation in the answer")
}
