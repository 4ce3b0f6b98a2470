//! The child that compiles, and its parent's side.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wasmtime::Engine;

use crate::engine::engine_config;
use crate::error::LoadError;
use crate::package::LARGEST_COMPONENT;

/// Seconds on a core. A 40 MB Python component takes about 60.
const CPU_SECONDS: u64 = 300;
const WALL: Duration = Duration::from_secs(300);
/// Address space. Compiling the same component took 2 GiB.
const MEMORY: u64 = 6 << 30;
/// Machine code is three to four times the size of its component.
const LARGEST_CODE: u64 = 8 * LARGEST_COMPONENT as u64;
/// What of the child's complaint is worth passing on.
const LONGEST_COMPLAINT: u64 = 4 << 10;

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
    let (mut stdout, mut stderr) = (stdout.take(LARGEST_CODE), stderr.take(LONGEST_COMPLAINT));
    let (mut code, mut complaint) = (Vec::new(), Vec::new());
    let work = async {
        let feed = async {
            // A child that ends early says why on its standard error; the broken pipe adds nothing.
            let _ = stdin.write_all(component).await;
            drop(stdin);
        };
        let read_code = stdout.read_to_end(&mut code);
        let read_complaint = stderr.read_to_end(&mut complaint);
        let ((), read, complained) = tokio::join!(feed, read_code, read_complaint);
        read.and(complained)?;
        if stdout.limit() == 0 {
            return Err(std::io::Error::other(format!("it is larger than {LARGEST_CODE} bytes")));
        }
        child.wait().await
    };
    match tokio::time::timeout(WALL, work).await {
        Err(_) => Err(failed(format!("it took longer than {} s", WALL.as_secs()))),
        Ok(Err(error)) => Err(failed(format!("the compiler's answer could not be read: {error}"))),
        Ok(Ok(status)) if status.success() => Ok(code),
        Ok(Ok(status)) => {
            let complaint = crate::guest::clean(String::from_utf8_lossy(&complaint).trim(), &[]);
            Err(failed(if complaint.is_empty() {
                format!("the compiler ended with {status}")
            } else {
                complaint
            }))
        }
    }
}

/// The child's side: limits itself, compiles standard input to standard output, and returns what to exit with.
///
/// # Errors
/// The reason, in words for the operator.
pub fn compile_from_stdin() -> Result<(), String> {
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
