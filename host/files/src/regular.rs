//! Opens and reads regular files only.
//!
//! Opening a named pipe waits for a writer, reading a terminal waits for a person, and opening some devices has effects of
//! its own. None of them is opened, so no thread of the host waits for another process.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::trust::refuse_other_writers;

/// Why a file can't be read.
#[derive(Debug)]
pub enum ReadError {
    /// Nothing has that name.
    Missing,
    /// The file has more bytes than the limit.
    TooLarge,
    /// It is something other than a regular file, or the system refuses it.
    Other(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Other(error) }
    }
}

/// As the system would report it; too large is [`io::ErrorKind::FileTooLarge`].
impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Missing => Self::from(io::ErrorKind::NotFound),
            ReadError::TooLarge => Self::from(io::ErrorKind::FileTooLarge),
            ReadError::Other(error) => error,
        }
    }
}

/// The bytes of a regular file that has at most `limit` of them.
///
/// # Errors
/// The file is missing, too large, of another type (a named pipe, for example), or can't be read. Returns at once in all
/// these cases.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    read_to_limit(open_regular(path)?, limit)
}

/// Like [`read_bounded`], for a file whose content is believed: a secret, or the keys that prove who a user is.
///
/// # Errors
/// [`other_writers`](crate::other_writers) may write the file, so its content may be another user's; or those of
/// [`read_bounded`].
pub fn read_trusted(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let file = open_regular(path)?;
    refuse_other_writers(path, &file.metadata()?)?;
    read_to_limit(file, limit)
}

fn read_to_limit(file: File, limit: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(ReadError::TooLarge) } else { Ok(bytes) }
}

/// Opens a regular file for reading.
///
/// # Errors
/// [`check_is_regular`] refuses it, or it can't be opened.
pub fn open_regular(path: &Path) -> io::Result<File> {
    check_is_regular(&path.metadata()?)?;
    // Another file may have taken the name since: opening must not wait then either, and its type is checked again.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    check_is_regular(&file.metadata()?)?;
    Ok(file)
}

/// Refuses everything that is not a regular file, by its type. `/dev/null` counts as an empty file.
///
/// # Errors
/// The type of the file, in words for an operator.
pub fn check_is_regular(metadata: &Metadata) -> io::Result<()> {
    let file_type = metadata.file_type();
    let other = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a file")));
    if file_type.is_file() || is_null_device(metadata) {
        Ok(())
    } else if file_type.is_dir() {
        Err(Errno::ISDIR.into())
    } else if file_type.is_fifo() {
        other("a named pipe")
    } else if file_type.is_socket() {
        other("a socket")
    } else {
        other("a device")
    }
}

fn is_null_device(metadata: &Metadata) -> bool {
    let device = metadata.rdev();
    // Linux, `Documentation/admin-guide/devices.txt`.
    metadata.file_type().is_char_device() && (rustix::fs::major(device), rustix::fs::minor(device)) == (1, 3)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn refusal(path: &Path) -> String {
        match read_bounded(path, 10) {
            Err(ReadError::Other(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_named_pipe_is_refused_without_waiting_for_a_writer() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(refusal(&pipe), "it is a named pipe, not a file");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        assert_eq!(refusal(&link), "it is a named pipe, not a file");
    }

    #[test]
    fn folders_sockets_and_devices_are_refused_by_their_type() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(refusal(&socket), "it is a socket, not a file");
        assert_eq!(refusal(Path::new("/dev/zero")), "it is a device, not a file");
        assert!(refusal(folder.path()).contains("Is a directory"));
    }

    #[test]
    fn a_trusted_file_that_every_user_may_write_is_not_read_and_the_error_says_what_to_do() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "secret").unwrap();
        for (mode, is_read) in [(0o600, true), (0o644, true), (0o664, true), (0o666, false), (0o602, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = read_trusted(&file, 10);
            assert_eq!(read.is_ok(), is_read, "{mode:o}");
            if let Err(error) = read {
                let error = io::Error::from(error).to_string();
                assert!(error.contains(&format!("`chmod go-w {}`", file.display())), "{error}");
            }
        }
        // As in a volume of Kubernetes, where each file is a link through a link to a folder.
        std::fs::create_dir(folder.path().join("v1")).unwrap();
        std::fs::rename(&file, folder.path().join("v1/file")).unwrap();
        std::os::unix::fs::symlink("v1", folder.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/file", &file).unwrap();
        assert!(read_trusted(&file, 10).is_err(), "the mode of the file behind the links counts");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).unwrap();
        assert_eq!(read_trusted(&file, 10).unwrap(), b"secret");
    }

    #[test]
    fn a_regular_file_is_read_up_to_the_limit_and_the_null_device_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "0123456789").unwrap();
        assert_eq!(read_bounded(&file, 10).unwrap(), b"0123456789");
        assert!(matches!(read_bounded(&file, 9), Err(ReadError::TooLarge)));
        assert!(matches!(read_bounded(&folder.path().join("none"), 9), Err(ReadError::Missing)));
        assert_eq!(read_bounded(Path::new("/dev/null"), 10).unwrap(), b"");
    }
}
