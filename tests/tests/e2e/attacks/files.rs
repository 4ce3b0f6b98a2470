//! Invalid component files and altered compiled code. Each invalid file is refused with one line that names the plugin, the
//! reason and the remedy, and its code never runs.

use std::path::{Path, PathBuf};

use masque_tests::{
    CommandOutput, Setup, core_module, fixture, full, section_offsets, shipped, with_unsupported_contract,
};

/// An invalid file, configured as the source of a plugin.
struct InvalidFile {
    plugin: String,
    bytes: Vec<u8>,
    /// Words of the error, remedy included.
    words: &'static [&'static str],
}

fn invalid(plugin: &str, bytes: impl AsRef<[u8]>, words: &'static [&'static str]) -> InvalidFile {
    InvalidFile { plugin: plugin.to_owned(), bytes: bytes.as_ref().to_owned(), words }
}

fn plugin_table(name: &str) -> String {
    format!("[plugins.{name}]\nsource = \"{name}.wasm\"\n")
}

fn setup(files: &[InvalidFile]) -> Setup {
    files.iter().fold(Setup::file(""), |setup, InvalidFile { plugin, bytes, .. }| {
        setup.and(&plugin_table(plugin)).beside(&format!("{plugin}.wasm"), bytes)
    })
}

/// Asserts that the command failed and printed exactly one line about each file, with the file's words.
fn assert_reported(outcome: &CommandOutput, files: &[InvalidFile]) {
    let CommandOutput { status, text } = outcome;
    assert!(!status.success(), "{text}");
    for InvalidFile { plugin, words, .. } in files {
        let lines: Vec<_> = text.lines().filter(|line| line.contains(&format!("`{plugin}`"))).collect();
        let [line] = lines[..] else { panic!("{} lines about {plugin}: {text}", lines.len()) };
        for word in *words {
            assert!(line.contains(word), "{word:?} in {line:?}");
        }
        assert!(line.len() < 1000, "the line is too long to read: {line}");
    }
}

/// Asserts that the files are refused, both by `masque check` and at the start of a host.
async fn assert_refused(files: &[InvalidFile]) {
    let setup = setup(files);
    assert_reported(&setup.check().await, files);
    assert_reported(&setup.serve_to_end().await, files);
}

#[tokio::test]
async fn a_file_that_is_not_a_supported_plugin_is_refused_with_a_remedy() {
    let built = |name: &str| std::fs::read(fixture(name)).unwrap();
    let card = shipped("card");
    assert_refused(&[
        invalid("empty", b"", &["not a WebAssembly file", "wasm32-wasip2"]),
        invalid("a-script", b"#!/bin/sh\nexit 0\n", &["not a WebAssembly file", "wasm32-wasip2"]),
        invalid(
            "a-program",
            b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0",
            &["not a WebAssembly file", "wasm32-wasip2"],
        ),
        invalid("core-module", core_module(), &["a core WebAssembly module", "wasm32-wasip2"]),
        invalid("preamble", b"\0asm\x0d\0\x01\0", &["`masque:companion/about@0.1.0`", "Export"]),
        invalid(
            "wrong-world",
            built("speaks-another-contract"),
            &["`masque:companion/about@0.1.0`", "Export"],
        ),
        invalid(
            "wrong-version",
            with_unsupported_contract(&card),
            &["masque:companion/", "0.9.0", "this host's version"],
        ),
        invalid(
            "a-stranger",
            built("wants-a-stranger"),
            &["imports `acme:vault/secrets`", "this host's version"],
        ),
        invalid(
            "spins-in-describe",
            built("spins-in-describe"),
            &["`describe` failed", "limit `cpu`", "Build"],
        ),
        invalid("padded", [card, vec![0; 64]].concat(), &["does not compile", "build it again"]),
    ])
    .await;
}

