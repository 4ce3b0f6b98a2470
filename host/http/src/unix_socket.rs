//! The Unix socket in the data folder, through which the machine's owner can always reach the host.
//!
//! Access is decided by file permissions alone: mode 0600, set before the file has a name. Only the process that holds
//! the lock of the data folder may bind the socket, because [`bind`] replaces a socket file that it finds: an earlier
//! host that was killed left it behind. While the host runs, something else may be put in the file's place; the host then
//! leaves that alone when it stops.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixSocket;

use crate::listener::Listener;

/// The name of the socket file in the data folder.
pub const NAME: &str = "admin.sock";

/// The number of connections that may wait to be accepted.
const BACKLOG: u32 = 64;
/// The longest path that fits into the address of a Unix socket, without the zero at its end (`unix(7)`).
const MAX_PATH_BYTES: usize = 107;

/// The file of a bound socket. Dropping it removes the file, unless another file has its name by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: Inode,
}

/// What tells a file from all others that exist at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), number: metadata.ino() }
    }
}

impl SocketFile {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Binds the socket in `folder`, with access for the host's own user only. Replaces a socket file that is there.
///
/// # Errors
/// `AlreadyExists` if something other than a socket has the name, or the error of the system call that failed.
pub fn bind(folder: &Path) -> io::Result<(Listener, SocketFile)> {
    let path = folder.join(NAME);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(&path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else has its name")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixSocket::new_stream()?;
    // Set the mode before the file has a name: Linux creates the file with the mode of the socket (`unix_bind`).
    File::from(socket.as_fd().try_clone_to_owned()?).set_permissions(Permissions::from_mode(0o600))?;
    if path.as_os_str().len() <= MAX_PATH_BYTES {
        socket.bind(&path)?;
    } else {
        // `/proc/self/fd` gives the folder a short path.
        let folder = File::open(folder)?;
        socket.bind(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()))?;
    }
    let inode = Inode::of(&fs::symlink_metadata(&path)?);
    let file = SocketFile { path, inode };
    Ok((Listener::Unix(socket.listen(BACKLOG)?), file))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let removed = fs::symlink_metadata(&self.path).and_then(|found| {
            // The listener may be closed already, and then a new file can get the number of the inode. It is hardly a socket.
            if found.file_type().is_socket() && Inode::of(&found) == self.inode {
                return fs::remove_file(&self.path);
            }
            tracing::warn!("{} is not this host's socket any more and is left alone", self.path.display());
            Ok(())
        });
        if let Err(error) = removed {
            tracing::debug!(%error, "the operators' socket can't be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;
    use crate::listener::AcceptedSocket;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_is_for_its_user_alone_and_is_removed_with_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let (listener, file) = bind(folder.path()).unwrap();
        let path = folder.path().join(NAME);
        assert_eq!(mode(&path), 0o600);
        let _client = UnixStream::connect(&path).await.unwrap();
        let AcceptedSocket::Unix(_) = listener.accept().await.unwrap() else { panic!("no Unix socket") };
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(bind(folder.path()).unwrap());
        fs::write(&path, "precious").unwrap();
        assert_eq!(bind(folder.path()).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn what_was_put_in_the_place_of_the_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let (_listener, file) = bind(folder.path()).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

        fs::remove_file(&path).unwrap();
        let (_listener, file) = bind(folder.path()).unwrap();
        let other = folder.path().join("other");
        let _other = std::os::unix::net::UnixListener::bind(&other).unwrap();
        fs::rename(&other, &path).unwrap();
        drop(file);
        assert!(path.exists(), "another socket is another file");
    }

    #[tokio::test]
    async fn a_folder_with_a_long_path_can_have_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(120)).join("y".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        let (listener, file) = bind(&deep).unwrap();
        assert_eq!(mode(&deep.join(NAME)), 0o600);
        let opened = File::open(&deep).unwrap();
        let short = format!("/proc/self/fd/{}/{NAME}", opened.as_raw_fd());
        let _client = UnixStream::connect(short).await.unwrap();
        let AcceptedSocket::Unix(_) = listener.accept().await.unwrap() else { panic!("no Unix socket") };
        drop(file);
        assert!(!deep.join(NAME).exists());
    }
}
