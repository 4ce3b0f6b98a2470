//! A running host: the real binary in its own process.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, prlimit};
use tokio::process::Child;

use crate::client::Client;
use crate::compiled;
use crate::log::Log;
use crate::setup::{CommandOutput, Setup};
use crate::wait::{eventually, within};

/// A host process. Dropping it kills the process, and prints the log in a failing test.
pub struct Host {
    setup: Setup,
    process: Child,
    log: Log,
    address: String,
}

impl Setup {
    /// Starts the host and waits until it is ready.
    pub async fn start(self) -> Host {
        let mut host = self.start_loading();
        host.wait_until_up().await;
        host
    }

    /// Starts the host and does not wait, for one that has to wait itself. Its address is known once it
    /// [is ready](Host::wait_until_up).
    pub fn start_loading(self) -> Host {
        let (process, log) = launch(&self);
        Host { setup: self, process, log, address: String::new() }
    }
}

impl Host {
    /// Kills the process if it still runs, and starts another one with the same data and file.
    pub async fn restart(&mut self) {
        self.kill().await;
        (self.process, self.log) = launch(&self.setup);
        self.wait_until_up().await;
    }

    /// Waits until the host is ready. Panics if it ends instead.
    pub async fn wait_until_up(&mut self) {
        self.address = tokio::select! {
            address = within("the host to listen", self.log.wait_for(listen_address)) => address,
            status = self.process.wait() => panic!("the host did not start: {}", status.unwrap()),
        };
        self.wait_until_ready().await;
        if self.setup.shares_compiled() {
            compiled::share(self.data());
        }
    }

    async fn wait_until_ready(&self) {
        let client = self.client();
        eventually("the host to be ready", || async {
            let answer = client.get("/readyz").try_send().await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// Runs `masque WORDS` next to the host, with its folder, environment and file.
    pub async fn run(&self, words: &[&str]) -> CommandOutput {
        self.setup.run(words).await
    }

    pub fn client(&self) -> Client {
        Client::http1(&self.address, self.setup.trusted.as_deref())
    }

    /// Returns a client of the operators' listener, whose address is in the log. The host is ready before its log is
    /// written.
    pub async fn operators(&self) -> Client {
        let address = eventually("the address of the operators' listener", || async {
            address_after(&self.log(), "operators are served on http")
        })
        .await;
        Client::http1(&address, self.setup.trusted.as_deref())
    }

    /// Returns a client of the Unix socket in the data folder.
    pub fn socket(&self) -> Client {
        Client::socket(&self.data().join("admin.sock"))
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn data(&self) -> &Path {
        self.setup.data()
    }

    pub fn folder(&self) -> &Path {
        self.setup.folder()
    }

    /// Returns the path of a file of the host, which may have its own mount namespace.
    pub fn seen_by_host(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.id(), path.display()))
    }

    /// Returns what the host has written so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until the host has written these words.
    pub async fn logged(&self, words: &str) {
        let what = format!("the host to log {words:?}");
        within(&what, self.log.wait_for(|text| text.contains(words).then_some(()))).await;
    }

    /// Waits until the host has written a line with all these words.
    pub async fn logged_in_one_line(&self, words: &[&str]) {
        let what = format!("the host to log {words:?} in one line");
        let found =
            |text: &str| text.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(());
        within(&what, self.log.wait_for(found)).await;
    }

    /// Returns the resident memory in bytes.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Returns the number of open descriptors without those of the data folder: the store opens connections as it needs
    /// them, up to a fixed number, and keeps them.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        // Ignore descriptors that are closed meanwhile.
        let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| !target.starts_with(self.data())).count()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGINT.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Stops the process where it is (SIGSTOP), as a virtual machine that is moved would be.
    ///
    /// Returns once every thread has stopped: on a busy machine, some of them run on for milliseconds after the signal.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.id());
        let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
            // A thread that has ended meanwhile runs no more.
            let Ok(stat) = std::fs::read_to_string(task.unwrap().path().join("stat")) else { return true };
            stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('T'))
        };
        while !std::fs::read_dir(&tasks).unwrap().all(is_stopped) {
            std::thread::yield_now();
        }
    }

    /// Lets a paused process go on (SIGCONT).
    pub fn unpause(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Takes away the limit on the size of files that the host writes. The limit was lowered for the host (`ulimit -S -f`),
    /// not for these tests.
    pub fn unlimit_file_size(&self) {
        prlimit(Some(self.pid()), Resource::Fsize, getrlimit(Resource::Fsize)).unwrap();
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub async fn kill(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
        }
        self.ended().await;
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        within("the host to end", self.process.wait()).await.unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.id().cast_signed()).unwrap()
    }

    fn id(&self) -> u32 {
        self.process.id().expect("the host has ended")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the host\n{}--- end of the log", self.log.text());
        }
    }
}

fn launch(setup: &Setup) -> (Child, Log) {
    if setup.shares_compiled() {
        compiled::lend(setup.data());
    }
    let mut process = setup.serve().spawn().unwrap();
    let log = Log::new();
    tokio::spawn(log.clone().follow(process.stdout.take().unwrap()));
    tokio::spawn(log.clone().follow(process.stderr.take().unwrap()));
    (process, log)
}

fn listen_address(log: &str) -> Option<String> {
    address_after(log, "listening on http")
}

/// Returns the address in the URL after `words`, which end with the URL's scheme.
fn address_after(log: &str, words: &str) -> Option<String> {
    let (_, rest) = log.split_once(words)?;
    let (_, rest) = rest.split_once("://")?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".:[]-".contains(c)))?;
    Some(rest[..end].to_owned())
}
