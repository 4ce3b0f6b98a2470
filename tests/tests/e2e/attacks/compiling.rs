//! A component that was made to take long to compile.

#![allow(clippy::print_stdout, reason = "figures for whoever asks to see them")]

use masque_tests::{BackgroundClient, Baseline, Setup, full, slow_to_compile};

/// Beside a host that serves: compiling takes place in a child that steps back for everyone else.
#[tokio::test]
async fn a_component_that_takes_long_to_compile_keeps_no_one_waiting() {
    // What the many turns meanwhile leave behind for late readers goes soon.
    let host = Setup::file("[turn]\nlog_ttl = \"1s\"\n").start().await;
    host.client().say("Hello.").await;
    let baseline = Baseline::of(&host).await;
    // The larger one wants more memory than the child may have: 4 GB went into half of it.
    let bomb = slow_to_compile(if full() { 100_000 } else { 10_000 });
    let setup = Setup::file("[plugins.bomb]\nsource = \"bomb.wasm\"\n").beside("bomb.wasm", &bomb);

    let background_client = BackgroundClient::start(host.client(), super::HEALTHY_COMPANION);
    let begun = std::time::Instant::now();
    let outcome = setup.check().await;
    println!("{} bytes were compiled, or given up, in {:?}", bomb.len(), begun.elapsed());
    background_client.finish("a component that takes long to compile").await;

    // Compiled within the limits it is found to be no plugin; past them it does not compile.
    assert!(!outcome.status.success());
    let lines: Vec<_> = outcome.text.lines().filter(|line| line.contains("`bomb`")).collect();
    let [line] = lines[..] else { panic!("{}", outcome.text) };
    let expected = if full() { "does not compile" } else { "does not export" };
    assert!(line.contains(expected), "{line}");
    baseline.returns(&host).await;
}
