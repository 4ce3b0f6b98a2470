//! A model behind any OpenAI-compatible chat-completions endpoint: OpenAI, Ollama, llama.cpp, vLLM, OpenRouter, LiteLLM.
//!
//! `request` makes the body of the request, in the order of `prompt_shape` and with what `servers` knows about the
//! provider; `refusal` reads from a refused request how to ask again. `reading` reads the response through `frames` and
//! `json` into `answer`; `reported` finds errors, `failure` translates them, and `shape` describes what could not be read.
//! This module sends the request and ends the reply. The plugin never sees the API key: the host adds it to the request.

mod answer;
mod failure;
mod frames;
mod json;
mod prompt_shape;
mod reading;
mod refusal;
mod reported;
mod request;
mod servers;
mod settings;
mod shape;
mod surrogates;
mod think;

use answer::Answer;
use failure::RetryAfter;
use frames::Frames;
use masque_sdk::http::{Error, Request, Response};
use masque_sdk::{Failure, Finish, Model, Prompt, ReplyWriter, Result};
use serde_json::{Map, Value};
use shape::shape;
use std::time::SystemTime;

pub use settings::OpenAi;

/// How much of a refusal is read, in bytes. Enough for an error that quotes the request.
const MAX_REFUSAL: usize = 64 * 1024;

impl Model for OpenAi {
    async fn generate(&self, prompt: Prompt, reply: &mut ReplyWriter) -> Result<Finish> {
        self.check()?;
        let response = self.send(&prompt).await?;
        reading::check_encoding(&response)?;
        let odd_type = odd_type(response.header("content-type"));
        let (mut answer, mut frames) = (Answer::new(self.think_tags), Frames::default());
        let outcome = reading::read(response, &mut frames, &mut answer, reply).await;
        let (last, finish) = match outcome {
            Ok(()) => answer.end(frames.stray(), reply.has_begun()),
            Err(failure) => (answer.fail(reply.has_begun()), Err(failure)),
        };
        last.into_iter().for_each(|delta| reply.push(delta));
        finish.map_err(|mut failure| {
            failure.message.extend(odd_type.map(|kind| format!(" (the answer has the type `{kind}`)")));
            failure
        })
    }
}

impl OpenAi {
    /// Sends the request and returns the response if its status is one of success. A request that is refused for a
    /// parameter, or for the order of its messages, is sent once more for each of the two reasons.
    async fn send(&self, prompt: &Prompt) -> Result<Response> {
        let mut shape = self.prompt_shape();
        let mut body = request::body(self, prompt, shape);
        let (mut may_adjust, mut may_reorder) = (true, true);
        loop {
            let response = self.send_once(&body).await?;
            let status = response.status();
            if matches!(status, 200..=203) {
                return Ok(response);
            }
            let [milliseconds, header] =
                ["retry-after-ms", "retry-after"].map(|name| response.header(name).map(String::from));
            let encoding = reading::check_encoding(&response);
            let answer = response.beginning(MAX_REFUSAL).await;
            if may_reorder && let Some(stricter) = refusal::stricter_shape(shape, status, &answer) {
                may_reorder = false;
                shape = self.within_settings(stricter);
                let messages = request::body(self, prompt, shape).remove("messages");
                if messages.as_ref() != body.get("messages") {
                    log_retry("with its messages in a stricter order", status, &answer);
                    body.extend(messages.map(|messages| ("messages".to_owned(), messages)));
                    continue;
                }
            }
            if may_adjust && let Some(change) = refusal::without_parameter(&mut body, status, &answer) {
                may_adjust = false;
                log_retry(&change, status, &answer);
                continue;
            }
            let retry = RetryAfter { milliseconds: milliseconds.as_deref(), header: header.as_deref() };
            let mut failure = failure::from_status(status, &answer, retry, SystemTime::now());
            if let Err(encoding) = encoding {
                failure.message = format!("the endpoint answered {status}; {}", encoding.message);
            }
            return Err(failure);
        }
    }

    async fn send_once(&self, body: &Map<String, Value>) -> Result<Response> {
        let accept = if self.stream { "text/event-stream" } else { "application/json" };
        let mut request = Request::post(self.url())
            .header("content-type", "application/json")
            .header("accept", accept)
            .header("accept-encoding", "identity")
            .connect_timeout(self.connect_timeout())
            .body(serde_json::to_vec(body).map_err(|error| Failure::internal(error.to_string()))?);
        if let Some(time) = self.first_byte_timeout() {
            request = request.first_byte_timeout(time);
        }
        if let Some(time) = self.stall_timeout() {
            request = request.between_bytes_timeout(time);
        }
        request.send().await.map_err(|error| self.failure_with_url(error))
    }

    /// The order of messages that a refusal asks for, except where the operator has decided.
    fn within_settings(&self, asked: prompt_shape::PromptShape) -> prompt_shape::PromptShape {
        prompt_shape::PromptShape {
            alternates: self.alternate_roles.unwrap_or(asked.alternates),
            late_system: self.late_system.unwrap_or(asked.late_system),
        }
    }

    /// Adds the address to the message, which the operator needs to find the fault.
    fn failure_with_url(&self, error: Error) -> Failure {
        let mut failure = Failure::from(error);
        failure.message = format!("{}: {}", self.address(), failure.message);
        failure
    }
}

/// Says that a request is sent again, so that the operator can set what saves the first attempt. A refusal may repeat the
/// messages of the request, so no word of it is logged.
fn log_retry(change: &str, status: u16, refusal: &[u8]) {
    let refusal = shape(refusal);
    tracing::warn!(change, status, refusal, "the endpoint refused the request; it is sent once more");
}

/// The content type of an answer if no reply is expected under it, for the error message. The format of an answer is told
/// by its bytes: servers stream without being asked, answer at once although a stream was asked for, and leave the type
/// to their framework.
fn odd_type(content_type: Option<&str>) -> Option<String> {
    let kind = content_type.unwrap_or_default().trim().to_ascii_lowercase();
    let is_usual = kind.is_empty()
        || kind.contains("json")
        || ["text/event-stream", "text/plain", "application/octet-stream"]
            .iter()
            .any(|usual| kind.starts_with(usual));
    (!is_usual).then(|| failure::excerpt(kind.as_bytes()))
}

masque_sdk::export!(OpenAi: model);

#[cfg(test)]
mod tests;
