//! Which texts a store keeps: any text of Unicode without the character U+0000.
//!
//! Threat: SQLite keeps U+0000 in a text. Postgres refuses it in a `text`, and its escape in a `jsonb`. A plugin, an upstream
//! or a client that writes it would fail a turn with one database and not with the other. Policy: every store refuses it in
//! every text and in every string and key of a JSON value, by [`CheckTexts`]. Where a text comes from a plugin, the host
//! leaves the character out before ([`push_storable`]), so that no reply fails by it. Values of state and digests are bytes
//! and may hold anything. Lone surrogates, which Postgres refuses too, can't occur: neither `str` nor [`Value`] can hold them.
//!
//! A question for a text with U+0000, such as the state of a key that has it, finds nothing.

use serde_json::Value;

use crate::error::StoreError;

const NUL: char = '\0';

/// Something that is to be stored. Every implementation of the store calls this before it writes anything.
pub trait CheckTexts {
    /// Checks all texts of it.
    ///
    /// # Errors
    /// [`StoreError::Refused`] says which text has the character U+0000.
    fn check_texts(&self) -> Result<(), StoreError>;
}

impl<T: CheckTexts> CheckTexts for Option<T> {
    fn check_texts(&self) -> Result<(), StoreError> {
        self.as_ref().map_or(Ok(()), T::check_texts)
    }
}

impl<T: CheckTexts> CheckTexts for [T] {
    fn check_texts(&self) -> Result<(), StoreError> {
        self.iter().try_for_each(T::check_texts)
    }
}

/// Checks one text; `name` says in the error which it is.
///
/// # Errors
/// [`StoreError::Refused`] if it has the character U+0000.
pub fn check_text(name: &str, text: &str) -> Result<(), StoreError> {
    if text.contains(NUL) { Err(refused(name)) } else { Ok(()) }
}

/// Checks all strings and keys of a JSON value; `name` says in the error which it is.
///
/// # Errors
/// [`StoreError::Refused`] if one of them has the character U+0000.
pub fn check_json(name: &str, value: &Value) -> Result<(), StoreError> {
    if has_nul(value) { Err(refused(name)) } else { Ok(()) }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(NUL),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, member)| name.contains(NUL) || has_nul(member)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn refused(name: &str) -> StoreError {
    StoreError::Refused(format!("the {name} has the character U+0000"))
}

/// Appends text of a plugin that is going to be stored, without the character U+0000. A reader misses nothing, since the
/// character has no meaning in a text.
pub fn push_storable(text: &mut String, more: &str) {
    text.extend(more.split(NUL));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_character_zero_is_found_in_every_string_and_key_of_a_json_value() {
        for value in [
            json!("\0"),
            json!(["a", ["b\0"]]),
            json!({ "a": { "b": [1, "\0"] } }),
            json!({ "a\0": null }),
            json!([{ "a": { "\0b": 1 } }]),
        ] {
            let error = check_json("metadata", &value).unwrap_err().to_string();
            assert!(error.contains("the metadata has"), "{error}");
        }
    }

    #[test]
    fn every_other_character_and_the_words_for_it_are_stored() {
        let value = json!({ "\u{1}": ["\\u0000", "\u{fffd}", "\u{10ffff}", 0, null, true] });
        check_json("metadata", &value).unwrap();
        check_text("title", "\\u0000 \\0 \u{1} é").unwrap();
    }

    #[test]
    fn the_text_of_a_plugin_loses_the_character_zero_and_no_other() {
        let mut text = "a".to_owned();
        for more in ["\0", "", "b\0c\0\0", "\u{1}d", "é\0"] {
            push_storable(&mut text, more);
        }
        assert_eq!(text, "abc\u{1}dé");
        check_text("reply", &text).unwrap();
    }
}
