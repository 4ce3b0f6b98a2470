//! Cuts the bytes of an answer into frames, more tolerant than the specification of event streams.
//!
//! Servers and proxies send event streams without empty lines between events, with a last event that is not closed, with
//! an error in a field of its own (`error: {…}`), twice packed (`data: data: …`), or JSON without any field: a whole
//! answer, or one frame a line. A frame is therefore complete as soon as its JSON is; only other data waits for the empty
//! line. What is neither field nor JSON is kept for the error message.

use crate::json::{self, Extent};
use masque_sdk::sse::{Lines, TooLong};
use std::collections::VecDeque;

/// The largest line and the largest frame, in bytes. As large as the largest answer without streaming, which is one frame.
const MAX_FRAME: usize = 4 * 1024 * 1024;
/// How much of what is neither field nor JSON is kept, in bytes.
const MAX_STRAY: usize = 4 * 1024;

/// One unit of an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    /// The data of an event.
    Event(String),
    /// JSON without a field name.
    Bare(String),
    /// What an event that is named after an error, or a field `error`, holds.
    Error(String),
}

/// Collects frames from bytes.
#[derive(Debug)]
pub(crate) struct Frames {
    lines: Lines,
    blocks: Blocks,
}

/// What the lines so far say.
#[derive(Debug, Default)]
struct Blocks {
    /// The name of the event that the next data belong to.
    event: String,
    pending: Option<Pending>,
    ready: VecDeque<Frame>,
    /// The beginning of the lines that are neither fields nor JSON.
    stray: String,
    is_stray_full: bool,
    /// Whether `[DONE]` was read. What stands behind it is no reason for a failure, wherever the stream is cut.
    is_done: bool,
}

/// A frame that may go on.
#[derive(Debug)]
struct Pending {
    source: Source,
    text: String,
    /// `None` for data that are not JSON.
    extent: Option<Extent>,
    /// Where the text begins that the extent does not know yet.
    measured: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Data,
    Bare,
    ErrorField,
}

impl Default for Frames {
    fn default() -> Self {
        Self { lines: Lines::with_limit(MAX_FRAME), blocks: Blocks::default() }
    }
}

impl Frames {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// A line or a frame is too long. Frames before it can still be taken.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let Self { lines, blocks } = self;
        let taken = lines.push(bytes, |line| blocks.take_line(line));
        blocks.dispatch_complete();
        taken?;
        // The last frame of a connection that stays open may have no line ending.
        if bytes.ends_with(b"}") || bytes.ends_with(b"]") {
            self.take_complete_line()?;
        }
        Ok(())
    }

    /// Takes what is left when the body has ended.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub(crate) fn end(&mut self) -> Result<(), TooLong> {
        if let Some(line) = self.lines.take_unfinished() {
            self.blocks.take_line(&line)?;
        }
        self.blocks.dispatch();
        Ok(())
    }

    /// Returns the next frame, or `None` if more bytes are needed.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        self.blocks.ready.pop_front()
    }

    /// Whether so much could not be read that this is no stream of frames, such as a web page.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.blocks.is_stray_full
    }

    /// The beginning of what could not be read.
    pub(crate) fn stray(&self) -> &str {
        &self.blocks.stray
    }

    /// Takes the unfinished line if it completes JSON.
    fn take_complete_line(&mut self) -> Result<(), TooLong> {
        let Ok(line) = std::str::from_utf8(self.lines.unfinished()) else { return Ok(()) };
        let line = line.trim_start_matches('\u{feff}').trim_start();
        let data = line.strip_prefix("data:").or_else(|| line.strip_prefix("error:")).unwrap_or(line);
        let open = self.blocks.pending.as_ref().and_then(|pending| pending.extent.clone());
        if open.is_none() && !json::is_structure(data) {
            return Ok(());
        }
        let mut extent = open.unwrap_or_default();
        extent.push(data);
        if !extent.is_complete() {
            return Ok(());
        }
        let taken = self.lines.take_unfinished().map_or(Ok(()), |line| self.blocks.take_line(&line));
        self.blocks.dispatch_complete();
        taken
    }
}

