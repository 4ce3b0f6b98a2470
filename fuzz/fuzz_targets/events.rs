//! Fuzzes the SDK's parser of server-sent events: the events are the same wherever the bytes are cut.
//!
//! The first byte of the input is the size of the chunks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use masque_sdk::sse::{Event, Parser, TooLong};

const LIMIT: usize = 64;

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Option<TooLong>) {
    let mut parser = Parser::with_limit(LIMIT);
    let mut events = Vec::new();
    for chunk in chunks {
        let outcome = parser.push(chunk);
        events.extend(std::iter::from_fn(|| parser.next_event()));
        if let Err(error) = outcome {
            return (events, Some(error));
        }
    }
    (events, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((&size, bytes)) = input.split_first() else { return };
    let whole = read(std::iter::once(bytes));
    let cut = read(bytes.chunks(usize::from(size).max(1)));
    assert_eq!(whole, cut);
    // A byte that is not UTF-8 becomes a replacement character, which has three bytes.
    assert!(whole.0.iter().all(|event| !event.event.is_empty() && event.data.len() <= 3 * LIMIT));
});
