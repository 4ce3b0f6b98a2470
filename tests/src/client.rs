//! A client of the host's API.

use std::path::Path;

use reqwest::header::HeaderMap;
use reqwest::{Method, Version};
use serde_json::{Value, json};

use crate::events::Events;
use crate::problem::check_problem;
use crate::wait::within;

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    bearer: Option<String>,
    /// The certificate of the authority that the client trusts, if the host uses TLS.
    trusted: Option<String>,
}

/// A request that has not been sent.
pub struct Request(reqwest::RequestBuilder);

/// A response with its whole body.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub version: Version,
    pub headers: HeaderMap,
    pub text: String,
}

impl Client {
    /// Makes a client for HTTP/1.1, with TLS if there is a certificate to trust.
    pub fn http1(address: &str, trusted: Option<&str>) -> Self {
        let scheme = if trusted.is_some() { "https" } else { "http" };
        // Without idle connections: a request on one that the host has just closed would fail, which is no fault of the host.
        let builder = reqwest::Client::builder().http1_only().pool_max_idle_per_host(0);
        Self::new(format!("{scheme}://{address}"), trusted.map(str::to_owned), builder)
    }

    /// Makes a client for a Unix socket.
    pub(crate) fn socket(path: &Path) -> Self {
        let builder = reqwest::Client::builder().unix_socket(path).pool_max_idle_per_host(0);
        Self::new("http://localhost".to_owned(), None, builder)
    }

    fn new(base: String, trusted: Option<String>, builder: reqwest::ClientBuilder) -> Self {
        let builder = match &trusted {
            Some(pem) => builder.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()]),
            None => builder,
        };
        Self { http: builder.no_proxy().build().unwrap(), base, bearer: None, trusted }
    }

    /// Returns a client for HTTP/2. Without TLS it uses prior knowledge (RFC 9113, section 3.3).
    pub fn http2(&self) -> Self {
        let builder = reqwest::Client::builder();
        let builder = if self.trusted.is_some() { builder } else { builder.http2_prior_knowledge() };
        let client = Self::new(self.base.clone(), self.trusted.clone(), builder);
        Self { bearer: self.bearer.clone(), ..client }
    }

    /// Returns the client with this token or API key.
    pub fn bearer(&self, credential: &str) -> Self {
        Self { bearer: Some(credential.to_owned()), ..self.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> Request {
        let request = self.http.request(method, format!("{}{path}", self.base));
        Request(match &self.bearer {
            Some(credential) => request.bearer_auth(credential),
            None => request,
        })
    }

    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    pub fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Request {
        Request(self.request(Method::POST, path).0.json(body))
    }

    pub fn patch(&self, path: &str, body: &Value) -> Request {
        Request(self.request(Method::PATCH, path).0.json(body))
    }

    /// Returns a request `POST /chat`.
    pub fn chat(&self, body: &Value) -> Request {
        self.post("/chat", body)
    }

    /// Makes a turn in a new conversation and returns the reply object.
    pub async fn say(&self, message: &str) -> Value {
        self.chat(&json!({ "message": message })).send().await.expect(200)
    }

    /// Makes a turn in this conversation and returns the reply object.
    pub async fn say_in(&self, conversation: &str, message: &str) -> Value {
        self.chat(&json!({ "message": message, "conversation_id": conversation })).send().await.expect(200)
    }

    /// Begins a turn in a new conversation and returns its events.
    pub async fn stream(&self, message: &str) -> Events {
        self.chat(&json!({ "message": message, "stream": true })).events().await
    }

    /// Returns all messages of a conversation, oldest first.
    pub async fn messages(&self, conversation: &str) -> Vec<Value> {
        let path = format!("/conversations/{conversation}/messages?limit=100");
        let page = self.get(&path).send().await.expect(200);
        page["items"].as_array().unwrap_or_else(|| panic!("no items in {page}")).clone()
    }

    /// `GET /turns/{id}`
    pub async fn turn(&self, id: &str) -> Value {
        self.get(&format!("/turns/{id}")).send().await.expect(200)
    }
}

impl Request {
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// Adds the header `Idempotency-Key`.
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.body(body))
    }

    pub async fn send(self) -> Reply {
        self.try_send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// Sends the request to a host that may end meanwhile.
    pub async fn try_send(self) -> reqwest::Result<Reply> {
        within("an answer", async {
            let response = self.0.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let version = response.version();
            Ok(Reply { status, version, headers, text: response.text().await? })
        })
        .await
    }

    /// Sends the request to a host that may end while it answers. Returns what came of the reply, and whether that is all of
    /// it.
    pub async fn try_read(self) -> reqwest::Result<(Reply, bool)> {
        within("an answer", async {
            let mut response = self.0.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let version = response.version();
            let mut body = Vec::new();
            let is_whole = loop {
                match response.chunk().await {
                    Ok(Some(bytes)) => body.extend_from_slice(&bytes),
                    Ok(None) => break true,
                    Err(_broken) => break false,
                }
            };
            let text = String::from_utf8_lossy(&body).into_owned();
            Ok((Reply { status, version, headers, text }, is_whole))
        })
        .await
    }

    /// Sends the request and returns its events. Panics unless the head announces events.
    pub async fn events(self) -> Events {
        let response = within("an answer", self.0.send()).await.unwrap();
        let status = response.status();
        if status != 200 {
            panic!("{status} instead of events: {}", response.text().await.unwrap());
        }
        assert_eq!(
            response.headers()["content-type"].to_str().unwrap().split(';').next(),
            Some("text/event-stream")
        );
        Events::new(response)
    }

    /// Sends the request to a host that may end meanwhile or refuse it.
    pub async fn try_events(self) -> Option<Events> {
        let response = within("an answer", self.0.send()).await.ok()?;
        (response.status() == 200).then(|| Events::new(response))
    }
}

impl Reply {
    /// Returns the body as JSON. Panics if the status is another.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Returns the body, which must be a complete problem of this status and kind with the id of the request.
    pub fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(
            (self.status, self.header("content-type")),
            (status, Some("application/problem+json")),
            "{}",
            self.text
        );
        let problem = self.json();
        check_problem(&problem, kind);
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{problem}");
        if matches!(status, 429 | 503) {
            let seconds = self.header("retry-after").expect("429 and 503 say when to come back");
            assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0), "retry-after: {seconds}");
        }
        problem
    }
}