impl Blocks {
    fn take_line(&mut self, line: &str) -> Result<(), TooLong> {
        // The line of nearly every event.
        if self.pending.is_none()
            && let Some(value) = line.strip_prefix("data: ").filter(|value| value.starts_with('{'))
        {
            return self.begin(Source::Data, value);
        }
        let text = line.trim_start();
        let is_bare = |pending: &Pending| pending.source == Source::Bare;
        // An empty line ends data, whether their JSON is complete or not.
        if !text.is_empty() || self.pending.as_ref().is_some_and(is_bare) {
            self.dispatch_complete();
        }
        if self.pending.as_ref().is_some_and(is_bare) {
            // Pretty-printed JSON has lines of every form but this one.
            if !text.starts_with("data:") {
                return self.extend(line);
            }
            self.dispatch();
        }
        if text.is_empty() {
            self.dispatch();
            self.event.clear();
            return Ok(());
        }
        if json::is_structure(text) && !self.is_open() {
            self.dispatch();
            return self.begin(Source::Bare, text);
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        match field.trim_end() {
            "" | "id" | "retry" => Ok(()),
            "event" => {
                self.dispatch();
                self.event = value.trim().to_ascii_lowercase();
                Ok(())
            }
            "data" => self.take_data(value),
            name if name.eq_ignore_ascii_case("error") => {
                self.dispatch();
                self.begin(Source::ErrorField, value.trim())
            }
            _ if self.is_open() => self.extend(line),
            _ if self.is_done => Ok(()),
            _ => {
                self.is_stray_full |= self.stray.len() + text.len() > MAX_STRAY;
                let room = text.floor_char_boundary(MAX_STRAY.saturating_sub(self.stray.len()));
                self.stray.push_str(text.get(..room).unwrap_or_default());
                if !self.is_stray_full {
                    self.stray.push('\n');
                }
                Ok(())
            }
        }
    }

    fn take_data(&mut self, value: &str) -> Result<(), TooLong> {
        let mut value = value.strip_prefix(' ').unwrap_or(value);
        while let Some(inner) = value.trim_start().strip_prefix("data:") {
            value = inner.trim_start();
        }
        match &self.pending {
            // Several lines of one event, as the specification joins them.
            Some(pending) if pending.extent.is_some() || !json::is_structure(value) => self.extend(value),
            Some(_) => {
                self.dispatch();
                self.begin(Source::Data, value)
            }
            None => self.begin(Source::Data, value),
        }
    }

    /// Completes the pending frame if its JSON is complete. Events end with an empty line in nearly all streams, and their
    /// extent need not be measured then.
    fn dispatch_complete(&mut self) {
        let Some(Pending { text, extent: Some(extent), measured, .. }) = &mut self.pending else { return };
        extent.push(text.get(*measured..).unwrap_or_default());
        *measured = text.len();
        if extent.is_complete() {
            self.dispatch();
        }
    }

    /// Whether JSON has begun and not ended.
    fn is_open(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.extent.is_some())
    }

    fn begin(&mut self, source: Source, text: &str) -> Result<(), TooLong> {
        let is_json = json::is_structure(text);
        let extent = is_json.then(Extent::default);
        self.pending = Some(Pending { source, text: String::new(), extent, measured: 0 });
        self.extend(text)
    }

