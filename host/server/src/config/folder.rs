//! The plugins folder: each component in it, `NAME.wasm`, is the plugin NAME. What it runs under is said in the file, and
//! where it is not, there are no settings and no grants.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::problem::{Place, Problem};
use super::report::{Report, sentence};
use super::types::Name;

/// The components by their names. Whether they can be read and used shows where they are loaded.
///
/// Hidden files and those that end otherwise are no one's mistake: what is being copied is called so, and a mounted
/// volume keeps its own things there.
pub(super) fn components(folder: &Path, report: &Report<'_>) -> BTreeMap<Name, PathBuf> {
    report.read_folder(folder);
    let unreadable = |error: std::io::Error| {
        let what = format!("the plugins folder can't be read: {error}");
        report.error(
            Place::whole_file(folder),
            what,
            "Make it a folder that the host's user may read, or remove it.",
        );
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                unreadable(error);
            }
            return BTreeMap::new();
        }
    };
    let mut components = BTreeMap::new();
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                unreadable(error);
                continue;
            }
        };
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        match path.file_stem().unwrap_or_default().to_string_lossy().parse::<Name>() {
            Ok(name) => {
                report.read_file(&path);
                components.insert(name, path);
            }
            Err(error) => report.add(Problem::warning(
                Place::whole_file(&path),
                format!("it is ignored, since its name can't be a plugin's: {error}"),
                sentence("rename it, for example to `mine.wasm`"),
            )),
        }
    }
    components
}
