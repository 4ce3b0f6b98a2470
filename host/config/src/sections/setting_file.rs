//! The content of a file that a setting names, as the plugin receives it.
//!
//! The threat: a file from elsewhere, such as a card in a PNG, whose parser has a fault. The policy: the host reads no format.
//! It looks at the first bytes, and hands a binary file over as a data URL (RFC 2397); the plugin parses it in its sandbox.
//! The consequence: a third more bytes with every call.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The content of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileContent {
    /// UTF-8 text.
    Text(String),
    /// `data:TYPE;base64,…`.
    DataUrl(String),
    /// Bytes that are no text and of no known type. A text in another encoding is mostly a mistake.
    Unknown,
}

/// The content of a file with these bytes.
pub(crate) fn content(bytes: Vec<u8>) -> FileContent {
    match (media_type(&bytes), String::from_utf8(bytes)) {
        (Some(media_type), bytes) => {
            let bytes = bytes.map_or_else(|error| error.into_bytes(), String::into_bytes);
            FileContent::DataUrl(format!("data:{media_type};base64,{}", STANDARD.encode(bytes)))
        }
        (None, Ok(text)) => FileContent::Text(text),
        (None, Err(_)) => FileContent::Unknown,
    }
}

/// The type of a file by its first bytes, if it is one that plugins are known to be given.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        // The other bytes of the signature change when a PNG is sent as text. The plugin says so.
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'P', b'K', 3, 4, ..] => Some("application/zip"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_handed_over_as_text_or_as_a_data_url_by_its_first_bytes() {
        let url = |text: &str| FileContent::DataUrl(text.to_owned());
        let table: [(&[u8], FileContent); 9] = [
            (b"", FileContent::Text(String::new())),
            ("größer".as_bytes(), FileContent::Text("größer".to_owned())),
            (b"gr\xf6\xdfer", FileContent::Unknown),
            (b"\x89PNG\r\n\x1a\n", url("data:image/png;base64,iVBORw0KGgo=")),
            (b"\x89PNG\n\x1a\n", url("data:image/png;base64,iVBORwoaCg==")),
            (b"\xff\xfe{\0}\0", FileContent::Unknown),
            (b"\xff\xd8\xff", url("data:image/jpeg;base64,/9j/")),
            (b"RIFF\0\0\0\0WEBP", url("data:image/webp;base64,UklGRgAAAABXRUJQ")),
            (b"PK\x03\x04", url("data:application/zip;base64,UEsDBA==")),
        ];
        for (bytes, wanted) in table {
            assert_eq!(content(bytes.to_vec()), wanted, "{bytes:?}");
        }
    }
}