    /// Adds a line to the pending frame.
    fn extend(&mut self, line: &str) -> Result<(), TooLong> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        if pending.text.len() + line.len() >= MAX_FRAME {
            return Err(TooLong::Event(MAX_FRAME));
        }
        if !pending.text.is_empty() {
            pending.text.push('\n');
        }
        pending.measured = pending.text.len();
        pending.text.push_str(line);
        if pending.source == Source::ErrorField && pending.extent.is_none() {
            self.dispatch();
        }
        Ok(())
    }

    fn dispatch(&mut self) {
        let Some(Pending { source, text, .. }) = self.pending.take() else { return };
        // An event without data keeps a connection open.
        if text.trim().is_empty() {
            return;
        }
        self.is_done |= text.trim().trim_matches('"').eq_ignore_ascii_case("[DONE]");
        let event = std::mem::take(&mut self.event);
        let is_error =
            ["error", "exception", "failure", "fatal", "failed"].iter().any(|end| event.ends_with(*end));
        self.ready.push_back(match source {
            Source::ErrorField => Frame::Error(text),
            Source::Data | Source::Bare if is_error => Frame::Error(text),
            Source::Data => Frame::Event(text),
            Source::Bare => Frame::Bare(text),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames of the input, as a prefix and a text each.
    fn frames(chunks: &[&[u8]], ended: bool) -> Vec<String> {
        let mut frames = Frames::default();
        for chunk in chunks {
            frames.push(chunk).unwrap();
        }
        if ended {
            frames.end().unwrap();
        }
        let named = |frame| match frame {
            Frame::Event(text) => format!("data {text}"),
            Frame::Bare(text) => format!("bare {text}"),
            Frame::Error(text) => format!("error {text}"),
        };
        std::iter::from_fn(|| frames.next()).map(named).collect()
    }

    #[test]
    fn every_form_of_a_stream_has_its_frames_wherever_it_is_cut() {
        let table: &[(&str, &[&str])] = &[
            ("data: {\"a\": 1}\n\ndata: [DONE]\n\n", &["data {\"a\": 1}", "data [DONE]"]),
            (
                "data: {\"a\": 1}\ndata: {\"b\": 2}\ndata: [DONE]\n",
                &["data {\"a\": 1}", "data {\"b\": 2}", "data [DONE]"],
            ),
            ("data:{\"a\": 1}\r\rdata:{\"b\": 2}", &["data {\"a\": 1}", "data {\"b\": 2}"]),
            ("data: {\"a\":\ndata: 1}\n\n", &["data {\"a\":\n1}"]),
            ("data: {\n  \"a\": 1\n}\n\n", &["data {\n  \"a\": 1\n}"]),
            ("data: data: {\"a\": 1}\n\n", &["data {\"a\": 1}"]),
            (
                "event: error\ndata: {\"a\": 1}\n\ndata: {\"b\": 2}\n\n",
                &["error {\"a\": 1}", "data {\"b\": 2}"],
            ),
            ("event: error\ndata: out of\ndata: memory\n\n", &["error out of\nmemory"]),
            ("data: {\"a\": 1}\n\nerror: {\"m\": 1}\n\n", &["data {\"a\": 1}", "error {\"m\": 1}"]),
            ("error: out of memory\n\ndata: {}\n\n", &["error out of memory", "data {}"]),
            ("data:\n\ndata\n\nevent: ping\ndata: \n\n: hm\n\n", &[]),
            ("\n\n\n{\"a\":\n\n [1]}", &["bare {\"a\":\n\n [1]}"]),
            ("{\"a\": 1}\n{\"b\": 2}\n", &["bare {\"a\": 1}", "bare {\"b\": 2}"]),
            ("[{\"a\": 1},\n{\"b\": 2}]", &["bare [{\"a\": 1},\n{\"b\": 2}]"]),
            ("data: ping\ndata: {\"a\": 1}\n\n", &["data ping", "data {\"a\": 1}"]),
            ("data: {\"a\": 1\n\ndata: {\"b\": 2}\n\n", &["data {\"a\": 1", "data {\"b\": 2}"]),
            ("\u{feff}data: {\"a\": \"ü\"}\n\n", &["data {\"a\": \"ü\"}"]),
            ("{\"a\": [\ndata: {\"b\": 2}\n\n", &["bare {\"a\": [", "data {\"b\": 2}"]),
            ("event: server_error\ndata: {}\n\n", &["error {}"]),
            ("Error: out of memory\n", &["error out of memory"]),
            ("Internal Server Error", &[]),
        ];
        for (input, wanted) in table {
            let bytes = input.as_bytes();
            assert_eq!(frames(&[bytes], true), *wanted, "{input:?}");
            for cut in 0..bytes.len() {
                let (head, tail) = bytes.split_at(cut);
                assert_eq!(frames(&[head, tail], true), *wanted, "{input:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_frame_is_there_as_soon_as_its_json_is_complete() {
        for input in ["data: {\"a\": 1}\n", "data: {\"a\": 1}", "{\"a\": 1}", "{\"a\": \n1}"] {
            assert_eq!(frames(&[input.as_bytes()], false).len(), 1, "{input:?}");
        }
        assert_eq!(frames(&[b"data: {\"a\": {}"], false), [""; 0]);
    }

    #[test]
    fn what_stands_behind_the_end_is_kept_for_no_error() {
        let mut frames = Frames::default();
        frames.push(b"data: {\"a\": 1}\n\ndata: [DONE]\n\nleft over\n").unwrap();
        assert_eq!(frames.stray(), "");
    }

    #[test]
    fn what_is_no_frame_is_kept_for_the_error() {
        let mut frames = Frames::default();
        frames.push(b"<html>\n<h1>Bad gateway</h1>\n").unwrap();
        assert!(frames.stray().contains("Bad gateway"));
    }

    #[test]
    fn a_frame_is_bounded_however_it_arrives() {
        let mut frames = Frames::default();
        let endless =
            std::iter::repeat_n(b"data: {\"a\": 1,\n", MAX_FRAME).find_map(|line| frames.push(line).err());
        assert_eq!(endless, Some(TooLong::Event(MAX_FRAME)));
        assert!(Frames::default().push(&vec![b'x'; MAX_FRAME + 1]).is_err());
    }
}
