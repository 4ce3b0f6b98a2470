//! Keeps a text that arrives in pieces from being taken twice, where a server repeats the whole at the end.

use crate::surrogates::Halves;

/// The text so far.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(super) struct Said {
    text: String,
    pieces: usize,
    /// A piece came as a delta, so a whole message repeats it.
    by_delta: bool,
    halves: Halves,
}

impl Said {
    /// Takes a piece of a delta and returns what is new. The last frame of a stream, which has a finish reason, may repeat
    /// everything. With `has_marks` the piece may hold halves of characters; one at its end waits for the next piece.
    pub(super) fn delta(&mut self, piece: String, is_last: bool, has_marks: bool) -> Option<String> {
        let piece = self.halves.join(piece, has_marks);
        if piece.is_empty() {
            return None;
        }
        self.by_delta = true;
        if is_last && self.pieces >= 2 && piece.trim() == self.text.trim() {
            return None;
        }
        self.add(piece)
    }

    /// Takes the text of a message, which some servers send in place of deltas and others after them, and returns what is
    /// new: the message may hold the whole, all of it so far, or the next piece.
    pub(super) fn message(&mut self, text: String, is_last: bool) -> Option<String> {
        if text.is_empty() {
            return None;
        }
        if let Some(rest) = text.strip_prefix(&self.text).filter(|rest| !rest.is_empty()) {
            return self.add(rest.to_owned());
        }
        if self.by_delta {
            // The whole or the last piece again, perhaps with other white space, is nothing new. The whole may go on.
            if let Some(rest) = text.trim_start().strip_prefix(self.text.trim_start()) {
                return self.add(rest.to_owned());
            }
            return if without_space(&self.text).ends_with(&without_space(&text)) {
                None
            } else {
                self.add(text)
            };
        }
        // Messages in place of deltas: the same text again is the whole if it ends the stream.
        let is_whole = text == self.text && (is_last || self.pieces >= 2);
        if is_whole { None } else { self.add(text) }
    }

    /// Returns what stands for half a character whose other half did not come.
    pub(super) fn end(&mut self) -> Option<String> {
        let replacement = self.halves.end()?;
        self.add(replacement.into())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Its length in bytes, which grows with everything that is new.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    fn add(&mut self, piece: String) -> Option<String> {
        if piece.is_empty() {
            return None;
        }
        self.pieces += 1;
        self.text.push_str(&piece);
        Some(piece)
    }
}

fn without_space(text: &str) -> String {
    text.split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    enum From<'a> {
        Delta(&'a str),
        Message(&'a str),
        Last(&'a str),
        LastMessage(&'a str),
    }
    use From::{Delta, Last, LastMessage, Message};

    #[test]
    fn a_text_that_is_repeated_as_a_whole_is_taken_once() {
        let table: &[(&[From<'_>], &str)] = &[
            (&[Delta("Hi, "), Delta("Ida."), LastMessage("Hi, Ida.")], "Hi, Ida."),
            (&[Delta("Hi, "), Delta("Ida."), LastMessage("Hi, Ida. Bye.")], "Hi, Ida. Bye."),
            (&[Delta("\n\nHi, "), Delta("Ida."), LastMessage("Hi, Ida.")], "\n\nHi, Ida."),
            (&[Delta("Hi, "), Delta("Ida."), Last("Hi, Ida.")], "Hi, Ida."),
            (&[Delta("ha"), Delta("ha"), Last("!")], "haha!"),
            (&[Delta("ha"), Last("ha")], "haha"),
            (&[Delta("Hi"), LastMessage(", Ida.")], "Hi, Ida."),
            (&[Delta("Hi, "), Message("Hi, "), Delta("Ida."), LastMessage("Ida.")], "Hi, Ida."),
            (&[Delta("Hi,\n"), Delta("Ida."), LastMessage("Hi, Ida.")], "Hi,\nIda."),
            (&[LastMessage("Hi.")], "Hi."),
            (&[Message("Hi, "), Message("Ida.")], "Hi, Ida."),
            (&[Message("Hi"), Message("Hi, Ida"), LastMessage("Hi, Ida.")], "Hi, Ida."),
            (&[Message("Hi."), LastMessage("Hi.")], "Hi."),
            (&[Message("ha"), Message("ha"), LastMessage("!")], "haha!"),
        ];
        for (number, (pieces, wanted)) in table.iter().enumerate() {
            let mut said = Said::default();
            let got: String = pieces
                .iter()
                .filter_map(|piece| match piece {
                    Delta(text) => said.delta((*text).into(), false, false),
                    Last(text) => said.delta((*text).into(), true, false),
                    Message(text) => said.message((*text).into(), false),
                    LastMessage(text) => said.message((*text).into(), true),
                })
                .collect();
            assert_eq!(got, *wanted, "row {number}");
        }
    }
}
