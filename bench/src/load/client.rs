//! A client with one connection, which stays open from turn to turn.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::options::{Options, Protocol};

/// The times of a turn, as the client measures them.
pub(super) struct TurnTiming {
    /// From the request to the first token.
    pub(super) first: Duration,
    pub(super) total: Duration,
    /// The times between two pieces of the reply.
    pub(super) gaps: Vec<Duration>,
}

pub(super) struct Client {
    options: Options,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(super) fn new(options: &Options) -> Self {
        Self { options: options.clone(), connection: None }
    }

    /// Makes a turn in a new conversation, if the protocol has conversations. Fails unless the whole reply arrives.
    pub(super) async fn turn(&mut self, number: u64) -> anyhow::Result<TurnTiming> {
        let request = self.request(number)?;
        let mut connection = match self.connection.take().filter(|connection| connection.is_ready()) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.ready().await?;
        let begun = Instant::now();
        let response = connection.send_request(request).await.context("no answer")?;
        let status = response.status();
        let timing = self.read(response, begun).await.with_context(|| format!("{status}"))?;
        self.connection = Some(connection);
        Ok(timing)
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let socket = TcpStream::connect(&self.options.to).await.context("no connection")?;
        socket.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(socket)).await?;
        // An error of the connection shows when the sender is used.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(&self, number: u64) -> anyhow::Result<Request<Full<Bytes>>> {
        let Options { protocol, stream, model, bearer, to, keyed, companion, users, .. } = &self.options;
        let (path, body) = match protocol {
            Protocol::Openai => (
                "/v1/chat/completions",
                json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": "Tell me." }] }),
            ),
            Protocol::Masque => {
                ("/chat", json!({ "message": "Tell me.", "companion": companion, "stream": stream }))
            }
            Protocol::Hello => return Ok(Request::get("/").header(header::HOST, to).body(Full::default())?),
        };
        let mut request = Request::post(path).header(header::HOST, to);
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(bearer) = bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        if let Some(user) = number.checked_rem(*users) {
            request = request.header("on-behalf-of", format!("user-{user}"));
        }
        if *keyed {
            request = request.header("idempotency-key", format!("{}-{number}", uuid::Uuid::now_v7()));
        }
        Ok(request.body(Full::new(body.to_string().into()))?)
    }

    async fn read(&self, response: Response<Incoming>, begun: Instant) -> anyhow::Result<TurnTiming> {
        let is_ok = response.status() == 200;
        let mut body = response.into_body();
        if !is_ok || !self.options.stream {
            let whole = body.collect().await?.to_bytes();
            let total = begun.elapsed();
            ensure!(is_ok, "{}", String::from_utf8_lossy(&whole));
            self.check_whole(&whole)?;
            return Ok(TurnTiming { first: total, total, gaps: Vec::new() });
        }
        let mut counter = TokenCounter::new(self.options.protocol);
        let (mut first, mut last, mut gaps) = (None, None::<Instant>, Vec::new());
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if counter.count(&data) > 0 {
                let now = Instant::now();
                first.get_or_insert(now - begun);
                gaps.extend(last.map(|last| now - last));
                last = Some(now);
            }
        }
        let total = begun.elapsed();
        ensure!(counter.ended, "the stream ended without its end");
        ensure!(counter.words == self.options.tokens, "{} tokens of {}", counter.words, self.options.tokens);
        Ok(TurnTiming { first: first.context("no token came")?, total, gaps })
    }

    fn check_whole(&self, whole: &[u8]) -> anyhow::Result<()> {
        if self.options.protocol == Protocol::Hello {
            ensure!(whole == b"hello", "another answer than `hello`");
            return Ok(());
        }
        let reply: Value = serde_json::from_slice(whole)?;
        let text = match self.options.protocol {
            Protocol::Openai => reply.pointer("/choices/0/message/content"),
            Protocol::Masque | Protocol::Hello => reply.pointer("/reply/content"),
        };
        let words = text.and_then(Value::as_str).context("no reply in the answer")?.matches("word").count();
        ensure!(words == self.options.tokens, "{words} tokens of {}", self.options.tokens);
        Ok(())
    }
}

/// Counts the tokens of a stream without parsing it, since the clients share the cores with what is measured. A piece may
/// end within a line.
struct TokenCounter {
    end: &'static [u8],
    /// The end of the last piece, if it may be the beginning of a token or of the end.
    rest: Vec<u8>,
    words: usize,
    ended: bool,
}

impl TokenCounter {
    fn new(protocol: Protocol) -> Self {
        let end: &[u8] = match protocol {
            Protocol::Openai => b"data: [DONE]",
            Protocol::Masque | Protocol::Hello => b"event: turn.completed",
        };
        Self { end, rest: Vec::new(), words: 0, ended: false }
    }

    /// Returns the number of tokens in the piece. Ignores what follows the end, which repeats the reply.
    fn count(&mut self, data: &[u8]) -> usize {
        const WORD: &[u8] = b"word";
        let before = self.words;
        self.rest.extend_from_slice(data);
        let mut from = 0;
        while !self.ended {
            let Some(text) = self.rest.get(from..) else { break };
            if text.starts_with(WORD) {
                self.words += 1;
                from += WORD.len();
            } else if text.starts_with(self.end) {
                self.ended = true;
            } else if text.is_empty() || self.end.starts_with(text) || WORD.starts_with(text) {
                break;
            } else {
                from += 1;
            }
        }
        self.rest.drain(..from.min(self.rest.len()));
        self.words - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_wherever_the_pieces_are_cut() {
        let mut counter = TokenCounter::new(Protocol::Masque);
        assert_eq!(
            counter.count(b"data: {\"text\":\"word \"}\n\n"),
            1,
            "a token counts with the piece that brings it"
        );
        let stream = "event: reply.delta\ndata: {\"text\":\"word word \"}\n\nevent: turn.completed\ndata: {\"content\":\"word word \"}\n\n";
        for cut in 0..stream.len() {
            let mut counter = TokenCounter::new(Protocol::Masque);
            let (one, two) = stream.split_at(cut);
            counter.count(one.as_bytes());
            counter.count(two.as_bytes());
            assert_eq!((counter.words, counter.ended), (2, true), "cut at {cut}");
        }
    }

    #[test]
    fn a_stream_without_its_end_has_not_ended() {
        let mut counter = TokenCounter::new(Protocol::Openai);
        counter.count(b"data: {\"content\":\"word \"}\n\n");
        assert_eq!((counter.words, counter.ended), (1, false));
        counter.count(b"data: [DONE]\n\n");
        assert!(counter.ended);
    }
}
