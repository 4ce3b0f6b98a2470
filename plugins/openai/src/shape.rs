//! Says what a part of an answer looks like without a word of it.
//!
//! The threat: what could not be read may be a part of the reply, and the log holds no text of a message. The policy: kind and
//! length, the names in an object, and the title of a page, which are what tells that the address or the format is wrong. The
//! accepted consequence: an error that a server reports in a form that nobody knows is not shown. The host's record of the turn
//! holds the answer, where the operator has switched texts on.

use crate::json;
use serde_json::Value;

/// The most names of an object that are shown, and the longest one.
const MAX_NAMES: usize = 8;
const MAX_NAME: usize = 32;
/// The most characters of a page's title that are shown.
const MAX_TITLE: usize = 80;

/// Returns the kind and length of the bytes, such as `27 bytes of JSON with "done", "response"`.
pub(crate) fn shape(bytes: &[u8]) -> String {
    let length = bytes.len();
    // The second form is the first one, read as text.
    if bytes.starts_with(b"\x1f\x8b") || bytes.starts_with(b"\x1f\xef\xbf\xbd") {
        return format!("{length} bytes, compressed with gzip, without the header content-encoding");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return format!("{length} bytes that are no text") };
    let text = text.trim();
    if text.is_empty() {
        return "nothing".to_owned();
    }
    if text.starts_with('<') {
        return match title(text) {
            Some(title) => format!("{length} bytes of markup with the title `{title}`"),
            None => format!("{length} bytes of markup"),
        };
    }
    match json::parse(text) {
        Ok(values) => match names(&values).as_slice() {
            [] => format!("{length} bytes of JSON"),
            names => format!("{length} bytes of JSON with {}", names.join(", ")),
        },
        Err(_) => format!("{length} bytes of text"),
    }
}

/// What is wrong with a JSON text, and where. The error of a type would quote the text, and is called by its kind alone.
pub(crate) fn mistake(error: &serde_json::Error) -> String {
    if error.is_data() {
        return format!("unexpected data at line {} column {}", error.line(), error.column());
    }
    error.to_string()
}

/// The first names of the objects, each in quotation marks.
fn names(values: &[Value]) -> Vec<String> {
    let objects = values.iter().filter_map(Value::as_object);
    let names = objects.flat_map(|object| object.keys()).filter(|name| is_name(name));
    let mut names: Vec<_> = names.map(|name| format!("\"{name}\"")).collect();
    names.sort();
    names.truncate(MAX_NAMES);
    names
}

/// Whether a text is what a program calls a field, and not words of somebody.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// The title of a page, on one line.
fn title(page: &str) -> Option<String> {
    let at = page.to_ascii_lowercase().find("<title>")?;
    let (title, _) = page.get(at + "<title>".len()..)?.split_once('<')?;
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let title: String = title.chars().filter(|character| !character.is_control()).take(MAX_TITLE).collect();
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_has_no_word_of_what_was_said() {
        let table: [(&[u8], &str); 12] = [
            (b"", "nothing"),
            (b" \n", "nothing"),
            (b"my secret", "9 bytes of text"),
            (
                b"{\"response\": \"my secret\", \"done\": true}",
                "39 bytes of JSON with \"done\", \"response\"",
            ),
            (b"{\"my own secret\": 1}", "20 bytes of JSON"),
            (b"[\"my secret\"]", "13 bytes of JSON"),
            (b"{\"response\": \"my sec", "20 bytes of text"),
            (b"{\"a\": 1} {\"b\": 2}", "17 bytes of JSON with \"a\", \"b\""),
            (
                b"<html><title>502\nBad gateway</title>my secret",
                "45 bytes of markup with the title `502 Bad gateway`",
            ),
            (b"<p>my secret</p>", "16 bytes of markup"),
            (b"\x1f\x8b\x08", "3 bytes, compressed with gzip, without the header content-encoding"),
            (b"\xff\xfe", "2 bytes that are no text"),
        ];
        for (bytes, wanted) in table {
            assert_eq!(shape(bytes), wanted);
        }
    }

    #[test]
    fn a_mistake_has_its_kind_and_place_and_no_word_of_the_text() {
        let broken = json::parse("{\"a\": my secret}").unwrap_err();
        assert_eq!(mistake(&broken), broken.to_string());
        assert!(mistake(&broken).contains("line 1 column"), "{broken}");
        let of_type = serde_json::from_str::<u8>("\"my secret\"").unwrap_err();
        assert!(of_type.to_string().contains("my secret"), "{of_type}");
        assert_eq!(mistake(&of_type), "unexpected data at line 1 column 11");
    }
}
