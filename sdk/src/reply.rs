//! How a model's deltas reach the host: queued, written together when they are ready together, ended exactly once.
//!
//! The first flush tells the host that the reply begins. Until then a failure is the call's own error, which lets the
//! host try another model; the rest of `generate` goes on in a task that outlives the call.

use crate::{Delta, Failure, Finish, Result, Usage};
use futures::channel::oneshot;

/// The model's side of a reply.
///
/// [`push`](Self::push) queues and [`flush`](Self::flush) writes what is queued in one go; the other methods do both.
/// Nothing needs to be sent at the end: what [`Model::generate`](crate::Model::generate) returns ends the reply.
pub struct ReplyWriter {
    queued: Vec<Delta>,
    sink: Sink,
    /// Taken by the first flush.
    begin: Option<oneshot::Sender<Result<()>>>,
}

/// Far under the host's limit for one item, and large enough to cost nothing.
const PIECE: usize = 16 << 10;

/// Cuts a text between two characters, at most [`PIECE`] bytes each.
fn pieces(text: &str) -> impl Iterator<Item = String> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let end = text.floor_char_boundary(PIECE);
        let (piece, after) = text.split_at(end);
        rest = (!after.is_empty()).then_some(after);
        Some(piece.to_owned())
    })
}

#[cfg(target_arch = "wasm32")]
type Sink = wasip3::wit_bindgen::StreamWriter<Delta>;
/// Takes what is written together; false once nobody reads any more.
#[cfg(not(target_arch = "wasm32"))]
type Sink = Box<dyn FnMut(Vec<Delta>) -> bool>;

impl ReplyWriter {
    pub(crate) fn new(sink: Sink, begin: oneshot::Sender<Result<()>>) -> Self {
        Self { queued: Vec::new(), sink, begin: Some(begin) }
    }

    /// Queues a delta for the next flush. `finish` and `failed` are not for here; return them instead. A long text is
    /// queued as several deltas: the host takes items of 64 KiB at most.
    pub fn push(&mut self, delta: Delta) {
        match delta {
            Delta::Text(text) if text.len() > PIECE => self.queued.extend(pieces(&text).map(Delta::Text)),
            Delta::Thinking(text) if text.len() > PIECE => {
                self.queued.extend(pieces(&text).map(Delta::Thinking))
            }
            other => self.queued.push(other),
        }
    }

    /// Writes what is queued, waiting while the reader is slower.
    ///
    /// # Errors
    /// The reader has gone: nobody waits for the rest, so let `?` end the work.
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

    /// Writes one delta, after what is queued.
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

    /// Whether anything has been written, so that a failure can no longer be answered by another model.
    pub fn has_begun(&self) -> bool {
        self.begin.is_none()
    }

    fn begin(&mut self) {
        if let Some(begin) = self.begin.take() {
            // The call that waits for this may have been cancelled; the write that follows notices.
            let _ = begin.send(Ok(()));
        }
    }

    /// Writes what is still queued and the last delta, or hands a failure of the beginning to the waiting call.
    pub(crate) async fn end(mut self, outcome: Result<Finish>) {
        let last = match outcome {
            Ok(finish) => Delta::Finish(finish),
            Err(failure) => match self.begin.take_if(|_| self.queued.is_empty()) {
                Some(begin) => {
                    // As above: nobody may be waiting any more, and then nobody is to be told.
                    let _ = begin.send(Err(failure));
                    return;
                }
                None => Delta::Failed(failure),
            },
        };
        self.queued.push(last);
        // The reader may have gone, and then nobody is to be told.
        let _ = self.flush().await;
    }

    #[cfg(target_arch = "wasm32")]
    async fn write(&mut self, deltas: Vec<Delta>) -> bool {
        self.sink.write_all(deltas).await.is_empty()
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

    /// Lets a task write as `act` says and end as it returns; what the waiting call gets, and what the host reads.
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
        let text = "語".repeat(PIECE);
        let cut: Vec<_> = pieces(&text).collect();
        assert!(cut.len() == 4 && cut.iter().all(|piece| piece.len() <= PIECE), "{}", cut.len());
        assert_eq!(cut.concat(), text);
        assert_eq!(pieces("short").collect::<Vec<_>>(), ["short"]);
    }
}
