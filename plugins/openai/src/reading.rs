//! Reads an answer from the network and passes it on. Deltas that arrive together are written together.
//!
//! The end of a stream is `[DONE]` or the end of the body. Many servers send neither: they leave the connection open, and
//! some keep it open with comments for ever. After the finish reason the rest therefore has a fixed time, whatever comes;
//! only more of the reply, which some servers send after a finish reason, starts it again.

use crate::answer::Answer;
use crate::failure;
use crate::frames::Frames;
use masque_sdk::http::{Error, Response};
use masque_sdk::time::{self, Sleep};
use masque_sdk::{Delta, Failure, ReplyWriter, Result};
use std::time::Duration;

/// How long the rest of a stream is waited for after the finish reason: the usage comes in a frame of its own, which some
/// servers send late.
const AFTER_FINISH: Duration = Duration::from_millis(1_500);
/// The same if the usage has come already. Nothing but the end is missing then.
const AFTER_USAGE: Duration = Duration::from_millis(300);

/// The wait for the rest, and what it began with.
struct Rest {
    sleep: Sleep,
    content_frames: u32,
    has_usage: bool,
}

/// Reads the answer to its end.
///
/// # Errors
/// The endpoint's error, or that of the connection. What came before it was queued or written.
pub(crate) async fn read(
    mut response: Response,
    frames: &mut Frames,
    answer: &mut Answer,
    reply: &mut ReplyWriter,
) -> Result<()> {
    let (mut rest, mut deltas): (Option<Rest>, _) = (None, Vec::new());
    while !answer.is_complete() {
        let chunk = match &mut rest {
            Some(rest) => match rest.sleep.unless(response.chunk()).await {
                Some(chunk) => chunk,
                None => {
                    tracing::debug!("the connection stayed open after the reply");
                    break;
                }
            },
            None => response.chunk().await,
        };
        let (taken, is_end) = match chunk {
            Ok(Some(chunk)) => (frames.push(&chunk), false),
            Ok(None) => (frames.end(), true),
            Err(error) => {
                // The last line, without a line break, may hold the end of the reply or the server's own words.
                if !answer.may_end() && frames.end().is_ok() {
                    pass_on(frames, answer, &mut deltas, reply).await?;
                }
                if !answer.may_end() {
                    return Err(error.into());
                }
                tracing::debug!(%error, "the connection ended badly after the reply");
                break;
            }
        };
        pass_on(frames, answer, &mut deltas, reply).await?;
        // Frames before a line that is too long were read.
        taken.map_err(|error| Error::TooLarge(error.to_string()))?;
        if is_end || (frames.is_unreadable() && !answer.has_understood()) {
            break;
        }
        begin_rest(&mut rest, answer);
    }
    Ok(())
}

/// Writes the deltas of the frames that have arrived. `deltas` is empty before and after.
async fn pass_on(
    frames: &mut Frames,
    answer: &mut Answer,
    deltas: &mut Vec<Delta>,
    reply: &mut ReplyWriter,
) -> Result<()> {
    let mut outcome = Ok(());
    while let Some(frame) = frames.next() {
        // Ignore frames after the end, as if they had arrived later.
        if outcome.is_err() || answer.is_complete() {
            break;
        }
        outcome = answer.read(frame, deltas);
    }
    deltas.drain(..).for_each(|delta| reply.push(delta));
    // Deltas before the error are part of the reply.
    reply.flush().await?;
    outcome
}

/// Starts the time for the rest once the reply may end, and again if more of it came.
fn begin_rest(rest: &mut Option<Rest>, answer: &Answer) {
    if !answer.may_end() {
        return;
    }
    let (content_frames, has_usage) = (answer.content_frames(), answer.has_usage());
    let is_running = rest
        .as_ref()
        .is_some_and(|rest| rest.content_frames == content_frames && rest.has_usage == has_usage);
    if !is_running {
        let length = if has_usage { AFTER_USAGE } else { AFTER_FINISH };
        *rest = Some(Rest { sleep: time::sleep(length), content_frames, has_usage });
    }
}

/// Refuses an answer that is compressed although that was not asked for.
///
/// # Errors
/// `unavailable`, naming the encoding.
pub(crate) fn check_encoding(response: &Response) -> Result<()> {
    match response.header("content-encoding").map(str::trim) {
        None | Some("") => Ok(()),
        Some(encoding) if encoding.eq_ignore_ascii_case("identity") => Ok(()),
        Some(encoding) => Err(Failure::unavailable(format!(
            "the endpoint, or a proxy before it, compressed its answer (content-encoding: {}) although the request \
             accepts no encoding; turn that off there",
            failure::excerpt(encoding.as_bytes())
        ))),
    }
}
