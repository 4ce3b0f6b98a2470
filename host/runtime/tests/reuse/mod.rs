//! Reuse of instances: which calls may use an instance again, and what ends it.

use std::sync::Arc;
use std::time::Duration;

use masque_grants::{Grants, Limits, Reuse};
use masque_runtime::contract::Delta;
use masque_runtime::{Call, CallError, Cause, Plugin, ReuseKey, Sandbox, SandboxConfig};

use crate::fixtures::{call, eventually, first_text, no_recollection, plugin_in, prompt, sandbox, turn};

fn call_of(user: &str, conversation: &str) -> Call {
    let reuse_key = ReuseKey { user: user.into(), conversation: conversation.into() };
    Call { reuse_key: Some(reuse_key), ..call() }
}

async fn counting(sandbox: &Arc<Sandbox>, reuse: Option<Reuse>, limits: Limits) -> Arc<Plugin> {
    let grants = Grants { reuse, ..Grants::default() };
    plugin_in(sandbox, "counts-its-calls", "{}", grants, limits).await
}

async fn said(plugin: &Plugin, call: Call, text: &str) -> Result<String, CallError> {
    Ok(first_text(&plugin.compose(call, &turn(text), no_recollection()).await?))
}

const FIRST: &str = "call 1 after None";

#[tokio::test(flavor = "multi_thread")]
async fn without_the_grant_nothing_is_remembered() {
    let plugin = counting(&sandbox(), None, Limits::default()).await;
    for _ in 0..3 {
        assert_eq!(said(&plugin, call_of("ana", "1"), "a").await.unwrap(), FIRST);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_serves_its_own_conversation_and_no_other() {
    let plugin = counting(&sandbox(), Some(Reuse::Conversation), Limits::default()).await;
    assert_eq!(said(&plugin, call_of("ana", "1"), "secret").await.unwrap(), FIRST);
    assert_eq!(said(&plugin, call_of("ana", "2"), "b").await.unwrap(), FIRST);
    assert_eq!(said(&plugin, call_of("bo", "1"), "c").await.unwrap(), FIRST);
    assert_eq!(said(&plugin, call(), "nobody's").await.unwrap(), FIRST);
    assert_eq!(said(&plugin, call_of("ana", "1"), "d").await.unwrap(), "call 2 after Some(\"secret\")");
    assert_eq!(said(&plugin, call_of("bo", "1"), "e").await.unwrap(), "call 2 after Some(\"c\")");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_serves_its_own_user_and_no_other() {
    let plugin = counting(&sandbox(), Some(Reuse::User), Limits::default()).await;
    assert_eq!(said(&plugin, call_of("ana", "1"), "a").await.unwrap(), FIRST);
    assert_eq!(said(&plugin, call_of("bo", "1"), "b").await.unwrap(), FIRST);
    assert_eq!(said(&plugin, call_of("ana", "2"), "c").await.unwrap(), "call 2 after Some(\"a\")");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_plugin_of_the_same_component_has_instances_of_its_own() {
    let first = counting(&sandbox(), Some(Reuse::Anyone), Limits::default()).await;
    let second = counting(&sandbox(), Some(Reuse::Anyone), Limits::default()).await;
    assert_eq!(said(&first, call(), "a").await.unwrap(), FIRST);
    assert_eq!(said(&second, call(), "b").await.unwrap(), FIRST);
    assert_eq!(said(&first, call(), "c").await.unwrap(), "call 2 after Some(\"a\")");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_a_limit_or_something_left_behind_ends_the_instance() {
    let limits =
        Limits { cpu: Duration::from_millis(100), wall: Duration::from_secs(20), ..Limits::default() };
    let plugin = counting(&sandbox(), Some(Reuse::Conversation), limits).await;
    let ask = async |text: &str| said(&plugin, call_of("ana", "1"), text).await;
    assert_eq!(ask("a").await.unwrap(), FIRST);
    assert!(matches!(ask("panic").await.unwrap_err().cause, Cause::Trap(_)));
    assert_eq!(ask("b").await.unwrap(), FIRST, "after a trap");
    assert!(matches!(ask("spin").await.unwrap_err().cause, Cause::CpuTime(_)));
    assert_eq!(ask("c").await.unwrap(), FIRST, "after a limit");
    assert_eq!(ask("leak").await.unwrap(), "call 2 after Some(\"c\")");
    assert_eq!(ask("d").await.unwrap(), FIRST, "after a resource was left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_has_budgets_of_its_own_and_no_instance_serves_for_ever() {
    let limits = Limits { cpu: Duration::from_millis(200), ..Limits::default() };
    let plugin = counting(&sandbox(), Some(Reuse::Conversation), limits).await;
    let mut ages = Vec::new();
    for _ in 0..300 {
        let said = said(&plugin, call_of("ana", "1"), "again").await.unwrap();
        ages.push(said.split(' ').nth(1).unwrap().parse::<u32>().unwrap());
    }
    let oldest = ages.iter().copied().max().unwrap();
    assert!((64..128).contains(&oldest), "an instance served {oldest} calls");
    assert!(ages.iter().filter(|age| **age == 1).count() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instance_of_a_model_is_reused_once_the_model_has_returned() {
    let grants = Grants { reuse: Some(Reuse::Conversation), ..Grants::default() };
    let plugin = plugin_in(&sandbox(), "counts-its-replies", "{}", grants, Limits::default()).await;
    let ask = async |call| {
        let mut deltas = plugin.generate(call, &prompt("hello")).await.unwrap();
        let mut text = String::new();
        while let Some(batch) = deltas.next().await {
            for delta in batch.unwrap() {
                if let Delta::Text(more) = delta {
                    text.push_str(&more);
                }
            }
        }
        text
    };
    assert_eq!(ask(call_of("ana", "1")).await, "reply 1");
    assert_eq!(ask(call_of("bo", "1")).await, "reply 1");
    // The reader does not wait for the guest to return, so the instance may not be there at once.
    let again = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if ask(call_of("ana", "1")).await == "reply 2" {
                return;
            }
        }
    });
    again.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_instances_give_way_to_calls_and_are_dropped_with_their_plugin() {
    let config = SandboxConfig { instances: 4, slot_wait: Duration::ZERO, ..SandboxConfig::default() };
    let sandbox = Sandbox::new(&config).unwrap();
    let plugin = counting(&sandbox, Some(Reuse::User), Limits::default()).await;
    for user in ["ana", "bo", "cy", "di", "ed"] {
        assert_eq!(said(&plugin, call_of(user, "1"), "a").await.unwrap(), FIRST);
        assert_eq!(sandbox.free_instances(), 3, "a quarter of the pool is kept at most");
    }
    let busy = plugin_in(&sandbox, "streams-for-ever", "{}", Grants::default(), Limits::default()).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(busy.generate(call(), &prompt("hello")).await.unwrap());
    }
    let other = counting(&sandbox, None, Limits::default()).await;
    assert_eq!(said(&other, call(), "a").await.unwrap(), FIRST);
    drop(held);
    eventually(|| sandbox.free_instances() == 4).await;
    said(&plugin, call_of("ana", "1"), "b").await.unwrap();
    drop(plugin);
    eventually(|| sandbox.free_instances() == 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_reuse_one_instance_start_no_task_each() {
    let plugin = counting(&sandbox(), Some(Reuse::Conversation), Limits::default()).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    said(&plugin, call_of("ana", "1"), "a").await.unwrap();
    let before = tasks();
    for _ in 0..50 {
        said(&plugin, call_of("ana", "1"), "again").await.unwrap();
    }
    assert!(tasks() <= before + 1, "{} tasks are left of 50 calls, {before} before", tasks());
}
