//! Hot reload: plugins and configuration change while the host runs. A correct change is in effect a moment later, and a
//! change with a mistake has no effect.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use masque_tests::{Host, RecordedRequest, Setup, eventually};
use serde_json::Value;

mod applied;
mod refused;
mod running;
mod under_load;

/// A companion whose persona `speaker` is a component in the plugins folder.
pub(crate) const SPEAKER: &str =
    "[companions.elara]\npersona = \"speaker\"\nmemory = \"window\"\nmodels = [\"mock\"]\n";

/// A component that only tests need, as `cargo xtask test` has built it.
fn fixture(name: &str) -> Vec<u8> {
    let path = masque_tests::fixture(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask test`", path.display()))
}

/// A build of a persona that has its own number in its version, and writes it into the prompt.
pub(crate) fn build(number: u32) -> Vec<u8> {
    let mut component = fixture("names-its-build");
    let (own, other) = (build_name(0), build_name(number));
    let positions: Vec<_> = (0..component.len() - own.len())
        .filter(|&start| component[start..start + own.len()] == *own.as_bytes())
        .collect();
    assert!(!positions.is_empty(), "the component does not hold its own name");
    for start in positions {
        component[start..start + own.len()].copy_from_slice(other.as_bytes());
    }
    component
}

/// What that build writes into the prompt.
fn build_name(number: u32) -> String {
    format!("build-{number:08}")
}

/// The system messages of a request to the model.
fn system_prompt(request: &RecordedRequest) -> String {
    let system = request.messages().into_iter().filter(|(role, _)| role == "system");
    system.map(|(_, text)| text).collect::<Vec<_>>().join("\n")
}

/// Puts a component into the plugins folder before the host starts.
pub(crate) fn with_plugin(setup: Setup, name: &str, component: &[u8]) -> Setup {
    let folder = setup.data().join("plugins");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.wasm")), component).unwrap();
    setup
}

pub(crate) fn plugin_file(host: &Host, name: &str) -> PathBuf {
    host.data().join("plugins").join(format!("{name}.wasm"))
}

/// Replaces a file atomically, as package managers do.
pub(crate) fn replace_by_rename(path: &Path, content: &[u8]) {
    let unfinished = path.with_extension("part");
    fs::write(&unfinished, content).unwrap();
    fs::rename(&unfinished, path).unwrap();
}

/// A folder like a ConfigMap mounted by Kubernetes: every file is a link through `..data`, which is swapped atomically.
struct Mount {
    folder: PathBuf,
    version: u32,
}

impl Mount {
    fn new(folder: &Path, files: &[(&str, &[u8])]) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mut mount = Self { folder: folder.to_owned(), version: 0 };
        mount.swap(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
        }
        mount
    }

    /// Replaces the contents of all files at once.
    fn swap(&mut self, files: &[(&str, &[u8])]) {
        let before = format!("..version-{}", self.version);
        self.version += 1;
        let now = format!("..version-{}", self.version);
        fs::create_dir(self.folder.join(&now)).unwrap();
        for (name, content) in files {
            fs::write(self.folder.join(&now).join(name), content).unwrap();
        }
        symlink(&now, self.folder.join("..data_tmp")).unwrap();
        fs::rename(self.folder.join("..data_tmp"), self.folder.join("..data")).unwrap();
        if self.version > 1 {
            fs::remove_dir_all(self.folder.join(before)).unwrap();
        }
    }
}

pub(crate) async fn status(host: &Host) -> Value {
    host.client().get("/status").send().await.expect(200)
}

/// Waits until this generation is in use, and returns the status.
async fn generation(host: &Host, number: u64) -> Value {
    eventually(&format!("generation {number}"), || async {
        let status = status(host).await;
        let now = status["generation"].as_u64().unwrap();
        assert!(now <= number, "one change makes one generation: {status}");
        (now == number).then_some(status)
    })
    .await
}

/// Waits until a change is refused with a problem that contains `words`, and returns all its problems. They are in the log
/// too.
async fn refused(host: &Host, words: &str) -> Vec<String> {
    let problems = eventually(&format!("a refusal with {words:?}"), || async {
        let reload = status(host).await["reload"].clone();
        let problems = reload["problems"].as_array()?.iter().map(|line| line.as_str().unwrap().to_owned());
        let problems: Vec<_> = problems.collect();
        let said = reload["outcome"] == "refused" && problems.iter().any(|problem| problem.contains(words));
        said.then_some(problems)
    })
    .await;
    for problem in &problems {
        host.logged(problem).await;
    }
    problems
}

/// The digest of a loaded plugin.
pub(crate) fn digest(status: &Value, plugin: &str) -> String {
    let plugins = status["plugins"].as_array().unwrap();
    let found = plugins.iter().find(|found| found["name"] == plugin);
    found.unwrap_or_else(|| panic!("no {plugin} in {status}"))["digest"].as_str().unwrap().to_owned()
}

/// The digest of the plugin of this kind that made the reply.
pub(crate) fn digest_in_reply(reply: &Value, kind: &str) -> String {
    let plugins = reply["timing"]["plugins"].as_array().unwrap();
    let found = plugins.iter().find(|found| found["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {reply}"))["digest"].as_str().unwrap().to_owned()
}
