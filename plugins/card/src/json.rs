//! Reads JSON text that other programs wrote with small mistakes: a byte order mark, bytes after the end that are no text,
//! and halves of a surrogate pair, which a program leaves behind that cuts a text in the middle of an emoji.

use serde_json::Value;
use std::borrow::Cow;

/// # Errors
/// What is wrong with the text, by line and column.
pub(crate) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    let text = text
        .trim_start_matches('\u{feff}')
        .trim_end_matches(|c: char| matches!(c, '\0' | '\u{1a}') || c.is_ascii_whitespace());
    match serde_json::from_str(text) {
        Err(error) => match replace_lone_surrogates(text) {
            // Nothing was replaced, so the error stays.
            Cow::Borrowed(_) => Err(error),
            Cow::Owned(text) => serde_json::from_str(&text),
        },
        parsed => parsed,
    }
}

/// Replaces escapes that are half of a surrogate pair with U+FFFD.
fn replace_lone_surrogates(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    // Outside of strings JSON has no backslash.
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        let escape = at + found;
        at = match code_unit(text, escape) {
            Some(0xd800..=0xdbff) if matches!(code_unit(text, escape + 6), Some(0xdc00..=0xdfff)) => {
                escape + 12
            }
            Some(0xd800..=0xdfff) => {
                out.push_str(text.get(copied..escape).unwrap_or_default());
                out.push_str("\\ufffd");
                copied = escape + 6;
                copied
            }
            Some(_) => escape + 6,
            // The character after the backslash has one byte in valid JSON. Otherwise the rest is not looked at.
            None => escape + 2,
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// The code unit of the escape `\uXXXX` at `at`.
fn code_unit(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at.checked_add(6)?)?.strip_prefix("\\u")?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_surrogate_pair_costs_one_character() {
        let table = [
            (r#""a\ud83cb""#, "a\u{fffd}b"),
            (r#""a\uDF12""#, "a\u{fffd}"),
            (r#""\ud83c\ud83c\udf12""#, "\u{fffd}🌒"),
            (r#""\ud83c\n\udf12""#, "\u{fffd}\n\u{fffd}"),
            (r#""\\ud83c \ud83c""#, "\\ud83c \u{fffd}"),
            (r#""\ud83c\udf12""#, "🌒"),
        ];
        for (text, wanted) in table {
            assert_eq!(parse(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_surrounds_the_text_is_left_out_and_other_mistakes_stay() {
        for text in ["\u{feff}{}\0\0", "{}\0\n", "{}\r\n\u{1a}\n"] {
            assert!(parse(text).is_ok(), "{text:?}");
        }
        for text in ["", "{", r#"{"a": "\ud83c}"#, r#""\u12"#, "\"\\é\\ud83c\"", "{} {}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
