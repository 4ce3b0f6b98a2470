//! A model server with the chat-completions protocol, streaming and plain. The name of the model sets the pace: `t40-i0`
//! sends 40 tokens at once, `t64-i20` 64 tokens 20 ms apart, and `t40-c` 40 tokens one after the other, each in an HTTP chunk
//! of its own that is sent before the next one is made, as real models do.
//!
//! The server shares the cores with what is measured, so it makes the frames of a pace only once.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;

/// The text of a token, of a length that models send.
const WORD: &str = "word ";

/// Where hosts send their traces (OTLP over HTTP). They are dropped.
const TRACES: &str = "/v1/traces";

/// The number of tokens of a reply, and how they follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pace {
    pub(crate) tokens: usize,
    delivery: Delivery,
}

/// How tokens follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Delivery {
    /// All in one piece.
    AtOnce,
    /// Each in a piece of its own, without a pause.
    Chunks,
    /// Each after this time.
    Paced(Duration),
}

impl Pace {
    /// All tokens in one piece.
    pub(crate) const fn at_once(tokens: usize) -> Self {
        Self { tokens, delivery: Delivery::AtOnce }
    }

    /// Each token in an HTTP chunk of its own, without a pause.
    pub(crate) const fn chunks(tokens: usize) -> Self {
        Self { tokens, delivery: Delivery::Chunks }
    }

    /// One token in each interval.
    pub(crate) const fn paced(tokens: usize, interval: Duration) -> Self {
        Self { tokens, delivery: Delivery::Paced(interval) }
    }

    /// The time between two tokens.
    pub(crate) fn interval(self) -> Duration {
        match self.delivery {
            Delivery::AtOnce | Delivery::Chunks => Duration::ZERO,
            Delivery::Paced(interval) => interval,
        }
    }

    /// Returns the pace as the name of a model.
    pub(crate) fn name(self) -> String {
        match self.delivery {
            Delivery::Chunks => format!("t{}-c", self.tokens),
            Delivery::AtOnce | Delivery::Paced(_) => {
                format!("t{}-i{}", self.tokens, self.interval().as_millis())
            }
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let (tokens, delivery) = name.strip_prefix('t')?.split_once('-')?;
        let tokens = tokens.parse().ok()?;
        match delivery {
            "c" => Some(Self::chunks(tokens)),
            "i0" => Some(Self::at_once(tokens)),
            paced => Some(Self::paced(tokens, Duration::from_millis(paced.strip_prefix('i')?.parse().ok()?))),
        }
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The command line of `masque-bench mock`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Serve HTTP/2 over TLS, with a certificate that is made now and written into this file.
    #[arg(long)]
    certificate: Option<PathBuf>,
}

/// Serves on a free port of this machine and prints the address.
pub(crate) async fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let tls = options.certificate.as_deref().map(tls).transpose()?;
    println!("{}", listener.local_addr()?);
    let replies = Arc::new(Replies::default());
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (replies, tls) = (Arc::clone(&replies), tls.clone());
        let service = service_fn(move |request| answer(request, Arc::clone(&replies)));
        tokio::spawn(async move {
            // An error means that the client left.
            let _client_left = match tls {
                None => {
                    let mut http = hyper::server::conn::http1::Builder::new();
                    http.timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service).await
                }
                Some(tls) => {
                    let Ok(socket) = tls.accept(socket).await else { return };
                    let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    http.timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service).await
                }
            };
        });
    }
}

/// A certificate for this machine, which is its own authority.
fn tls(file: &Path) -> anyhow::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    std::fs::write(file, made.cert.pem())?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config).into())
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
        if !pace.interval().is_zero() {
            tokio::time::sleep(pace.interval() * u32::try_from(pace.tokens).unwrap_or(u32::MAX)).await;
        }
        ("application/json", Full::new(reply.whole.clone()).boxed_unsync())
    } else {
        let body = match pace.delivery {
            Delivery::AtOnce => Full::new(reply.at_once.clone()).boxed_unsync(),
            Delivery::Chunks => chunks(reply),
            Delivery::Paced(interval) => paced(reply, interval),
        };
        ("text/event-stream", body)
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

/// Sends each frame before the next one is made.
fn chunks(reply: Arc<Reply>) -> Body {
    let frames = futures::stream::unfold((reply, 0), |(reply, next)| async move {
        if next > 0 {
            // hyper writes what it has when the body has nothing more for the moment.
            tokio::task::yield_now().await;
        }
        let frame = reply.frames.get(next)?.clone();
        Some((Ok(Frame::data(frame)), (reply, next + 1)))
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
        for (pace, name) in [
            (Pace::paced(64, Duration::from_millis(20)), "t64-i20"),
            (Pace::at_once(40), "t40-i0"),
            (Pace::chunks(40), "t40-c"),
        ] {
            assert_eq!(pace.name(), name);
            assert_eq!(Pace::parse(name), Some(pace));
        }
        for name in ["", "gpt-5", "t-i", "t1-i", "tx-i1", "64-i20", "t-c", "t1-cc"] {
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
