//! Machines that give less than usual, and files that are not what they should be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use masque_tests::{MockModel, Setup, eventually, fixture};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

fn make_pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

fn limited_by(limit: &str) -> Setup {
    Setup::defaults().launched_by(&["sh", "-c", &format!("ulimit {limit}; exec \"$@\""), "sh"])
}

#[tokio::test]
async fn a_host_with_less_address_space_or_cpu_time_starts_and_names_the_limit() {
    for (limit, name) in [("-v 4000000", "`ulimit -v`"), ("-t 120", "`ulimit -t`")] {
        let host = limited_by(limit).start().await;
        host.client().say("There is less than usual.").await;
        host.logged(name).await;
    }
}

/// Private memory that is limited is refused when it is reserved, as under `vm.overcommit_memory = 2`.
#[tokio::test]
async fn a_host_that_may_not_reserve_memory_ahead_of_its_use_starts() {
    let host = limited_by("-d 3000000").start().await;
    host.client().say("Memory is counted when it is reserved.").await;
}

/// The log is over the limit from the start, and the database reaches it with the messages.
#[tokio::test]
async fn a_host_at_the_limit_on_file_sizes_runs_on_as_on_a_full_disk() {
    let words = "head -c 6000000 /dev/zero > log; ulimit -S -f 8192; exec \"$@\" 2>> log";
    let mut host = Setup::defaults().launched_by(&["sh", "-c", words, "sh"]).start().await;
    let client = host.client();
    let first = client.say("There is room for this.").await;
    let message = "x".repeat(32_000);
    let body = json!({ "message": message, "conversation_id": first["conversation_id"] });

    let mut refused = None;
    for _ in 0..1000 {
        let answer = client.chat(&body).send().await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    refused.expect("the database reaches the limit").problem(503, "storage-unavailable");
    assert!(host.is_running());
    client.get("/livez").send().await.expect(200);

    host.unlimit_file_size();
    eventually("the host to accept messages again", || async {
        (client.chat(&body).send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_named_pipe_in_place_of_a_file_is_named_by_check_and_stops_the_start() {
    let credential =
        "[credentials.one]\norigin = \"http://127.0.0.1:9\"\nheader = \"x-key\"\nvalue_file = \"pipe\"\n";
    let card = "[plugins.mine]\nsource = \"builtin:card\"\nsettings = { card = { file = \"pipe\" } }\n";
    let plugin = "[plugins.mine]\nsource = \"pipe.wasm\"\n";
    let tls = "[tls]\ncertificate = \"pipe\"\nkey = \"pipe\"\n";
    for toml in [credential, card, plugin, tls] {
        let setup = Setup::file(toml);
        for name in ["pipe", "pipe.wasm"] {
            make_pipe(&setup.folder().join(name));
        }
        for output in [setup.check().await, setup.serve_to_end().await] {
            assert!(!output.status.success(), "{toml}");
            assert!(output.text.contains("a named pipe"), "{toml}: {}", output.text);
        }
    }
    let setup = Setup::defaults().environment("JWT_SECRET_KEY_FILE", "pipe");
    make_pipe(&setup.folder().join("pipe"));
    let output = setup.check().await;
    assert!(output.text.contains("a named pipe"), "{}", output.text);
}

#[tokio::test]
async fn a_running_host_refuses_a_named_pipe_and_follows_its_files_again_afterwards() {
    let model = MockModel::start().await;
    let setup = Setup::model_with(&model, "")
        .and("[plugins.other]\nsource = \"builtin:card\"\nsettings = { card = { file = \"card.json\" } }")
        .beside("card.json", br#"{"name": "Ida", "description": "Ida."}"#);
    let host = setup.start().await;
    let card = host.folder().join("card.json");

    let pipe = host.folder().join("new");
    make_pipe(&pipe);
    fs::rename(&pipe, &card).unwrap();
    host.logged("card.json can't be read: it is a named pipe").await;
    host.client().say("The host runs on.").await;

    let file = host.folder().join("new");
    fs::write(&file, br#"{"name": "Ida", "description": "Ida of the sea."}"#).unwrap();
    fs::rename(&file, &card).unwrap();
    host.logged("changes are in effect").await;
}

#[tokio::test]
async fn a_host_whose_binary_was_replaced_compiles_new_plugins() {
    let copied = "cp \"$1\" ./m; shift; exec ./m \"$@\"";
    let host = Setup::defaults().launched_by(&["sh", "-c", copied, "sh"]).start().await;
    let other = host.folder().join("other");
    fs::copy("/bin/true", &other).unwrap();
    fs::rename(&other, host.folder().join("m")).unwrap();

    let plugins = host.data().join("plugins");
    let unfinished = plugins.join("new.part");
    fs::copy(fixture("counts-exchanges"), &unfinished).unwrap();
    fs::rename(&unfinished, plugins.join("new.wasm")).unwrap();

    host.logged("plugin `new` is new").await;
}

#[tokio::test]
async fn compiled_code_and_secrets_that_others_may_write_are_not_used() {
    let mut host = Setup::defaults().compiling().start().await;
    host.kill().await;
    let key = host.data().join("compiled/key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o666)).unwrap();
    host.restart().await;
    host.logged("the key of the compiled components is not used").await;
    host.client().say("Everything was compiled again.").await;

    let setup = Setup::defaults().environment("JWT_SECRET_KEY_FILE", "secret");
    let setup = setup.beside("secret", b"9oN8gTq4m2xVbYc7Rk1LzWj5uPsHd3EaFi6Qt0yXrGI");
    assert!(setup.check().await.status.success());
    fs::set_permissions(setup.folder().join("secret"), fs::Permissions::from_mode(0o666)).unwrap();
    let output = setup.check().await;
    assert!(
        !output.status.success() && output.text.contains("every user of this machine"),
        "{}",
        output.text
    );
}

#[tokio::test]
async fn a_host_whose_compile_cache_can_not_be_used_starts() {
    // Nobody, root included, can make a folder there.
    let host = Setup::file("[data]\ncompiled = \"/proc/none/compiled\"\n").start().await;
    host.logged("compiled components are not kept").await;
    host.client().say("Everything is compiled at every start.").await;
}
