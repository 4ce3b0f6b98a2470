//! The operators' socket in the data folder: the way in for the machine's owner, whatever else is configured.
//!
//! To be bound only by whoever holds the data folder: a socket that is there then was left by a host that is no more.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket};

pub(super) const NAME: &str = "admin.sock";

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;
/// What an address of a Unix socket holds, without the zero at its end (`unix(7)`).
const LONGEST: usize = 107;

/// A bound socket, whose file is removed with it.
pub(super) struct Bound {
    pub(super) path: PathBuf,
}

/// Binds the socket in `folder`, for the host's own user alone.
pub(super) fn bind(folder: &Path) -> io::Result<(UnixListener, Bound)> {
    let path = folder.join(NAME);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(&path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else has its name")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixSocket::new_stream()?;
    // Before it has a name: the file is made with the mode that the socket has (`unix_bind` in Linux).
    File::from(socket.as_fd().try_clone_to_owned()?).set_permissions(Permissions::from_mode(0o600))?;
    if path.as_os_str().len() <= LONGEST {
        socket.bind(&path)?;
    } else {
        // The same file by a shorter name.
        let folder = File::open(folder)?;
        socket.bind(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()))?;
    }
    let bound = Bound { path };
    Ok((socket.listen(BACKLOG)?, bound))
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the operators' socket can't be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn it_is_for_its_user_alone_and_goes_with_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let (listener, bound) = bind(folder.path()).unwrap();
        let path = folder.path().join(NAME);
        assert_eq!(mode(&path), 0o600);
        let _client = UnixStream::connect(&path).await.unwrap();
        listener.accept().await.unwrap();
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn one_that_was_left_behind_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(bind(folder.path()).unwrap());
        fs::write(&path, "precious").unwrap();
        assert_eq!(bind(folder.path()).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_folder_with_a_long_name_has_one_too() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(120)).join("y".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        let (listener, bound) = bind(&deep).unwrap();
        assert_eq!(mode(&deep.join(NAME)), 0o600);
        let opened = File::open(&deep).unwrap();
        let short = format!("/proc/self/fd/{}/{NAME}", opened.as_raw_fd());
        let _client = UnixStream::connect(short).await.unwrap();
        listener.accept().await.unwrap();
        drop(bound);
        assert!(!deep.join(NAME).exists());
    }
}
