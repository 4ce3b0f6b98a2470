//! Reads the escapes of JSON strings in bytes of any kind, for a search that finds a text however it is escaped.
//!
//! A run of backslashes counts as one, because JSON within JSON doubles the backslashes with every level. The result is
//! therefore not the exact text of a string, but it is the same for every way to escape one text. Reads in linear time and
//! without an allocation.

use std::ops::Range;

/// One byte of the text, and the place of what stands for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spelled {
    pub(crate) byte: u8,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The bytes that the text means.
#[derive(Clone, Debug)]
pub(crate) struct Unescaped<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The character of the last escape, how many of its bytes were returned, and its place.
    character: Option<char>,
    returned: usize,
    place: Range<usize>,
}

impl<'a> Unescaped<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, character: None, returned: 0, place: 0..0 }
    }

    /// The next byte of the character of an escape.
    fn next_of_character(&mut self) -> Option<Spelled> {
        let character = self.character?;
        let byte = *character.encode_utf8(&mut [0; 4]).as_bytes().get(self.returned)?;
        self.returned += 1;
        if self.returned >= character.len_utf8() {
            self.character = None;
        }
        Some(Spelled { byte, start: self.place.start, end: self.place.end })
    }
}

impl Iterator for Unescaped<'_> {
    type Item = Spelled;

    fn next(&mut self) -> Option<Spelled> {
        if self.character.is_some() {
            return self.next_of_character();
        }
        let (bytes, start) = (self.bytes, self.at);
        let byte = *bytes.get(start)?;
        if byte != b'\\' {
            self.at = start + 1;
            return Some(Spelled { byte, start, end: self.at });
        }
        let after = after_backslashes(bytes.get(start..).unwrap_or_default());
        // A backslash at the very end stands for itself.
        let Some(kind) = after.first() else {
            self.at = bytes.len();
            return Some(Spelled { byte, start, end: self.at });
        };
        let kind_at = bytes.len() - after.len();
        if let Some((character, rest)) = unicode_escape(after) {
            self.at = bytes.len() - rest.len();
            self.character = Some(character);
            self.returned = 0;
            self.place = start..self.at;
            return self.next_of_character();
        }
        let byte = match kind {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            other => *other,
        };
        self.at = kind_at + 1;
        Some(Spelled { byte, start, end: self.at })
    }
}

/// The character of `uXXXX`, or of two of them that are a pair of surrogates, and the bytes after it.
fn unicode_escape(text: &[u8]) -> Option<(char, &[u8])> {
    let (unit, rest) = code_unit(text)?;
    if (0xd800..=0xdbff).contains(&unit)
        && rest.first() == Some(&b'\\')
        && let Some((low @ 0xdc00..=0xdfff, rest)) = code_unit(after_backslashes(rest))
    {
        let character = char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
        return Some((character.unwrap_or(char::REPLACEMENT_CHARACTER), rest));
    }
    Some((char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), rest))
}

fn code_unit(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.strip_prefix(b"u")?.split_at_checked(4)?;
    let unit =
        digits.iter().try_fold(0_u32, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))?;
    Some((unit, rest))
}

fn after_backslashes(text: &[u8]) -> &[u8] {
    let run = text.iter().take_while(|byte| **byte == b'\\').count();
    text.get(run..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(text: &str) -> String {
        String::from_utf8(Unescaped::new(text.as_bytes()).map(|spelled| spelled.byte).collect()).unwrap()
    }

    #[test]
    fn every_escape_stands_for_its_character() {
        let table = [
            ("plain ü 🌒", "plain ü 🌒"),
            (r"\u0073k \u006B\u006b", "sk kk"),
            (r#"a\/b\"c\\d"#, r#"a/b"cd"#),
            (r"\b\f\n\r\t", "\u{8}\u{c}\n\r\t"),
            (r"\u00fc \ud83c\udf12 \ud83c! \udf12", "ü 🌒 \u{fffd}! \u{fffd}"),
            (r"\\u0073\\\\n\\\/\\ud83c\\udf12", "s\n/🌒"),
            (r"\u12 \u12g4 \ü", "u12 u12g4 ü"),
            (r"end\", r"end\"),
            (r"end\\\", r"end\"),
            ("", ""),
        ];
        for (text, meant) in table {
            assert_eq!(unescaped(text), meant, "{text}");
        }
    }

    #[test]
    fn every_byte_has_the_place_of_its_escape() {
        let text = r"a\\u00fcb\ud83c\udf12\n";
        let places: Vec<_> =
            Unescaped::new(text.as_bytes()).map(|spelled| text.get(spelled.start..spelled.end)).collect();
        let wide = Some(r"\ud83c\udf12");
        let umlaut = Some(r"\\u00fc");
        assert_eq!(places, [Some("a"), umlaut, umlaut, Some("b"), wide, wide, wide, wide, Some(r"\n")]);
    }
}
