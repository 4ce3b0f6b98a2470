//! A model behind any OpenAI-compatible chat-completions endpoint: OpenAI, Ollama, llama.cpp, vLLM, OpenRouter, LiteLLM.
//!
//! What is asked is in `request`, what is answered in `answer`, what refusals mean in `failure`. Here is only the way
//! from one to the other. The key never comes near this code: the host adds it on the way out.

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

/// A whole answer that is longer than this is no reply.
const WHOLE: usize = 4 * 1024 * 1024;

impl Model for OpenAi {
    async fn generate(&self, prompt: Prompt, reply: &mut ReplyWriter) -> Result<Finish> {
        let response = self.ask(&prompt).await?;
        let mut answer = Answer::default();
        match form(response.header("content-type"), self.stream) {
            Form::Events => stream(response, &mut answer, reply).await?,
            // Also from servers that ignore `stream`.
            Form::Whole => {
                let body = response.bytes(WHOLE).await?;
                answer.whole(&body)?.into_iter().for_each(|delta| reply.push(delta));
            }
            Form::Other => {
                let kind = response.header("content-type").unwrap_or_default().to_string();
                let body = response.beginning(failure::EXCERPT).await;
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
    /// Sends the request; a response comes back only where it promises a reply.
    async fn ask(&self, prompt: &Prompt) -> Result<Response> {
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
            .map_err(|error| self.unsent(error))?;
        if response.status() == 200 {
            return Ok(response);
        }
        let status = response.status();
        let [milliseconds, header] =
            ["retry-after-ms", "retry-after"].map(|name| response.header(name).map(String::from));
        let body = response.beginning(failure::EXCERPT + 1).await;
        let retry = RetryAfter { milliseconds: milliseconds.as_deref(), header: header.as_deref() };
        Err(failure::from_status(status, &body, retry, SystemTime::now()))
    }

    /// Adds where the request went, which is what the operator has to look at.
    fn unsent(&self, error: Error) -> Failure {
        let mut failure = Failure::from(error);
        failure.message = format!("{}: {}", self.url(), failure.message);
        failure
    }
}

enum Form {
    Events,
    Whole,
    Other,
}

/// By what the server says it sends. One that says nothing, or nothing in particular, is taken at the request's word.
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

/// Passes a stream on: what arrives together is written together.
async fn stream(response: Response, answer: &mut Answer, reply: &mut ReplyWriter) -> Result<()> {
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
            // What follows the end does not count, whether it came with it or would have come later.
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
                // What came before the error is part of the reply.
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
