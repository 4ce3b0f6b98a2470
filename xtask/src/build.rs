//! `cargo xtask build`: installs the target of the components, builds the components, then the host that embeds them.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::output::print;
use crate::workspace::{Workspace, run as run_command};

pub(crate) const TARGET: &str = "wasm32-wasip2";

/// The components of the workspace: the crate, and the name of the file in the plugins folder.
pub(crate) const COMPONENTS: &[(&str, &str)] = &[
    ("masque-plugin-card", "card"),
    ("masque-plugin-window", "window"),
    ("masque-plugin-openai", "openai"),
    ("masque-plugin-offline", "offline"),
    ("hello-persona", "hello-persona"),
];

/// The script is part of this program, so that the binary needs no other file.
const INSTALL_TARGET: &str = include_str!("../install-wasm-target");

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) release: bool,
    /// The target triple of the host, if it is for another machine than this one.
    target: Option<String>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--release" => options.release = true,
                "--target" => {
                    options.target =
                        Some(arguments.next().context("--target takes a target triple")?.clone());
                }
                other => bail!("`cargo xtask build` takes --release and --target TRIPLE, not {other:?}"),
            }
        }
        Ok(options)
    }
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(target) = &options.target {
        components(workspace)?;
        return run_command(host_command(workspace, options.release).args(["--target", target]))
            .map(|()| ExitCode::SUCCESS);
    }
    components_and_host(workspace, options.release)?;
    print(format_args!("built {}", workspace.binary(options.release).display()));
    Ok(ExitCode::SUCCESS)
}

/// Builds the components, then the host that embeds them.
///
/// If an earlier run left the components, both builds start at once: in most cases the components have not changed, and the
/// host need not wait until cargo has found that out. If they have changed, the host is built again with the new ones.
pub(crate) fn components_and_host(workspace: &Workspace, release: bool) -> anyhow::Result<()> {
    if !has_components(workspace) {
        components(workspace)?;
        return host(workspace, release);
    }
    let (changed, built) = std::thread::scope(|scope| {
        let components = scope.spawn(|| components(workspace));
        let built = host(workspace, release);
        (components.join(), built)
    });
    match changed {
        Ok(Ok(Changed::No)) => built,
        Ok(Ok(Changed::Yes)) => host(workspace, release),
        Ok(Err(error)) => Err(error),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Returns whether the plugins folder has every component. The host's build fails without them.
fn has_components(workspace: &Workspace) -> bool {
    COMPONENTS.iter().all(|(_, name)| workspace.plugins().join(format!("{name}.wasm")).is_file())
}

/// Whether a build changed the bytes of a component.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    Yes,
    No,
}

/// Builds the host.
///
/// A debug build selects the whole workspace, as the tests do: cargo chooses the features of shared crates for the selected
/// packages, and another selection would compile the engine again. A release build selects the host alone, so that no
/// feature that only tests use gets into it.
pub(crate) fn host(workspace: &Workspace, release: bool) -> anyhow::Result<()> {
    run_command(&mut host_command(workspace, release))
}

/// The command that [`host`] runs.
pub(crate) fn host_command(workspace: &Workspace, release: bool) -> Command {
    let selection: &[&str] =
        if release { &["--release", "--package", "masque"] } else { &["--workspace", "--bin", "masque"] };
    let mut cargo = workspace.cargo(["build"]);
    cargo.args(selection);
    cargo
}

/// Builds the components and copies them into the plugins folder. Returns whether one of them changed.
pub(crate) fn components(workspace: &Workspace) -> anyhow::Result<Changed> {
    build_and_copy(workspace, &owned(COMPONENTS), &workspace.plugins())
}

/// Builds the components of tests and benchmarks, each a crate in `tests/fixtures`.
pub(crate) fn fixtures(workspace: &Workspace) -> anyhow::Result<()> {
    build_and_copy(workspace, &fixture_crates(workspace)?, &workspace.fixtures()).map(|_| ())
}

/// Returns every crate that is a component: its package, and the name of its file.
pub(crate) fn all_components(workspace: &Workspace) -> anyhow::Result<Vec<(String, String)>> {
    let mut all = owned(COMPONENTS);
    all.extend(fixture_crates(workspace)?);
    Ok(all)
}

fn owned(components: &[(&str, &str)]) -> Vec<(String, String)> {
    components.iter().map(|(package, name)| ((*package).to_owned(), (*name).to_owned())).collect()
}

fn fixture_crates(workspace: &Workspace) -> anyhow::Result<Vec<(String, String)>> {
    let folder = workspace.root().join("tests/fixtures");
    let mut crates = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("could not read {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        crates.push((format!("fixture-{name}"), name));
    }
    crates.sort();
    Ok(crates)
}

fn build_and_copy(
    workspace: &Workspace,
    crates: &[(String, String)],
    folder: &Path,
) -> anyhow::Result<Changed> {
    install_target()?;
    run_command(guest_cargo(workspace, "build", crates).args(["--profile", "plugin"]))?;
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let built = workspace.guest_target().join(TARGET).join("plugin");
    let mut changed = Changed::No;
    for (package, name) in crates {
        let component = built.join(format!("{}.wasm", package.replace('-', "_")));
        if copy_if_changed(&component, &folder.join(format!("{name}.wasm")))? == Changed::Yes {
            changed = Changed::Yes;
        }
    }
    Ok(changed)
}

/// Returns `cargo SUBCOMMAND` for components, with their target and in their own target folder.
pub(crate) fn guest_cargo(workspace: &Workspace, subcommand: &str, crates: &[(String, String)]) -> Command {
    let mut cargo = workspace.cargo([subcommand, "--target", TARGET]);
    cargo.arg("--target-dir").arg(workspace.guest_target());
    for (package, _) in crates {
        cargo.args(["--package", package]);
    }
    // Flags for this machine's processor or linker don't apply to components.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

/// Copies a component if its bytes differ. The host embeds these files, so a new time of change would build it again.
fn copy_if_changed(from: &Path, to: &Path) -> anyhow::Result<Changed> {
    let bytes = fs::read(from).with_context(|| format!("could not read {}", from.display()))?;
    match fs::read(to) {
        Ok(present) if present == bytes => return Ok(Changed::No),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("could not read {}", to.display())),
    }
    let unfinished = to.with_extension("wasm.part");
    fs::write(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, to))
        .with_context(|| format!("could not write {}", to.display()))?;
    Ok(Changed::Yes)
}

fn install_target() -> anyhow::Result<()> {
    let done = Command::new("bash")
        .args(["-c", INSTALL_TARGET])
        .stdin(Stdio::null())
        .status()
        .context("could not start bash, which adds the wasm32-wasip2 target")?;
    if !done.success() {
        bail!("the Rust target {TARGET} is missing (see above)");
    }
    Ok(())
}
