//! `cargo xtask up`: a running host, and what to try on it.
//!
//! The host takes this process's place, so that signals and the exit code are its own. What it writes goes through
//! a second process, the guide, which passes every line on and waits for the one that names the address: the host writes
//! it to its standard output, however little it logs.

use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::build;
use crate::workspace::Workspace;

/// The hidden command that runs the guide.
pub(crate) const GUIDE: &str = "guide-from-log";

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let arguments = match arguments.split_first() {
        None => arguments,
        Some((first, rest)) if first == "--" => rest,
        Some((first, _)) => {
            bail!(
                "`cargo xtask up` hands everything after `--` to `masque serve`; {first:?} stands before it"
            )
        }
    };
    build::components(workspace)?;
    build::host(workspace, false)?;

    let mut guide = Command::new(std::env::current_exe()?)
        .arg(GUIDE)
        .stdin(Stdio::piped())
        // A group of its own: Ctrl-C is for the host, whose last lines still have to come through.
        .process_group(0)
        .spawn()
        .context("could not start the guide")?;
    let output = OwnedFd::from(guide.stdin.take().context("the guide has no input")?);
    let log = output.try_clone()?;
    let binary = workspace.binary(false);
    let error = Command::new(&binary).arg("serve").args(arguments).stdout(output).stderr(log).exec();
    Err(error).with_context(|| format!("could not start {}", binary.display()))
}

/// Copies what the host writes from standard input to standard error, and says what to try once the host is ready.
pub(crate) fn guide() -> anyhow::Result<ExitCode> {
    let mut guided = false;
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line?;
        let mut terminal = std::io::stderr().lock();
        terminal.write_all(&line)?;
        terminal.write_all(b"\n")?;
        drop(terminal);
        if !guided && let Some(address) = listening(&String::from_utf8_lossy(&line)) {
            guided = true;
            let address = address.to_owned();
            // Beside the copying: the host would wait for a reader of its log otherwise.
            std::thread::spawn(move || {
                if wait_until_ready(&address) {
                    eprintln!("{}", things_to_try(&address));
                }
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The address in the line `listening on http://ADDRESS`.
fn listening(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("listening on http://")?;
    rest.split(|c: char| !(c.is_ascii_alphanumeric() || ".:[]-".contains(c))).next()
}

fn wait_until_ready(address: &str) -> bool {
    (0..600).any(|attempt| {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
        ready(address).unwrap_or(false)
    })
}

fn ready(address: &str) -> std::io::Result<bool> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(connection, "GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.take(64).read_to_string(&mut answer)?;
    Ok(answer.split_ascii_whitespace().nth(1) == Some("200"))
}

fn things_to_try(address: &str) -> String {
    format!(
        "
Masque is ready. Three things to try, in another terminal:

  1. Talk to Elara, the companion that ships:

     curl -s http://{address}/chat -H 'content-type: application/json' \\
       -d '{{\"message\": \"Hello! Who are you?\"}}'

  2. Watch a reply while it is written:

     curl -N http://{address}/chat -H 'content-type: application/json' \\
       -d '{{\"message\": \"I feel curious today.\", \"stream\": true}}'

  3. Read what else it can do: http://{address}/docs

Ctrl-C stops it.
"
    )
}
