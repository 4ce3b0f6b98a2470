//! Reads a file that holds a password and nothing else.

use std::path::Path;

use crate::regular::{ReadError, read_trusted};

/// The most bytes of a file with a password.
const MAX_BYTES: u64 = 4096;

/// The text of the file without the line breaks at its end.
///
/// # Errors
/// Why it can't be used, for people to read, without its text: it can't be read, is empty, too large or no text, or may be
/// written by every user.
pub fn read_password(path: &Path) -> Result<String, String> {
    let bytes = read_trusted(path, MAX_BYTES).map_err(|error| match error {
        ReadError::Missing => "it does not exist".to_owned(),
        ReadError::TooLarge => format!("it has more than {MAX_BYTES} bytes"),
        ReadError::Other(error) => error.to_string(),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err("it is empty".to_owned()),
        password => Ok(password.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_all_but_the_line_break_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        assert_eq!(read_password(&path), Err("it does not exist".to_owned()));
        for (content, expected) in [
            (&b" pass word \r\n"[..], Ok(" pass word ".to_owned())),
            (b"secret", Ok("secret".to_owned())),
            (b"\n", Err("it is empty".to_owned())),
            (b"\xff", Err("it is not UTF-8".to_owned())),
            (&[b'x'; 4097], Err("it has more than 4096 bytes".to_owned())),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read_password(&path), expected);
        }
    }
}
