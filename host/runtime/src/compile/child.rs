//! The child that compiles, and its parent's side.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use wasmtime::Engine;

use crate::engine::engine_config;
use crate::error::LoadError;
use crate::file::LARGEST_COMPONENT;

/// Seconds on a core. A 40 MB Python component takes about 60.
const CPU_SECONDS: u64 = 300;
const WALL: Duration = Duration::from_secs(300);
/// Address space. Compiling the same component took 2 GiB.
const MEMORY: u64 = 6 << 30;
/// Machine code is three to four times the size of its component.
const LARGEST_CODE: u64 = 8 * LARGEST_COMPONENT as u64;
/// What of the child's complaint is worth passing on.
const LONGEST_COMPLAINT: usize = 4 << 10;

/// Compiles in a child: its standard input is the component, its output the code, its errors the reason.
pub(crate) async fn compile(
    program: &Path,
    arguments: &[String],
    component: &[u8],
) -> Result<Vec<u8>, LoadError> {
    let failed = |reason: String| LoadError::Compile(reason);
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("the compiler could not be started: {error}")))?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed("the compiler has no pipes".to_owned()));
    };
    let mut code = Vec::new();
    let work = async {
        let feed = async {
            // A child that ends early says why on its standard error; the broken pipe adds nothing.
            let _ = stdin.write_all(component).await;
            drop(stdin);
            std::io::Result::Ok(())
        };
        let read_code = async {
            let mut stdout = stdout.take(LARGEST_CODE);
            stdout.read_to_end(&mut code).await?;
            // The child would wait for room in the pipe, and the others for the child.
            if stdout.limit() == 0 {
                return Err(std::io::Error::other(format!("it is larger than {LARGEST_CODE} bytes")));
            }
            Ok(())
        };
        let ((), (), complaint) = tokio::try_join!(feed, read_code, read_complaint(stderr))?;
        Ok::<_, std::io::Error>((child.wait().await?, complaint))
    };
    match tokio::time::timeout(WALL, work).await {
        Err(_) => Err(failed(format!("it took longer than {} s", WALL.as_secs()))),
        Ok(Err(error)) => Err(failed(format!("the compiler's answer could not be read: {error}"))),
        Ok(Ok((status, _))) if status.success() => Ok(code),
        Ok(Ok((status, complaint))) => {
            let complaint = crate::guest::clean(String::from_utf8_lossy(&complaint).trim(), &[]);
            Err(failed(if complaint.is_empty() {
                format!("the compiler ended with {status}")
            } else {
                complaint
            }))
        }
    }
}

/// The beginning of what the child complains of. The rest is read too: a child that waits for room in the pipe never ends.
async fn read_complaint(mut stderr: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut complaint = Vec::new();
    (&mut stderr).take(LONGEST_COMPLAINT as u64).read_to_end(&mut complaint).await?;
    tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
    Ok(complaint)
}

/// The child's side: limits itself, compiles standard input to standard output, and returns what to exit with.
///
/// # Errors
/// The reason, in words for the operator, 4 KiB at most.
pub fn compile_from_stdin() -> Result<(), String> {
    compile_limited().map_err(|mut reason| {
        // Less than a pipe holds, so that writing it never waits for a reader.
        reason.truncate(reason.floor_char_boundary(LONGEST_COMPLAINT));
        reason
    })
}

fn compile_limited() -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    // The limits come first: nothing of the component has been read yet.
    let cpu = Rlimit { current: Some(CPU_SECONDS), maximum: Some(CPU_SECONDS) };
    setrlimit(Resource::Cpu, cpu).map_err(|error| text(&error))?;
    setrlimit(Resource::As, Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) })
        .map_err(|error| text(&error))?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(|error| text(&error))?;
    nice(10).map_err(|error| text(&error))?;
    let mut component = Vec::new();
    let most = LARGEST_COMPONENT as u64 + 1;
    std::io::stdin().lock().take(most).read_to_end(&mut component).map_err(|error| text(&error))?;
    let engine = Engine::new(&engine_config(None)).map_err(|error| format!("{error:#}"))?;
    let code = engine.precompile_component(&component).map_err(|error| format!("{error:#}"))?;
    std::io::stdout().lock().write_all(&code).map_err(|error| text(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_that_complains_at_length_is_read_to_its_end() {
        // Sixteen times what a pipe holds.
        let script =
            "while :; do echo 'it is no good, it is no good at all'; done | head -c 1048576 >&2; exit 3";
        let arguments = ["-c".to_owned(), script.to_owned()];
        let compiling = compile(Path::new("/bin/sh"), &arguments, b"");
        let error = tokio::time::timeout(Duration::from_secs(60), compiling).await.unwrap().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("it is no good") && text.len() < 2 * LONGEST_COMPLAINT, "{text}");
    }
}
