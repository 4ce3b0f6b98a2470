//! Files that are no plugin, or no longer one. Each is refused in one line that names the plugin, what is wrong and what
//! to do; nothing of it ever runs.

use std::path::{Path, PathBuf};

use masque_tests::{
    CommandOutput, Setup, core_module, fixture, full, section_offsets, shipped, with_unsupported_contract,
};

/// A file under the name of a plugin.
struct Bad {
    plugin: String,
    bytes: Vec<u8>,
    /// What the line about it says, remedy included.
    words: &'static [&'static str],
}

fn bad(plugin: &str, bytes: impl AsRef<[u8]>, words: &'static [&'static str]) -> Bad {
    Bad { plugin: plugin.to_owned(), bytes: bytes.as_ref().to_owned(), words }
}

fn plugin(name: &str) -> String {
    format!("[plugins.{name}]\nsource = \"{name}.wasm\"\n")
}

fn with(files: &[Bad]) -> Setup {
    files.iter().fold(Setup::file(""), |setup, Bad { plugin: name, bytes, .. }| {
        setup.and(&plugin(name)).beside(&format!("{name}.wasm"), bytes)
    })
}

/// The report has exactly one line about each of them, with what is to be said.
fn told(outcome: &CommandOutput, files: &[Bad]) {
    let CommandOutput { status, text } = outcome;
    assert!(!status.success(), "{text}");
    for Bad { plugin, words, .. } in files {
        let about: Vec<_> = text.lines().filter(|line| line.contains(&format!("`{plugin}`"))).collect();
        let [line] = about[..] else { panic!("{} lines about {plugin}: {text}", about.len()) };
        for word in *words {
            assert!(line.contains(word), "{word:?} in {line:?}");
        }
        assert!(line.len() < 1000, "a line to be read: {line}");
    }
}

/// Says the same whether the file is only checked or the host is to start with it.
async fn refused(files: &[Bad]) {
    let setup = with(files);
    told(&setup.check().await, files);
    told(&setup.serve_to_end().await, files);
}

#[tokio::test]
async fn what_is_no_plugin_of_this_host_is_refused_with_what_to_do() {
    let built = |name: &str| std::fs::read(fixture(name)).unwrap();
    let card = shipped("card");
    refused(&[
        bad("empty", b"", &["not a WebAssembly file", "wasm32-wasip2"]),
        bad("a-script", b"#!/bin/sh\nexit 0\n", &["not a WebAssembly file", "wasm32-wasip2"]),
        bad(
            "a-program",
            b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0",
            &["not a WebAssembly file", "wasm32-wasip2"],
        ),
        bad("core-module", core_module(), &["a core WebAssembly module", "wasm32-wasip2"]),
        bad("preamble", b"\0asm\x0d\0\x01\0", &["`masque:companion/about@0.1.0`", "Export"]),
        bad("wrong-world", built("speaks-another-contract"), &["`masque:companion/about@0.1.0`", "Export"]),
        bad(
            "wrong-version",
            with_unsupported_contract(&card),
            &["masque:companion/", "0.9.0", "this host's version"],
        ),
        bad(
            "a-stranger",
            built("wants-a-stranger"),
            &["imports `acme:vault/secrets`", "this host's version"],
        ),
        bad("spins-in-describe", built("spins-in-describe"), &["`describe` failed", "limit `cpu`", "Build"]),
        bad("padded", [card, vec![0; 64]].concat(), &["does not compile", "Build"]),
    ])
    .await;
}

/// In the long run of each plugin that ships, and a byte before and after each place too.
#[tokio::test]
async fn a_component_that_breaks_off_at_any_section_is_refused() {
    let names: &[&str] = if full() { &["window", "card", "offline", "openai"] } else { &["window"] };
    for name in names {
        let whole = shipped(name);
        let mut places = section_offsets(&whole);
        assert!(places.len() > 50, "only {} sections", places.len());
        if full() {
            places = places.iter().flat_map(|place| [place.saturating_sub(1), *place, place + 1]).collect();
            places.sort_unstable();
            places.dedup();
        }
        let cut = |place: usize| bad(&format!("cut-at-{place}"), &whole[..place], &["can't be loaded"]);
        let files: Vec<_> = places.into_iter().map(cut).collect();
        told(&with(&files).check().await, &files);
    }
}

#[tokio::test]
async fn a_file_larger_than_any_component_is_refused_unread() {
    let setup = Setup::file(&plugin("huge"));
    let file = std::fs::File::create(setup.folder().join("huge.wasm")).unwrap();
    // Takes no room on the disk, and would take it all in memory.
    file.set_len(100 << 20).unwrap();
    for outcome in [setup.check().await, setup.serve_to_end().await] {
        let CommandOutput { status, text } = outcome;
        assert!(!status.success());
        let about: Vec<_> = text.lines().filter(|line| line.contains("huge")).collect();
        let [line] = about[..] else { panic!("{} lines: {text}", about.len()) };
        assert!(line.contains("larger than 64MiB") && line.contains("Build it with"), "{line}");
    }
}

#[tokio::test]
async fn compiled_code_from_elsewhere_or_altered_is_never_run() {
    let mut host = Setup::defaults().start().await;
    let elsewhere = Setup::defaults().start().await;
    let codes = kept(host.data());
    assert!(codes.len() >= 3, "{codes:?}");
    let good: Vec<_> = codes.iter().map(|code| std::fs::read(code).unwrap()).collect();
    host.kill().await;

    // One is another host's, one was altered in its middle, one was cut, and the rest are empty.
    let (theirs, ours) = (kept(elsewhere.data()), codes.clone());
    assert_eq!(theirs.len(), ours.len());
    std::fs::copy(&theirs[0], &ours[0]).unwrap();
    let mut altered = good[1].clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    std::fs::write(&ours[1], altered).unwrap();
    std::fs::write(&ours[2], &good[2][..good[2].len() / 2]).unwrap();
    for code in &ours[3..] {
        std::fs::write(code, b"").unwrap();
    }
    host.restart().await;

    host.client().say("Hello.").await;
    let log = host.log();
    for code in &ours {
        let name = code.file_name().unwrap().to_str().unwrap();
        let noticed = log.lines().any(|line| line.contains(name) && line.contains("compiling it again"));
        assert!(noticed, "{name} was taken for this host's own");
        assert!(!std::fs::read(code).unwrap().is_empty(), "{name} was made anew");
    }
    // Nor is compiled code a plugin.
    let code = bad("compiled", &good[0], &["not a WebAssembly file"]);
    refused(&[code, bad("compiled-bare", &good[0][32..], &["not a WebAssembly file"])]).await;
}

/// The files of compiled code, by their names, which are the same for the same component on every host.
fn kept(data: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(data.join("compiled")).unwrap().map(|file| file.unwrap().path());
    let mut kept: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "aot")).collect();
    kept.sort();
    kept
}
