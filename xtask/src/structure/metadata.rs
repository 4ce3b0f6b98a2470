//! What the check needs of `cargo metadata`: the packages of a workspace, their targets and their dependencies on each
//! other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

/// A member of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The folder of its manifest, absolute.
    pub(crate) folder: PathBuf,
    /// The folder of its manifest, relative to the workspace, with `/` between the parts.
    pub(crate) relative_folder: String,
    /// The root files of its libraries, binaries, tests, benchmarks, examples and its build script.
    pub(crate) targets: Vec<PathBuf>,
    /// Members of the workspace that it depends on, build dependencies included.
    pub(crate) dependencies: BTreeSet<String>,
    /// Members of the workspace that only its tests, benchmarks and examples depend on.
    pub(crate) dev_dependencies: BTreeSet<String>,
}

/// Asks cargo for the packages of the workspace in `root`, sorted by name. Needs no network.
pub(crate) fn load(root: &Path) -> anyhow::Result<Vec<Package>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("could not start `cargo metadata`")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed ({})", output.status);
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("`cargo metadata`")?;
    let root = PathBuf::from(text(&metadata, "workspace_root")?);
    let members = list(&metadata, "packages")?;
    let names = members.iter().map(|member| text(member, "name")).collect::<anyhow::Result<BTreeSet<_>>>()?;
    let mut packages = members
        .iter()
        .map(|member| package(member, &root, &names).context("`cargo metadata`"))
        .collect::<anyhow::Result<Vec<_>>>()?;
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(packages)
}

fn package(member: &Value, root: &Path, names: &BTreeSet<&str>) -> anyhow::Result<Package> {
    let manifest = Path::new(text(member, "manifest_path")?);
    let folder = manifest.parent().context("a manifest without a folder")?.to_owned();
    let relative_folder = folder.strip_prefix(root).unwrap_or(&folder);
    let relative_folder =
        relative_folder.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
    let mut targets = list(member, "targets")?
        .iter()
        .map(|target| text(target, "src_path").map(PathBuf::from))
        .collect::<anyhow::Result<Vec<_>>>()?;
    targets.sort();
    let (mut dependencies, mut dev_dependencies) = (BTreeSet::new(), BTreeSet::new());
    for dependency in list(member, "dependencies")? {
        let name = text(dependency, "name")?;
        // Members of the workspace are the dependencies that have a path.
        if dependency.get("path").is_none_or(Value::is_null) || !names.contains(name) {
            continue;
        }
        let is_dev = dependency.get("kind").and_then(Value::as_str) == Some("dev");
        let kind = if is_dev { &mut dev_dependencies } else { &mut dependencies };
        kind.insert(name.to_owned());
    }
    Ok(Package {
        name: text(member, "name")?.to_owned(),
        folder,
        relative_folder,
        targets,
        dependencies,
        dev_dependencies,
    })
}

fn text<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("no text in {key:?}"))
}

fn list<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a Vec<Value>> {
    value.get(key).and_then(Value::as_array).with_context(|| format!("no list in {key:?}"))
}
