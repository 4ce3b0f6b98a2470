//! Commands of the README and of the page on authentication, as a reader enters them: on a host, and in another terminal beside
//! it. Only addresses are replaced.

use std::fs::File;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;

use masque_tests::deploy::in_repository;
use masque_tests::{Setup, binary, unavailable, within};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// Programs that the commands call besides the host.
const PROGRAMS: [&str; 3] = ["curl", "jq", "openssl"];

/// Whether all programs are here. Otherwise says that `test` is not run.
fn has_programs(test: &str) -> bool {
    let is_missing = |program: &&str| std::process::Command::new(program).arg("--version").output().is_err();
    let missing = PROGRAMS.into_iter().find(is_missing);
    if let Some(program) = missing {
        unavailable(test, &format!("there is no `{program}`"));
    }
    missing.is_none()
}

/// The fenced code blocks of this language in a section of a page.
fn blocks(page: &str, section: &str, language: &str) -> Vec<String> {
    let page = std::fs::read_to_string(in_repository(page)).unwrap();
    let section = page.split(&format!("\n## {section}\n")).nth(1).expect("a section of this title");
    let section = section.split("\n## ").next().unwrap();
    let begin = format!("```{language}\n");
    let parts = section.split(&begin).skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

/// What is entered in a block that shows a terminal: the lines after `$ `, with those that continue them.
fn entered(block: &str) -> String {
    let mut commands = String::new();
    for line in block.lines() {
        let continued = commands.ends_with("\\\n").then_some(line);
        if let Some(command) = line.strip_prefix("$ ").or(continued) {
            commands.push_str(command);
            commands.push('\n');
        }
    }
    commands
}

/// A shell in this folder that ends at the first command that fails. Its `masque` is in the subfolder `bin`.
fn shell(folder: &Path, commands: &str) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", commands]).current_dir(folder).env_clear();
    for name in ["TMPDIR", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            shell.env(name, value);
        }
    }
    let path = std::env::var("PATH").unwrap_or_default();
    shell.env("PATH", format!("{}:{path}", folder.join("bin").display())).env("HOME", folder);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    shell
}

/// Runs commands that are for the host at `address`. Returns what they print.
async fn run(folder: &Path, commands: &str, address: &str) -> String {
    let commands = commands.replace("127.0.0.1:8000", address).replace("localhost:8000", address);
    assert!(commands.contains(address), "{commands}");
    let output = within("the commands to end", shell(folder, &commands).output()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{commands}\n{text}\n{errors}");
    text
}

/// The last of the JSON values that commands have printed.
fn last_value(printed: &str) -> Value {
    let values = serde_json::Deserializer::from_str(printed).into_iter::<Value>();
    values.last().unwrap_or_else(|| panic!("no JSON: {printed}")).unwrap_or_else(|_| panic!("{printed}"))
}

#[tokio::test]
async fn the_readmes_commands_that_send_messages_get_what_it_shows() {
    if !has_programs("the_readmes_commands_that_send_messages") {
        return;
    }
    let blocks = blocks("README.md", "Sending messages", "sh");
    let [message, stream, greeting] = &blocks[..] else { panic!("{blocks:?}") };
    let host = Setup::defaults().start().await;

    let reply = last_value(&run(host.folder(), message, host.address()).await);
    let text = reply["reply"]["content"].as_str().unwrap();
    assert!(text.ends_with("Do you often feel curious today?"), "{text}");

    let events = run(host.folder(), stream, host.address()).await;
    // The second message of a conversation: the first would be answered with what this model is.
    let completed =
        events.split("event: reply.delta\n").last().unwrap().split("event: turn.completed\n").nth(1);
    let content = "\"content\":\"I only know what you tell me. What would you want to hear?\"";
    assert!(completed.is_some_and(|data| data.contains(content)), "{events}");

    let conversation = last_value(&run(host.folder(), greeting, host.address()).await);
    assert_eq!(conversation["messages"][0]["role"], "assistant", "{conversation}");
}

/// Enters the commands for the host after those of the quick start, and then those of a caller, which must end with a reply.
async fn authenticate(on_host: &str, of_caller: &str) {
    // The quick start, in the same folder, until Ctrl-C.
    let setup = Setup::defaults();
    let data = setup.folder().join("masque-data");
    let mut before = setup.on_data(&data).start().await;
    before.interrupt();
    before.ended().await;

    let folder = before.folder();
    std::fs::create_dir(folder.join("bin")).unwrap();
    symlink(binary(), folder.join("bin/masque")).unwrap();
    let (secrets, serve) = on_host.trim_end().rsplit_once('\n').unwrap();
    assert!(serve.starts_with("masque serve"), "{serve}");
    // The shell becomes the host, so that it ends with this test.
    let mut shell = shell(folder, &format!("{secrets}\nexec masque serve --listen 127.0.0.1:0"));
    let log = folder.join("log");
    let mut host = shell.stderr(File::create(&log).unwrap()).spawn().unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let listening = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(address) = line.strip_prefix("listening on http://") {
                return address.to_owned();
            }
        }
        panic!("the host did not start:\n{}", std::fs::read_to_string(&log).unwrap())
    };
    let address = within("the host to listen", listening).await;
    for secret in ["jwt-secret", "service-key"] {
        let mode = std::fs::metadata(folder.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the mode of {secret} is {mode:o}");
    }

    let reply = last_value(&run(folder, of_caller, &address).await);
    assert_eq!(reply["companion"], "elara", "{reply}");
    assert_eq!(reply["finish"], "stop", "{reply}");
}

#[tokio::test]
async fn the_readmes_commands_on_authentication_lead_from_a_secret_to_a_reply() {
    if !has_programs("the_readmes_commands_on_authentication") {
        return;
    }
    let blocks = blocks("README.md", "Authentication", "sh");
    let [on_host, of_caller] = &blocks[..] else { panic!("{blocks:?}") };
    authenticate(on_host, of_caller).await;
}

#[tokio::test]
async fn the_commands_on_host_signed_tokens_lead_from_a_secret_to_a_reply() {
    if !has_programs("the_commands_on_host_signed_tokens") {
        return;
    }
    let blocks = blocks("docs/authentication.md", "Host-signed tokens", "console");
    let [on_host, token, message] = &blocks[..] else { panic!("{blocks:?}") };
    authenticate(&entered(on_host), &(entered(token) + &entered(message))).await;
}
