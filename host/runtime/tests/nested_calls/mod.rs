//! Calls of a plugin to models: permits, budgets and depth.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use masque_grants::{Grants, Limits};
use masque_runtime::contract::{Failure, Finish, Message, Prompt, Reply, Usage};
use masque_runtime::{Call, CallError, Cause, Models, NestedCall, Plugin, Sandbox, SandboxConfig};

use crate::fixtures::{
    call, eventually, first_text, no_recollection, persona, plugin_in, sandbox, short, turn,
};

/// A persona that was granted `models`.
async fn model_caller_in(sandbox: &Arc<Sandbox>, limits: Limits) -> Arc<Plugin> {
    let grants = Grants { models: true, ..Grants::default() };
    plugin_in(sandbox, "uses-what-it-can", "{}", grants, limits).await
}

/// A call with the capability `models`.
fn with_models(models: impl Models + 'static) -> Call {
    Call { models: Some(Arc::new(models)), ..call() }
}

fn reply(text: &str) -> Reply {
    Reply {
        message: Message::new("assistant", text),
        usage: Usage::default(),
        finish: Finish { reason: "stop".into(), metadata: Vec::new() },
        metadata: Vec::new(),
    }
}

fn failure(error: &CallError) -> Failure {
    Failure::new(error.code(), error.to_string())
}

/// Answers with a model that never stops: reads its first items and drops the reply.
struct Answering(Arc<Plugin>);

#[async_trait]
impl Models for Answering {
    fn weight(&self) -> u32 {
        self.0.weight()
    }

    async fn ask(&self, prompt: Prompt, nested: NestedCall) -> Result<Reply, Failure> {
        let call = Call { nested: Some(nested), ..call() };
        let mut deltas = self.0.generate(call, &prompt).await.map_err(|error| failure(&error))?;
        match deltas.next().await {
            Some(Ok(_)) => Ok(reply("well")),
            Some(Err(error)) => Err(failure(&error)),
            None => Err(Failure::new("truncated", "nothing was said")),
        }
    }
}

/// Answers with a persona that asks its models itself.
#[derive(Clone)]
struct AskingOn(Arc<Plugin>);

#[async_trait]
impl Models for AskingOn {
    fn weight(&self) -> u32 {
        self.0.weight()
    }

    async fn ask(&self, _: Prompt, nested: NestedCall) -> Result<Reply, Failure> {
        let call = Call { nested: Some(nested), ..with_models(self.clone()) };
        let composed = self.0.compose(call, &turn("ask again"), no_recollection()).await;
        composed.map(|prompt| reply(&first_text(&prompt))).map_err(|error| failure(&error))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_calls_on_a_full_pool_are_all_answered() {
    let config =
        SandboxConfig { instances: 8, slot_wait: Duration::from_secs(60), ..SandboxConfig::default() };
    let sandbox = Sandbox::new(&config).unwrap();
    let asker = model_caller_in(&sandbox, Limits::default()).await;
    let answering = plugin_in(&sandbox, "streams-for-ever", "{}", Grants::default(), Limits::default()).await;
    let askers: Vec<_> = (0..24)
        .map(|_| {
            let (asker, call) = (asker.clone(), with_models(Answering(answering.clone())));
            tokio::spawn(
                async move { asker.compose(call, &turn("ask-often anything"), no_recollection()).await },
            )
        })
        .collect();
    for asker in askers {
        let said = first_text(&asker.await.unwrap().unwrap());
        // As many answers as the limit allows, one after the other on the permit that was reserved for them.
        assert_eq!(said, "8, then denied: more than 8 questions in one call (limit `questions`)");
    }
    eventually(|| sandbox.free_instances() == 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nested_call_can_not_ask_models_though_it_is_lent_them() {
    let asker = model_caller_in(&sandbox(), Limits::default()).await;
    let call = with_models(AskingOn(asker.clone()));
    let prompt = asker.compose(call, &turn("ask yourself"), no_recollection()).await.unwrap();
    assert_eq!(first_text(&prompt), "denied: a call that was itself asked can't ask on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nested_call_spends_the_cpu_budget_of_the_asking_call() {
    let limits = Limits { cpu: Duration::from_millis(200), ..Limits::default() };
    let asker = model_caller_in(&sandbox(), short(limits)).await;
    let spinning = persona("spins-in-a-call", Grants::default(), short(Limits::default())).await;
    let call = with_models(AskingOn(spinning));
    let outcome = asker.compose(call, &turn("ask for ever"), no_recollection()).await;
    match outcome {
        Ok(prompt) => {
            let said = first_text(&prompt);
            assert!(said.starts_with("timeout") && said.contains("200 ms of CPU"), "{said}");
        }
        Err(error) => assert!(matches!(error.cause, Cause::CpuTime(_)), "{error}"),
    }
}
