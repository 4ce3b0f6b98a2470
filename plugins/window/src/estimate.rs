//! How many tokens a text is, without a tokeniser and rather too many than too few.
//!
//! The budget belongs to whichever model answers, so no vocabulary is the right one, and one that is too low costs the
//! user a refused turn while one that is too high costs a few old messages. The basis:
//!
//! - A run of ASCII letters is words or identifiers; byte-pair vocabularies give 4 to 5 letters a token in English and
//!   3 to 4 in code and other languages. Counted: one for each 3 letters begun, again from each capital
//!   after a small letter (camelCase). The space before a word is part of it.
//! - Digits come in threes with some vocabularies and singly with others, punctuation mostly singly. Counted: 1 each.
//! - Further white space is folded by new vocabularies and not by old ones. Counted: 1 for 2, and 1 for each line's end.
//! - Beyond ASCII the bytes decide, since what a vocabulary lacks it spells out in bytes: 1 for a character of two bytes
//!   (ä, ع), but 1.25 for the rarer Latin ones (ł) and 0.75 for the Cyrillic (и), 1.5 for one of three (你, क, 한), 3 for one of four (🌒).
//!
//! The tests hold this against counts made with two published vocabularies. Vocabularies from before 2023 can need more
//! outside English, and so can what no language is: a text of rare ideographs alone, or base64.

use masque_sdk::{Message, Part};

/// What a chat format spends on a message beside its text: role, separators, end mark. 4 with OpenAI's, 5 with Llama 3's.
const AROUND_A_MESSAGE: u32 = 6;
/// What an image or another file costs at most in the low resolutions that a provider falls back to.
const BLOB: u32 = 1_000;

/// The tokens of a message, with what surrounds it in a prompt.
pub(crate) fn message(message: &Message) -> u32 {
    message.parts.iter().map(part).fold(AROUND_A_MESSAGE, u32::saturating_add)
}

fn part(part: &Part) -> u32 {
    match part {
        Part::Text(body) => text(body),
        Part::ToolCall(call) => text(&call.name).saturating_add(text(&call.arguments)),
        Part::ToolResult(result) => text(&result.content),
        Part::Blob(_) => BLOB,
        // Neither is sent to a model.
        Part::Thinking(_) | Part::Other(_) => 0,
    }
}

