//! Compiled components on disk.
//!
//! The threat: loading such a file runs it, so a user who can write one controls the host. The policy: only the host's user may
//! read or write the folder and its files, and every file carries a MAC (HMAC-SHA256, RFC 2104) over the component's digest,
//! the engine's configuration and the code. The key is created with the folder. A component whose file does not match is
//! compiled again. A key or a file that another user may have written is not used either, whatever its MAC says, and a folder
//! in which others may write is not used at all. Rights of others on the own folder are taken away first.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, Mac};
use masque_files::Untrusted;
use sha2::{Digest, Sha256};
use wasmtime::Engine;

/// The most that the folder holds: about six Python components with their predecessors, or thousands written in Rust.
const MAX_BYTES: u64 = 2 << 30;
/// An unfinished file of this age was left by a host that no longer runs.
const MAX_UNFINISHED_AGE: Duration = Duration::from_secs(60);
const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;

/// The cache of compiled components.
pub(crate) struct CompileCache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    /// The digest of the engine's version and configuration, which decide which code it can run.
    engine: String,
    max_bytes: u64,
}

/// Why no code of a component comes from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotCached {
    /// There is none.
    Absent,
    /// It can't be read, or not be trusted.
    Invalid,
}

impl CompileCache {
    /// Opens the folder. Creates it and its key where they are missing.
    pub(crate) fn open(folder: &Path, engine: &Engine) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        claim(folder)?;
        let mut hasher = Sha256Hasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = format!("{:x}", hasher.0.finalize());
        remove_unfinished(folder)?;
        Ok(Self { folder: folder.to_owned(), key: load_key(folder)?, engine, max_bytes: MAX_BYTES })
    }

    /// The code of a component.
    ///
    /// # Errors
    /// There is none that can be trusted.
    pub(crate) fn get(&self, digest: &str) -> Result<Vec<u8>, NotCached> {
        let path = self.path(digest);
        let read = open_ours(&path).and_then(|mut file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok((file, bytes))
        });
        let (opened, mut file) = match read {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(NotCached::Absent),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a kept component is not used; compiling it again");
                return Err(NotCached::Invalid);
            }
        };
        let code = file.split_off(MAC_BYTES.min(file.len()));
        if self.mac(digest, &code).is_none_or(|mac| mac.verify_slice(&file).is_err()) {
            tracing::warn!(path = %path.display(), "a kept component was altered or is another host's; compiling it again");
            return Err(NotCached::Invalid);
        }
        // The oldest files are removed first. If this one can't be marked as used, it is merely compiled again one day.
        if let Err(error) = opened.set_modified(SystemTime::now()) {
            tracing::debug!(%error, path = %path.display(), "a kept component can't be marked as used");
        }
        Ok(code)
    }

    /// Stores the code of a component, whole or not at all.
    pub(crate) fn put(&self, digest: &str, code: &[u8]) -> io::Result<()> {
        let mac = self.mac(digest, code).ok_or_else(|| io::Error::other("the key has a wrong length"))?;
        let path = self.path(digest);
        write_atomically(&path, &[&mac.finalize().into_bytes(), code])?;
        self.remove_oldest(&path)
    }

    /// Removes the least recently used files until the rest fits, but never `newest`.
    fn remove_oldest(&self, newest: &Path) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "aot") {
                let metadata = path.metadata()?;
                kept.push((metadata.modified()?, metadata.len(), path));
            }
        }
        kept.sort();
        let mut bytes: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in kept.iter().filter(|(.., path)| path != newest) {
            if bytes <= self.max_bytes {
                break;
            }
            fs::remove_file(path)?;
            bytes -= size;
        }
        Ok(())
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}-{}.aot", self.engine.get(..16).unwrap_or_default()))
    }

    fn mac(&self, digest: &str, code: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        // The first two have a fixed length, so no other three values give the same bytes.
        mac.update(digest.as_bytes());
        mac.update(self.engine.as_bytes());
        mac.update(code);
        Some(mac)
    }
}

/// Removes the files of hosts that were killed while they wrote.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "part") {
            continue;
        }
        let age = path.metadata()?.modified()?.elapsed().unwrap_or_default();
        if age > MAX_UNFINISHED_AGE {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Takes away the rights of others on the folder.
///
/// # Errors
/// Another user may replace the files in it.
fn claim(folder: &Path) -> io::Result<()> {
    let metadata = folder.metadata()?;
    if masque_files::check_only_ours(&metadata).is_err() {
        // Where this is not possible, the check below says why.
        let _ = fs::set_permissions(folder, Permissions::from_mode(metadata.mode() & 0o700));
    }
    masque_files::check_only_ours(&folder.metadata()?).map_err(untrusted)
}

/// Opens a file that only the own user may change.
///
/// # Errors
/// `PermissionDenied` if another user may have written it, or why it can't be opened.
fn open_ours(path: &Path) -> io::Result<File> {
    let file = masque_files::open_regular(path)?;
    masque_files::check_only_ours(&file.metadata()?).map_err(untrusted)?;
    Ok(file)
}

fn untrusted(reason: Untrusted) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason.to_string())
}