#[tokio::test]
async fn a_description_is_held_to_the_limits_of_the_plugin_that_it_is_loaded_for() {
    let source = fixture("spins-in-describe");
    let setup =
        [("slow", "300ms"), ("slower", "450ms")].iter().fold(Setup::file(""), |setup, (name, cpu)| {
            setup.and(&format!("[plugins.{name}]\nsource = {source:?}\nlimits.cpu = \"{cpu}\"\n"))
        });
    let text = setup.check().await.text;
    for (name, cpu) in [("`slow`", "300 ms"), ("`slower`", "450 ms")] {
        let lines: Vec<_> = text.lines().filter(|line| line.contains(name)).collect();
        let [line] = lines[..] else { panic!("{} lines about {name}: {text}", lines.len()) };
        assert!(
            line.contains(&format!("{cpu} of CPU time (limit `cpu`)")) && line.contains("raise"),
            "{line}"
        );
    }
}

/// With `--full`, truncates each built-in plugin, and also one byte before and one byte after each section's start.
#[tokio::test]
async fn a_component_truncated_at_any_section_is_refused() {
    let names: &[&str] = if full() { &["window", "card", "offline", "openai"] } else { &["window"] };
    for name in names {
        let whole = shipped(name);
        let mut lengths = section_offsets(&whole);
        assert!(lengths.len() > 50, "only {} sections", lengths.len());
        if full() {
            lengths =
                lengths.iter().flat_map(|length| [length.saturating_sub(1), *length, length + 1]).collect();
            lengths.sort_unstable();
            lengths.dedup();
        }
        let truncated =
            |length: usize| invalid(&format!("cut-at-{length}"), &whole[..length], &["can't be loaded"]);
        let files: Vec<_> = lengths.into_iter().map(truncated).collect();
        assert_reported(&setup(&files).check().await, &files);
    }
}

#[tokio::test]
async fn a_file_over_the_size_limit_is_refused_without_being_read() {
    let setup = Setup::file(&plugin_table("huge"));
    let file = std::fs::File::create(setup.folder().join("huge.wasm")).unwrap();
    // A sparse file: it uses no disk space, and 100 MiB of memory if it is read.
    file.set_len(100 << 20).unwrap();
    for outcome in [setup.check().await, setup.serve_to_end().await] {
        let CommandOutput { status, text } = outcome;
        assert!(!status.success());
        let lines: Vec<_> = text.lines().filter(|line| line.contains("huge")).collect();
        let [line] = lines[..] else { panic!("{} lines: {text}", lines.len()) };
        assert!(line.contains("larger than 64MiB") && line.contains("Build it with"), "{line}");
    }
}

#[tokio::test]
async fn compiled_code_from_elsewhere_or_altered_is_never_run() {
    let mut host = Setup::defaults().compiling().start().await;
    let other = Setup::defaults().compiling().start().await;
    let files = compiled_files(host.data());
    assert!(files.len() >= 3, "{files:?}");
    let contents: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    host.kill().await;

    // Replace the first file by the one of another host, flip a bit in the middle of the second, truncate the third, and
    // empty the others.
    let others = compiled_files(other.data());
    assert_eq!(others.len(), files.len());
    std::fs::copy(&others[0], &files[0]).unwrap();
    let mut altered = contents[1].clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    std::fs::write(&files[1], altered).unwrap();
    std::fs::write(&files[2], &contents[2][..contents[2].len() / 2]).unwrap();
    for file in &files[3..] {
        std::fs::write(file, b"").unwrap();
    }
    host.restart().await;

    host.client().say("Hello.").await;
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        host.logged_in_one_line(&[name, "compiling it again"]).await;
        assert!(!std::fs::read(file).unwrap().is_empty(), "{name} was not written again");
    }
    // Compiled code is refused as the source of a plugin, with its 32-byte MAC and without it.
    let with_mac = invalid("compiled", &contents[0], &["not a WebAssembly file"]);
    let without_mac = invalid("compiled-bare", &contents[0][32..], &["not a WebAssembly file"]);
    assert_refused(&[with_mac, without_mac]).await;
}

/// The files of compiled code, sorted by name. A component has the same file name on every host.
fn compiled_files(data: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(data.join("compiled")).unwrap().map(|file| file.unwrap().path());
    let mut compiled: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "aot")).collect();
    compiled.sort();
    compiled
}
