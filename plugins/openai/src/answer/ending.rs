//! Tells how a reply ended, and returns what was held back until then.

use super::Answer;
use super::finish::Finish;
use crate::failure;
use crate::shape::shape;
use crate::surrogates;
use masque_sdk::{Delta, Failure, Result};

impl Answer {
    /// Returns the last deltas, and the reason of the end: `truncated` if the reply did not end, `unavailable` if it did
    /// not begin. `stray` is what could not be read; `has_begun` says whether anything was passed on.
    pub(crate) fn end(mut self, stray: &str, has_begun: bool) -> (Vec<Delta>, Result<masque_sdk::Finish>) {
        let reason = match self.reason(stray) {
            Ok(reason) => reason,
            Err(failure) => return (self.fail(has_begun), Err(failure)),
        };
        let mut deltas = self.texts.end();
        let has_marks = self.had_marks;
        deltas.extend(self.calls.into_deltas(|text| surrogates::join_whole(text, has_marks)));
        deltas.extend(self.tokens.usage().map(Delta::Usage));
        (deltas, Ok(masque_sdk::Finish::new(reason)))
    }

    /// Returns the last deltas of a reply that a failure ended: the text that was held back, and the tokens, which count
    /// although the reply is incomplete. Tool calls may be cut and are left out. Returns nothing if nothing was passed
    /// on: then another model may answer.
    pub(crate) fn fail(mut self, has_begun: bool) -> Vec<Delta> {
        let mut deltas = self.texts.end();
        let has_begun = has_begun || !deltas.is_empty();
        deltas.extend(self.tokens.usage().filter(|_| has_begun).map(Delta::Usage));
        deltas
    }

    fn reason(&self, stray: &str) -> Result<&'static str> {
        // What was neither field nor frame tells most, and then what could not be read.
        let stray = Some(stray.trim()).filter(|stray| !stray.is_empty()).map(|stray| shape(stray.as_bytes()));
        let unknown = self.unknown.as_deref().filter(|_| self.understood == 0);
        let beside = [stray.as_deref(), self.lost.as_deref(), unknown].into_iter().flatten().next();
        if self.understood == 0 {
            let held = beside.unwrap_or("nothing");
            return Err(failure::invalid_answer("it holds no frame of a chat completion", held));
        }
        let cut = |how: &str| {
            let mut message = format!("the stream ended {how}");
            if let Some(beside) = beside {
                message += &format!("; beside the reply it holds {beside}");
            }
            Failure::truncated(message)
        };
        if !self.may_end() {
            return Err(cut("without a finish_reason and without [DONE]"));
        }
        if self.finish.is_none() && self.texts.is_blank() && self.calls.is_empty() {
            return Err(failure::invalid_answer(
                "it ended before it said anything",
                beside.unwrap_or("nothing"),
            ));
        }
        if self.finish.is_none() && self.lost.is_some() {
            return Err(cut("without a finish_reason, and a part of it could not be read"));
        }
        let finish = self.finish.unwrap_or(Finish::Stop);
        Ok(match finish {
            // A refusal ends with `stop`, and so do the tool calls of some servers.
            Finish::Stop | Finish::ToolCalls if self.texts.has_refusal() => Finish::Filtered,
            Finish::Stop if !self.calls.is_empty() => Finish::ToolCalls,
            other => other,
        }
        .name())
    }
}
