//! What a call has written of its reply and its reader has not taken: a bounded buffer that both share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::contract::Delta;

/// The most items that wait for the reader.
const MAX_ITEMS: usize = 256;
/// The most bytes that wait for the reader: a few seconds of any model's reply. An item larger than that waits alone.
const MAX_BYTES: usize = 256 << 10;

/// The buffer of one reply. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct ReplyBuffer(Arc<Mutex<Contents>>);

#[derive(Default)]
pub(super) struct Contents {
    /// The plugin has accepted the prompt.
    is_accepted: bool,
    items: Vec<Delta>,
    bytes: usize,
    /// Wakes the call, which waits for room.
    writer: Option<Waker>,
}

impl ReplyBuffer {
    /// The plugin accepts the prompt: it refuses nothing from here on, but may fail.
    pub(super) fn accept(&self) {
        self.lock().is_accepted = true;
    }

    /// Whether the plugin has accepted the prompt.
    pub(crate) fn is_accepted(&self) -> bool {
        self.lock().is_accepted
    }

    /// Takes all items, and wakes the call if it waits for room.
    pub(super) fn take(&self) -> Vec<Delta> {
        let (items, writer) = {
            let mut contents = self.lock();
            contents.bytes = 0;
            (std::mem::take(&mut contents.items), contents.writer.take())
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        items
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// Whether an item of `largest` bytes may be added. An empty buffer takes any item.
    pub(super) fn has_room(&self, largest: usize) -> bool {
        self.items.is_empty()
            || (self.items.len() < MAX_ITEMS && self.bytes.saturating_add(largest) <= MAX_BYTES)
    }

    /// Waits until the reader takes what is here, unless there is room for an item of `largest` bytes.
    pub(super) fn poll_room(&mut self, largest: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_room(largest) {
            return Poll::Ready(());
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Adds an item of `bytes`.
    pub(super) fn push(&mut self, item: Delta, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.items.push(item);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn push(buffer: &ReplyBuffer, text: &str) {
        buffer.lock().push(Delta::Text(text.to_owned()), text.len().max(1));
    }

    #[test]
    fn items_and_bytes_are_bounded_and_an_empty_buffer_takes_any_item() {
        let buffer = ReplyBuffer::default();
        assert!(buffer.lock().has_room(usize::MAX));
        for _ in 0..MAX_ITEMS {
            assert!(buffer.lock().has_room(1));
            push(&buffer, "");
        }
        assert!(!buffer.lock().has_room(1));
        assert_eq!(buffer.take().len(), MAX_ITEMS);
        push(&buffer, &"x".repeat(MAX_BYTES - 10));
        assert!(buffer.lock().has_room(10));
        assert!(!buffer.lock().has_room(11));
    }

    #[test]
    fn a_call_that_waits_for_room_is_woken_when_the_reader_takes_the_items() {
        let (buffer, wakes) = (ReplyBuffer::default(), Arc::new(Wakes::default()));
        let waker = Waker::from(Arc::clone(&wakes));
        let poll = || buffer.lock().poll_room(MAX_BYTES, &mut Context::from_waker(&waker));
        assert!(poll().is_ready());
        push(&buffer, "well");
        assert!(poll().is_pending());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        buffer.take();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(poll().is_ready());
    }
}
