//! A binary file as the host hands it over: a data URL in base64 (RFC 2397).
//!
//! A card is read in every call, and its image is most of the file. Only the pieces that are asked for are decoded.

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};

/// Exporters differ in whether they pad.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A file of a known type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataUrl<'a> {
    pub(crate) media_type: &'a str,
    pub(crate) bytes: Base64Bytes<'a>,
}

/// Bytes that are decoded when they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base64Bytes<'a>(&'a [u8]);

impl<'a> DataUrl<'a> {
    /// The file in `text`; `None` if it is no data URL in base64.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let rest = text.trim().strip_prefix("data:")?;
        // A media type is short. Looking for the comma further on would read all of a long text.
        let head = rest.get(..rest.floor_char_boundary(200)).unwrap_or(rest);
        let (media_type, _) = head.split_once(";base64,")?;
        let data = rest.get(media_type.len() + ";base64,".len()..)?;
        Some(Self { media_type, bytes: Base64Bytes(data.trim_end_matches('=').as_bytes()) })
    }
}

impl<'a> Base64Bytes<'a> {
    pub(crate) fn len(self) -> usize {
        // Four characters are three bytes; what remains are one or two bytes.
        self.0.len() / 4 * 3 + (self.0.len() % 4 * 3) / 4
    }

    /// The bytes from `at` on, `len` of them; `None` beyond the end or where the text is no base64.
    pub(crate) fn read(self, at: usize, len: usize) -> Option<Vec<u8>> {
        let end = at.checked_add(len).filter(|end| *end <= self.len())?;
        let text = self.0.get(at / 3 * 4..end.div_ceil(3).saturating_mul(4).min(self.0.len()))?;
        let mut bytes = LENIENT.decode(text).ok()?;
        bytes.drain(..at % 3);
        bytes.truncate(len);
        (bytes.len() == len).then_some(bytes)
    }
}

/// Decodes base64 as it is found in files: with or without padding and line breaks, in the standard or the URL alphabet.
pub(crate) fn decode_lenient(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'=' | 0))
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => *byte,
        })
        .collect();
    LENIENT.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn every_range_of_a_file_is_read_as_it_was_written() {
        let bytes: Vec<u8> = (0..=10).collect();
        for length in 0..=bytes.len() {
            for padded in [true, false] {
                let text = STANDARD.encode(&bytes[..length]);
                let text = if padded { text } else { text.trim_end_matches('=').to_string() };
                let url = format!("data:image/png;base64,{text}");
                let file = DataUrl::parse(&url).unwrap();
                assert_eq!((file.media_type, file.bytes.len()), ("image/png", length));
                for at in 0..=length {
                    for len in 0..=length - at {
                        assert_eq!(file.bytes.read(at, len).unwrap(), bytes[at..at + len], "{at} {len}");
                    }
                    assert_eq!(file.bytes.read(at, length - at + 1), None);
                }
            }
        }
    }

    #[test]
    fn what_is_no_data_url_is_none() {
        for text in ["", "{}", "data:", "data:text/plain,hello", "http://example.org/;base64,AAAA"] {
            assert_eq!(DataUrl::parse(text), None, "{text}");
        }
        let broken = DataUrl::parse("data:image/png;base64,%%%%").unwrap();
        assert_eq!(broken.bytes.read(0, 3), None);
    }

    #[test]
    fn base64_is_read_with_and_without_what_surrounds_it() {
        for text in ["aGk/Pj4=", "aGk/Pj4", "aGk_Pj4", "aGk/\r\n Pj4=\n", "aGk/Pj4=\0"] {
            assert_eq!(decode_lenient(text.as_bytes()).unwrap(), b"hi?>>", "{text:?}");
        }
        assert_eq!(decode_lenient("größer".as_bytes()), None);
    }
}
