//! The plugins folder: each component `NAME.wasm` in it is the plugin NAME. Its settings and grants come from the file; a
//! plugin without a section in the file has none.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use masque_grants::{Name, is_name};

use crate::diagnostic::{Diagnostic, Location};
use crate::report::Report;
use crate::wording::sentence;

/// The components by their names. Whether they can be read and used is checked when they are loaded.
///
/// Hidden files and files with another extension are skipped without a warning: copying tools use such names for incomplete
/// files, and mounted volumes have files of their own.
pub(crate) fn components(folder: &Path, report: &Report<'_>) -> BTreeMap<Name, PathBuf> {
    report.record_folder(folder);
    let unreadable = |error: std::io::Error| {
        let what = format!("the plugins folder can't be read: {error}");
        report.error(
            Location::whole_file(folder),
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
    report.warn_of_writers(folder, folder);
    let mut components = BTreeMap::new();
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                unreadable(error);
                continue;
            }
        };
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden || path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match stem.parse::<Name>() {
            Ok(name) => {
                report.record_file(&path);
                report.warn_of_writers(&path, &path);
                components.insert(name, path);
            }
            Err(error) => report.add(Diagnostic::warning(
                Location::whole_file(&path),
                format!("it is ignored, since its name can't be a plugin's: {error}"),
                sentence(&format!("rename it, for example to `{}.wasm`", name_like(&stem))),
            )),
        }
    }
    components
}

/// A plugin's name that resembles `stem`, such as `my-persona` for `my_persona`, which is how cargo names the component.
fn name_like(stem: &str) -> String {
    let name = stem.replace('_', "-").to_ascii_lowercase();
    if is_name(&name) { name } else { "mine".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_built_component_is_made_a_plugins_name() {
        for (stem, expected) in [("my_persona", "my-persona"), ("Ida", "ida"), ("käse", "mine"), ("", "mine")]
        {
            assert_eq!(name_like(stem), expected, "{stem}");
        }
    }
}
