//! Server-sent events: the format of one event, and the response body that reads a turn's event log.
//!
//! Only its own connection polls the body, so a slow client delays nobody else. Dropping the body drops the reader. Events
//! that are ready at the same time are sent in one chunk; a ready event never waits for the next.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use http_body::{Frame, SizeHint};
use masque_http::RequestId;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::ReusableBoxFuture;

use masque_turns::{Event, EventKind, EventReader};

use super::sse_data;

pub(crate) const MEDIA_TYPE: &str = "text/event-stream";

/// A comment line. Clients ignore it; it keeps proxies from closing an idle connection.
const KEEPALIVE: &[u8] = b": keep-alive\n\n";

/// Nothing on the way may keep the stream, or change it: compression would hold events back until a block is full.
const CACHE_CONTROL: &str = "no-store, no-transform";

/// Returns the response that streams the events of `reader`, with a comment line after each `keepalive` without events.
pub(crate) fn response(reader: EventReader, keepalive: Duration, request: &RequestId) -> Response {
    let mut response = Body::new(EventStream::new(reader, keepalive, request.clone())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL));
    // Without this header, nginx buffers events.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// What most events take, in bytes: their fields and a few words. One allocation is enough for them.
const EVENT_BYTES: usize = 128;

type Batch = Option<Vec<Arc<Event>>>;

struct EventStream {
    state: State,
    keepalive: Interval,
    request: RequestId,
}

enum State {
    /// The read in progress owns the reader and returns it with the events. Each read takes the memory of the one before.
    Reading(ReusableBoxFuture<'static, (EventReader, Batch)>),
    Ended,
}

impl EventStream {
    fn new(reader: EventReader, period: Duration, request: RequestId) -> Self {
        let mut keepalive = tokio::time::interval_at(Instant::now() + period, period);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { state: State::Reading(ReusableBoxFuture::new(read(reader))), keepalive, request }
    }
}

async fn read(mut reader: EventReader) -> (EventReader, Batch) {
    let batch = reader.next().await;
    (reader, batch)
}

impl http_body::Body for EventStream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let State::Reading(reading) = &mut self.state else { return Poll::Ready(None) };
        match reading.poll(context) {
            Poll::Ready((reader, Some(events))) => {
                reading.set(read(reader));
                let mut text = Vec::with_capacity(EVENT_BYTES * events.len());
                for event in &events {
                    write(&mut text, event, self.request.as_str());
                }
                Poll::Ready(Some(Ok(Frame::data(text.into()))))
            }
            Poll::Ready((_, None)) => {
                self.state = State::Ended;
                Poll::Ready(None)
            }
            Poll::Pending => match self.keepalive.poll_tick(context) {
                Poll::Ready(_) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(KEEPALIVE))))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Appends one event (HTML standard, section 9.2). The data is one line, because JSON escapes line breaks, unless it is too
/// long for one ([`sse_data`]).
fn write(text: &mut Vec<u8>, event: &Event, request_id: &str) {
    let sequence = event.sequence;
    match &event.kind {
        EventKind::Created { turn_id, conversation_id, companion } => {
            let data = Created {
                turn_id: turn_id.to_string(),
                conversation_id: conversation_id.to_string(),
                companion,
            };
            write_tagged(text, "turn.created", sequence, &data);
        }
        EventKind::Delta { text: piece } => {
            // There is one for nearly every token, so it is written in place. Its text is short enough for one line.
            let name = "reply.delta";
            write_head(text, name, sequence);
            text.extend_from_slice(sse_data::FIELD.as_bytes());
            append_json(text, &Delta { name, sequence, text: piece });
            text.extend_from_slice(b"\n\n");
        }
        EventKind::Completed(reply) => {
            write_tagged(text, "turn.completed", sequence, &*sse_data::with_short_lines(reply));
        }
        EventKind::Failed(problem) => {
            let problem = problem.to_value(Some(request_id));
            write_tagged(text, "turn.failed", sequence, &Failed { problem });
        }
    }
}

/// Appends the fields `event` and `id`.
fn write_head(text: &mut Vec<u8>, name: &str, sequence: u64) {
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\nid: ");
    text.extend_from_slice(sequence.to_string().as_bytes());
    text.push(b'\n');
}

/// Appends an event whose data may need several lines.
fn write_tagged<T: Serialize>(text: &mut Vec<u8>, name: &str, sequence: u64, data: &T) {
    let mut json = Vec::new();
    append_json(&mut json, &Tagged { name, sequence, data });
    write_head(text, name, sequence);
    sse_data::write(text, &json);
    text.push(b'\n');
}

fn append_json<T: Serialize>(text: &mut Vec<u8>, data: &T) {
    if let Err(error) = serde_json::to_writer(text, data) {
        // Serialization fails only for maps with non-string keys, and no event has one.
        tracing::error!(%error, "an event could not be written");
    }
}

