//! A model that uses everything that a model can use: every kind of item, every reason of an end, and HTTP.

use masque_sdk::http::Request;
use masque_sdk::{Delta, Failure, Finish, Model, Prompt, Property, ReplyWriter, Result, ToolCall, Usage};
use std::time::Duration;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Golden {}

impl Model for Golden {
    async fn generate(&self, prompt: Prompt, reply: &mut ReplyWriter) -> Result<Finish> {
        let asked = prompt.messages.last().map(|message| message.text()).unwrap_or_default();
        match asked.split_once(' ') {
            Some(("refuse", why)) => {
                return Err(Failure::rate_limited(why).retry_after(Duration::from_millis(1500)));
            }
            Some(("break", why)) => {
                reply.text("Well").await?;
                return Err(Failure::stalled(why));
            }
            Some(("fetch", url)) => {
                let response = Request::get(url).send().await?;
                let body = response.bytes(1 << 16).await?;
                reply.text(String::from_utf8_lossy(&body)).await?;
                return Ok(Finish::length());
            }
            _ => {}
        }
        reply.thinking("Hm.").await?;
        for word in asked.split_inclusive(' ') {
            reply.text(word).await?;
        }
        reply.push(Delta::ToolCall(ToolCall::new("call-1", "tide", "{}")));
        reply.push(Delta::Usage(Usage::new(3, 2)));
        reply.push(Delta::Other(Property {
            name: "golden.options".into(),
            json: prompt.options.len().to_string(),
        }));
        Ok(Finish::stop())
    }
}

masque_sdk::export!(Golden: model);
