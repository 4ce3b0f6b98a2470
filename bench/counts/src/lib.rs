//! Pieces of a turn that only compute. Their number of instructions depends on the code and not on the machine, so it is
//! counted and compared with stored figures. The benchmark `pieces` measures their time.

use masque_plugin_card::Player;
use masque_plugin_openai::OpenAi;
use masque_plugin_window::Newest;
use masque_sdk::testing::{self, HttpResponse};
use masque_sdk::{Memory, Message, Persona, Prompt, Recollection, Result, Turn};

/// The name of a piece, and a function that prepares it and returns a closure which does the work once.
pub type Piece = (&'static str, fn() -> Result<Box<dyn FnMut() -> Result<usize>>>);

/// All pieces.
pub const PIECES: &[Piece] = &[
    ("persona: the card's prompt", card),
    ("memory: a full tail, chosen", window),
    ("model: 40 tokens that come together", at_once),
    ("model: 40 tokens that come one by one", one_by_one),
];

/// Composes the default card's prompt after ten messages; returns the number of its messages.
fn card() -> Result<Box<dyn FnMut() -> Result<usize>>> {
    testing::set_settings("{}");
    Ok(Box::new(|| {
        let player: Player = testing::load()?;
        let recalled = Recollection::of(messages(10));
        Ok(testing::run(player.compose(testing::turn("Hello"), recalled))?.messages.len())
    }))
}

/// Chooses among a tail of the largest size; returns the number of messages that fit. They are the next tail, so that making
/// messages is not counted.
fn window() -> Result<Box<dyn FnMut() -> Result<usize>>> {
    testing::set_settings("{}");
    let mut tail = messages(64);
    Ok(Box::new(move || {
        let memory: Newest = testing::load()?;
        let turn = Turn { tail: std::mem::take(&mut tail), ..testing::turn("Hello") };
        tail = testing::run(memory.recall(turn, 4096))?.messages;
        Ok(tail.len())
    }))
}

/// Reads a reply that arrives in one chunk; returns the number of deltas.
fn at_once() -> Result<Box<dyn FnMut() -> Result<usize>>> {
    let frames = frames().concat();
    Ok(Box::new(move || {
        testing::respond(response().chunk(frames.clone()));
        generate()
    }))
}

/// Reads a reply that arrives token by token; returns the number of deltas.
fn one_by_one() -> Result<Box<dyn FnMut() -> Result<usize>>> {
    let frames = frames();
    Ok(Box::new(move || {
        testing::respond(frames.iter().cloned().fold(response(), HttpResponse::chunk));
        generate()
    }))
}

fn generate() -> Result<usize> {
    testing::set_settings(r#"{"model": "mock"}"#);
    let model: OpenAi = testing::load()?;
    let answer = testing::answer(&model, Prompt::new([Message::user("Hello")]));
    // Forget the recorded request.
    testing::reset();
    Ok(answer?.deltas.len())
}

fn response() -> HttpResponse {
    HttpResponse::new(200).header("content-type", "text/event-stream")
}

/// Returns the frames that a chat-completions server sends.
fn frames() -> Vec<String> {
    let chunk = |choices: &str, rest: &str| {
        format!(
            r#"data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"mock","choices":[{choices}]{rest}}}"#
        ) + "\n\n"
    };
    let token = chunk(r#"{"index":0,"delta":{"content":"word "},"finish_reason":null}"#, "");
    let stop = chunk(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#, "");
    let usage = chunk("", r#","usage":{"prompt_tokens":20,"completion_tokens":40,"total_tokens":60}"#);
    let mut frames = vec![token; 40];
    frames.extend([stop, usage, "data: [DONE]\n\n".to_owned()]);
    frames
}

/// Makes this number of messages, alternating between user and assistant, oldest first.
fn messages(count: usize) -> Vec<Message> {
    let one = |index: usize| {
        let role = if index.is_multiple_of(2) { "user" } else { "assistant" };
        let mut message =
            Message::new(role, "What was said here is as long as a sentence of a talk mostly is.");
        message.id = Some(format!("message-{index}"));
        message
    };
    (0..count).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_does_its_work_each_time() {
        let expected = [16, 64, 42, 42];
        for ((name, make), expected) in PIECES.iter().zip(expected) {
            testing::reset();
            let mut work = make().unwrap();
            for _ in 0..3 {
                assert_eq!(work().unwrap(), expected, "{name}");
            }
        }
    }
}
