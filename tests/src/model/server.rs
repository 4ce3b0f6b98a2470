//! The server: accepts requests, records them, and sends the next scripted answer.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::answer::{Answer, Before, Step, opening, whole};
use crate::wait::within;

/// A running server; dropping it ends the server. Requests without its key get a 401.
pub struct MockModel {
    address: SocketAddr,
    key: String,
    shared: Option<Arc<Shared>>,
    task: Option<JoinHandle<()>>,
    /// Reserves a port on which nobody listens.
    _closed: Option<TcpSocket>,
}

/// A request that the server received.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    pub path: String,
    /// What follows the question mark, as it was sent.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Value,
}

struct Shared {
    key: String,
    script: Mutex<VecDeque<Answer>>,
    seen: watch::Sender<Vec<RecordedRequest>>,
    /// The number of answers whose reader left before their end.
    abandoned: watch::Sender<usize>,
}

impl MockModel {
    /// Starts a server. Requests without a scripted answer get `You said: ` and the newest message.
    pub async fn start() -> Self {
        Self::with_key(&format!("sk-{}", uuid::Uuid::now_v7().simple())).await
    }

    /// Starts a server with this key.
    pub async fn with_key(key: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let key = key.to_owned();
        let shared = Arc::new(Shared {
            key: key.clone(),
            script: Mutex::default(),
            seen: watch::Sender::default(),
            abandoned: watch::Sender::default(),
        });
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, key, shared: Some(shared), task: Some(task), _closed: None }
    }

    /// Makes a model whose port refuses every connection.
    pub fn refusing() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        Self { address, key: "sk-nobody".to_owned(), shared: None, task: None, _closed: Some(socket) }
    }

    /// Adds an answer to the queue of scripted answers.
    pub fn next(&self, answer: Answer) {
        self.shared().script.lock().unwrap().push_back(answer);
    }

    /// Returns the API key that requests must have.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the configuration of a plugin `name` that uses this server, with further settings, one on each line.
    pub fn plugin(&self, name: &str, settings: &str) -> String {
        let (origin, key) = (self.origin(), &self.key);
        format!(
            r#"
[plugins.{name}]
source = "builtin:openai"
grants = {{ http = ["{origin}"], credentials = ["{name}"] }}

[plugins.{name}.settings]
base_url = "{origin}/v1"
model = "mock-1"
{settings}

[credentials.{name}]
origin = "{origin}"
header = "authorization"
value = "Bearer {key}"
"#
        )
    }

    /// Returns all requests so far.
    pub fn seen(&self) -> Vec<RecordedRequest> {
        self.shared().seen.borrow().clone()
    }

    /// Waits for the request with this number, counted from 0.
    pub async fn request(&self, number: usize) -> RecordedRequest {
        let mut seen = self.shared().seen.subscribe();
        let what = format!("request {number} to reach the model");
        let seen = within(&what, seen.wait_for(|seen| seen.len() > number)).await.unwrap();
        seen[number].clone()
    }

    /// Waits until the reader of an answer has left before its end.
    pub async fn abandoned(&self) {
        let mut count = self.shared().abandoned.subscribe();
        within("the host to leave the model's answer", count.wait_for(|&count| count > 0)).await.unwrap();
    }

    fn shared(&self) -> &Arc<Shared> {
        self.shared.as_ref().expect("a model that refuses connections has no answers")
    }
}

impl Drop for MockModel {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl RecordedRequest {
    /// Returns role and text of each message, oldest first.
    pub fn messages(&self) -> Vec<(String, String)> {
        let messages = self.body["messages"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        messages.iter().map(|message| (text(&message["role"]), text(&message["content"]))).collect()
    }

    /// Returns the text of the user's last message.
    pub fn last_message(&self) -> String {
        let messages = self.messages();
        messages.into_iter().rfind(|(role, _)| role == "user").map(|(_, text)| text).unwrap_or_default()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((connection, _)) = listener.accept().await {
        // Otherwise each small frame waits for the delayed acknowledgement of the frame before.
        connection.set_nodelay(true).unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // An error is expected when a scripted answer breaks the connection.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(connection), service)
                .await;
        });
    }
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let seen = RecordedRequest {
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    let answer = choose(&shared, &seen);
    let streamed = seen.body["stream"] == true && answer.status.is_success();
    let model = seen.body["model"].as_str().unwrap_or_default().to_owned();
    shared.seen.send_modify(|all| all.push(seen));

    match &answer.before_head {
        Some(Before::Wait(gate)) => gate.pass().await,
        Some(Before::HangUp) => return Err(io::Error::other("hung up")),
        None => {}
    }
    let mut response = Response::builder().status(answer.status);
    if answer.headers.is_empty() {
        response =
            response.header("content-type", if streamed { "text/event-stream" } else { "application/json" });
    }
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    // Buffer only one frame, so that the model waits while the host does not read.
    let (frames, body) = mpsc::channel(1);
    tokio::spawn(play(shared, answer.steps, model, streamed, frames));
    let body = futures::stream::unfold(body, |mut body| async { Some((body.recv().await?, body)) });
    Ok(response.body(StreamBody::new(body).boxed_unsync()).unwrap())
}

fn choose(shared: &Shared, seen: &RecordedRequest) -> Answer {
    let given = seen.headers.get("authorization").and_then(|value| value.to_str().ok());
    if given != Some(&format!("Bearer {}", shared.key)) {
        return Answer::error(401, "invalid_api_key", "Incorrect API key provided.");
    }
    let scripted = shared.script.lock().unwrap().pop_front();
    scripted.unwrap_or_else(|| Answer::says(&format!("You said: {}", seen.last_message())))
}

type Frames = mpsc::Sender<Result<Frame<Bytes>, io::Error>>;

async fn play(shared: Arc<Shared>, steps: Vec<Step>, model: String, streamed: bool, frames: Frames) {
    if perform(&steps, &model, streamed, &frames).await.is_none() {
        shared.abandoned.send_modify(|count| *count += 1);
    }
}

/// Sends the steps. Returns `None` if the reader left before the end.
async fn perform(steps: &[Step], model: &str, streamed: bool, frames: &Frames) -> Option<()> {
    let scripted = steps.iter().any(|step| matches!(step, Step::Bytes(_)));
    if streamed && !scripted {
        send(frames, opening(model)).await?;
    }
    for step in steps {
        match step {
            Step::Wait(gate) => tokio::select! {
                () = gate.pass() => {}
                () = frames.closed() => return None,
            },
            Step::Stall => {
                frames.closed().await;
                return None;
            }
            Step::Cut => {
                if !streamed {
                    send(frames, whole(model, steps).split_at(20).0.to_owned()).await?;
                }
                // An error in the body makes the server close the connection before the end of the body.
                return frames.send(Err(io::Error::other("cut"))).await.ok();
            }
            Step::Bytes(bytes) => send(frames, (*bytes).to_owned()).await?,
            step if streamed => {
                if let Some(frame) = step.frame(model) {
                    send(frames, frame).await?;
                }
            }
            _ => {}
        }
    }
    if !streamed && !scripted {
        send(frames, whole(model, steps)).await?;
    }
    Some(())
}

async fn send(frames: &Frames, text: String) -> Option<()> {
    frames.send(Ok(Frame::data(Bytes::from(text)))).await.ok()
}
