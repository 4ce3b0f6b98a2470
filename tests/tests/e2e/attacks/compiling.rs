//! A component that takes long to compile.

#![allow(clippy::print_stdout, reason = "the measured duration is shown with `--nocapture`")]

use masque_tests::{BackgroundClient, Baseline, Setup, full, slow_to_compile};

/// The command `check` compiles the component while a host on the same machine serves. Compilation runs in a child process
/// of low priority.
#[tokio::test]
async fn a_component_that_takes_long_to_compile_does_not_delay_turns() {
    // The event logs of ended turns must be gone when the host's memory is compared with the baseline.
    let host = Setup::file("[turn]\nlog_ttl = \"1s\"\n").start().await;
    host.client().say("Hello.").await;
    let baseline = Baseline::of(&host).await;
    // The larger component needs more memory than the child process may use: compiling half of it took 4 GB.
    let bomb = slow_to_compile(if full() { 100_000 } else { 10_000 });
    let setup = Setup::file("[plugins.bomb]\nsource = \"bomb.wasm\"\n").beside("bomb.wasm", &bomb);

    let background_client = BackgroundClient::start(host.client(), super::HEALTHY_COMPANION).await;
    let start = std::time::Instant::now();
    let outcome = setup.check().await;
    println!("{} bytes were compiled or refused in {:?}", bomb.len(), start.elapsed());
    background_client.finish("a component that takes long to compile").await;

    // The smaller component compiles and is refused because it exports no plugin. The larger one exceeds the limits of the
    // compilation.
    assert!(!outcome.status.success());
    let lines: Vec<_> = outcome.text.lines().filter(|line| line.contains("`bomb`")).collect();
    let [line] = lines[..] else { panic!("{}", outcome.text) };
    let expected = if full() { "does not compile" } else { "does not export" };
    assert!(line.contains(expected), "{line}");
    baseline.returns(&host).await;
}
