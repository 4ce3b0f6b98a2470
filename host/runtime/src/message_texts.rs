//! Removes what a text repeats of messages.
//!
//! The threat: no level of the log shows the text of a message, and a plugin's failure repeats one: servers quote the request that
//! they refuse, with other escapes and white space. The policy: of texts, letters and digits are compared, with the escapes of
//! JSON read. A run of [`MIN_RUN`] bytes of them that a message has too, or a whole message of at least [`MIN_MESSAGE`], is
//! replaced. The accepted consequence: a shorter quotation stays, a phrase that both have by chance is replaced.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::contract::{Message, Part, Prompt, Recollection};
use crate::json_escapes::{Spelled, Unescaped};

/// Stands in the place of what is repeated.
const MARK: &str = "[message]";

/// Two or three words.
const MIN_RUN: usize = 12;
/// A shorter message is a word that many texts have.
const MIN_MESSAGE: usize = 6;

/// The most bytes of a text that are searched and kept. The log keeps less.
const MAX_TEXT: usize = 16 << 10;

/// The texts of messages that a call was given, or wrote.
#[derive(Clone, Default)]
pub struct MessageTexts(Vec<Arc<str>>);

impl MessageTexts {
    /// Adds the texts of messages.
    pub fn add<'m>(&mut self, messages: impl IntoIterator<Item = &'m Message>) {
        for part in messages.into_iter().flat_map(|message| &message.parts) {
            match part {
                Part::Text(text) | Part::Thinking(text) => self.0.push(Arc::clone(text)),
                Part::ToolCall(call) => self.0.push(Arc::clone(&call.arguments)),
                Part::ToolResult(result) => self.0.push(Arc::clone(&result.content)),
                Part::Blob(blob) => self.0.push(Arc::clone(&blob.uri)),
                Part::Other(property) => self.0.push(Arc::clone(&property.json)),
            }
        }
    }

    /// Adds the texts of what a memory recalled.
    pub fn add_recollection(&mut self, recalled: &Recollection) {
        self.add(&recalled.messages);
        self.0.extend(recalled.memories.iter().map(|memory| Arc::clone(&memory.text)));
    }

    /// Adds the texts of a prompt.
    pub fn add_prompt(&mut self, prompt: &Prompt) {
        self.add(&prompt.messages);
    }

    /// Adds a text.
    pub fn add_text(&mut self, text: &str) {
        self.0.push(text.into());
    }

    /// The beginning of `text`, with `[message]` in the place of what it repeats.
    pub fn hide_in<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let text = text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text);
        let letters: Vec<Spelled> = letters(text).collect();
        let mut hidden = vec![false; letters.len()];
        self.mark(&letters, &mut hidden);
        let found = ranges(&letters, &hidden, text);
        if found.is_empty() {
            return text.into();
        }
        let mut kept = String::with_capacity(text.len());
        let mut at = 0;
        for range in found {
            kept.push_str(text.get(at..range.start).unwrap_or_default());
            kept.push_str(MARK);
            at = range.end;
        }
        kept.push_str(text.get(at..).unwrap_or_default());
        kept.into()
    }

    /// Sets in `hidden` which of the letters a message has too.
    fn mark(&self, text: &[Spelled], hidden: &mut [bool]) {
        let bytes: Vec<u8> = text.iter().map(|letter| letter.byte).collect();
        let mut runs: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (at, run) in bytes.windows(MIN_RUN).enumerate() {
            runs.entry(run).or_default().push(at);
        }
        let mut hide = |at: usize, length: usize| {
            hidden.iter_mut().skip(at).take(length).for_each(|hidden| *hidden = true);
        };
        for message in &self.0 {
            let message: Vec<u8> = letters(message).map(|letter| letter.byte).collect();
            if (MIN_MESSAGE..MIN_RUN).contains(&message.len()) {
                let same = bytes.windows(message.len()).enumerate().filter(|(_, part)| *part == message);
                same.for_each(|(at, part)| hide(at, part.len()));
            }
            for run in message.windows(MIN_RUN) {
                // Each run is hidden once, however often messages have it.
                runs.remove(run).into_iter().flatten().for_each(|at| hide(at, MIN_RUN));
            }
        }
    }
}

