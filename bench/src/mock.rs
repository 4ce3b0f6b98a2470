//! A model server with the chat-completions protocol, streaming and plain. The name of the model sets the pace: `t40-i0`
//! sends 40 tokens at once, `t64-i20` 64 tokens 20 ms apart.
//!
//! The server shares the cores with what is measured, so it makes the frames of a pace only once.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;

/// The text of a token, of a length that models send.
const WORD: &str = "word ";

/// Where hosts send their traces (OTLP over HTTP). They are dropped.
const TRACES: &str = "/v1/traces";

/// The number of tokens of a reply and the time between two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pace {
    pub(crate) tokens: usize,
    pub(crate) interval: Duration,
}

impl Pace {
    /// Returns the pace as the name of a model.
    pub(crate) fn name(self) -> String {
        format!("t{}-i{}", self.tokens, self.interval.as_millis())
    }

    fn parse(name: &str) -> Option<Self> {
        let (tokens, interval) = name.strip_prefix('t')?.split_once("-i")?;
        Some(Self { tokens: tokens.parse().ok()?, interval: Duration::from_millis(interval.parse().ok()?) })
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves on a free port of this machine and prints the address.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let replies = Arc::new(Replies::default());
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let replies = Arc::clone(&replies);
        let service = service_fn(move |request| answer(request, Arc::clone(&replies)));
        tokio::spawn(async move {
            let mut http = hyper::server::conn::http1::Builder::new();
            // An error means that the client left.
            let _client_left =
                http.timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, replies: Arc<Replies>) -> Result<Response<Body>, Infallible> {
    let is_trace = request.uri().path() == TRACES;
    let Ok(body) = request.into_body().collect().await else { return Ok(unknown_model()) };
    if is_trace {
        // An empty message of protocol buffers: everything was accepted.
        return Ok(Response::new(Full::default().boxed_unsync()));
    }
    let request: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let Some(pace) = request.get("model").and_then(Value::as_str).and_then(Pace::parse) else {
        return Ok(unknown_model());
    };
    let reply = replies.for_pace(pace);
    let streamed = request.get("stream").and_then(Value::as_bool).unwrap_or(false);
    let (media, body) = if !streamed {
        if !pace.interval.is_zero() {
            tokio::time::sleep(pace.interval * u32::try_from(pace.tokens).unwrap_or(u32::MAX)).await;
        }
        ("application/json", Full::new(reply.whole.clone()).boxed_unsync())
    } else if pace.interval.is_zero() {
        ("text/event-stream", Full::new(reply.at_once.clone()).boxed_unsync())
    } else {
        ("text/event-stream", paced(reply, pace.interval))
    };
    let response = Response::builder().header(header::CONTENT_TYPE, media).body(body);
    Ok(response.unwrap_or_else(|_| unknown_model()))
}

/// Sends one frame in each interval.
fn paced(reply: Arc<Reply>, interval: Duration) -> Body {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let frames = futures::stream::unfold((ticks, reply, 0), |(mut ticks, reply, next)| async move {
        ticks.tick().await;
        let frame = reply.frames.get(next)?.clone();
        Some((Ok(Frame::data(frame)), (ticks, reply, next + 1)))
    });
    StreamBody::new(frames).boxed_unsync()
}

fn unknown_model() -> Response<Body> {
    let mut response =
        Response::new(Full::new(Bytes::from_static(b"a model is called t40-i0")).boxed_unsync());
    *response.status_mut() = http::StatusCode::NOT_FOUND;
    response
}

/// The prepared reply of a pace.
struct Reply {
    whole: Bytes,
    /// All frames joined.
    at_once: Bytes,
    /// One frame for each token; the last one also holds everything that follows the last token.
    frames: Vec<Bytes>,
}

#[derive(Default)]
struct Replies(Mutex<HashMap<Pace, Arc<Reply>>>);

impl Replies {
    fn for_pace(&self, pace: Pace) -> Arc<Reply> {
        let mut replies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(replies.entry(pace).or_insert_with(|| Arc::new(Reply::new(pace.tokens))))
    }
}

impl Reply {
    fn new(tokens: usize) -> Self {
        let usage = json!({ "prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": tokens + 20 });
        let head =
            |object: &str| json!({ "id": "chatcmpl-1", "object": object, "created": 1, "model": "mock" });
        let frame = |choices: Value, usage: Option<&Value>| {
            let mut chunk = head("chat.completion.chunk");
            if let Some(chunk) = chunk.as_object_mut() {
                chunk.insert("choices".into(), choices);
                chunk.extend(usage.map(|usage| ("usage".to_owned(), usage.clone())));
            }
            format!("data: {chunk}\n\n")
        };
        let token =
            || frame(json!([{ "index": 0, "delta": { "content": WORD }, "finish_reason": null }]), None);
        let mut frames: Vec<String> = (0..tokens).map(|_| token()).collect();
        let stop = frame(json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]), None);
        let end = format!("{stop}{}data: [DONE]\n\n", frame(json!([]), Some(&usage)));
        match frames.last_mut() {
            Some(last) => last.push_str(&end),
            None => frames.push(end),
        }
        let mut whole = head("chat.completion");
        if let Some(whole) = whole.as_object_mut() {
            let message = json!({ "role": "assistant", "content": WORD.repeat(tokens) });
            whole.insert(
                "choices".into(),
                json!([{ "index": 0, "message": message, "finish_reason": "stop" }]),
            );
            whole.insert("usage".into(), usage);
        }
        Self {
            whole: whole.to_string().into(),
            at_once: frames.concat().into(),
            frames: frames.into_iter().map(Bytes::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_a_models_name() {
        let pace = Pace { tokens: 64, interval: Duration::from_millis(20) };
        assert_eq!(pace.name(), "t64-i20");
        assert_eq!(Pace::parse("t64-i20"), Some(pace));
        for name in ["", "gpt-5", "t-i", "t1-i", "tx-i1", "64-i20"] {
            assert_eq!(Pace::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_stream_has_every_token_and_an_end() {
        let reply = Reply::new(3);
        assert_eq!(reply.frames.len(), 3);
        let text = String::from_utf8(reply.at_once.to_vec()).unwrap();
        assert_eq!(text.matches("\"content\":\"word \"").count(), 3);
        assert!(text.ends_with("data: [DONE]\n\n") && text.contains("\"completion_tokens\":3"));
    }
}
