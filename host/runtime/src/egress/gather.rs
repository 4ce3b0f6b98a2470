//! Gathers the frames of a body that are ready at the same time.
//!
//! A model that sends one chunk for each token sends several while the guest is busy. The guest, the log of the turn and its client
//! would run once for each of them. Frames that are ready together therefore become one; a frame that comes alone waits for none.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;

/// Once so many bytes are gathered, no further frame is added.
const MAX_BYTES: usize = 16 << 10;
/// The most frames that are gathered, so that an upstream that sends single bytes holds no thread.
const MAX_FRAMES: usize = 64;

/// What has arrived of a body.
pub(super) struct Gathered<E> {
    /// Not empty, unless the body ends.
    pub(super) data: Bytes,
    pub(super) end: Option<BodyEnd<E>>,
}

/// How a body ends.
pub(super) enum BodyEnd<E> {
    /// Without trailers.
    Complete,
    Trailers(HeaderMap),
    Failed(E),
}

/// Returns what has arrived, as soon as that is anything.
pub(super) fn poll_gathered<B>(body: &mut B, cx: &mut Context<'_>) -> Poll<Gathered<B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut data = JoinedBytes::default();
    for _ in 0..MAX_FRAMES {
        let end = match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending if data.is_empty() => return Poll::Pending,
            Poll::Pending => return Poll::Ready(Gathered { data: data.finish(), end: None }),
            Poll::Ready(None) => BodyEnd::Complete,
            Poll::Ready(Some(Err(error))) => BodyEnd::Failed(error),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(more) => {
                    data.push(more);
                    if data.len() >= MAX_BYTES {
                        break;
                    }
                    continue;
                }
                Err(other) => match other.into_trailers() {
                    Ok(trailers) => BodyEnd::Trailers(trailers),
                    Err(_unknown) => continue,
                },
            },
        };
        return Poll::Ready(Gathered { data: data.finish(), end: Some(end) });
    }
    if data.is_empty() {
        // Empty frames only. Other tasks run before the next ones are read.
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(Gathered { data: data.finish(), end: None })
}

/// Bytes in a row. A single piece is not copied.
#[derive(Default)]
pub(super) struct JoinedBytes {
    first: Bytes,
    /// All bytes, where there is more than one piece.
    joined: BytesMut,
}

impl JoinedBytes {
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.first = piece;
        } else if !piece.is_empty() {
            if self.joined.is_empty() {
                self.joined.extend_from_slice(&self.first);
            }
            self.joined.extend_from_slice(&piece);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.first.len().max(self.joined.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    pub(super) fn finish(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    type Polled = Poll<Option<Result<Frame<Bytes>, Infallible>>>;

    fn data(bytes: &[u8]) -> Polled {
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(bytes)))))
    }

    /// What is gathered, poll by poll, of a body whose frames are ready or not as in `polled`.
    fn gathered(polled: Vec<Polled>) -> Vec<Poll<(Bytes, bool)>> {
        let mut polled = polled.into_iter();
        let mut body = StreamBody::new(stream::poll_fn(move |_| polled.next().unwrap_or(Poll::Ready(None))));
        let mut polls = Vec::new();
        loop {
            let gathered = poll_gathered(&mut body, &mut Context::from_waker(std::task::Waker::noop()));
            polls.push(gathered.map(|gathered| (gathered.data, gathered.end.is_some())));
            if matches!(polls.last(), Some(Poll::Ready((_, true)))) {
                return polls;
            }
        }
    }

    fn ready(bytes: &'static [u8], ends: bool) -> Poll<(Bytes, bool)> {
        Poll::Ready((Bytes::from_static(bytes), ends))
    }

    #[test]
    fn frames_that_are_ready_together_become_one_and_one_that_comes_alone_waits_for_none() {
        let polled =
            vec![Poll::Pending, data(b"one "), data(b"two "), data(b"three "), Poll::Pending, data(b"four ")];
        let alone = vec![data(b"five "), Poll::Pending, Poll::Pending, data(b"six")];
        assert_eq!(
            gathered(polled.into_iter().chain([Poll::Pending]).chain(alone).collect()),
            [
                Poll::Pending,
                ready(b"one two three ", false),
                ready(b"four ", false),
                ready(b"five ", false),
                Poll::Pending,
                ready(b"six", true)
            ]
        );
    }

    #[test]
    fn trailers_and_empty_frames_hold_nothing_back() {
        let trailers = HeaderMap::from_iter([("x".parse().unwrap(), "y".parse().unwrap())]);
        let polled = vec![
            data(b""),
            data(b"one"),
            data(b""),
            Poll::Pending,
            data(b"two"),
            Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
        ];
        assert_eq!(gathered(polled), [ready(b"one", false), ready(b"two", true)]);
    }

    #[test]
    fn what_is_gathered_at_once_is_bounded() {
        let long = vec![b'x'; MAX_BYTES / 2];
        let polls = gathered(vec![data(&long), data(&long), data(b"y")]);
        let sizes = |polls: Vec<Poll<(Bytes, bool)>>| -> Vec<Poll<usize>> {
            polls.into_iter().map(|poll| poll.map(|(data, _)| data.len())).collect()
        };
        assert_eq!(sizes(polls), [Poll::Ready(MAX_BYTES), Poll::Ready(1)]);
        let single = |bytes: &[u8]| gathered((0..MAX_FRAMES + 1).map(|_| data(bytes)).collect());
        assert_eq!(sizes(single(b"x")), [Poll::Ready(MAX_FRAMES), Poll::Ready(1)]);
        assert_eq!(single(b""), [Poll::Pending, ready(b"", true)]);
    }

    #[test]
    fn a_single_frame_is_passed_on_without_a_copy() {
        let frame = Bytes::from_static(b"as it came");
        let mut body = http_body_util::Full::new(frame.clone());
        let Poll::Ready(gathered) =
            poll_gathered(&mut body, &mut Context::from_waker(std::task::Waker::noop()))
        else {
            panic!("a frame is ready");
        };
        assert_eq!(gathered.data.as_ptr(), frame.as_ptr());
    }
}
