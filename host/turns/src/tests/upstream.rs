//! A model server over a real socket that answers what the test says, when the test says it.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

pub(super) struct Upstream {
    origin: String,
    requests: mpsc::UnboundedReceiver<ModelRequest>,
}

/// One request that is not answered yet.
pub(super) struct ModelRequest {
    pub(super) body: Value,
    answer: oneshot::Sender<Response>,
}

/// A response that is being streamed.
pub(super) struct StreamedReply(mpsc::Sender<Result<Bytes, std::io::Error>>);

impl Upstream {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (send, requests) = mpsc::unbounded_channel();
        let router = Router::new().route("/v1/chat/completions", post(completions)).with_state(send);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, requests }
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The next request.
    pub(super) async fn next(&mut self) -> ModelRequest {
        self.requests.recv().await.unwrap()
    }

    /// Whether no request waits to be answered.
    pub(super) fn is_idle(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

async fn completions(State(send): State<mpsc::UnboundedSender<ModelRequest>>, body: String) -> Response {
    let (answer, answered) = oneshot::channel();
    let body = serde_json::from_str(&body).unwrap();
    send.send(ModelRequest { body, answer }).unwrap();
    answered.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

impl ModelRequest {
    /// The texts of the prompt.
    pub(super) fn prompt(&self) -> Vec<&str> {
        self.body["messages"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|message| message["content"].as_str())
            .collect()
    }

    /// Refuses with a status and, if given, `retry-after` in seconds.
    pub(super) fn refuse(self, status: u16, retry_after: Option<&str>) {
        let mut response = Response::builder().status(status).header("content-type", "application/json");
        if let Some(seconds) = retry_after {
            response = response.header("retry-after", seconds);
        }
        let body = json!({ "error": { "message": "the upstream's own words", "type": "error" } });
        self.answer.send(response.body(Body::from(body.to_string())).unwrap()).unwrap();
    }

    /// Begins a stream.
    pub(super) fn stream(self) -> StreamedReply {
        let (frames, mut sent) = mpsc::channel(1);
        let body = futures::stream::poll_fn(move |context| sent.poll_recv(context));
        let response = Response::builder().header("content-type", "text/event-stream");
        self.answer.send(response.body(Body::from_stream(body)).unwrap()).unwrap();
        StreamedReply(frames)
    }

    /// A whole reply.
    pub(super) async fn reply(self, text: &str) {
        let answer = self.stream();
        answer.say(text).await;
        answer.finish("stop").await;
    }
}

impl StreamedReply {
    async fn frame(&self, frame: Value) {
        // The host may have hung up; then no one is left to tell.
        let _ = self.0.send(Ok(format!("data: {frame}\n\n").into())).await;
    }

    pub(super) async fn say(&self, text: &str) {
        self.frame(
            json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] }),
        )
        .await;
    }

    pub(super) async fn think(&self, text: &str) {
        self.frame(
            json!({ "choices": [{ "index": 0, "delta": { "reasoning_content": text }, "finish_reason": null }] }),
        )
        .await;
    }

    pub(super) async fn finish(self, reason: &str) {
        self.frame(json!({
            "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }],
            "usage": { "prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15 },
        }))
        .await;
        // The host reads no further than the end of the reply.
        let _ = self.0.send(Ok("data: [DONE]\n\n".into())).await;
    }

    /// Cuts the connection in the middle.
    pub(super) async fn cut(self) {
        let _ = self.0.send(Err(std::io::Error::other("cut"))).await;
    }

    /// Resolves when the host has hung up.
    pub(super) async fn hung_up(&self) {
        self.0.closed().await;
    }
}
