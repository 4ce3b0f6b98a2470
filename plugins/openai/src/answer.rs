//! Turns the frames of an endpoint's answer into deltas: those of a stream one by one, or a whole answer at once.
//!
//! Servers differ in every member of a frame. What is odd costs itself and nothing beside it: a member that can't be read
//! is passed over, the rest of its frame counts. The parts are read by `content` (texts), `said` (texts that are
//! repeated), `calls` (tool calls), `finish` (reasons) and `usage` (tokens).

mod calls;
mod content;
mod finish;
mod said;
mod usage;

use crate::failure;
use crate::frames::Frame;
use crate::json::{self, is_blank};
use crate::reported;
use crate::think::ThinkTags;
use calls::Calls;
use finish::Finish;
use masque_sdk::{Delta, Failure, Result};
use said::Said;
use serde_json::{Map, Value};
use std::borrow::Cow;
use usage::Tokens;

/// The number of malformed frames after which the answer is refused, as it is no chat-completions stream.
const MAX_MALFORMED: u32 = 16;

/// The part of a reply that has arrived.
pub(crate) struct Answer {
    text: Said,
    thinking: Said,
    refusal: Said,
    think_tags: ThinkTags,
    calls: Calls,
    finish: Option<Finish>,
    tokens: Tokens,
    /// The choice that is read: the first one that came. Of others only the tool calls are.
    choice: Option<u64>,
    understood: u32,
    malformed: u32,
    /// Frames with something that belongs to the reply.
    content: u32,
    /// A whole answer came, or the end of the stream.
    done: bool,
    /// A whole answer came without a finish reason.
    is_whole: bool,
}

impl Answer {
    /// `think_tags` says whether a `<think>` at the beginning of the text is thinking.
    pub(crate) fn new(think_tags: bool) -> Self {
        Self {
            text: Said::default(),
            thinking: Said::default(),
            refusal: Said::default(),
            think_tags: ThinkTags::new(think_tags),
            calls: Calls::default(),
            finish: None,
            tokens: Tokens::default(),
            choice: None,
            understood: 0,
            malformed: 0,
            content: 0,
            done: false,
            is_whole: false,
        }
    }

    /// Reads a frame and adds its deltas in their order. Those before an error in the same frame are added too.
    ///
    /// # Errors
    /// The endpoint reports an error, or sent too many malformed frames.
    pub(crate) fn read(&mut self, frame: Frame, deltas: &mut Vec<Delta>) -> Result<()> {
        let (data, is_bare) = match frame {
            Frame::Error(data) => {
                let error = json::parse(&data).ok().and_then(|values| values.into_iter().next());
                return Err(failure::from_error(&error.unwrap_or(data.into())));
            }
            Frame::Event(data) => (data, false),
            Frame::Bare(data) => (data, true),
        };
        let data = data.trim();
        if data.eq_ignore_ascii_case("[DONE]") {
            self.done = true;
            return Ok(());
        }
        match json::parse(data) {
            Ok(values) => values.into_iter().try_for_each(|value| self.read_value(&value, is_bare, deltas)),
            Err(error) => {
                self.malformed += 1;
                if self.malformed == 1 {
                    tracing::warn!(%error, frame = failure::excerpt(data.as_bytes()), "skipped a malformed frame");
                }
                if self.malformed < MAX_MALFORMED {
                    return Ok(());
                }
                Err(failure::invalid_answer("too many malformed frames", data.as_bytes()))
            }
        }
    }

    /// Whether nothing more has to be read.
    pub(crate) fn is_complete(&self) -> bool {
        self.done
    }

    /// Whether the reply has ended. An error of the connection does not matter then.
    pub(crate) fn may_end(&self) -> bool {
        self.done || self.finish.is_some() || self.is_whole
    }

    /// Whether any frame belonged to a reply.
    pub(crate) fn has_understood(&self) -> bool {
        self.understood > 0
    }

    /// Whether both counts of tokens are known.
    pub(crate) fn has_usage(&self) -> bool {
        self.tokens.is_complete()
    }

