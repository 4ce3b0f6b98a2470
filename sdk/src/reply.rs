//! Writes a model's deltas to the host: queues them, writes those that are ready in one go, and ends the reply exactly
//! once.
//!
//! The first flush completes the host's call, and the rest of `generate` runs on in a task. A failure before it is the
//! error of the call, which lets the host try another model.

use crate::{Delta, Failure, Finish, Result, Usage};
use futures::channel::oneshot;

/// Writes a reply.
///
/// [`push`](Self::push) queues a delta and [`flush`](Self::flush) writes all queued ones in one go; the other methods do
/// both. The value that [`Model::generate`](crate::Model::generate) returns ends the reply.
pub struct ReplyWriter {
    queued: Vec<Delta>,
    sink: Sink,
    /// Completes the host's call; taken by the first flush.
    begin: Option<oneshot::Sender<Result<()>>>,
}

/// The largest text of one delta, in bytes. The host accepts 64 KiB; a piece of 16 KiB makes its overhead negligible.
const MAX_PIECE: usize = 16 << 10;

/// Cuts a text between characters into pieces of at most [`MAX_PIECE`] bytes.
fn pieces(text: &str) -> impl Iterator<Item = String> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let end = text.floor_char_boundary(MAX_PIECE);
        let (piece, after) = text.split_at(end);
        rest = (!after.is_empty()).then_some(after);
        Some(piece.to_owned())
    })
}

#[cfg(target_arch = "wasm32")]
type Sink = wasip3::wit_bindgen::StreamWriter<Delta>;
/// Receives the deltas of one write. Returns `false` if nobody reads any more.
#[cfg(not(target_arch = "wasm32"))]
type Sink = Box<dyn FnMut(Vec<Delta>) -> bool>;

impl ReplyWriter {
    pub(crate) fn new(sink: Sink, begin: oneshot::Sender<Result<()>>) -> Self {
        Self { queued: Vec::new(), sink, begin: Some(begin) }
    }

    /// Queues a delta for the next flush. Do not queue `finish` or `failed`; return them from `generate`. A long text is
    /// queued as several deltas, because the host accepts at most 64 KiB in one.
    pub fn push(&mut self, delta: Delta) {
        match delta {
            Delta::Text(text) if text.len() > MAX_PIECE => self.queued.extend(pieces(&text).map(Delta::Text)),
            Delta::Thinking(text) if text.len() > MAX_PIECE => {
                self.queued.extend(pieces(&text).map(Delta::Thinking))
            }
            other => self.queued.push(other),
        }
    }

    /// Writes the queued deltas and waits while the reader is slower.
    ///
    /// # Errors
    /// The reader is gone and nobody waits for the rest, so let `?` end the work.
    pub async fn flush(&mut self) -> Result<()> {
        if self.queued.is_empty() {
            return Ok(());
        }
        self.begin();
        let ready = std::mem::take(&mut self.queued);
        if self.write(ready).await {
            Ok(())
        } else {
            Err(Failure::internal("the reader of the reply has gone"))
        }
    }

    /// Queues a delta and flushes.
    ///
    /// # Errors
    /// As for [`flush`](Self::flush).
    pub async fn send(&mut self, delta: Delta) -> Result<()> {
        self.push(delta);
        self.flush().await
    }

    /// Writes a piece of the reply's text.
    ///
    /// # Errors
    /// As for [`flush`](Self::flush).
    pub async fn text(&mut self, text: impl Into<String>) -> Result<()> {
        self.send(Delta::Text(text.into())).await
    }

    /// Writes a piece of the model's reasoning, which is not part of the reply.
    ///
    /// # Errors
    /// As for [`flush`](Self::flush).
    pub async fn thinking(&mut self, text: impl Into<String>) -> Result<()> {
        self.send(Delta::Thinking(text.into())).await
    }

    /// Reports the tokens read and written.
    ///
    /// # Errors
    /// As for [`flush`](Self::flush).
    pub async fn usage(&mut self, usage: Usage) -> Result<()> {
        self.send(Delta::Usage(usage)).await
    }

