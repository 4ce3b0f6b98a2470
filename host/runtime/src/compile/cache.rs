//! Compiled components on disk.
//!
//! The threat: whoever can write such a file owns the host, since loading it runs it. The policy: the folder and its files
//! are the host user's alone, and every file carries a MAC (HMAC-SHA256, RFC 2104) by a key that was made with the folder,
//! over the component's digest, the engine's configuration and the code. Anything that does not match is compiled again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;

pub(crate) struct Cache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    /// Digest of everything in the engine that decides which code it can run.
    engine: String,
}

impl Cache {
    /// Opens the folder, and makes it and its key where they are missing.
    pub(crate) fn open(folder: &Path, engine: &Engine) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut hasher = Sha256Hasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = format!("{:x}", hasher.0.finalize());
        Ok(Self { folder: folder.to_owned(), key: key(folder)?, engine })
    }

    /// The code that was kept for a component, or `None` where there is none that can be trusted.
    pub(crate) fn get(&self, digest: &str) -> Option<Vec<u8>> {
        let path = self.path(digest);
        let mut file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a kept component can't be read");
                return None;
            }
        };
        let code = file.split_off(MAC_BYTES.min(file.len()));
        if self.mac(digest, &code)?.verify_slice(&file).is_err() {
            tracing::warn!(path = %path.display(), "a kept component was altered or is another host's; compiling it again");
            return None;
        }
        Some(code)
    }

    /// Keeps the code of a component: whole or not at all.
    pub(crate) fn put(&self, digest: &str, code: &[u8]) -> io::Result<()> {
        let mac = self.mac(digest, code).ok_or_else(|| io::Error::other("the key has a wrong length"))?;
        let path = self.path(digest);
        write_whole(&path, &[&mac.finalize().into_bytes(), code])
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}-{}.aot", self.engine.get(..16).unwrap_or_default()))
    }

    fn mac(&self, digest: &str, code: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        // Both are of fixed length, so no two triples run together.
        mac.update(digest.as_bytes());
        mac.update(self.engine.as_bytes());
        mac.update(code);
        Some(mac)
    }
}

fn key(folder: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = folder.join("key");
    match fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            io::Error::other(format!("{} is not a key of {KEY_BYTES} bytes; delete it", path.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; KEY_BYTES];
            rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
            write_whole(&path, &[&key])?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

/// Writes beside and renames, so that a reader sees the old file or the new one, and a crash leaves no half.
fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
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
        // The first error is the one to report; the half file is no use to anyone.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// A hasher that is the same in every process, unlike the standard library's.
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn cache(folder: &Path) -> Cache {
        Cache::open(folder, &Engine::default()).unwrap()
    }

    #[test]
    fn what_was_kept_is_found_again_by_another_host_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        cache(folder.path()).put("abc", b"code").unwrap();
        assert_eq!(cache(folder.path()).get("abc").as_deref(), Some(&b"code"[..]));
        assert_eq!(cache(folder.path()).get("abd"), None);
    }

    #[test]
    fn an_altered_truncated_or_foreign_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        cache.put("abc", b"code").unwrap();
        let path = cache.path("abc");
        let good = fs::read(&path).unwrap();
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert_eq!(cache.get("abc"), None, "byte {index}");
            fs::write(&path, &good[..index]).unwrap();
            assert_eq!(cache.get("abc"), None, "cut at {index}");
        }
        // Code that belongs to another component, under this one's name.
        fs::write(&path, &good).unwrap();
        fs::rename(&path, cache.path("abd")).unwrap();
        assert_eq!(cache.get("abd"), None);
    }

    #[test]
    fn folder_and_files_are_the_users_alone() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("cache");
        let cache = cache(&inner);
        cache.put("abc", b"code").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&inner.join("key")), mode(&cache.path("abc"))), (0o700, 0o600, 0o600));
    }
}