/// The tokens of a text.
pub(crate) fn text(text: &str) -> u32 {
    let mut quarters: u64 = 0;
    let (mut letters, mut spaces) = (0_u64, 0_u64);
    let mut after_small = false;
    for character in text.chars() {
        let begins_a_word = character.is_ascii_uppercase() && after_small;
        after_small = character.is_ascii_lowercase();
        if begins_a_word || !character.is_ascii_alphabetic() {
            quarters += 4 * letters.div_ceil(3);
            letters = 0;
        }
        if character != ' ' && character != '\t' {
            // The last one belongs to the word that follows.
            quarters += 2 * spaces.saturating_sub(1);
            spaces = 0;
        }
        match character {
            ' ' | '\t' => spaces += 1,
            'a'..='z' | 'A'..='Z' => letters += 1,
            '\u{0100}'..='\u{024f}' => quarters += 5,
            '\u{0400}'..='\u{052f}' => quarters += 3,
            other => quarters += [4, 4, 6, 12].get(other.len_utf8() - 1).copied().unwrap_or(12),
        }
    }
    quarters += 4 * letters.div_ceil(3) + 2 * spaces;
    u32::try_from(quarters.div_ceil(4)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use masque_sdk::{Blob, Property};

    /// A text and its tokens in the vocabularies cl100k_base (2023) and o200k_base (2024).
    const TABLE: &[(&str, &str, [u32; 2])] = &[
        (
            "English prose",
            "The lamp swings once, very slightly, as the ferry lets go of the pier. Nobody aboard is in a hurry: the crossing takes as long as the conversation does, and both have been going on for sixty years.",
            [44, 44],
        ),
        ("English chat", "omg yes!! i literally can't even... brb, 5 mins? :) lol", [19, 18]),
        (
            "German prose",
            "Die Überfahrt dauert so lange wie das Gespräch, und der Lotse sieht heute nicht weiter als bis zu seinem eigenen Schnurrbart. Wer zuhört, erfährt Straßennamen, Geburtstagswünsche und Donaudampfschifffahrtsgesellschaften.",
            [67, 54],
        ),
        (
            "French prose",
            "Elle a levé les yeux par-dessus ses lunettes, puis elle les a ôtées, ce qu'elle ne fait que pour les gens. L'été dernier, déjà, c'était pareil.",
            [46, 39],
        ),
        (
            "Russian prose",
            "Паром идёт медленно, потому что сегодня туман, и лоцман не видит дальше собственных усов.",
            [44, 26],
        ),
        (
            "Chinese prose",
            "渡船今晚走得很慢，因为雾很大。她把茶倒好，问我有没有一个闭着眼睛也能走过去的地方。",
            [56, 34],
        ),
        (
            "Japanese prose",
            "今夜の渡し船は霧のためにゆっくり進んでいます。お茶をどうぞ、と彼女は言いました。",
            [45, 33],
        ),
        (
            "Korean prose",
            "오늘 밤 나룻배는 안개 때문에 천천히 갑니다. 차를 드세요, 하고 그녀가 말했습니다.",
            [46, 27],
        ),
        ("Hindi", "आज रात नाव कोहर\u{947} क\u{947} कारण धीर\u{947} चल रही ह\u{948}।", [41, 12]),
        (
            "Thai",
            "ค\u{e37}นน\u{e35}\u{e49}เร\u{e37}อข\u{e49}ามฟากแล\u{e48}นช\u{e49}าเพราะหมอกลงจ\u{e31}ด",
            [36, 17],
        ),
        ("Arabic", "تسير العب\u{651}ارة ببطء هذه الليلة بسبب الضباب.", [30, 16]),
        (
            "Rust",
            "fn text(text: &str) -> u32 {\n    let mut quarters: u64 = 0;\n    for character in text.chars() {\n        match character {\n            ' ' | '\\t' => spaces += 1,\n            other => halves += [2, 2, 3, 6][other.len_utf8() - 1],\n        }\n    }\n    u32::try_from(halves).unwrap_or(u32::MAX)\n}\n",
            [95, 96],
        ),
        (
            "JSON",
            "{\"id\":\"01931b66-7f1e-7c3a\",\"usage\":{\"input_tokens\":1234567,\"output_tokens\":89},\"ok\":true}",
            [36, 36],
        ),
        ("a URL", "https://example.org/a/b/c?q=1&lang=de#frag_42", [18, 18]),
        ("numbers", "3.14159265358979323846264338327950288", [14, 14]),
        ("emoji", "🙂🌒👍🏽👨\u{200d}👩\u{200d}👧\u{200d}👦🏳\u{fe0f}\u{200d}🌈🇩🇪❤\u{fe0f}", [47, 28]),
        ("spaces", "a                                        b       c", [5, 5]),
        ("lines", "a\n\n\n\n\nb\r\n\r\nc\n", [6, 6]),
        ("tabs", "a\t\t\tb\n\t\t\t\tc", [6, 6]),
        ("capitals", "WARNING: DO NOT TOUCH THE XKCDQZ", [10, 10]),
        ("rare letters", "Zażółć gęślą jaźń, þæð ŋħŧ", [22, 19]),
    ];

    #[test]
    fn no_text_is_counted_too_low_in_any_vocabulary() {
        for (name, body, counted) in TABLE {
            let most = counted.iter().copied().max().unwrap();
            assert!(text(body) >= most, "{name}: estimated {}, counted {counted:?}", text(body));
        }
    }

    #[test]
    fn prose_is_not_counted_so_high_that_the_window_is_wasted() {
        for (name, body, counted) in TABLE.iter().filter(|(name, ..)| name.contains("prose")) {
            assert!(
                text(body) <= counted[0] * 8 / 5,
                "{name}: estimated {}, counted {counted:?}",
                text(body)
            );
        }
    }

    #[test]
    fn the_rules_are_as_they_are_written() {
        let table = [
            ("", 0),
            ("abc", 1),
            ("abcd", 2),
            ("abc abc", 2),
            ("abCd", 2),
            ("a1b", 3),
            ("1,234", 5),
            ("a    b", 4),
            ("\n\n", 2),
            ("ä", 1),
            ("你好", 3),
            ("你", 2),
            ("नम", 3),
            ("и", 1),
            ("ииии", 3),
            ("🌒", 3),
        ];
        for (body, wanted) in table {
            assert_eq!(text(body), wanted, "{body:?}");
        }
    }

    #[test]
    fn what_a_model_is_not_sent_costs_nothing_and_a_picture_a_lot() {
        let mut told = Message::user("abc");
        assert_eq!(message(&told), 7);
        told.parts.push(Part::Thinking("a long thought".into()));
        told.parts.push(Part::Other(Property { name: "x".into(), json: "{}".into() }));
        assert_eq!(message(&told), 7);
        told.parts.push(Part::Blob(Blob {
            media_type: "image/png".into(),
            uri: "blob:1".into(),
            metadata: Vec::new(),
        }));
        assert_eq!(message(&told), 1_007);
    }
}
