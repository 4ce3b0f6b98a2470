//! Reads from an HTTP/2 connection how many streams its server allows, as the bytes pass by.
//!
//! A server's first frame is its SETTINGS (RFC 9113, section 3.4). Until it arrives, a client may open more streams than the server
//! then allows, which refuses them. hyper says how many are allowed, but not when it knows.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::sync::oneshot;

/// The type of a SETTINGS frame, and its parameter for the most streams (RFC 9113, sections 6.5 and 6.5.2).
const SETTINGS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const FRAME_HEADER_BYTES: usize = 9;
const PARAMETER_BYTES: usize = 6;
/// The longest first frame that is read: a peer that was told no other limit may send no longer one (section 4.2).
const MAX_FRAME_BYTES: usize = 16 << 10;
/// How much is read at once until the frame has arrived.
const READ_BYTES: usize = 512;

/// A connection whose first frame is read on its way to hyper.
pub(super) struct FirstSettings<T> {
    io: T,
    frame: Vec<u8>,
    /// Taken when the frame has arrived.
    arrived: Option<oneshot::Sender<Option<u32>>>,
}

impl<T> FirstSettings<T> {
    /// The receiver resolves when the first frame has arrived: to the most streams, or to `None` if the server sets no limit. It fails
    /// if the connection ends before.
    pub(super) fn new(io: T) -> (Self, oneshot::Receiver<Option<u32>>) {
        let (arrived, receiver) = oneshot::channel();
        (Self { io, frame: Vec::new(), arrived: Some(arrived) }, receiver)
    }

    fn observe(&mut self, bytes: &[u8]) {
        self.frame.extend_from_slice(bytes);
        if let Some(max_streams) = read_first_frame(&self.frame)
            && let Some(arrived) = self.arrived.take()
        {
            self.frame = Vec::new();
            // Whoever opens the connection may have given up.
            let _ = arrived.send(max_streams);
        }
    }
}

/// The most streams by the first frame. `None` until the frame is complete. A frame of another kind sets no limit; hyper ends its
/// connection.
fn read_first_frame(bytes: &[u8]) -> Option<Option<u32>> {
    let (header, rest) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>()?;
    let [a, b, c, kind, ..] = *header;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    if kind != SETTINGS || length > MAX_FRAME_BYTES {
        return Some(None);
    }
    let parameters = rest.get(..length)?;
    let mut values = parameters.chunks_exact(PARAMETER_BYTES).filter_map(|parameter| match *parameter {
        [high, low, a, b, c, d] if u16::from_be_bytes([high, low]) == MAX_CONCURRENT_STREAMS => {
            Some(u32::from_be_bytes([a, b, c, d]))
        }
        _ => None,
    });
    // The last value of a parameter counts (section 6.5).
    Some(values.next_back())
}

impl<T: Read + Unpin> Read for FirstSettings<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.arrived.is_none() {
            return Pin::new(&mut this.io).poll_read(cx, cursor);
        }
        let mut bytes = [0; READ_BYTES];
        let room = cursor.remaining().min(READ_BYTES);
        let mut buffer = ReadBuf::new(bytes.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut this.io).poll_read(cx, buffer.unfilled()))?;
        cursor.put_slice(buffer.filled());
        this.observe(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl<T: Write + Unpin> Write for FirstSettings<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, parameters: &[(u16, u32)]) -> Vec<u8> {
        let length = u32::try_from(parameters.len() * PARAMETER_BYTES).unwrap().to_be_bytes();
        let mut frame = [&length[1..], &[kind, 0, 0, 0, 0, 0]].concat();
        for (name, value) in parameters {
            frame.extend(name.to_be_bytes());
            frame.extend(value.to_be_bytes());
        }
        frame
    }

    #[test]
    fn the_limit_is_read_once_the_frame_is_complete() {
        for (parameters, max) in [
            (&[][..], None),
            (&[(4, 65_535)], None),
            (&[(3, 0)], Some(0)),
            (&[(1, 4096), (3, 100), (4, 65_535)], Some(100)),
            (&[(3, 100), (3, 7)], Some(7)),
        ] {
            let frame = frame(SETTINGS, parameters);
            for end in 0..frame.len() {
                assert_eq!(read_first_frame(&frame[..end]), None, "{end} bytes of {frame:?}");
            }
            assert_eq!(read_first_frame(&[frame.as_slice(), b"more"].concat()), Some(max));
        }
    }

    #[test]
    fn another_first_frame_sets_no_limit() {
        assert_eq!(read_first_frame(&frame(0, &[(3, 1)])), Some(None));
        assert_eq!(read_first_frame(b"HTTP/1.1 400 Bad Request\r\n"), Some(None));
    }
}
