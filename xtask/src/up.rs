//! `cargo xtask up`: starts a host and prints what to try.
//!
//! The host replaces this process, so that it receives the signals and sets the exit code. Its standard output, which has its
//! addresses at every log level and nothing else, goes through a second process, the guide, which copies it and then prints
//! what to try. Its log goes to standard error, past the guide.

use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::build;
use crate::output::print_error;
use crate::workspace::Workspace;

/// The hidden command that runs the guide.
pub(crate) const GUIDE: &str = "guide-from-output";

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
        .spawn()
        .context("could not start the guide")?;
    let output = OwnedFd::from(guide.stdin.take().context("the guide has no input")?);
    let binary = workspace.binary(false);
    let error = host_command(&binary, arguments, output).exec();
    Err(error).with_context(|| format!("could not start {}", binary.display()))
}

/// The host, with `guide` as its standard output.
fn host_command(binary: &Path, arguments: &[String], guide: OwnedFd) -> Command {
    let mut command = Command::new(binary);
    // Standard error is inherited: a log in a pipe to the guide would be lost with the guide, and the host could not tell that
    // from a reader that comes back.
    command.arg("serve").args(arguments).stdout(guide);
    command
}

/// Copies the host's standard output from standard input to standard error, and prints what to try once the host is ready.
pub(crate) fn guide() -> anyhow::Result<ExitCode> {
    let mut guided = false;
    for line in std::io::stdin().lock().split(b'\n') {
        let mut line = line?;
        line.push(b'\n');
        // A terminal that is gone is no reason to stop reading: the host runs on.
        let _ = std::io::stderr().lock().write_all(&line);
        if !guided && let Some(address) = listen_address(&String::from_utf8_lossy(&line)) {
            guided = true;
            let address = address.to_owned();
            // In a thread: where the host ends before it is ready, the end of its output ends the guide.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_the_host_does_not_go_through_the_guide() {
        let folder = tempfile::tempdir().unwrap();
        // The shell in the place of the host takes `serve` for the name of a script.
        std::fs::write(folder.path().join("serve"), "readlink /proc/$$/fd/2 > error-output\n").unwrap();
        let (guide, output) = std::io::pipe().unwrap();
        drop(guide);
        let mut host = host_command(Path::new("sh"), &[], output.into());
        assert!(host.current_dir(folder.path()).status().unwrap().success());
        let found = std::fs::read_to_string(folder.path().join("error-output")).unwrap();
        assert_eq!(Path::new(found.trim_end()), std::fs::read_link("/proc/self/fd/2").unwrap());
    }

    #[test]
    fn the_address_is_read_from_the_line_that_the_host_prints() {
        assert_eq!(listen_address("listening on http://127.0.0.1:8000\n"), Some("127.0.0.1:8000"));
        assert_eq!(listen_address("operators are served on http://127.0.0.1:9000\n"), None);
    }
}
