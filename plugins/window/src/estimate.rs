//! Estimates the number of tokens of a text without a tokenizer; an estimate is rather too high than too low.
//!
//! Any model may answer, so no single vocabulary is right. An estimate that is too low costs the user a refused turn; one
//! that is too high costs a few old messages. The rules:
//!
//! - ASCII letters: byte-pair vocabularies have 4 to 5 letters in a token of English, and 3 to 4 in one of code and other
//!   languages. Counted: 1 for each 3 letters or fewer of a run; a capital after a small letter begins a new run
//!   (camelCase). The space before a word is part of the word.
//! - Digits and punctuation: some vocabularies join three digits, others none; punctuation is mostly one token each.
//!   Counted: 1 each.
//! - Further white space: new vocabularies join it, old ones do not. Counted: 1 for 2, and 1 for each line ending.
//! - Other characters: a vocabulary spells out in bytes what it lacks. Counted: 1 for a character of two bytes (ä, ع), but
//!   1.25 for the rarer Latin ones (ł) and 0.75 for Cyrillic (и); 1.5 for three bytes (你, क, 한), 3 for four bytes (🌒).
//!
//! The tests compare this with counts made with two published vocabularies. Vocabularies from before 2023 can need more
//! outside English, and so can text in no language, such as base64 or rare ideographs alone.

use masque_sdk::{Message, Part};

/// Tokens of a message beside its text: role, separators, end mark. OpenAI's format has 4, that of Llama 3 has 5.
const MESSAGE_OVERHEAD: u32 = 6;
/// Tokens of an image or another file. An upper bound in the low resolution that providers fall back to.
const BLOB: u32 = 1_000;

/// The most letters of a token.
const LETTERS: u32 = 3;

/// Estimates the tokens of a message with its overhead in a prompt.
pub(crate) fn message(message: &Message) -> u32 {
    message.parts.iter().map(part).fold(MESSAGE_OVERHEAD, u32::saturating_add)
}

fn part(part: &Part) -> u32 {
    match part {
        Part::Text(body) => text(body),
        Part::ToolCall(call) => text(&call.name).saturating_add(text(&call.arguments)),
        Part::ToolResult(result) => text(&result.content),
        Part::Blob(_) => BLOB,
        // These are not sent to a model.
        Part::Thinking(_) | Part::Other(_) => 0,
    }
}

/// A character by what it makes of the next one.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Small,
    Capital,
    Space,
    Other,
}

/// Estimates the tokens of a text.
pub(crate) fn text(text: &str) -> u32 {
    let mut quarters: u64 = 0;
    // How many letters the last token has room for, and what the last character was.
    let (mut room, mut last) = (0, Kind::Other);
    for character in text.chars() {
        let (kind, cost) = match character {
            'a'..='z' if room > 0 => (Kind::Small, 0),
            'a'..='z' => (Kind::Small, 4),
            'A'..='Z' if room > 0 && last == Kind::Capital => (Kind::Capital, 0),
            'A'..='Z' => (Kind::Capital, 4),
            // The last space of several is part of the word that follows.
            ' ' | '\t' => (Kind::Space, if last == Kind::Space { 2 } else { 0 }),
            '\u{0100}'..='\u{024f}' => (Kind::Other, 5),
            '\u{0400}'..='\u{052f}' => (Kind::Other, 3),
            other => (Kind::Other, [4, 4, 6, 12].get(other.len_utf8() - 1).copied().unwrap_or(12)),
        };
        room = match (kind, cost) {
            (Kind::Space | Kind::Other, _) => 0,
            (_, 0) => room - 1,
            _ => LETTERS - 1,
        };
        quarters += cost;
        last = kind;
    }
    // No word follows the last space of a text.
    quarters += if last == Kind::Space { 2 } else { 0 };
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
    fn the_documented_rules_apply() {
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
    fn parts_that_are_not_sent_cost_nothing_and_an_image_costs_a_lot() {
        let mut sent = Message::user("abc");
        assert_eq!(message(&sent), 7);
        sent.parts.push(Part::Thinking("a long thought".into()));
        sent.parts.push(Part::Other(Property { name: "x".into(), json: "{}".into() }));
        assert_eq!(message(&sent), 7);
        sent.parts.push(Part::Blob(Blob {
            media_type: "image/png".into(),
            uri: "blob:1".into(),
            metadata: Vec::new(),
        }));
        assert_eq!(message(&sent), 1_007);
    }
}
