//! Turns the frames of an endpoint's answer into deltas: those of a stream one by one, or a whole answer at once.
//!
//! Servers differ in every member of a frame. What is odd costs itself and nothing beside it: a member that can't be read
//! is passed over, the rest of its frame counts. `plain` reads the frame of a token, which nearly all frames are. The parts
//! of others are read by `texts` with `content` (their forms) and `said` (texts that are repeated), by `calls` (tool calls),
//! `finish` (reasons) and `usage` (tokens). `ending` tells how the reply ended.

mod calls;
mod content;
mod ending;
mod finish;
mod plain;
mod said;
mod texts;
mod usage;

use crate::failure;
use crate::frames::Frame;
use crate::json::{self, is_blank};
use crate::reported;
use crate::shape::{mistake, shape};
use calls::Calls;
use finish::Finish;
use masque_sdk::{Delta, Failure, Result};
use plain::{PlainFrame, PlainReader};
use serde_json::{Map, Value};
use std::borrow::Cow;
use texts::Texts;
use usage::Tokens;

/// The number of malformed frames one after the other after which the answer is refused, as it is no chat-completions
/// stream.
const MAX_MALFORMED: u32 = 16;
/// Data that are no JSON and only keep a connection open.
const HEARTBEATS: [&str; 5] = ["ping", "heartbeat", "keepalive", "keep-alive", "processing"];

/// The part of a reply that has arrived.
#[cfg_attr(test, derive(Clone, Debug))]
pub(crate) struct Answer {
    plain: PlainReader,
    texts: Texts,
    calls: Calls,
    finish: Option<Finish>,
    tokens: Tokens,
    /// The choice that is read: the first one that came. Of others only the tool calls are.
    choice: Option<u64>,
    understood: u32,
    /// The malformed frames since the last one that was understood.
    malformed: u32,
    /// What the last malformed frame looks like: it may have been a part of the reply.
    lost: Option<String>,
    /// What the first frame looks like that is JSON and was not understood, for the message that none was.
    unknown: Option<String>,
    /// Whether this frame, or any one, may hold halves of characters.
    has_marks: bool,
    had_marks: bool,
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
            plain: PlainReader::default(),
            texts: Texts::new(think_tags),
            calls: Calls::default(),
            finish: None,
            tokens: Tokens::default(),
            choice: None,
            understood: 0,
            malformed: 0,
            lost: None,
            unknown: None,
            has_marks: false,
            had_marks: false,
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
        if data.trim_matches('"').eq_ignore_ascii_case("[DONE]") {
            self.done = true;
            return Ok(());
        }
        match self.plain.read(data) {
            Some(frame) => {
                #[cfg(test)]
                let tolerantly = plain::tests::read_tolerantly(self, data, deltas);
                self.read_plain(frame, deltas);
                #[cfg(test)]
                assert_eq!(format!("{self:?} {deltas:?}"), tolerantly, "{data}");
                Ok(())
            }
            None => self.read_any(data, is_bare, deltas),
        }
    }

    /// Reads a frame that says nothing but a piece of the reply.
    fn read_plain(&mut self, frame: PlainFrame<'_>, deltas: &mut Vec<Delta>) {
        self.understood += 1;
        (self.malformed, self.has_marks) = (0, false);
        let index = frame.index.or(self.choice).unwrap_or_default();
        if *self.choice.get_or_insert(index) != index {
            return;
        }
        let before = self.texts.len();
        self.texts.read_piece(frame.thought, frame.text, deltas);
        if self.texts.len() > before {
            self.content += 1;
        }
    }

    /// Reads the data of an event that may hold anything.
    fn read_any(&mut self, data: &str, is_bare: bool, deltas: &mut Vec<Delta>) -> Result<()> {
        match json::parse_frame(data) {
            Ok(parsed) => {
                self.has_marks = parsed.has_marks;
                self.had_marks |= parsed.has_marks;
                let understood = self.understood;
                parsed.values.iter().try_for_each(|value| self.read_value(value, is_bare, deltas))?;
                if self.understood > understood {
                    self.malformed = 0;
                } else if self.understood == 0
                    && self.unknown.is_none()
                    && !parsed.values.iter().all(is_blank)
                {
                    self.unknown = Some(shape(data.as_bytes()));
                }
                Ok(())
            }
            Err(_) if is_heartbeat(data) => Ok(()),
            Err(error) => {
                if self.lost.is_none() {
                    let (error, bytes) = (mistake(&error), data.len());
                    tracing::warn!(error, bytes, "skipped a malformed frame");
                }
                let frame = shape(data.as_bytes());
                self.lost = Some(frame.clone());
                self.malformed += 1;
                if self.malformed < MAX_MALFORMED {
                    return Ok(());
                }
                Err(failure::invalid_answer("too many malformed frames", &frame))
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
        let choices = match frame.get("choices") {
            Some(Value::Array(choices)) => choices.as_slice(),
            Some(choice @ Value::Object(_)) => std::slice::from_ref(choice),
            _ => &[],
        };
        // An empty list is a frame of a stream, but no whole answer.
        if choices.iter().any(Value::is_object) || (!is_bare && frame.contains_key("choices")) {
            self.understood += 1;
        }
        let mut outcome = Ok(());
        for (position, choice) in (0..).zip(choices.iter().filter_map(Value::as_object)) {
            // One alone without a number is the choice that is read.
            let position = if choices.len() == 1 { self.choice.unwrap_or(position) } else { position };
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
        let before = self.texts.len();
        // Text and tool calls may be in choices of their own, each with a finish reason.
        let mut has_calls = false;
        for (part, is_whole) in [(delta, false), (message, true)] {
            if let Some(part) = part {
                // Many servers have an empty list in every frame.
                let mut calls = ["tool_calls", "function_call"].iter().filter_map(|name| part.get(*name));
                has_calls |= calls.any(|calls| !is_blank(calls));
                self.calls.read(index, part, is_whole)?;
            }
        }
        let ends = [Some(choice), delta].into_iter().flatten();
        let ends = ends.flat_map(|part| [part.get("finish_reason"), part.get("finishReason")]);
        let ends = ends.flatten().find(|reason| !is_blank(reason));
        if is_own {
            self.texts.read(choice, delta, message, ends.is_some(), self.has_marks, deltas);
            self.is_whole |= is_bare && message.is_some() && delta.is_none();
        }
        if self.texts.len() > before || has_calls {
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

    /// The error of a choice without a class of its own has that of its finish reason.
    fn with_reason(&self, mut failure: Failure, ends: Option<&Value>) -> Failure {
        if failure.code == "unavailable"
            && let Some(Err(reason)) = ends.map(finish::read)
        {
            failure.code = reason.code;
        }
        failure
    }
}

/// Whether data that are no JSON only keep the connection open.
fn is_heartbeat(data: &str) -> bool {
    let word = data.trim_matches(|character: char| !character.is_alphanumeric());
    let is_word = word.is_empty() || HEARTBEATS.iter().any(|name| word.eq_ignore_ascii_case(name));
    data.starts_with(':') || (is_word && !json::is_structure(data))
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