    /// Whether anything was written. From then on the host can't try another model after a failure.
    pub fn has_begun(&self) -> bool {
        self.begin.is_none()
    }

    fn begin(&mut self) {
        if let Some(begin) = self.begin.take() {
            // Fails if the host cancelled the call; the write that follows reports that.
            let _ = begin.send(Ok(()));
        }
    }

    /// Writes the queued deltas and the last one. If nothing was written yet, a failure becomes the error of the call.
    pub(crate) async fn end(mut self, outcome: Result<Finish>) {
        let last = match outcome {
            Ok(finish) => Delta::Finish(finish),
            Err(failure) => match self.begin.take_if(|_| self.queued.is_empty()) {
                Some(begin) => {
                    // Fails if the host cancelled the call; then nobody waits for the error.
                    let _ = begin.send(Err(failure));
                    return;
                }
                None => Delta::Failed(failure),
            },
        };
        self.queued.push(last);
        // Fails if the reader is gone; then nobody waits for the end.
        let _ = self.flush().await;
    }

    #[cfg(target_arch = "wasm32")]
    async fn write(&mut self, deltas: Vec<Delta>) -> bool {
        // Returns the vector without what was written. Its allocation serves the next deltas.
        let mut rest = self.sink.write_all(deltas).await;
        let is_written = rest.is_empty();
        rest.clear();
        self.queued = rest;
        is_written
    }

    #[cfg(not(target_arch = "wasm32"))]
    async fn write(&mut self, deltas: Vec<Delta>) -> bool {
        (self.sink)(deltas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Runs `act` as the task of a model. Returns the result of the host's call and the deltas that the host reads.
    fn written(
        act: impl AsyncFnOnce(&mut ReplyWriter) -> Result<Finish>,
    ) -> (Option<Result<()>>, Vec<Delta>) {
        let (begin, mut begun) = oneshot::channel();
        let read = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&read);
        let mut reply = ReplyWriter::new(
            Box::new(move |deltas| {
                sink.borrow_mut().extend(deltas);
                true
            }),
            begin,
        );
        testing::run(async {
            let outcome = act(&mut reply).await;
            reply.end(outcome).await;
        });
        (begun.try_recv().ok().flatten(), read.take())
    }

    fn text(text: &str) -> Delta {
        Delta::Text(text.into())
    }

    #[test]
    fn a_failure_before_anything_was_written_is_the_calls_own() {
        let (begun, read) = written(async |_| Err(Failure::unauthorized("no key")));
        assert_eq!(begun, Some(Err(Failure::unauthorized("no key"))));
        assert_eq!(read, []);
    }

    #[test]
    fn a_failure_afterwards_ends_the_reply() {
        let (begun, read) = written(async |reply| {
            reply.text("so").await?;
            Err(Failure::stalled("30 s"))
        });
        assert_eq!(begun, Some(Ok(())));
        assert_eq!(read, [text("so"), Delta::Failed(Failure::stalled("30 s"))]);
    }

    #[test]
    fn what_was_queued_is_written_before_the_end_however_it_ends() {
        let (begun, read) = written(async |reply| {
            reply.push(text("so"));
            assert!(!reply.has_begun());
            Err(Failure::truncated("cut"))
        });
        assert_eq!(begun, Some(Ok(())));
        assert_eq!(read, [text("so"), Delta::Failed(Failure::truncated("cut"))]);
    }

    #[test]
    fn a_reply_without_a_word_begins_with_its_end() {
        let (begun, read) = written(async |_| Ok(Finish::stop()));
        assert_eq!(begun, Some(Ok(())));
        assert_eq!(read, [Delta::Finish(Finish::stop())]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_nothing_is_lost() {
        let text = "語".repeat(MAX_PIECE);
        let cut: Vec<_> = pieces(&text).collect();
        assert!(cut.len() == 4 && cut.iter().all(|piece| piece.len() <= MAX_PIECE), "{}", cut.len());
        assert_eq!(cut.concat(), text);
        assert_eq!(pieces("short").collect::<Vec<_>>(), ["short"]);
    }
}
