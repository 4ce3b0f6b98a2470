//! Compiles in a child process: the parent's side and the child's.
//!
//! A child that memory runs out for is started once more with a single thread, which takes less memory and more time.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use masque_grants::MAX_COMPONENT_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use wasmtime::Engine;

use super::child_limits::{ChildEnd, ChildLimits};
use crate::engine::{MemoryReservation, engine_config};
use crate::error::LoadError;
use crate::secret_matcher::SecretMatcher;
use crate::text::sanitize;

/// Wall time of the child.
const MAX_WALL_TIME: Duration = Duration::from_secs(300);
/// The most bytes of machine code. It is usually three to four times the size of its component.
const MAX_CODE_BYTES: u64 = 8 * MAX_COMPONENT_BYTES as u64;
/// The most bytes of the child's error text that are passed on.
const MAX_ERROR_BYTES: usize = 4 << 10;

/// The variables by which the child is told how to compile. It has no other environment.
const RESERVATION: &str = "MASQUE_COMPILER_RESERVATION";
const THREADS: &str = "MASQUE_COMPILER_THREADS";

/// How the child compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode {
    reservation: MemoryReservation,
    threads: Threads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threads {
    One,
    /// One for each core.
    All,
}

/// Compiles for an engine with that reservation.
///
/// # Errors
/// The child can't be started, exceeds a limit, or refuses the component.
pub(crate) async fn compile(
    program: &Path,
    arguments: &[String],
    reservation: MemoryReservation,
    component: &[u8],
) -> Result<Vec<u8>, LoadError> {
    let compile_with = |threads| compile_once(program, arguments, Mode { reservation, threads }, component);
    let compiled = match compile_with(Threads::All).await {
        Err(Failure::OutOfMemory(reason)) => {
            tracing::warn!("a component did not compile since {reason}; trying again on one thread");
            compile_with(Threads::One).await
        }
        result => result,
    };
    compiled.map_err(|failure| match failure {
        Failure::NotStarted(error) => LoadError::NoCompiler(error),
        Failure::OutOfMemory(reason) | Failure::Other(reason) => LoadError::Compile(reason),
    })
}

/// Why there is no code.
#[derive(Debug)]
enum Failure {
    NotStarted(std::io::Error),
    OutOfMemory(String),
    Other(String),
}

/// Runs a child. Its standard input is the component, its standard output the code, its standard error the reason for a
/// failure. Dropping the future kills the child.
async fn compile_once(
    program: &Path,
    arguments: &[String],
    mode: Mode,
    component: &[u8],
) -> Result<Vec<u8>, Failure> {
    let failed = Failure::Other;
    let limits = ChildLimits::of_this_process();
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(mode.to_variables())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Failure::NotStarted)?;
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
            match ChildEnd::of(status, &error_text) {
                end @ ChildEnd::OutOfMemory => Err(Failure::OutOfMemory(limits.explain(end))),
                end if error_text.is_empty() || end == ChildEnd::CpuTime => Err(failed(limits.explain(end))),
                _ => Err(failed(error_text)),
            }
        }
    }
}

impl Mode {
    fn to_variables(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let is_small = self.reservation == MemoryReservation::Small;
        let is_single = self.threads == Threads::One;
        [is_small.then_some((RESERVATION, "small")), is_single.then_some((THREADS, "1"))]
            .into_iter()
            .flatten()
    }

    fn from_variables(is_set: impl Fn(&str) -> bool) -> Self {
        Self {
            reservation: if is_set(RESERVATION) { MemoryReservation::Small } else { MemoryReservation::Full },
            threads: if is_set(THREADS) { Threads::One } else { Threads::All },
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
    ChildLimits::of_this_process()
        .apply()
        .map_err(|error| format!("the compiler's limits can't be set: {error}"))?;
    let mode = Mode::from_variables(|name| std::env::var_os(name).is_some());
    let mut component = Vec::new();
    let max = MAX_COMPONENT_BYTES as u64 + 1;
    std::io::stdin().lock().take(max).read_to_end(&mut component).map_err(|error| text(&error))?;
    let mut config = engine_config(None, mode.reservation);
    config.parallel_compilation(mode.threads == Threads::All);
    let engine = Engine::new(&config).map_err(|error| format!("{error:#}"))?;
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
        let compiling = compile(Path::new("/bin/sh"), &arguments, MemoryReservation::Full, b"");
        let error = tokio::time::timeout(Duration::from_secs(60), compiling).await.unwrap().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("it is no good") && text.len() < 2 * MAX_ERROR_BYTES, "{text}");
    }

    #[tokio::test]
    async fn a_child_that_memory_runs_out_for_is_started_once_more_on_one_thread() {
        let compile_by = async |script: &str| {
            let arguments = ["-c".to_owned(), script.to_owned()];
            compile(Path::new("/bin/sh"), &arguments, MemoryReservation::Small, b"").await
        };
        let script = "[ \"$MASQUE_COMPILER_THREADS\" = 1 ] || kill -9 $$; echo $MASQUE_COMPILER_RESERVATION";
        assert_eq!(compile_by(script).await.unwrap(), b"small\n");
        let error = compile_by("kill -9 $$").await.unwrap_err().to_string();
        assert!(error.contains("memory ran out"), "{error}");
        let error = compile_by("echo no; exit 1").await.unwrap_err().to_string();
        assert!(!error.contains("memory"), "{error}");
    }

    #[tokio::test]
    async fn a_compiler_that_can_not_be_started_is_no_fault_of_the_component() {
        let missing = Path::new("/nowhere/at/all");
        match compile(missing, &[], MemoryReservation::Full, b"").await {
            Err(LoadError::NoCompiler(error)) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_child_reads_the_mode_that_the_host_wrote() {
        for reservation in [MemoryReservation::Full, MemoryReservation::Small] {
            for threads in [Threads::One, Threads::All] {
                let mode = Mode { reservation, threads };
                let read = Mode::from_variables(|name| mode.to_variables().any(|(known, _)| known == name));
                assert_eq!(read, mode);
            }
        }
    }
}
