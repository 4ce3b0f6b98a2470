//! Reads a file that the configuration names, up to a size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Why a file can't be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Missing,
    TooLarge,
    Other(io::Error),
}

/// The bytes of a file that has at most `limit` of them.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::Missing,
        _ => ReadError::Other(error),
    })?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(ReadError::Other)?;
    if bytes.len() as u64 > limit { Err(ReadError::TooLarge) } else { Ok(bytes) }
}
