//! Reads the body of a response through `wasi:http@0.3`.

use super::Error;
use super::wasi_error::body_error;
use wasip3::http::types::{ErrorCode, Response, Trailers};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult};

/// The largest chunk of a read, in bytes. Large enough that one read returns what a fast model sends between two reads;
/// the buffer is memory of the sandbox, not of the host.
const CHUNK: usize = 16 * 1024;

/// Resolves after the stream has ended, and says whether the body was complete.
type Ending = FutureReader<Result<Option<Trailers>, ErrorCode>>;

/// The body of a response, read from the host.
pub(super) struct Incoming {
    /// `None` after the end of the body.
    stream: Option<(StreamReader<u8>, Ending)>,
    /// Dropping it tells the host that the body has been handled.
    _result: FutureWriter<Result<(), ErrorCode>>,
}

impl Incoming {
    pub(super) fn new(response: Response) -> Self {
        let (result, result_reader) = wasip3::wit_future::new(|| Ok(()));
        let (stream, trailers) = Response::consume_body(response, result_reader);
        Self { stream: Some((stream, trailers)), _result: result }
    }

    /// Waits for the next bytes, which are never none; `None` is the end of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        while let Some((stream, _)) = &mut self.stream {
            let (status, chunk) = stream.read(Vec::with_capacity(CHUNK)).await;
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
            if !matches!(status, StreamResult::Complete(_)) {
                break;
            }
        }
        // A stream that was cut ends like a complete one; only the trailers tell the difference.
        match self.stream.take() {
            Some((stream, trailers)) => {
                drop(stream);
                trailers.await.map(|_| None).map_err(body_error)
            }
            None => Ok(None),
        }
    }
}
