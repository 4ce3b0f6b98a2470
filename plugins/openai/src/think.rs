//! Takes a model's thinking out of its text, where it is between `<think>` and `</think>` at the very beginning.
//!
//! Models whose server does not separate the two write it that way. The thinking is passed on once its end has arrived:
//! a tag that is never closed is no thinking, and what stands behind it is the reply. Elsewhere in a reply the tags are
//! text.

use masque_sdk::Delta;

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";
/// The longest thinking that is waited for, in bytes. Longer ones are text.
const MAX_THINKING: usize = 1024 * 1024;

/// Where in the reply the text is.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(crate) enum ThinkTags {
    /// At its beginning; the tag may still come. Holds what was not passed on.
    Beginning(String),
    /// Behind the opening tag. Holds everything from the tag on, and how much of it was searched for the end.
    Thinking { held: String, searched: usize },
    /// Behind the closing tag, where white space is left out.
    Ended,
    /// In the reply.
    Text,
}

impl ThinkTags {
    /// `is_read` says whether the tags mean anything.
    pub(crate) fn new(is_read: bool) -> Self {
        if is_read { Self::Beginning(String::new()) } else { Self::Text }
    }

    /// Takes the next piece of the text and adds what is certain by now.
    pub(crate) fn push(&mut self, piece: String, deltas: &mut Vec<Delta>) {
        match self {
            Self::Text => push_text(piece, deltas),
            Self::Ended => {
                let text = piece.trim_start();
                if !text.is_empty() {
                    push_text(text.to_owned(), deltas);
                    *self = Self::Text;
                }
            }
            Self::Beginning(held) => {
                held.push_str(&piece);
                let begun = held.trim_start();
                if begun.starts_with(OPEN) {
                    *self = Self::Thinking { held: std::mem::take(held), searched: 0 };
                    self.find_end(deltas);
                } else if !OPEN.starts_with(begun) {
                    push_text(std::mem::take(held), deltas);
                    *self = Self::Text;
                }
            }
            Self::Thinking { held, .. } => {
                held.push_str(&piece);
                self.find_end(deltas);
            }
        }
    }

    /// Adds what was held back: no further text comes.
    pub(crate) fn end(&mut self, deltas: &mut Vec<Delta>) {
        let state = std::mem::replace(self, Self::Text);
        if let Self::Beginning(held) | Self::Thinking { held, .. } = state {
            push_text(held, deltas);
        }
    }

    fn find_end(&mut self, deltas: &mut Vec<Delta>) {
        let Self::Thinking { held, searched } = self else { return };
        let from = held.floor_char_boundary(searched.saturating_sub(CLOSE.len()));
        let found = held.get(from..).and_then(|text| text.find(CLOSE)).map(|at| from + at);
        *searched = held.len();
        match found {
            Some(at) => {
                let (thinking, rest) = held.split_at(at);
                let thinking = thinking.trim_start().strip_prefix(OPEN).unwrap_or_default().trim();
                if !thinking.is_empty() {
                    deltas.push(Delta::Thinking(thinking.to_owned()));
                }
                let rest = rest.strip_prefix(CLOSE).unwrap_or_default().to_owned();
                *self = Self::Ended;
                self.push(rest, deltas);
            }
            None if held.len() > MAX_THINKING => {
                push_text(std::mem::take(held), deltas);
                *self = Self::Text;
            }
            None => {}
        }
    }
}

fn push_text(text: String, deltas: &mut Vec<Delta>) {
    if !text.is_empty() {
        deltas.push(Delta::Text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is thought and said, read in pieces of `size` bytes.
    fn read(input: &str, size: usize, is_read: bool) -> (String, String) {
        let (mut tags, mut deltas) = (ThinkTags::new(is_read), Vec::new());
        for piece in input.as_bytes().chunks(size) {
            tags.push(String::from_utf8_lossy(piece).into_owned(), &mut deltas);
        }
        tags.end(&mut deltas);
        let (mut thought, mut said) = (String::new(), String::new());
        for delta in deltas {
            match delta {
                Delta::Thinking(text) => thought.push_str(&text),
                Delta::Text(text) => said.push_str(&text),
                other => panic!("{other:?}"),
            }
        }
        (thought, said)
    }

    #[test]
    fn the_first_tags_of_a_reply_hold_its_thinking_and_no_others() {
        let table = [
            ("<think>She is shy.</think>\n\nHello.", "She is shy.", "Hello."),
            ("\n <think>\nhm\n</think> Hi", "hm", "Hi"),
            ("<think></think>\n\nHi", "", "Hi"),
            ("<think>a</think><think>b</think>", "a", "<think>b</think>"),
            ("Well, <think>no</think>.", "", "Well, <think>no</think>."),
            ("<think>She is", "", "<think>She is"),
            ("<think", "", "<think"),
            ("<thinker> is a word", "", "<thinker> is a word"),
            ("  Hi", "", "  Hi"),
            ("hm</think>Hi", "", "hm</think>Hi"),
            ("", "", ""),
        ];
        for (input, thought, said) in table {
            for size in [1, 3, 1000] {
                assert_eq!(read(input, size, true), (thought.into(), said.into()), "{input:?} by {size}");
            }
        }
        assert_eq!(read("<think>a</think>b", 1, false).1, "<think>a</think>b");
    }

    #[test]
    fn endless_thinking_becomes_text() {
        let long = format!("<think>{}", "x".repeat(MAX_THINKING));
        let (mut tags, mut deltas) = (ThinkTags::new(true), Vec::new());
        tags.push(long.clone(), &mut deltas);
        assert_eq!(deltas, [Delta::Text(long)]);
    }
}
