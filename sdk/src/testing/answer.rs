//! Calls a model and collects its answer.

use super::run::run;
use crate::reply::ReplyWriter;
use crate::{Delta, Failure, Finish, Model, Prompt, Result, Usage};
use std::cell::RefCell;
use std::rc::Rc;

/// A model's answer to a prompt: the deltas in their order, the last of them `finish` or `failed`.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Every delta that the host would read.
    pub deltas: Vec<Delta>,
}

impl Answer {
    /// Returns the text of the reply.
    pub fn text(&self) -> String {
        self.deltas
            .iter()
            .filter_map(|delta| if let Delta::Text(text) = delta { Some(text.as_str()) } else { None })
            .collect()
    }

    /// Returns the reason of a successful end.
    pub fn finish(&self) -> Option<&str> {
        self.deltas.iter().find_map(|delta| {
            if let Delta::Finish(Finish { reason, .. }) = delta { Some(reason.as_str()) } else { None }
        })
    }

    /// Returns the failure of an answer that had begun.
    pub fn failure(&self) -> Option<&Failure> {
        self.deltas
            .iter()
            .find_map(|delta| if let Delta::Failed(failure) = delta { Some(failure) } else { None })
    }

    /// Returns the last report of tokens.
    pub fn usage(&self) -> Option<&Usage> {
        self.deltas
            .iter()
            .rev()
            .find_map(|delta| if let Delta::Usage(usage) = delta { Some(usage) } else { None })
    }
}

/// Calls a model as the host does and returns its whole answer.
///
/// # Errors
/// The model's failure, if it happens before the model writes anything. A later failure is the last delta of the answer.
pub fn answer<M: Model>(model: &M, prompt: Prompt) -> Result<Answer> {
    let read = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&read);
    run(stream(model, prompt, move |deltas| {
        sink.borrow_mut().extend(deltas);
        true
    }))?;
    Ok(Answer { deltas: read.take() })
}

/// Calls a model and passes its deltas to `read` as they are written, those that are written together in one call. The
/// last call has `finish` or `failed`. `read` returns whether it wants more. Runs on any executor.
///
/// # Errors
/// The model's failure, if it happens before the model writes anything.
pub async fn stream<M: Model>(
    model: &M,
    prompt: Prompt,
    read: impl FnMut(Vec<Delta>) -> bool + 'static,
) -> Result<()> {
    let (begin, mut begun) = futures::channel::oneshot::channel();
    let mut reply = ReplyWriter::new(Box::new(read), begin);
    let outcome = model.generate(prompt, &mut reply).await;
    reply.end(outcome).await;
    begun
        .try_recv()
        .ok()
        .flatten()
        .unwrap_or_else(|| Err(Failure::truncated("the model ended without a word")))
}
