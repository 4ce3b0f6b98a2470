//! The texts of a reply: what is thought, said and refused, each from deltas and whole messages.

use super::content;
use super::said::Said;
use crate::surrogates;
use crate::think::ThinkTags;
use masque_sdk::Delta;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The texts so far.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(super) struct Texts {
    text: Said,
    thinking: Said,
    refusal: Said,
    think_tags: ThinkTags,
}

impl Texts {
    /// `think_tags` says whether a `<think>` at the beginning of the text is thinking.
    pub(super) fn new(think_tags: bool) -> Self {
        Self {
            text: Said::default(),
            thinking: Said::default(),
            refusal: Said::default(),
            think_tags: ThinkTags::new(think_tags),
        }
    }

    /// Reads the texts of a choice, and adds what is new. `is_last` says that the choice has a finish reason, `has_marks`
    /// that its texts may hold halves of characters.
    pub(super) fn read(
        &mut self,
        choice: &Map<String, Value>,
        delta: Option<&Map<String, Value>>,
        message: Option<&Map<String, Value>>,
        is_last: bool,
        has_marks: bool,
        deltas: &mut Vec<Delta>,
    ) {
        let piece = delta.map(content::read).unwrap_or_default();
        let whole = message.map(content::read).unwrap_or_default();
        // The completions API has its text in the choice; a few servers have it there beside an empty delta.
        let is_legacy = piece.text.is_empty() && whole.text.is_empty();
        let legacy = choice.get("text").filter(|_| is_legacy).map(content::words).unwrap_or_default();
        let join_whole = |text| surrogates::join_whole(text, has_marks);
        let thinking = [
            self.thinking.delta(piece.thinking, is_last, has_marks),
            self.thinking.message(join_whole(whole.thinking), is_last),
        ];
        deltas.extend(thinking.into_iter().flatten().map(Delta::Thinking));
        let text = [
            self.text.delta(if is_legacy { legacy } else { piece.text }, is_last, has_marks),
            self.text.message(join_whole(whole.text), is_last),
        ];
        for text in text.into_iter().flatten() {
            self.think_tags.push(text, deltas);
        }
        let refusal = [
            self.refusal.delta(piece.refusal, is_last, has_marks),
            self.refusal.message(join_whole(whole.refusal), is_last),
        ];
        deltas.extend(refusal.into_iter().flatten().map(Delta::Text));
    }

    /// Reads a thought and a text of a delta that is not the last one and holds no halves of characters.
    pub(super) fn read_piece(&mut self, thought: Cow<'_, str>, text: Cow<'_, str>, deltas: &mut Vec<Delta>) {
        // Empty pieces, which most frames have of one kind, change nothing.
        if !thought.is_empty() {
            deltas.extend(self.thinking.delta(thought.into_owned(), false, false).map(Delta::Thinking));
        }
        if !text.is_empty()
            && let Some(text) = self.text.delta(text.into_owned(), false, false)
        {
            self.think_tags.push(text, deltas);
        }
    }

    /// Returns what was held back: no further text comes.
    pub(super) fn end(&mut self) -> Vec<Delta> {
        let mut deltas = Vec::new();
        deltas.extend(self.thinking.end().map(Delta::Thinking));
        if let Some(text) = self.text.end() {
            self.think_tags.push(text, &mut deltas);
        }
        self.think_tags.end(&mut deltas);
        deltas.extend(self.refusal.end().map(Delta::Text));
        deltas
    }

    /// The bytes of all texts.
    pub(super) fn len(&self) -> usize {
        self.text.len() + self.thinking.len() + self.refusal.len()
    }

    /// Whether nothing but white space came.
    pub(super) fn is_blank(&self) -> bool {
        self.text.is_empty() && self.thinking.is_empty() && self.refusal.is_empty()
    }

    /// Whether the model refused to answer.
    pub(super) fn has_refusal(&self) -> bool {
        !self.refusal.is_empty()
    }
}
