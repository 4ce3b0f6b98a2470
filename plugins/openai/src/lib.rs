//! A model behind any OpenAI-compatible chat-completions endpoint: OpenAI, Ollama, llama.cpp, vLLM, OpenRouter, LiteLLM.
//!
//! `request` makes the body of the request, `answer` reads the response, `failure` translates errors. This module sends
//! the request and passes the response on. The plugin never sees the API key: the host adds it to the request.

mod answer;
mod failure;
mod request;
mod settings;

use answer::Answer;
use failure::RetryAfter;
use masque_sdk::http::{Error, Request, Response};
use masque_sdk::{Failure, Finish, Model, Prompt, ReplyWriter, Result};
use std::time::SystemTime;

pub use settings::OpenAi;

/// The largest answer that is accepted without streaming, in bytes.
const MAX_WHOLE_ANSWER: usize = 4 * 1024 * 1024;

impl Model for OpenAi {
    async fn generate(&self, prompt: Prompt, reply: &mut ReplyWriter) -> Result<Finish> {
        self.check()?;
        let response = self.send(&prompt).await?;
        let mut answer = Answer::default();
        match form(response.header("content-type"), self.stream) {
            Form::Events => pass_on(response, &mut answer, reply).await?,
            // Servers that ignore `stream` send this too.
            Form::Whole => {
                let body = response.bytes(MAX_WHOLE_ANSWER).await?;
                answer.whole(&body)?.into_iter().for_each(|delta| reply.push(delta));
            }
            Form::Other => {
                let kind = response.header("content-type").unwrap_or_default().to_string();
                let body = response.beginning(failure::MAX_EXCERPT).await;
                return Err(failure::invalid_answer(&format!("of the type `{kind}`"), &body));
            }
        }
        let (last, finish) = answer.end()?;
        last.into_iter().for_each(|delta| reply.push(delta));
        reply.flush().await?;
        Ok(finish)
    }
}

impl OpenAi {
    /// Sends the request and returns the response if its status is 200.
    async fn send(&self, prompt: &Prompt) -> Result<Response> {
        let body = request::body(self, prompt).to_string();
        let accept = if self.stream { "text/event-stream" } else { "application/json" };
        let response = Request::post(self.url())
            .header("content-type", "application/json")
            .header("accept", accept)
            .connect_timeout(self.connect_timeout())
            .first_byte_timeout(self.first_byte_timeout())
            .between_bytes_timeout(self.stall_timeout())
            .body(body)
            .send()
            .await
            .map_err(|error| self.failure_with_url(error))?;
        if response.status() == 200 {
            return Ok(response);
        }
        let status = response.status();
        let [milliseconds, header] =
            ["retry-after-ms", "retry-after"].map(|name| response.header(name).map(String::from));
        let body = response.beginning(failure::MAX_EXCERPT + 1).await;
        let retry = RetryAfter { milliseconds: milliseconds.as_deref(), header: header.as_deref() };
        Err(failure::from_status(status, &body, retry, SystemTime::now()))
    }

    /// Adds the URL to the message, which the operator needs to find the fault.
    fn failure_with_url(&self, error: Error) -> Failure {
        let mut failure = Failure::from(error);
        failure.message = format!("{}: {}", self.url(), failure.message);
        failure
    }
}

/// The format of a response.
enum Form {
    Events,
    Whole,
    Other,
}

/// Tells the format by the content type. If it is missing or generic, the response has the format that was requested.
fn form(content_type: Option<&str>, stream: bool) -> Form {
    let kind =
        content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "text/event-stream" => Form::Events,
        "" | "text/plain" | "application/octet-stream" if stream => Form::Events,
        "" | "text/plain" | "application/octet-stream" => Form::Whole,
        kind if kind.ends_with("json") => Form::Whole,
        _ => Form::Other,
    }
}

/// Passes a stream on. Deltas that arrive together are written together.
async fn pass_on(response: Response, answer: &mut Answer, reply: &mut ReplyWriter) -> Result<()> {
    let mut events = response.events();
    while !answer.is_complete() {
        let arrived = match events.arrived().await {
            Ok(Some(arrived)) => arrived,
            Ok(None) => break,
            Err(error) if answer.may_end() => {
                tracing::debug!(%error, "the connection ended badly after the reply");
                break;
            }
            Err(error) => return Err(error.into()),
        };
        for event in arrived {
            // Ignore events after the end, as if they had arrived later.
            if answer.is_complete() {
                break;
            }
            let frame = match event.event.as_str() {
                "error" => {
                    Err(failure::from_error(&serde_json::from_str(&event.data).unwrap_or(event.data.into())))
                }
                _ => answer.frame(&event.data),
            };
            if frame.is_err() {
                // Deltas before the error are part of the reply.
                reply.flush().await?;
            }
            frame?.into_iter().for_each(|delta| reply.push(delta));
        }
        reply.flush().await?;
    }
    Ok(())
}

masque_sdk::export!(OpenAi: model);

#[cfg(test)]
mod tests;
