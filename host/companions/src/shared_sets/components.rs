//! The components that this host keeps by their digest, in a folder of its own, and fetching those that it lacks.
//!
//! What is read is compared with its digest each time: a copy that was cut short, or a file that somebody changed, counts as
//! missing, and is fetched again.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use masque_config::content_digest;
use masque_files::read_bounded;
use masque_grants::MAX_COMPONENT_BYTES;
use masque_store::{ActiveSets, COMPONENT_CHUNK_BYTES, ComponentChunk, StoreError};

/// The folder of components.
#[derive(Clone, Debug)]
pub(crate) struct LocalComponents {
    folder: PathBuf,
}

/// Why a component can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The database holds other bytes than the digest says, or none.
    #[error("the database does not hold the component {0}")]
    Missing(String),
    /// It can't be kept.
    #[error("the component {0} can't be kept in {folder}: {2}", folder = .1.display())]
    Unwritable(String, PathBuf, io::Error),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LocalComponents {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where the component of this digest is kept.
    pub(crate) fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(file_name(digest))
    }

    /// Keeps a component, unless it is kept.
    pub(crate) async fn add(&self, digest: &str, bytes: Vec<u8>) -> Result<(), FetchError> {
        if self.read(digest).await.is_some() {
            return Ok(());
        }
        let (folder, path) = (self.folder.clone(), self.path(digest));
        let written = tokio::task::spawn_blocking(move || write(&folder, &path, &bytes)).await;
        let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| FetchError::Unwritable(digest.to_owned(), self.folder.clone(), error))
    }

    /// The bytes of a component, if they are kept whole.
    pub(crate) async fn read(&self, digest: &str) -> Option<Vec<u8>> {
        let (path, digest) = (self.path(digest), digest.to_owned());
        let read = move || {
            let bytes = read_bounded(&path, MAX_COMPONENT_BYTES as u64).ok()?;
            (content_digest(&bytes) == digest).then_some(bytes)
        };
        // A panic is reported by the panic hook; the component counts as missing.
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    /// Fetches a component from the database, unless it is kept.
    pub(crate) async fn fetch(&self, store: &dyn ActiveSets, digest: &str) -> Result<(), FetchError> {
        if self.read(digest).await.is_some() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let mut index = 0;
        while let Some(chunk) = store.component_chunk(digest, index).await? {
            bytes.extend(chunk);
            index += 1;
            if bytes.len() > MAX_COMPONENT_BYTES {
                break;
            }
        }
        if content_digest(&bytes) != digest {
            return Err(FetchError::Missing(digest.to_owned()));
        }
        tracing::info!(digest, bytes = bytes.len(), "a component was fetched from the database");
        self.add(digest, bytes).await
    }

    /// Adds a component that this host keeps to the database.
    pub(crate) async fn upload(&self, store: &dyn ActiveSets, digest: &str) -> Result<(), FetchError> {
        let bytes = self.read(digest).await.ok_or_else(|| FetchError::Missing(digest.to_owned()))?;
        let component_bytes = bytes.len() as u64;
        for (index, chunk) in (0..).zip(bytes.chunks(COMPONENT_CHUNK_BYTES)) {
            let (digest, bytes) = (digest.to_owned(), chunk.to_vec());
            store.add_component_chunk(ComponentChunk { digest, component_bytes, index, bytes }).await?;
        }
        Ok(())
    }

    /// Removes every component but these.
    pub(crate) async fn keep_only(&self, digests: BTreeSet<String>) {
        let folder = self.folder.clone();
        let removed = tokio::task::spawn_blocking(move || remove_others(&folder, &digests)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "components that are not needed any more can't be removed");
        }
    }
}

/// The name of a component's file. A digest from the database is no path: only its letters and numbers count.
fn file_name(digest: &str) -> String {
    let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
    let name: String = digest.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    format!("{name}.wasm")
}

/// Writes a file as a whole or not at all, readable for this user alone.
fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let unfinished = path.with_extension("part");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}

fn remove_others(folder: &Path, digests: &BTreeSet<String>) -> io::Result<()> {
    let kept: BTreeSet<String> = digests.iter().map(|digest| file_name(digest)).collect();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !kept.contains(&*entry.file_name().to_string_lossy()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_component_with_other_bytes_than_its_digest_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let components = LocalComponents::new(folder.path().join("components"));
        let (one, two) = (content_digest(b"one"), content_digest(b"two"));
        components.add(&one, b"one".to_vec()).await.unwrap();
        components.add(&two, b"two".to_vec()).await.unwrap();
        assert_eq!(components.read(&one).await.unwrap(), b"one");
        std::fs::write(components.path(&one), "other").unwrap();
        assert_eq!(components.read(&one).await, None);
        components.add(&one, b"one".to_vec()).await.unwrap();
        assert_eq!(components.read(&one).await.unwrap(), b"one");
        components.keep_only([two.clone()].into()).await;
        assert_eq!((components.read(&one).await, components.read(&two).await), (None, Some(b"two".to_vec())));
    }

    #[test]
    fn a_digest_from_the_database_never_leads_out_of_the_folder() {
        let components = LocalComponents::new(PathBuf::from("/kept"));
        for (digest, name) in [("sha256:ab12", "ab12"), ("sha256:../../etc/x", "etcx"), ("/etc/x", "etcx")] {
            assert_eq!(components.path(digest), PathBuf::from(format!("/kept/{name}.wasm")));
        }
    }
}
