//! Reads JSON that is nearly right: what servers send where a template, a `repr` or a proxy took part.
//!
//! Valid JSON is read as it is. Otherwise the text is repaired once: lone surrogates become U+FFFD, raw control characters
//! and unknown escapes in strings become what they stand for, and `NaN` and `Infinity` become null. Of repeated names the
//! last one with a value counts. Objects and lists before a mistake that could not be repaired are kept.

mod repair;

use crate::surrogates;
use repair::Repair;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};
use std::fmt;

/// What a text holds.
pub(crate) struct Parsed {
    pub(crate) values: Vec<Value>,
    /// The strings hold marks of halves of characters, which `surrogates` joins.
    pub(crate) has_marks: bool,
}

/// Reads all values of the text, which may follow each other without a separator.
///
/// # Errors
/// The first mistake that could not be repaired, if no object or list is before it.
pub(crate) fn parse(text: &str) -> Result<Vec<Value>, serde_json::Error> {
    read(text, false).map(|parsed| parsed.values)
}

/// Reads the values of a frame. Half a character at the beginning or the end of a string becomes a mark, since its other
/// half may be in another frame.
///
/// # Errors
/// As for [`parse`].
pub(crate) fn parse_frame(text: &str) -> Result<Parsed, serde_json::Error> {
    read(text, true)
}

fn read(text: &str, keeps_halves: bool) -> Result<Parsed, serde_json::Error> {
    if let Ok(values) = all_values(text) {
        return Ok(Parsed { values, has_marks: false });
    }
    // A text with a character that would be taken for a mark has none.
    let mut repair = Repair::new(keeps_halves && !text.contains(surrogates::is_mark));
    repair.add(text);
    let values = all_values(&repair.out).or_else(|error| {
        let begun = structures(&repair.out);
        if begun.is_empty() { Err(error) } else { Ok(begun) }
    })?;
    Ok(Parsed { values, has_marks: repair.has_marks })
}

fn all_values(text: &str) -> Result<Vec<Value>, serde_json::Error> {
    serde_json::Deserializer::from_str(text)
        .into_iter::<Lenient>()
        .map(|value| value.map(|Lenient(value)| value))
        .collect()
}

/// The objects and lists before the first mistake.
fn structures(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text)
        .into_iter::<Lenient>()
        .map_while(|value| value.ok().map(|Lenient(value)| value))
        .filter(|value| value.is_object() || value.is_array())
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
                    match map.entry(name) {
                        Entry::Vacant(place) => {
                            place.insert(value);
                        }
                        Entry::Occupied(mut place) if !is_blank(&value) => {
                            place.insert(value);
                        }
                        Entry::Occupied(_) => {}
                    }
                }
                Ok(Lenient(map.into()))
            }
        }
        deserializer.deserialize_any(Any)
    }
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
        assert_eq!(parse(r#"{"a": 1}, {"b": 2}"#).unwrap(), [json!({"a": 1})]);
        for text in ["{", "what?", r#"{"a": tru}"#, r#"{"a": "\"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_half_that_may_go_on_in_another_frame_is_marked() {
        let (high, low) = (surrogates::mark(0xd83d), surrogates::mark(0xde00));
        let private = format!(r#"["{high}\ud83d"]"#);
        let table: [(&str, String, bool); 6] = [
            (r#"["a\ud83d"]"#, format!("a{high}"), true),
            (r#"["\ude00b"]"#, format!("{low}b"), true),
            (r#"["\"\ude00"]"#, "\"\u{fffd}".into(), false),
            (r#"["a\ud83db\ude00c"]"#, "a\u{fffd}b\u{fffd}c".into(), false),
            (r#"["\ud83d\ude00"]"#, "😀".into(), false),
            (private.as_str(), format!("{high}{}", char::REPLACEMENT_CHARACTER), false),
        ];
        for (text, wanted, has_marks) in table {
            let parsed = parse_frame(text).unwrap();
            assert_eq!((parsed.values, parsed.has_marks), (vec![json!([wanted])], has_marks), "{text}");
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
