//! `cargo xtask up`: starts a host and prints what to try.
//!
//! The host replaces this process, so that it receives the signals and sets the exit code. Its output goes through a
//! second process, the guide, which copies every line and reads the host's address from one of them. The host prints that
//! line to standard output at every log level.

use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::build;
use crate::output::print_error;
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
    build::components_and_host(workspace, false)?;

    let mut guide = Command::new(std::env::current_exe()?)
        .arg(GUIDE)
        .stdin(Stdio::piped())
        // A process group of its own: Ctrl-C must not end the guide, which still copies the host's last lines.
        .process_group(0)
        .spawn()
        .context("could not start the guide")?;
    let output = OwnedFd::from(guide.stdin.take().context("the guide has no input")?);
    let log = output.try_clone()?;
    let binary = workspace.binary(false);
    let error = Command::new(&binary).arg("serve").args(arguments).stdout(output).stderr(log).exec();
    Err(error).with_context(|| format!("could not start {}", binary.display()))
}

/// Copies the host's output from standard input to standard error, and prints what to try once the host is ready.
pub(crate) fn guide() -> anyhow::Result<ExitCode> {
    let mut guided = false;
    for line in std::io::stdin().lock().split(b'\n') {
        let mut line = line?;
        line.push(b'\n');
        // A terminal that is gone is no reason to stop reading: the host runs on, and its pipe must not fill up.
        let _ = std::io::stderr().lock().write_all(&line);
        if !guided && let Some(address) = listen_address(&String::from_utf8_lossy(&line)) {
            guided = true;
            let address = address.to_owned();
            // In a thread, so that the host's output is read meanwhile.
            std::thread::spawn(move || {
                if wait_until_ready(&address) {
                    print_error(format_args!("{}", things_to_try(&address)));
                }
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the address in the line `listening on http://ADDRESS`.
fn listen_address(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("listening on http://")?;
    rest.split(|c: char| !(c.is_ascii_alphanumeric() || ".:[]-".contains(c))).next()
}

fn wait_until_ready(address: &str) -> bool {
    (0..600).any(|attempt| {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
        is_ready(address).unwrap_or(false)
    })
}

fn is_ready(address: &str) -> std::io::Result<bool> {
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

  2. Get a reply as events (a real model writes many pieces, the offline one all at once):

     curl -N http://{address}/chat -H 'content-type: application/json' \\
       -d '{{\"message\": \"I feel curious today.\", \"stream\": true}}'

  3. Read what else it can do: http://{address}/docs

Ctrl-C stops it.
"
    )
}
