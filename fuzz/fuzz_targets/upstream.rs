//! Fuzzes the whole `openai` plugin with responses of an endpoint. It must never panic, must end each reply exactly once,
//! and must return the same reply wherever the stream is cut.
//!
//! The first byte of the input selects the kind of response, the second is the size of the chunks, the rest is the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use masque_plugin_openai::OpenAi;
use masque_sdk::http::Error;
use masque_sdk::testing::{self, Answer, HttpResponse};
use masque_sdk::{Delta, Message, Prompt, Result};

fn answer(kind: u8, chunks: &[&[u8]]) -> Result<Answer> {
    testing::reset();
    let stream = kind & 1 == 0;
    testing::set_settings(&format!(r#"{{"model": "m", "base_url": "http://127.0.0.1/v1", "stream": {stream}}}"#));
    let status = [200, 200, 200, 401, 429, 500, 503, 204][usize::from(kind >> 1 & 7)];
    let content_type = ["text/event-stream", "application/json", "text/plain", ""][usize::from(kind >> 4 & 3)];
    let response = HttpResponse::new(status).header("content-type", content_type);
    let response = chunks.iter().fold(response, |response, chunk| response.chunk(*chunk));
    testing::respond(match kind >> 6 {
        0 | 1 => response,
        2 => response.broken(Error::Cut("reset".into())),
        _ => response.broken(Error::Stalled("30 s".into())),
    });
    let answer = testing::answer(&testing::load::<OpenAi>()?, Prompt::new([Message::user("Hello")]))?;
    let ends = |delta: &&Delta| matches!(delta, Delta::Finish(_) | Delta::Failed(_));
    assert_eq!(answer.deltas.iter().filter(ends).count(), 1);
    assert!(answer.deltas.last().is_some_and(|last| ends(&last)));
    Ok(answer)
}

fuzz_target!(|input: &[u8]| {
    let [kind, size, body @ ..] = input else { return };
    let whole = answer(*kind, &[body]);
    let chunks: Vec<_> = body.chunks(usize::from(*size).max(1)).collect();
    match (whole, answer(*kind, &chunks)) {
        (Ok(whole), Ok(cut)) => {
            assert_eq!(whole.text(), cut.text());
            assert_eq!(whole.finish(), cut.finish());
            assert_eq!(whole.failure(), cut.failure());
            assert_eq!(whole.usage(), cut.usage());
        }
        (Err(whole), Err(cut)) => assert_eq!(whole.code, cut.code),
        (whole, cut) => panic!("whole {whole:?}, cut {cut:?}"),
    }
});
