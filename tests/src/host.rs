//! A running host: the real binary in a process of its own.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::client::Client;
use crate::log::Log;
use crate::setup::{Outcome, Setup};
use crate::wait::{eventually, within};

/// Killed when it is dropped; its log is printed when that happens in a failing test.
pub struct Host {
    setup: Setup,
    process: Child,
    log: Log,
    address: String,
}

impl Host {
    pub(crate) async fn start(setup: Setup) -> Self {
        let (process, log) = launch(&setup);
        let mut host = Self { setup, process, log, address: String::new() };
        host.come_up().await;
        host
    }

    /// Ends the process if it still runs, and starts the next one on the same data, with the same file.
    pub async fn restart(&mut self) {
        self.kill().await;
        (self.process, self.log) = launch(&self.setup);
        self.come_up().await;
    }

    async fn come_up(&mut self) {
        self.address = tokio::select! {
            address = within("the host to listen", self.log.wait_for(listening)) => address,
            status = self.process.wait() => panic!("the host did not start: {}", status.unwrap()),
        };
        self.ready().await;
    }

    async fn ready(&self) {
        let client = self.client();
        eventually("the host to be ready", || async {
            let answer = client.get("/readyz").try_send().await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// `masque WORDS`, beside the host, in its folder and environment and with its file.
    pub async fn run(&self, words: &[&str]) -> Outcome {
        self.setup.run(words).await
    }

    pub fn client(&self) -> Client {
        Client::http1(&self.address, self.setup.trusted.as_deref())
    }

    /// A client of the operators' listener, which the host must have said that it has.
    pub fn operators(&self) -> Client {
        let address = said(&self.log(), "operators are served on http").expect("operators have a listener");
        Client::http1(&address, self.setup.trusted.as_deref())
    }

    /// A client of the socket in the data folder.
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

    /// A path as the host sees it, which may be in a mount namespace of its own.
    pub fn seen_by_host(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.id(), path.display()))
    }

    /// All that it has written so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    pub async fn logged(&self, words: &str) {
        let what = format!("the host to log {words:?}");
        within(&what, self.log.wait_for(|text| text.contains(words).then_some(()))).await;
    }

    /// Waits for one line that has all of these words in it.
    pub async fn logged_in_one_line(&self, words: &[&str]) {
        let what = format!("the host to log {words:?} in one line");
        let found =
            |text: &str| text.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(());
        within(&what, self.log.wait_for(found)).await;
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Open descriptors, without those of its data: the store opens connections up to a fixed number as it needs them,
    /// and keeps them.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        // One that was closed meanwhile leads nowhere.
        let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| !target.starts_with(self.data())).count()
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGINT.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// SIGKILL, and the process is gone.
    pub async fn kill(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
        }
        self.ended().await;
    }

    /// How the process ended.
    pub async fn ended(&mut self) -> ExitStatus {
        within("the host to end", self.process.wait()).await.unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id().cast_signed()).unwrap(), signal).unwrap();
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
    let mut process = setup.serve().spawn().unwrap();
    let log = Log::new();
    tokio::spawn(log.clone().follow(process.stdout.take().unwrap()));
    tokio::spawn(log.clone().follow(process.stderr.take().unwrap()));
    (process, log)
}

fn listening(log: &str) -> Option<String> {
    said(log, "listening on http")
}

/// The address in the URL that begins with the end of `words`.
fn said(log: &str, words: &str) -> Option<String> {
    let (_, rest) = log.split_once(words)?;
    let (_, rest) = rest.split_once("://")?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".:[]-".contains(c)))?;
    Some(rest[..end].to_owned())
}
