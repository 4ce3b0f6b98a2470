//! Models that a call is lent, each behind a plugin that answers on the side.

use std::sync::Arc;

use async_trait::async_trait;
use masque_runtime::contract::{Failure, Finish, Prompt, Recollection, Reply, Usage};
use masque_runtime::{Call, CallError, Grants, Limits, Models, NestedCall, Plugin, Sandbox};

use crate::fixtures;

/// A persona that may ask.
pub(crate) async fn asker_in(sandbox: &Arc<Sandbox>, limits: Limits) -> Arc<Plugin> {
    let grants = Grants { models: true, ..Grants::default() };
    fixtures::plugin_in(sandbox, "uses-what-it-can", "{}", grants, limits).await
}

pub(crate) fn lending(models: impl Models + 'static) -> Call {
    Call { models: Some(Arc::new(models)), ..fixtures::call() }
}

fn reply(text: &str) -> Reply {
    Reply {
        message: fixtures::message("assistant", text),
        usage: Usage { input_tokens: 0, output_tokens: 0, cached_tokens: 0, metadata: Vec::new() },
        finish: Finish { reason: "stop".into(), metadata: Vec::new() },
        metadata: Vec::new(),
    }
}

fn failure(error: &CallError) -> Failure {
    Failure::new(error.code(), error.to_string())
}

/// Takes the first words of a model that never stops, and lets it go.
pub(crate) struct Answering(pub(crate) Arc<Plugin>);

#[async_trait]
impl Models for Answering {
    fn weight(&self) -> u32 {
        self.0.weight()
    }

    async fn ask(&self, prompt: Prompt, nested: NestedCall) -> Result<Reply, Failure> {
        let call = Call { nested: Some(nested), ..fixtures::call() };
        let mut deltas = self.0.generate(call, &prompt).await.map_err(|error| failure(&error))?;
        match deltas.next().await {
            Some(Ok(_)) => Ok(reply("well")),
            Some(Err(error)) => Err(failure(&error)),
            None => Err(Failure::new("truncated", "nothing was said")),
        }
    }
}

/// Asks a persona that asks itself.
#[derive(Clone)]
pub(crate) struct AskingOn(pub(crate) Arc<Plugin>);

#[async_trait]
impl Models for AskingOn {
    fn weight(&self) -> u32 {
        self.0.weight()
    }

    async fn ask(&self, _: Prompt, nested: NestedCall) -> Result<Reply, Failure> {
        let call = Call { nested: Some(nested), ..lending(self.clone()) };
        let nothing = Recollection { messages: Vec::new(), memories: Vec::new(), metadata: Vec::new() };
        let composed = self.0.compose(call, &fixtures::turn("ask again"), nothing).await;
        composed.map(|prompt| reply(&fixtures::first_text(&prompt))).map_err(|error| failure(&error))
    }
}
