//! Compiled components that the hosts of all tests share.
//!
//! A host compiles its components at its first start, which takes seconds of the machine, and hundreds of tests start a host
//! in a folder of its own. A host therefore gets what an earlier one has compiled, as if it had been started before. A test
//! about compiling asks for a host [without](crate::Setup::compiling) that.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::setup::binary;

/// The most files that are shared. Where there are more, those of older builds are among them, and all are removed.
const MAX_FILES: usize = 64;
/// The longest file that is shared, in bytes. Damaged components of some tests are larger.
const MAX_BYTES: u64 = 8 << 20;

/// The shared folder, beside the binary so that tests of another checkout have their own.
static SHARED: LazyLock<Mutex<PathBuf>> = LazyLock::new(|| {
    let folder = binary().with_file_name("compiled-for-tests");
    if compiled_in(&folder).is_ok_and(|files| files.len() > MAX_FILES) {
        // Without the key, the next host compiles and gives its files and its key.
        fs::remove_dir_all(&folder).unwrap();
    }
    Mutex::new(folder)
});

/// Gives a host that has compiled nothing yet the shared files.
pub(crate) fn lend(data: &Path) {
    let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let own = data.join("compiled");
    if own.exists() || !shared.join("key").exists() {
        return;
    }
    make_folder(&own);
    // Copied, since tests change its mode.
    fs::copy(shared.join("key"), own.join("key")).unwrap();
    link_missing(&shared, &own).unwrap();
}

/// Shares what a host that is ready has compiled, unless it has another key than the shared files.
pub(crate) fn share(data: &Path) {
    let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let own = data.join("compiled");
    let Ok(own_key) = fs::read(own.join("key")) else { return };
    match fs::read(shared.join("key")) {
        Ok(key) if key != own_key => return,
        Ok(_) => {}
        Err(_none) => {
            make_folder(&shared);
            fs::copy(own.join("key"), shared.join("key")).unwrap();
        }
    }
    link_missing(&own, &shared).unwrap();
}

fn make_folder(folder: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).unwrap();
}

/// Links the compiled components of one folder into another one. Hosts replace such files and never write into them.
fn link_missing(from: &Path, to: &Path) -> io::Result<()> {
    for file in compiled_in(from)? {
        let Some(name) = file.file_name() else { continue };
        let (size, target) = (file.metadata()?.len(), to.join(name));
        if size > MAX_BYTES {
            continue;
        }
        match fs::hard_link(&file, &target) {
            // The temporary folder is on another file system.
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                let unfinished = target.with_extension(format!("{}.part", std::process::id()));
                fs::copy(&file, &unfinished)?;
                fs::rename(&unfinished, &target)?;
            }
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn compiled_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let is_compiled = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "aot");
    files.filter(|path| path.as_ref().map_or(true, is_compiled)).collect()
}
