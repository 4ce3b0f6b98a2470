//! Reads JSON that is nearly right: what servers send where a template, a `repr` or a proxy took part.
//!
//! Valid JSON is read as it is. Otherwise the text is repaired once: lone surrogates become U+FFFD, raw control characters
//! and unknown escapes in strings become what they stand for, and `NaN` and `Infinity` become null. Of repeated names the
//! last one with a value counts.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Reads all values of the text, which may follow each other without a separator.
///
/// # Errors
/// The first mistake that could not be repaired.
pub(crate) fn parse(text: &str) -> Result<Vec<Value>, serde_json::Error> {
    values(text).or_else(|_| values(&repaired(text)))
}

fn values(text: &str) -> Result<Vec<Value>, serde_json::Error> {
    serde_json::Deserializer::from_str(text)
        .into_iter::<Lenient>()
        .map(|value| value.map(|Lenient(value)| value))
        .collect()
}

/// Whether a value says nothing: null, false, 0, or empty, at every depth.
pub(crate) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.iter().all(is_blank),
        Value::Object(members) => members.values().all(is_blank),
    }
}

/// Tells where a JSON object or list ends, without keeping it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extent {
    depth: usize,
    begun: bool,
    in_string: bool,
    escaped: bool,
}

impl Extent {
    pub(crate) fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = self.begun,
                b'{' | b'[' => {
                    self.begun = true;
                    self.depth += 1;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Whether the object or list that began has ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.begun && self.depth == 0
    }
}

/// Whether the text can only be a JSON object or list.
pub(crate) fn is_structure(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// A value whose objects may repeat a name.
struct Lenient(Value);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Lenient;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Lenient, E> {
                Ok(Lenient(Value::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Lenient, E> {
                Ok(Lenient(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Lenient, E> {
                Ok(Lenient(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Lenient, E> {
                Ok(Lenient(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Lenient, E> {
                Ok(Lenient(value.into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Lenient, E> {
                Ok(Lenient(value.into()))
            }
            fn visit_string<E>(self, value: String) -> Result<Lenient, E> {
                Ok(Lenient(value.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Lenient, A::Error> {
                let mut list = Vec::new();
                while let Some(Lenient(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(Lenient(list.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Lenient, A::Error> {
                let mut map = Map::new();
                while let Some((name, Lenient(value))) = members.next_entry::<String, Lenient>()? {
                    if !(is_blank(&value) && map.contains_key(&name)) {
                        map.insert(name, value);
                    }
                }
                Ok(Lenient(map.into()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Rewrites what makes the text invalid. Leaves the rest as it is.
fn repaired(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut in_string = false;
    while let Some(next) = rest.chars().next() {
        let (_, after) = rest.split_at(next.len_utf8());
        if !in_string {
            in_string = next == '"';
            rest = match ["NaN", "-Infinity", "Infinity"].iter().find_map(|word| rest.strip_prefix(word)) {
                Some(after) => {
                    out.push_str("null");
                    after
                }
                None => {
                    out.push(next);
                    after
                }
            };
            continue;
        }
        rest = match next {
            '\\' => repair_escape(after, &mut out),
            '"' => {
                in_string = false;
                out.push(next);
                after
            }
            control if control.is_ascii_control() => {
                out.push_str(&format!("\\u{:04x}", u32::from(control)));
                after
            }
            other => {
                out.push(other);
                after
            }
        };
    }
    out
}

/// Writes the escape whose backslash was read, and returns the text after it.
fn repair_escape<'a>(after: &'a str, out: &mut String) -> &'a str {
    let Some(kind) = after.chars().next() else { return after };
    let (_, rest) = after.split_at(kind.len_utf8());
    match kind {
        '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => {
            out.push('\\');
            out.push(kind);
            rest
        }
        'u' => match code_unit(rest) {
            Some((high @ 0xd800..=0xdbff, rest)) => match rest.strip_prefix("\\u").and_then(code_unit) {
                Some((low @ 0xdc00..=0xdfff, rest)) => {
                    out.push_str(&format!("\\u{high:04x}\\u{low:04x}"));
                    rest
                }
                _ => {
                    out.push(char::REPLACEMENT_CHARACTER);
                    rest
                }
            },
            Some((0xdc00..=0xdfff, rest)) => {
                out.push(char::REPLACEMENT_CHARACTER);
                rest
            }
            Some((unit, rest)) => {
                out.push_str(&format!("\\u{unit:04x}"));
                rest
            }
            None => {
                out.push_str("\\\\u");
                rest
            }
        },
        '\'' => {
            out.push('\'');
            rest
        }
        _ => {
            out.push_str("\\\\");
            after
        }
    }
}

fn code_unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let unit = u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    Some((unit, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_nearly_json_is_read_and_the_rest_of_it_is_kept() {
        let table = [
            (r#"{"a": 1}"#, json!([{"a": 1}])),
            (r#"{"a": 1}{"b": [2]} {"c": 3}"#, json!([{"a": 1}, {"b": [2]}, {"c": 3}])),
            (r#"{"a": "\ud83d", "b": "x"}"#, json!([{"a": "\u{fffd}", "b": "x"}])),
            (r#"{"a": "x\udf12y"}"#, json!([{"a": "x\u{fffd}y"}])),
            (r#"{"a": "\ud83d\ud83c\udf12 \ud83dA"}"#, json!([{"a": "\u{fffd}🌒 \u{fffd}A"}])),
            (r#"{"a": "\ud83c\udf12", "b": NaN}"#, json!([{"a": "🌒", "b": null}])),
            (r#"{"a": -Infinity, "b": Infinity, "c": "NaN"}"#, json!([{"a": null, "b": null, "c": "NaN"}])),
            ("{\"a\": \"one\ntwo\tthree\"}", json!([{"a": "one\ntwo\tthree"}])),
            (r#"{"a": "it\'s \x41 \"q\" \u12"}"#, json!([{"a": "it's \\x41 \"q\" \\u12"}])),
            (r#"{"a": "x", "a": ""}"#, json!([{"a": "x"}])),
            (r#"{"a": null, "a": "x"}"#, json!([{"a": "x"}])),
            (r#"{"a": "x", "a": "y"}"#, json!([{"a": "y"}])),
        ];
        for (text, wanted) in table {
            assert_eq!(Value::from(parse(text).unwrap()), wanted, "{text}");
        }
        for text in ["{", "what?", r#"{"a": tru}"#, r#"{"a": "\"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_extent_of_json_ends_with_its_last_bracket() {
        let text = r#"{"a": "}\"]", "b": [1, {"c": []}]}"#;
        let mut extent = Extent::default();
        for (at, character) in text.char_indices() {
            assert!(!extent.is_complete(), "{at}");
            extent.push(&character.to_string());
        }
        assert!(extent.is_complete());
    }
}
