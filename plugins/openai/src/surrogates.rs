//! Joins characters whose two surrogates arrive in texts of their own.
//!
//! A server that cuts its reply into tokens may cut between the two escapes of one character: `"\ud83d"` ends one delta and
//! `"\ude00"` begins the next. No `String` can hold either half, so `json` puts a mark in its place: one of 2,048
//! private-use characters, in frames that do not use them otherwise. This module makes characters of the marks again.

/// The mark of the first surrogate, U+D800. The last mark is the last character of all.
const FIRST_MARK: u32 = 0x10_f800;
const FIRST_SURROGATE: u32 = 0xd800;

/// The mark of a surrogate.
pub(crate) fn mark(unit: u16) -> char {
    let offset = u32::from(unit).saturating_sub(FIRST_SURROGATE);
    char::from_u32(FIRST_MARK + offset).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Whether the character would be taken for a mark.
pub(crate) fn is_mark(character: char) -> bool {
    u32::from(character) >= FIRST_MARK
}

/// The surrogate of a mark.
fn surrogate(character: char) -> Option<u32> {
    u32::from(character).checked_sub(FIRST_MARK).map(|offset| FIRST_SURROGATE + offset)
}

/// The half character that waits for the text that follows.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(crate) struct Halves {
    high: Option<u32>,
}

impl Halves {
    /// Joins the halves in a text, and that of the text before. A half without its other one becomes U+FFFD; a high one
    /// at the end waits. Without marks and without a half that waits, the text is returned as it is.
    pub(crate) fn join(&mut self, text: String, has_marks: bool) -> String {
        if text.is_empty() || (!has_marks && self.high.is_none()) {
            return text;
        }
        let mut joined = String::with_capacity(text.len() + char::REPLACEMENT_CHARACTER.len_utf8());
        for character in text.chars() {
            let unit = surrogate(character).filter(|_| has_marks);
            match (self.high.take(), unit) {
                (Some(high), Some(low @ 0xdc00..=0xdfff)) => joined.push(pair(high, low)),
                (before, unit) => {
                    if before.is_some() {
                        joined.push(char::REPLACEMENT_CHARACTER);
                    }
                    match unit {
                        Some(high @ 0xd800..=0xdbff) => self.high = Some(high),
                        Some(_) => joined.push(char::REPLACEMENT_CHARACTER),
                        None => joined.push(character),
                    }
                }
            }
        }
        joined
    }

    /// What stands for the half that waits: no text follows.
    pub(crate) fn end(&mut self) -> Option<char> {
        self.high.take().map(|_| char::REPLACEMENT_CHARACTER)
    }
}

/// Joins the halves within a whole text.
pub(crate) fn join_whole(text: String, has_marks: bool) -> String {
    let mut halves = Halves::default();
    let mut joined = halves.join(text, has_marks);
    joined.extend(halves.end());
    joined
}

fn pair(high: u32, low: u32) -> char {
    let character = char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00));
    character.unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_in_texts_that_follow_each_other_become_characters() {
        let (high, low) = (mark(0xd83d), mark(0xde00));
        let table: &[(&[String], &str)] = &[
            (&[format!("a{high}"), format!("{low}b")], "a😀b"),
            (&[format!("a{high}"), String::new(), format!("{low}b")], "a😀b"),
            (&[format!("a{high}{low}b")], "a😀b"),
            (&[format!("{high}"), format!("{high}{low}"), format!("{low}")], "\u{fffd}😀\u{fffd}"),
            (&[format!("{high}"), "b".into()], "\u{fffd}b"),
            (&[format!("{low}b{high}")], "\u{fffd}b\u{fffd}"),
        ];
        for (texts, wanted) in table {
            let mut halves = Halves::default();
            let mut joined: String = texts.iter().map(|text| halves.join(text.clone(), true)).collect();
            joined.extend(halves.end());
            assert_eq!(joined, *wanted, "{texts:?}");
        }
        let private = format!("{high}{low}");
        assert_eq!(join_whole(private.clone(), false), private);
    }
}