#[derive(Serialize)]
struct Tagged<'a, T> {
    #[serde(rename = "type")]
    name: &'a str,
    sequence: u64,
    #[serde(flatten)]
    data: &'a T,
}

#[derive(Serialize)]
struct Created<'a> {
    turn_id: String,
    conversation_id: String,
    companion: &'a str,
}

#[derive(Serialize)]
struct Delta<'a> {
    #[serde(rename = "type")]
    name: &'a str,
    sequence: u64,
    text: &'a str,
}

#[derive(Serialize)]
struct Failed {
    problem: Value,
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use masque_store::{ConversationId, TurnId};
    use serde_json::json;

    use super::*;
    use masque_problem::{Kind, Problem};

    fn request() -> RequestId {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("r-1"));
        RequestId::from_headers(&headers)
    }

    fn text_of(event: &Event) -> String {
        let mut text = Vec::new();
        write(&mut text, event, "r-1");
        String::from_utf8(text).unwrap()
    }

    fn written(sequence: u64, kind: EventKind) -> (Vec<String>, Value) {
        let text = text_of(&Event { sequence, kind });
        assert!(text.ends_with("\n\n"), "{text}");
        let lines: Vec<String> = text.trim_end().lines().map(str::to_owned).collect();
        let data = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
        (lines, data)
    }

    #[test]
    fn an_event_is_three_lines_whatever_its_text_holds() {
        let text = "first\nsecond\r\n\ndata: forged";
        let (lines, data) = written(1, EventKind::Delta { text: text.into() });
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[0].as_str(), lines[1].as_str()), ("event: reply.delta", "id: 1"));
        assert_eq!(data, json!({ "type": "reply.delta", "sequence": 1, "text": text }));
    }

    #[test]
    fn each_kind_of_event_carries_its_own_data() {
        let (turn_id, conversation_id) = (TurnId::new(), ConversationId::new());
        let (_, data) =
            written(0, EventKind::Created { turn_id, conversation_id, companion: "elara".into() });
        assert_eq!(
            data,
            json!({
                "type": "turn.created", "sequence": 0, "companion": "elara",
                "turn_id": turn_id.to_string(), "conversation_id": conversation_id.to_string(),
            })
        );
        let (_, data) = written(2, EventKind::Completed(Arc::new(json!({ "finish": "stop" }))));
        assert_eq!(data, json!({ "type": "turn.completed", "sequence": 2, "finish": "stop" }));
        let (_, data) = written(2, EventKind::Failed(Box::new(Problem::from(Kind::ModelStalled))));
        assert_eq!(data["type"], "turn.failed");
        assert_eq!(data["problem"]["type"], "/docs/errors#model-stalled");
        assert_eq!(data["problem"]["request_id"], "r-1");
    }

    #[test]
    fn no_line_of_any_event_is_longer_than_64_kib() {
        let long = "\u{1}".repeat(200_000);
        let reply = json!({ "reply": { "role": "assistant", "content": long } });
        let text = text_of(&Event { sequence: 1, kind: EventKind::Completed(Arc::new(reply)) });
        assert!(text.ends_with("}\n\n") && text.starts_with("event: turn.completed\nid: 1\ndata: {"));
        assert!(text.lines().all(|line| line.len() < sse_data::MAX_LINE_BYTES));
        assert_eq!(text.matches("\n\n").count(), 1, "the event ends once");
    }

    #[tokio::test]
    async fn a_stream_may_not_be_kept_or_changed_on_its_way() {
        let response = response(log().reader(None), Duration::from_secs(15), &request());
        assert_eq!(response.headers()["cache-control"], "no-store, no-transform");
    }

    fn log() -> Arc<masque_turns::EventLog> {
        masque_turns::EventLog::new(TurnId::new(), ConversationId::new(), "elara".into(), 1024)
    }

    #[tokio::test]
    async fn what_is_ready_together_leaves_in_one_chunk() {
        let log = log();
        log.open();
        let mut body = EventStream::new(log.reader(None), Duration::from_secs(15), request());
        log.write("Hello").unwrap();
        log.end(masque_turns::TurnEnd::Completed(Arc::new(json!({}))));
        let chunk = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let chunk = String::from_utf8(chunk.to_vec()).unwrap();
        assert_eq!(chunk.matches("event: ").count(), 3, "{chunk}");
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_comments() {
        let log = log();
        let mut body = EventStream::new(log.reader(None), Duration::from_secs(15), request());
        let begun = Instant::now();
        for seconds in [15, 30] {
            let chunk = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(&chunk[..], KEEPALIVE);
            assert_eq!(begun.elapsed().as_secs(), seconds);
        }
    }

    #[tokio::test]
    async fn a_body_that_is_dropped_leaves_the_turn() {
        let log = log();
        let body = EventStream::new(log.reader(None), Duration::from_secs(15), request());
        drop(body);
        log.abandoned(Duration::ZERO).await;
    }
}