    /// How many frames had something that belongs to the reply. What comes after a finish reason takes it back for a
    /// while.
    pub(crate) fn content_frames(&self) -> u32 {
        self.content
    }

    /// Returns the last deltas, and the reason of the end: `truncated` if the reply did not end, `unavailable` if it did
    /// not begin. `stray` is what could not be read; `has_begun` says whether anything was passed on.
    pub(crate) fn end(mut self, stray: &str, has_begun: bool) -> (Vec<Delta>, Result<masque_sdk::Finish>) {
        let reason = match self.reason(stray) {
            Ok(reason) => reason,
            Err(failure) => return (self.fail(has_begun), Err(failure)),
        };
        let mut deltas = Vec::new();
        self.think_tags.end(&mut deltas);
        deltas.extend(self.calls.into_deltas());
        deltas.extend(self.tokens.usage().map(Delta::Usage));
        (deltas, Ok(masque_sdk::Finish::new(reason)))
    }

    /// Returns the last deltas of a reply that a failure ended: the text that was held back, and the tokens, which count
    /// although the reply is incomplete. Tool calls may be cut and are left out. Returns nothing if nothing was passed
    /// on: then another model may answer.
    pub(crate) fn fail(mut self, has_begun: bool) -> Vec<Delta> {
        let mut deltas = Vec::new();
        self.think_tags.end(&mut deltas);
        let has_begun = has_begun || !deltas.is_empty();
        deltas.extend(self.tokens.usage().filter(|_| has_begun).map(Delta::Usage));
        deltas
    }