/// Reads the folder's key. Creates one if there is none, or none that can be trusted: then every component is compiled again.
fn load_key(folder: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = folder.join("key");
    let mut bytes = Vec::new();
    let read = open_ours(&path).and_then(|file| file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes));
    let reason = match (read, <[u8; KEY_BYTES]>::try_from(bytes)) {
        (Ok(_), Ok(key)) => return Ok(key),
        (Ok(_), Err(_)) => Some(format!("it is not {KEY_BYTES} bytes long")),
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => None,
        (Err(error), _) => Some(error.to_string()),
    };
    if let Some(reason) = reason {
        tracing::warn!(
            path = %path.display(),
            "the key of the compiled components is not used, and they are compiled again: {reason}"
        );
    }
    let mut key = [0; KEY_BYTES];
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
    write_atomically(&path, &[&key])?;
    Ok(key)
}

/// Writes to another file and renames it, so that a reader sees the old file or the new one, also after a crash.
fn write_atomically(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let unfinished = path.with_extension(format!("{}.part", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    })();
    if written.is_err() {
        // The first error is reported; if the unfinished file can't be removed either, the next start removes it.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// A hasher that gives the same result in every process, unlike the standard library's.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn cache(folder: &Path) -> CompileCache {
        CompileCache::open(folder, &Engine::default()).unwrap()
    }

    #[test]
    fn stored_code_is_found_by_another_host_of_the_same_folder() {
        let folder = tempfile::tempdir().unwrap();
        cache(folder.path()).put("abc", b"code").unwrap();
        assert_eq!(cache(folder.path()).get("abc").as_deref(), Ok(&b"code"[..]));
        assert_eq!(cache(folder.path()).get("abd"), Err(NotCached::Absent));
    }

    #[test]
    fn an_altered_truncated_or_misplaced_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        cache.put("abc", b"code").unwrap();
        let path = cache.path("abc");
        let good = fs::read(&path).unwrap();
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert_eq!(cache.get("abc"), Err(NotCached::Invalid), "byte {index}");
            fs::write(&path, &good[..index]).unwrap();
            assert_eq!(cache.get("abc"), Err(NotCached::Invalid), "cut at {index}");
        }
        // Code that belongs to another component, under this one's name.
        fs::write(&path, &good).unwrap();
        fs::rename(&path, cache.path("abd")).unwrap();
        assert_eq!(cache.get("abd"), Err(NotCached::Invalid));
    }

    #[test]
    fn what_another_user_may_have_written_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let stored = cache(folder.path());
        stored.put("abc", b"code").unwrap();
        let is_used = || cache(folder.path()).get("abc").is_ok();
        let file = stored.path("abc");
        assert!(is_used());
        for mode in [0o602, 0o620] {
            set_mode(&file, mode);
            assert!(!is_used(), "{mode:o}");
        }
        set_mode(&file, 0o600);
        assert!(is_used());
        // A key that others could write may be theirs, and with it the MAC of the file.
        let key = folder.path().join("key");
        let before = fs::read(&key).unwrap();
        set_mode(&key, 0o660);
        assert!(!is_used());
        assert_ne!(fs::read(&key).unwrap(), before);
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn rights_of_others_on_the_folder_are_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o777);
        cache(folder.path()).put("abc", b"code").unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_named_pipe_in_the_folder_is_never_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let stored = cache(folder.path());
        for path in [folder.path().join("key"), stored.path("abc")] {
            let _ = fs::remove_file(&path);
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }
        let stored = cache(folder.path());
        assert_eq!(stored.get("abc"), Err(NotCached::Invalid));
        stored.put("abc", b"code").unwrap();
        assert_eq!(cache(folder.path()).get("abc").as_deref(), Ok(&b"code"[..]));
    }

    #[test]
    fn a_full_folder_loses_the_least_recently_used_code() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = cache(folder.path());
        cache.max_bytes = 3 * 100;
        let code = [7; 100 - MAC_BYTES];
        for (digest, age) in [("a", 300), ("b", 200), ("c", 100)] {
            cache.put(digest, &code).unwrap();
            let file = File::open(cache.path(digest)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        assert!(cache.get("a").is_ok(), "used again, so it is not the oldest any more");
        cache.put("d", &code).unwrap();
        let kept = ["a", "b", "c", "d"].map(|digest| cache.path(digest).exists());
        assert_eq!(kept, [true, false, true, true]);
        // Larger than the limit: kept alone, since it is in use.
        cache.put("e", &[7; 1000]).unwrap();
        assert!(cache.get("e").is_ok() && cache.get("d").is_err());
    }

    #[test]
    fn an_unfinished_file_is_removed_once_no_host_can_be_writing_it() {
        let folder = tempfile::tempdir().unwrap();
        let [stale, fresh] = ["abc.1.part", "abd.2.part"].map(|name| folder.path().join(name));
        let file = File::create(&stale).unwrap();
        file.set_modified(SystemTime::now() - 2 * MAX_UNFINISHED_AGE).unwrap();
        File::create(&fresh).unwrap();
        cache(folder.path());
        assert!(!stale.exists() && fresh.exists());
    }

    #[test]
    fn only_the_user_may_read_the_folder_and_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("cache");
        let cache = cache(&inner);
        cache.put("abc", b"code").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&inner.join("key")), mode(&cache.path("abc"))), (0o700, 0o600, 0o600));
    }
}
