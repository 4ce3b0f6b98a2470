//! Whether the bytes of a request body are text that can be parsed as JSON: not compressed, UTF-8, with or without a byte
//! order mark. What is not is refused with what it is, because a parser would only complain about its first byte.

use std::borrow::Cow;

use http::{HeaderMap, header};
use masque_problem::{Kind, Problem};
use serde_json::Value;

/// RFC 8259, section 8.1 allows parsers to ignore it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The first bytes of compressed data (RFC 1952; RFC 8878).
const COMPRESSED: [(&[u8], &str); 2] = [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")];

/// Refuses a body that its headers say is compressed, or in another character set than UTF-8.
pub(crate) fn check_headers(headers: &HeaderMap) -> Result<(), Problem> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter().flat_map(|value| split(value.as_bytes()));
    for coding in codings {
        if !coding.eq_ignore_ascii_case("identity") {
            return Err(unsupported(format!(
                "The body has `Content-Encoding: {}`; send it without compression.",
                shown(&coding)
            )));
        }
    }
    match charset(headers) {
        Some(charset) if !["utf-8", "utf8", "us-ascii"].contains(&charset.to_ascii_lowercase().as_str()) => {
            Err(unsupported(format!("The body has the charset `{}`; send UTF-8.", shown(&charset))))
        }
        _ => Ok(()),
    }
}

/// The text of a body without its byte order mark.
pub(crate) fn text(body: &[u8]) -> Result<&[u8], Problem> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if let Some((_, name)) = COMPRESSED.iter().find(|(magic, _)| body.starts_with(magic)) {
        return Err(unsupported(format!("The body is compressed with {name}; send it without compression.")));
    }
    // The first two characters of JSON are ASCII, so a zero byte among their bytes is UTF-16 or UTF-32.
    if body.iter().take(2).any(|byte| *byte == 0) {
        return Err(unsupported("The body is UTF-16 or UTF-32; send UTF-8.".to_owned()));
    }
    match std::str::from_utf8(body) {
        Ok(_) => Ok(body),
        Err(error) => {
            let place = error.valid_up_to() + 1;
            Err(unsupported(format!("The body is not UTF-8 from byte {place} on; send UTF-8.")))
        }
    }
}

/// Refuses JSON in which a string or a key has the character U+0000, with the path of the value. Not every database can
/// keep it, and no text needs it.
pub(crate) fn refuse_nul(value: &Value) -> Result<(), Problem> {
    let Some(path) = path_of_nul(value) else { return Ok(()) };
    let detail = if path.is_empty() {
        "The body has the character U+0000, which no text may have.".to_owned()
    } else {
        format!("`{path}` has the character U+0000, which no text may have.")
    };
    let problem = Problem::new(Kind::InvalidRequest, detail);
    Err(if path.is_empty() { problem } else { problem.with("field", path) })
}

/// The path of the first value that has the character in it, or of the object that has it in a key. The depth is bounded by
/// the parser.
fn path_of_nul(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| Some(joined(format!("[{index}]"), &path_of_nul(item)?))),
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            if name.contains('\0') {
                return Some(String::new());
            }
            Some(joined(name.clone(), &path_of_nul(member)?))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn joined(mut outer: String, inner: &str) -> String {
    if !inner.is_empty() && !inner.starts_with('[') {
        outer.push('.');
    }
    outer.push_str(inner);
    outer
}

/// The parameter `charset` of `Content-Type`.
fn charset(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The items of a list in a header.
fn split(value: &[u8]) -> Vec<String> {
    let value = String::from_utf8_lossy(value);
    value.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

/// A word of the client, short enough to be repeated.
fn shown(word: &str) -> Cow<'_, str> {
    const MAX_CHARS: usize = 40;
    match word.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", word.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(word),
    }
}

fn unsupported(detail: String) -> Problem {
    Problem::new(Kind::UnsupportedMediaType, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(name: &'static str, value: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
        check_headers(&headers).err().map(|problem| {
            assert_eq!(problem.kind, Kind::UnsupportedMediaType);
            problem.detail
        })
    }

    #[test]
    fn a_body_that_is_said_to_be_compressed_is_refused_with_the_coding() {
        for coding in ["gzip", "br", "zstd", "deflate", "GZIP", "identity, gzip", "x-unknown"] {
            let detail = refusal("content-encoding", coding).unwrap();
            assert!(detail.contains(coding.trim_start_matches("identity, ")), "{detail}");
        }
        for coding in ["identity", "Identity", "", " , "] {
            assert_eq!(refusal("content-encoding", coding), None, "{coding}");
        }
    }

    #[test]
    fn a_body_that_is_said_to_be_in_another_charset_is_refused_with_its_name() {
        for charset in ["utf-16", "ISO-8859-1", "windows-1252", "\"utf-16le\""] {
            let detail = refusal("content-type", &format!("application/json; charset={charset}")).unwrap();
            assert!(detail.contains(charset.trim_matches('"')), "{detail}");
        }
        for value in [
            "application/json",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; Charset=utf8; v=1",
            "application/json; profile=x",
        ] {
            assert_eq!(refusal("content-type", value), None, "{value}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_passed_over_and_other_encodings_are_refused_by_name() {
        assert_eq!(text("\u{feff}{}".as_bytes()).unwrap(), b"{}");
        assert_eq!(text(b"{}").unwrap(), b"{}");
        assert_eq!(text(b"").unwrap(), b"");
        let utf16: Vec<u8> = "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf16_be: Vec<u8> = "{\"a\":1}".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (body, named) in [
            (b"\x1f\x8b\x08\x00rest".to_vec(), "gzip"),
            (b"\x28\xb5\x2f\xfd".to_vec(), "zstd"),
            (utf16, "UTF-16"),
            (utf16_be, "UTF-16"),
            (b"\xff\xfe{\0".to_vec(), "byte 1"),
            (b"{\"message\": \"caf\xe9\"}".to_vec(), "byte 17"),
        ] {
            let problem = text(&body).unwrap_err();
            assert_eq!(problem.kind, Kind::UnsupportedMediaType, "{body:?}");
            assert!(problem.detail.contains(named), "{}", problem.detail);
        }
    }

    #[test]
    fn the_character_zero_is_refused_wherever_it_is() {
        for (value, field) in [
            (json!({ "message": "a\0b" }), Some("message")),
            (json!({ "metadata": { "a": [1, { "b": "\0" }] } }), Some("metadata.a[1].b")),
            (json!({ "message": [{ "type": "text", "text": "\0" }] }), Some("message[0].text")),
            (json!({ "metadata": { "a\0": 1 } }), Some("metadata")),
            (json!({ "\0": 1 }), None),
        ] {
            let problem = refuse_nul(&value).unwrap_err();
            assert_eq!(problem.kind, Kind::InvalidRequest, "{value}");
            assert_eq!(problem.members.get("field").and_then(Value::as_str), field, "{value}");
        }
        assert!(refuse_nul(&json!({ "message": "\u{1}\u{7f}", "n": [null, true, 0] })).is_ok());
    }
}