/// The letters and digits that a text means, in lower case. Characters beyond ASCII all count.
fn letters(text: &str) -> impl Iterator<Item = Spelled> + '_ {
    let meant = Unescaped::new(text.as_bytes());
    let kept = meant.filter(|letter| letter.byte.is_ascii_alphanumeric() || !letter.byte.is_ascii());
    kept.map(|letter| Spelled { byte: letter.byte.to_ascii_lowercase(), ..letter })
}

/// Where the hidden letters are in the text, in order and on borders of characters. What is between two of them that follow
/// each other, such as a space, is hidden with them.
fn ranges(letters: &[Spelled], hidden: &[bool], text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut follows = false;
    for (letter, is_hidden) in letters.iter().zip(hidden) {
        if *is_hidden {
            let (start, end) = (text.floor_char_boundary(letter.start), text.ceil_char_boundary(letter.end));
            match found.last_mut() {
                Some(last) if follows || start < last.end => last.end = last.end.max(end),
                _ => found.push(start..end),
            }
        }
        follows = *is_hidden;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(messages: &[&str], text: &str) -> String {
        let mut texts = MessageTexts::default();
        let messages: Vec<_> = messages.iter().map(|text| Message::new("user", *text)).collect();
        texts.add(&messages);
        texts.hide_in(text).into_owned()
    }

    #[test]
    fn what_a_text_repeats_of_a_message_is_hidden_however_it_is_written() {
        let message = "I hid the \"key\" under\nthe blue stone.";
        for (text, wanted) in [
            ("refused", "refused"),
            ("422: I hid the \"key\" under\nthe blue stone. was too long", "422: [message]. was too long"),
            (r#"{"input": "I hid the \"key\" under\nthe blue stone."}"#, r#"{"input": "[message]."}"#),
            (r#"input: \"I hid the \\\"key\\\" under\\nthe blue stone.\""#, r#"input: \"[message].\""#),
            ("found: under the  BLUE stone", "found: [message]"),
            ("at \"hid the key und\" and \"e blue stone\"", "at \"[message]\" and \"e blue stone\""),
            ("the blue st", "the blue st"),
        ] {
            assert_eq!(hidden(&[message], text), wanted, "{text}");
        }
    }

    #[test]
    fn a_short_message_is_hidden_as_a_whole_and_a_word_is_not() {
        assert_eq!(hidden(&["Pin: 4711."], "refused: pin 4711"), "refused: [message]");
        assert_eq!(hidden(&["Pin: 4711."], "refused: pin 471"), "refused: pin 471");
        assert_eq!(hidden(&["Model", ""], "no such model"), "no such model");
    }

    #[test]
    fn every_message_counts_and_characters_stay_whole() {
        let messages = ["Où est la clé bleue ?", "Unter dem größten Stein."];
        let text = "é: où est la clé bleue, é: UNTER dem gr\\u00f6\\u00dften Stein, é";
        assert_eq!(hidden(&messages, text), "é: [message], é: [message], é");
        let cut = hidden(&["éééééééééééé"], "xéééééééx");
        assert_eq!(cut, "x[message]x");
    }

    #[test]
    fn a_text_that_repeats_one_letter_is_searched_in_linear_time() {
        let text = "a".repeat(4 * MAX_TEXT);
        assert_eq!(hidden(&[&text], &text), MARK);
    }

    #[test]
    fn texts_of_tools_and_memories_count() {
        use crate::contract::{Property, Remembered, ToolResult};
        let result = Part::ToolResult(ToolResult {
            id: "1".into(),
            content: "the vault is in Bergen".into(),
            is_error: false,
            metadata: Vec::<Property>::new(),
        });
        let mut texts = MessageTexts::default();
        texts.add([&Message { parts: vec![result], ..Message::new("tool", "") }]);
        texts.add_recollection(&Recollection {
            messages: Vec::new(),
            memories: vec![Remembered {
                id: "1".into(),
                text: "the dog is called Ada".into(),
                score: None,
                source: None,
                metadata: Vec::new(),
            }],
            metadata: Vec::new(),
        });
        texts.add_text("what was written so far");
        let text = "(the vault is in Bergen) or (the dog is called Ada) or (what was written so far)";
        assert_eq!(texts.hide_in(text), "([message]) or ([message]) or ([message])");
    }
}
