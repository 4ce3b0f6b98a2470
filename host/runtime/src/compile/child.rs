//! Compiles in a child process: the parent's side, and the limits that the child sets on itself.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use masque_grants::MAX_COMPONENT_BYTES;
use rustix::process::{Resource, Rlimit, nice, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use wasmtime::Engine;

use crate::engine::engine_config;
use crate::error::LoadError;
use crate::secret_matcher::SecretMatcher;
use crate::text::sanitize;

/// Seconds of CPU time. A Python component of 40 MB takes about 60.
const CPU_SECONDS: u64 = 300;
/// Wall time of the child.
const MAX_WALL_TIME: Duration = Duration::from_secs(300);
/// Bytes of address space. Compiling the same component took 2 GiB.
const MAX_ADDRESS_SPACE: u64 = 6 << 30;
/// The most bytes of machine code. It is usually three to four times the size of its component.
const MAX_CODE_BYTES: u64 = 8 * MAX_COMPONENT_BYTES as u64;
/// The most bytes of the child's error text that are passed on.
const MAX_ERROR_BYTES: usize = 4 << 10;

/// Runs the child. Its standard input is the component, its standard output the code, its standard error the reason for a
/// failure. Dropping the future kills the child.
///
/// # Errors
/// The child can't be started, exceeds a limit, or refuses the component.
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
            // A child that ends early reports the reason on its standard error; the broken pipe adds nothing.
            let _ = stdin.write_all(component).await;
            drop(stdin);
            std::io::Result::Ok(())
        };
        let read_code = async {
            let mut stdout = stdout.take(MAX_CODE_BYTES);
            stdout.read_to_end(&mut code).await?;
            // Reading must not stop silently here: the child would wait for space in the pipe forever.
            if stdout.limit() == 0 {
                return Err(std::io::Error::other(format!("it is larger than {MAX_CODE_BYTES} bytes")));
            }
            Ok(())
        };
        let ((), (), error_text) = tokio::try_join!(feed, read_code, read_error_text(stderr))?;
        Ok::<_, std::io::Error>((child.wait().await?, error_text))
    };
    match tokio::time::timeout(MAX_WALL_TIME, work).await {
        Err(_) => Err(failed(format!("it took longer than {} s", MAX_WALL_TIME.as_secs()))),
        Ok(Err(error)) => Err(failed(format!("the compiler's answer could not be read: {error}"))),
        Ok(Ok((status, _))) if status.success() => Ok(code),
        Ok(Ok((status, error_text))) => {
            let error_text = sanitize(String::from_utf8_lossy(&error_text).trim(), &SecretMatcher::default());
            Err(failed(if error_text.is_empty() {
                format!("the compiler ended with {status}")
            } else {
                error_text
            }))
        }
    }
}

/// Returns the beginning of the child's error text. The rest is read and dropped: a child that waits for space in the pipe
/// never ends.
async fn read_error_text(mut stderr: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut error_text = Vec::new();
    (&mut stderr).take(MAX_ERROR_BYTES as u64).read_to_end(&mut error_text).await?;
    tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
    Ok(error_text)
}

/// The child's side: limits its own resources, then compiles standard input to standard output.
///
/// # Errors
/// The reason in words for the operator, 4 KiB at most.
pub fn compile_from_stdin() -> Result<(), String> {
    compile_limited().map_err(|mut reason| {
        // A pipe holds more than that, so writing it never waits for a reader.
        reason.truncate(reason.floor_char_boundary(MAX_ERROR_BYTES));
        reason
    })
}

fn compile_limited() -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    // The limits are set before anything of the component is read.
    let cpu = Rlimit { current: Some(CPU_SECONDS), maximum: Some(CPU_SECONDS) };
    setrlimit(Resource::Cpu, cpu).map_err(|error| text(&error))?;
    setrlimit(Resource::As, Rlimit { current: Some(MAX_ADDRESS_SPACE), maximum: Some(MAX_ADDRESS_SPACE) })
        .map_err(|error| text(&error))?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(|error| text(&error))?;
    nice(10).map_err(|error| text(&error))?;
    let mut component = Vec::new();
    let max = MAX_COMPONENT_BYTES as u64 + 1;
    std::io::stdin().lock().take(max).read_to_end(&mut component).map_err(|error| text(&error))?;
    let engine = Engine::new(&engine_config(None)).map_err(|error| format!("{error:#}"))?;
    let code = engine.precompile_component(&component).map_err(|error| format!("{error:#}"))?;
    std::io::stdout().lock().write_all(&code).map_err(|error| text(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_with_a_long_error_text_is_read_to_its_end() {
        // Sixteen times what a pipe holds.
        let script =
            "while :; do echo 'it is no good, it is no good at all'; done | head -c 1048576 >&2; exit 3";
        let arguments = ["-c".to_owned(), script.to_owned()];
        let compiling = compile(Path::new("/bin/sh"), &arguments, b"");
        let error = tokio::time::timeout(Duration::from_secs(60), compiling).await.unwrap().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("it is no good") && text.len() < 2 * MAX_ERROR_BYTES, "{text}");
    }
}
