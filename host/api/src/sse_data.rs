//! The data of one server-sent event, in lines that every reader takes.
//!
//! Readers of streams often limit a line: Python's `asyncio` and `aiohttp` to 64 KiB, some proxies as well. A `data` field
//! can have several lines, which a client joins with line breaks (HTML standard, section 9.2.6), and JSON allows line breaks
//! between its tokens. So a long object is divided between tokens. A string can't be divided: the text of a delta is
//! bounded where it is made, and the text of a long reply becomes a list of parts.

use std::borrow::Cow;

use serde_json::{Value, json};

/// The longest line, in bytes, with its field name and line end.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 10;
/// What begins each line.
pub(crate) const FIELD: &str = "data: ";
/// How much data a line has at most.
const MAX_DATA_BYTES: usize = MAX_LINE_BYTES - FIELD.len() - 1;
/// The longest text of one part. As JSON it has at most six times as many bytes.
const MAX_PART_BYTES: usize = 10 << 10;
/// What a line has beside the text of a reply that is kept in one string: the member's name and what stands around it.
const MEMBER_BYTES: usize = 64;

/// A completed reply as it is sent in an event: `reply.content` is a list of parts if its text does not fit into a line.
pub(crate) fn with_short_lines(reply: &Value) -> Cow<'_, Value> {
    const CONTENT: &str = "/reply/content";
    let Some(Value::String(text)) = reply.pointer(CONTENT) else { return Cow::Borrowed(reply) };
    // Most replies are short enough whatever characters they have.
    if text.len() <= MAX_PART_BYTES || written_bytes(text) <= MAX_DATA_BYTES - MEMBER_BYTES {
        return Cow::Borrowed(reply);
    }
    let mut parts = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (part, next) = rest.split_at(rest.floor_char_boundary(MAX_PART_BYTES));
        parts.push(json!({ "type": "text", "text": part }));
        rest = next;
    }
    let mut reply = reply.clone();
    if let Some(content) = reply.pointer_mut(CONTENT) {
        *content = Value::Array(parts);
    }
    Cow::Owned(reply)
}

/// Appends the lines of the field `data`.
pub(crate) fn write(text: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some((line, next)) = rest.split_at_checked(line_end(rest)).filter(|_| !rest.is_empty()) {
        text.extend_from_slice(FIELD.as_bytes());
        text.extend_from_slice(line);
        text.push(b'\n');
        rest = next;
    }
}

/// Where the first line of a JSON text ends: after the last token that fits. The whole text if it fits, or if its first
/// token is longer than a line.
fn line_end(json: &[u8]) -> usize {
    if json.len() <= MAX_DATA_BYTES {
        return json.len();
    }
    let (mut in_string, mut is_escaped, mut end) = (false, false, None);
    for (index, byte) in json.iter().copied().enumerate() {
        if index >= MAX_DATA_BYTES && end.is_some() {
            break;
        }
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b',' | b':' | b'{' | b'[' if !in_string => end = Some(index + 1),
            _ => {}
        }
    }
    end.unwrap_or(json.len())
}

/// The bytes of a text as a JSON string, without the quotes.
fn written_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(content: &str) -> Value {
        json!({
            "turn_id": "t",
            "reply": { "role": "assistant", "content": content },
            "timing": { "plugins": vec![json!({ "name": "x".repeat(64), "ms": 1.5 }); 20] },
        })
    }

    /// The lines of the data, and what a client reads from them.
    fn sent(value: &Value) -> (Vec<String>, Value) {
        let mut text = Vec::new();
        write(&mut text, with_short_lines(value).to_string().as_bytes());
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for line in &lines {
            assert!(line.len() < MAX_LINE_BYTES, "a line of {} bytes", line.len());
        }
        let data: Vec<&str> = lines.iter().map(|line| line.strip_prefix("data: ").unwrap()).collect();
        (lines.clone(), serde_json::from_str(&data.join("\n")).unwrap())
    }

    #[test]
    fn no_line_is_longer_than_64_kib_and_nothing_of_the_reply_is_lost() {
        let texts = [
            "x".repeat(1 << 20),
            "\u{1}".repeat(1 << 18),
            "\"\\,:{[".repeat(1 << 16),
            "é🌒\n".repeat(1 << 16),
            "x".repeat(MAX_DATA_BYTES - MEMBER_BYTES + 1),
        ];
        for text in texts {
            let (lines, read) = sent(&completed(&text));
            assert!(lines.len() > 1);
            let parts = read["reply"]["content"].as_array().unwrap();
            assert!(parts.iter().all(|part| part["type"] == "text"));
            let joined: String = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
            assert!(joined == text, "{} bytes became {}", text.len(), joined.len());
            assert_eq!(read["timing"], completed("")["timing"]);
        }
    }

    #[test]
    fn a_text_that_fits_into_a_line_stays_one_string() {
        for text in ["", "Hello.", &"x".repeat(60_000), &"x".repeat(MAX_DATA_BYTES - MEMBER_BYTES)] {
            let (lines, read) = sent(&completed(text));
            assert_eq!(read, completed(text));
            assert_eq!(lines.len() > 1, text.len() > 63_000, "{} bytes", text.len());
        }
    }

    #[test]
    fn the_bytes_of_a_string_are_those_that_are_written() {
        for text in ["", "a\"\\\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}é🌒/", "\0"] {
            assert_eq!(written_bytes(text) + 2, serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }
}
