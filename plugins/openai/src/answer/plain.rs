//! Reads the frame that nearly every server sends for nearly every token: one choice whose delta has a text, a thought or
//! nothing, and beside it only members that say nothing about the reply.
//!
//! Such a frame is read without a tree of values, and one that differs from the last in its text alone is not even parsed.
//! Every other one, and one that is only nearly right, is left to the tolerant reader, which reads plain frames the same way.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// What a plain frame says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PlainFrame<'a> {
    /// The number of its choice, if it has one.
    pub(super) index: Option<u64>,
    pub(super) text: Cow<'a, str>,
    pub(super) thought: Cow<'a, str>,
}

/// Reads the plain frames of an answer.
#[cfg_attr(test, derive(Clone, Debug))]
#[derive(Default)]
pub(super) struct PlainReader {
    last: Option<Pattern>,
}

/// A plain frame without its text or thought: what is before it and behind it.
#[cfg_attr(test, derive(Clone, Debug))]
struct Pattern {
    before: String,
    after: String,
    index: Option<u64>,
    is_thought: bool,
}

impl PlainReader {
    /// Reads the frame if it is plain.
    pub(super) fn read<'a>(&mut self, data: &'a str) -> Option<PlainFrame<'a>> {
        if let Some(frame) = self.last.as_ref().and_then(|last| last.read(data)) {
            return Some(frame);
        }
        let frame = parse(data)?;
        self.last = Pattern::of(data, &frame).or(self.last.take());
        Some(frame)
    }
}

impl Pattern {
    /// The pattern of a frame that has either a text or a thought, without escapes.
    fn of(data: &str, frame: &PlainFrame<'_>) -> Option<Self> {
        let is_thought = frame.text.is_empty();
        let (said, other) =
            if is_thought { (&frame.thought, &frame.text) } else { (&frame.text, &frame.thought) };
        let Cow::Borrowed(said) = said else { return None };
        if said.is_empty() || !other.is_empty() {
            return None;
        }
        // The text is a part of the data.
        let at = (said.as_ptr() as usize).checked_sub(data.as_ptr() as usize)?;
        let (before, rest) = data.split_at_checked(at)?;
        let (_, after) = rest.split_at_checked(said.len())?;
        let is_string = before.ends_with('"') && after.starts_with('"');
        is_string.then(|| Self {
            before: before.to_owned(),
            after: after.to_owned(),
            index: frame.index,
            is_thought,
        })
    }

    /// Reads the frame if it differs from the pattern in its text alone, and the text has no escapes.
    fn read<'a>(&self, data: &'a str) -> Option<PlainFrame<'a>> {
        let said = data.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        let is_literal = |byte: u8| !matches!(byte, 0..=0x1f | b'"' | b'\\');
        // Where the thought is empty, another member may hold one.
        if said.is_empty() || !said.bytes().all(is_literal) {
            return None;
        }
        let (said, index) = (Cow::Borrowed(said), self.index);
        Some(match self.is_thought {
            true => PlainFrame { index, thought: said, ..PlainFrame::default() },
            false => PlainFrame { index, text: said, ..PlainFrame::default() },
        })
    }
}

/// Parses the frame if it is plain.
fn parse(data: &str) -> Option<PlainFrame<'_>> {
    let Object(Frame { object, choices: [Object(choice)], .. }) = serde_json::from_str(data).ok()?;
    if object.is_some_and(|object| !object.starts_with("chat.completion")) {
        return None;
    }
    let Object(delta) = choice.delta;
    let [Text(text), Text(first), Text(second)] =
        [delta.content, delta.reasoning_content, delta.reasoning].map(Option::unwrap_or_default);
    let thought = if first.is_empty() { second } else { first };
    Some(PlainFrame { index: choice.index, text, thought })
}

/// A frame. The values of most members are not used; their types are those that can't hide a mistake or an error.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame<'a> {
    #[serde(borrow)]
    choices: [Object<Choice<'a>>; 1],
    object: Option<&'a str>,
    #[serde(rename = "id")]
    _id: Option<&'a str>,
    #[serde(rename = "created")]
    _created: Option<u64>,
    #[serde(rename = "model")]
    _model: Option<&'a str>,
    #[serde(rename = "system_fingerprint")]
    _system_fingerprint: Option<&'a str>,
    #[serde(rename = "service_tier")]
    _service_tier: Option<&'a str>,
    #[serde(rename = "provider")]
    _provider: Option<&'a str>,
    #[serde(rename = "obfuscation")]
    _obfuscation: Option<&'a str>,
    #[serde(rename = "usage")]
    _usage: Option<()>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    delta: Object<Message<'a>>,
    #[serde(rename = "finish_reason")]
    _finish_reason: Option<()>,
    #[serde(rename = "native_finish_reason")]
    _native_finish_reason: Option<()>,
    #[serde(rename = "stop_reason")]
    _stop_reason: Option<()>,
    #[serde(rename = "matched_stop")]
    _matched_stop: Option<()>,
    #[serde(rename = "token_ids")]
    _token_ids: Option<()>,
    #[serde(rename = "logprobs")]
    _logprobs: Option<()>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    #[serde(rename = "role")]
    _role: Option<&'a str>,
    #[serde(rename = "refusal")]
    _refusal: Option<()>,
    #[serde(rename = "tool_calls")]
    _tool_calls: Option<[(); 0]>,
    #[serde(rename = "function_call")]
    _function_call: Option<()>,
}

/// A text. It is borrowed unless it has escapes.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyText;
        impl<'de> Visitor<'de> for AnyText {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(AnyText).map(Text)
    }
}

/// A JSON object alone: a struct can be read from a list of its members too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }
        deserializer.deserialize_map(Members(PhantomData)).map(Object)
    }
}

#[cfg(test)]
pub(super) mod tests;
