//! Whether a text shows anything: a message of invisible characters looks empty to whoever reads the conversation.

use std::ops::RangeInclusive;

/// Characters that show nothing and are no white space. They are the property `Default_Ignorable_Code_Point` of the Unicode
/// Character Database (`DerivedCoreProperties.txt`, version 16), the annotation characters U+FFF9 to U+FFFB, and the empty
/// braille pattern.
static INVISIBLE: [RangeInclusive<char>; 19] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{202a}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fff8}',
    '\u{fff9}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Whether the text has a character that is neither white space, nor a control character, nor invisible.
pub(crate) fn has_visible_character(text: &str) -> bool {
    text.chars().any(is_visible)
}

fn is_visible(character: char) -> bool {
    !character.is_whitespace()
        && !character.is_control()
        && !INVISIBLE.iter().any(|range| range.contains(&character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_characters_that_do_not_show_is_not_visible() {
        for text in [
            "",
            " \n\t\u{2003}\u{3000}",
            "\u{200b}",
            "\u{2060}",
            "\u{ad}\u{ad}",
            "\u{3164}",
            "\u{115f}\u{1160}",
            "\u{feff}",
            "\u{180e}",
            "\u{fe0f}\u{e0100}",
            "\u{202e}\u{2066}\u{200f}",
            "\u{7f}\u{1b}",
            " \u{200d} \u{2800}",
        ] {
            assert!(!has_visible_character(text), "{text:?}");
        }
    }

    #[test]
    fn letters_of_any_script_and_emoji_are_visible() {
        for text in
            ["a", ".", "é", "\u{200b}x", "你", "가", "ᄀ", "م", "❤\u{fe0f}", "👩\u{200d}🚀", "\u{fffd}"]
        {
            assert!(has_visible_character(text), "{text:?}");
        }
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(INVISIBLE.iter().zip(INVISIBLE.iter().skip(1)).all(|(one, next)| one.end() < next.start()));
    }
}