    fn reason(&self, stray: &str) -> Result<&'static str> {
        let is_silent = self.text.is_empty()
            && self.thinking.is_empty()
            && self.refusal.is_empty()
            && self.calls.is_empty();
        if self.understood == 0 {
            return Err(failure::invalid_answer("it holds no frame of a chat completion", stray.as_bytes()));
        }
        if !self.may_end() {
            return Err(Failure::truncated("the stream ended without a finish_reason and without [DONE]"));
        }
        if self.finish.is_none() && is_silent {
            return Err(failure::invalid_answer("it ended before it said anything", stray.as_bytes()));
        }
        let finish = self.finish.unwrap_or(Finish::Stop);
        Ok(match finish {
            // A refusal ends with `stop`, and so do the tool calls of some servers.
            Finish::Stop | Finish::ToolCalls if !self.refusal.is_empty() => Finish::Filtered,
            Finish::Stop if !self.calls.is_empty() => Finish::ToolCalls,
            other => other,
        }
        .name())
    }

    fn read_value(&mut self, value: &Value, is_bare: bool, deltas: &mut Vec<Delta>) -> Result<()> {
        match value {
            Value::Array(frames) => {
                frames.iter().try_for_each(|frame| self.read_value(frame, is_bare, deltas))
            }
            Value::Object(frame) => self.read_frame(frame, is_bare, deltas),
            // Numbers and words keep a connection open.
            _ => Ok(()),
        }
    }

    fn read_frame(
        &mut self,
        frame: &Map<String, Value>,
        is_bare: bool,
        deltas: &mut Vec<Delta>,
    ) -> Result<()> {
        self.tokens.read(frame);
        let choices: Vec<_> = match frame.get("choices") {
            Some(Value::Array(choices)) => choices.iter().filter_map(Value::as_object).collect(),
            Some(Value::Object(choice)) => vec![choice],
            _ => Vec::new(),
        };
        // An empty list is a frame of a stream, but no whole answer.
        if !choices.is_empty() || (!is_bare && frame.contains_key("choices")) {
            self.understood += 1;
        }
        let mut outcome = Ok(());
        for (position, choice) in (0..).zip(&choices) {
            // The first failure counts; the other choices are read, as they may hold tool calls.
            outcome = outcome.and(self.read_choice(position, choice, is_bare, deltas));
        }
        // The server's own words say more than a finish reason.
        match reported::error_in(frame) {
            Some(error) => Err(failure::from_error(&error)),
            None => outcome,
        }
    }

    fn read_choice(
        &mut self,
        position: u64,
        choice: &Map<String, Value>,
        is_bare: bool,
        deltas: &mut Vec<Delta>,
    ) -> Result<()> {
        self.tokens.read(choice);
        let index = choice.get("index").and_then(calls::number).unwrap_or(position);
        let is_own = *self.choice.get_or_insert(index) == index;
        let delta = part(choice, "delta");
        let message = part(choice, "message");
        let (delta, message) = (delta.as_deref(), message.as_deref());
        let before = self.length();
        // Text and tool calls may be in choices of their own, each with a finish reason.
        let mut has_calls = false;
        for (part, is_whole) in [(delta, false), (message, true)] {
            if let Some(part) = part {
                has_calls |= part.keys().any(|name| name == "tool_calls" || name == "function_call");
                self.calls.read(index, part, is_whole)?;
            }
        }
        let ends = choice.get("finish_reason").or_else(|| choice.get("finishReason"));
        let ends = ends.filter(|reason| !is_blank(reason));
        let ends = ends.or_else(|| delta?.get("finish_reason"));
        if is_own {
            self.read_texts(choice, delta, message, ends.is_some(), deltas);
            self.is_whole |= is_bare && message.is_some() && delta.is_none();
        }
        if self.length() > before || has_calls {
            self.content += 1;
        }
        let holders = [Some(choice), delta, message];
        if let Some(error) = holders.into_iter().flatten().find_map(reported::wrapped) {
            return Err(self.with_reason(failure::from_error(&error), ends));
        }
        let has_finish = is_own || has_calls || !self.calls.is_empty();
        if let Some(reason) = ends.filter(|_| has_finish)
            && let Some(finish) = finish::read(reason)?
        {
            self.finish = self.finish.max(Some(finish));
        }
        Ok(())
    }

    /// The bytes of all texts.
    fn length(&self) -> usize {
        self.text.len() + self.thinking.len() + self.refusal.len()
    }

    /// The error of a choice without a class of its own has that of its finish reason.
    fn with_reason(&self, mut failure: Failure, ends: Option<&Value>) -> Failure {
        if failure.code == "unavailable"
            && let Some(Err(reason)) = ends.map(finish::read)
        {
            failure.code = reason.code;
        }
        failure
    }

    /// Reads the texts of the choice that is read.
    fn read_texts(
        &mut self,
        choice: &Map<String, Value>,
        delta: Option<&Map<String, Value>>,
        message: Option<&Map<String, Value>>,
        is_last: bool,
        deltas: &mut Vec<Delta>,
    ) {
        let piece = delta.map(content::read).unwrap_or_default();
        let whole = message.map(content::read).unwrap_or_default();
        let thinking =
            [self.thinking.delta(piece.thinking, is_last), self.thinking.message(whole.thinking, is_last)];
        deltas.extend(thinking.into_iter().flatten().map(Delta::Thinking));
        // The completions API has its text in the choice.
        let legacy = choice.get("text").filter(|_| delta.is_none() && message.is_none()).map(content::words);
        let text = [
            self.text.delta(piece.text, is_last),
            self.text.message(whole.text, is_last),
            legacy.and_then(|text| self.text.delta(text, is_last)),
        ];
        for text in text.into_iter().flatten() {
            self.think_tags.push(text, deltas);
        }
        let refusal =
            [self.refusal.delta(piece.refusal, is_last), self.refusal.message(whole.refusal, is_last)];
        deltas.extend(refusal.into_iter().flatten().map(Delta::Text));
    }
}

/// A part of a choice that holds a message; a bare text is its content.
fn part<'a>(choice: &'a Map<String, Value>, name: &str) -> Option<Cow<'a, Map<String, Value>>> {
    match choice.get(name)? {
        Value::Object(part) => Some(Cow::Borrowed(part)),
        Value::Null => None,
        other => Some(Cow::Owned(Map::from_iter([("content".to_owned(), other.clone())]))),
    }
}

#[cfg(test)]
mod tests;
