//! The instance pool: how long a call waits, and what one plugin may hold.

use std::time::{Duration, Instant};

use masque_grants::{Grants, Limits};
use masque_runtime::{Call, Cause, Sandbox, SandboxConfig};

use crate::fixtures::{call, composed, eventually, model, plugin_in, prompt, sandbox};

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_reply_frees_its_instance() {
    let plugin = model("streams-for-ever", "{}", Grants::default(), Limits::default()).await;
    let sandbox = sandbox();
    let mut deltas = plugin.generate(call(), &prompt("hello")).await.unwrap();
    assert!(deltas.next().await.unwrap().is_ok());
    let taken = sandbox.free_instances();
    drop(deltas);
    eventually(|| sandbox.free_instances() > taken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_is_an_error_after_a_bounded_wait() {
    let config =
        SandboxConfig { instances: 1, slot_wait: Duration::from_millis(100), ..SandboxConfig::default() };
    let sandbox = Sandbox::new(&config).unwrap();
    let plugin = plugin_in(&sandbox, "streams-for-ever", "{}", Grants::default(), Limits::default()).await;
    let held = plugin.generate(call(), &prompt("hello")).await.unwrap();
    let error = plugin.generate(call(), &prompt("hello")).await.err().unwrap();
    assert!(matches!(error.cause, Cause::Busy(_)) && error.code() == "overloaded", "{error}");
    drop(held);
    eventually(|| sandbox.free_instances() == 1).await;
    assert!(plugin.generate(call(), &prompt("hello")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_versions_of_one_plugin_can_not_hold_the_whole_pool() {
    let config = SandboxConfig { instances: 4, slot_wait: Duration::ZERO, ..SandboxConfig::default() };
    let sandbox = Sandbox::new(&config).unwrap();
    let load = async |name| plugin_in(&sandbox, name, "{}", Grants::default(), Limits::default()).await;
    let (greedy, successor) = (load("streams-for-ever").await, load("streams-for-ever").await);
    let mut held = Vec::new();
    for plugin in [&greedy, &successor, &greedy] {
        held.push(plugin.generate(call(), &prompt("hello")).await.unwrap());
    }
    let error = successor.generate(call(), &prompt("hello")).await.err().unwrap();
    assert!(matches!(error.cause, Cause::Busy(_)), "{error}");
    let other = load("uses-what-it-can").await;
    assert_eq!(composed(&other, "nothing").await, "0 variables");
    drop(held);
    eventually(|| sandbox.free_instances() == 4).await;
    assert!(successor.generate(call(), &prompt("hello")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_for_an_instance_is_part_of_the_call() {
    let config =
        SandboxConfig { instances: 1, slot_wait: Duration::from_secs(60), ..SandboxConfig::default() };
    let sandbox = Sandbox::new(&config).unwrap();
    let plugin = plugin_in(&sandbox, "streams-for-ever", "{}", Grants::default(), Limits::default()).await;
    let _held = plugin.generate(call(), &prompt("hello")).await.unwrap();
    let soon = Call::until(Instant::now() + Duration::from_millis(100));
    let error = plugin.generate(soon, &prompt("hello")).await.err().unwrap();
    assert!(matches!(error.cause, Cause::WallTime(waited) if waited < Duration::from_secs(30)), "{error}");
}
