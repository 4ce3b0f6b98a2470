//! Tests on small crates and workspaces in temporary folders.

mod edges;
mod workspaces;

use std::fs;
use std::path::Path;

/// Writes files, each a path relative to `folder` and its text.
fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}
