//! Splits the bytes of an event stream into lines. Does no input or output.

use std::borrow::Cow;

/// The stream exceeds a limit of the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    /// A line is longer than this limit in bytes.
    #[error("a line of the event stream is longer than {0} bytes")]
    Line(usize),
    /// The data of an event is longer than this limit in bytes.
    #[error("an event of the event stream is longer than {0} bytes")]
    Event(usize),
}

/// Splits bytes into lines. A chunk may end anywhere, also within a character or between the two bytes of a line ending.
///
/// A line ends with a line feed, a carriage return, or both. A byte order mark at the beginning is left out. Bytes that
/// are not UTF-8 become U+FFFD.
///
/// ```
/// use masque_sdk::sse::{Lines, TooLong};
/// let (mut lines, mut seen) = (Lines::with_limit(1024), Vec::new());
/// lines.push(b"one\r\ntw", |line| Ok(seen.push(line.to_owned()))).unwrap();
/// assert_eq!((seen, lines.unfinished()), (vec!["one".to_owned()], &b"tw"[..]));
/// ```
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed that follows belongs to the same line ending.
    after_cr: bool,
    /// No line was read yet: the first one may begin with a byte order mark.
    at_start: bool,
}

impl Lines {
    /// Refuses lines longer than `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self { limit, line: Vec::new(), after_cr: false, at_start: true }
    }

    /// Takes the next bytes, and passes each line that they complete to `take`, without its ending.
    ///
    /// # Errors
    /// [`TooLong`], and the errors of `take`. No further bytes can be taken then; the lines before were passed on.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(&str) -> Result<(), TooLong>,
    ) -> Result<(), TooLong> {
        if bytes.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.after_cr) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some((line, end, rest)) = split_line(bytes) {
            if self.line.is_empty() {
                // A line that stands whole in the chunk need not be copied.
                self.check_length(line)?;
                take(self.decode(line).as_ref())?;
            } else {
                self.extend_line(line)?;
                let mut line = std::mem::take(&mut self.line);
                take(self.decode(&line).as_ref())?;
                // Reuse the allocation for the next line.
                line.clear();
                self.line = line;
            }
            bytes = match end {
                b'\r' if rest.is_empty() => {
                    self.after_cr = true;
                    rest
                }
                b'\r' => rest.strip_prefix(b"\n").unwrap_or(rest),
                _ => rest,
            };
        }
        self.extend_line(bytes)
    }

    /// Returns the bytes since the last line ending.
    pub fn unfinished(&self) -> &[u8] {
        &self.line
    }

    /// Takes the line that has no ending yet. `None` if there are no bytes since the last line ending.
    pub fn take_unfinished(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        (!line.is_empty()).then(|| self.decode(&line).into_owned())
    }

    /// Decodes a whole line: a chunk may end within a character.
    fn decode<'a>(&mut self, line: &'a [u8]) -> Cow<'a, str> {
        let line = match std::mem::take(&mut self.at_start) {
            true => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
            false => line,
        };
        // Valid text, which nearly all lines are, is checked several bytes at a time; `from_utf8_lossy` takes them one by one.
        match std::str::from_utf8(line) {
            Ok(line) => Cow::Borrowed(line),
            Err(_) => String::from_utf8_lossy(line),
        }
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        self.check_length(bytes)?;
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Fails if the line would be too long with these bytes.
    fn check_length(&self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > self.limit { Err(TooLong::Line(self.limit)) } else { Ok(()) }
    }
}

/// Returns the bytes before the first line ending, the byte that ends the line, and the bytes after it.
fn split_line(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let at = memchr::memchr2(b'\n', b'\r', bytes)?;
    let (line, rest) = bytes.split_at_checked(at)?;
    let (end, rest) = rest.split_first()?;
    Some((line, *end, rest))
}
