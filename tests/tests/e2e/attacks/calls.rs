//! Attacks by a persona within a call of `compose` or `greet`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use masque_tests::{Host, Upstream};
use serde_json::json;

use super::AttackOutcome::{Completes, Fails};
use super::{Attack, AttackOutcome, assert_withstood, with_cpu};

/// What a plugin may keep in its scratch folder.
const SCRATCH_BYTES: u64 = 256 << 10;

/// An attack by the fixture `breaks-a-call`, whose setting selects the behaviour `name`.
fn behaviour(name: &'static str, more: &str, outcome: AttackOutcome) -> Attack {
    let entry = with_cpu(&format!("settings.behaviour = {name:?}\n{more}"));
    Attack { name, fixture: "breaks-a-call", entry, function: "compose", outcome }
}

/// An attack by the fixture `name`, which has only one behaviour.
fn single_behaviour(name: &'static str, more: &str, outcome: AttackOutcome) -> Attack {
    Attack { name, fixture: name, entry: with_cpu(more), function: "compose", outcome }
}

const fn plugin_fails(words: &'static [&'static str]) -> AttackOutcome {
    Fails(500, "plugin-failed", words)
}

#[tokio::test]
async fn no_attack_within_a_call_costs_more_than_the_call() {
    let silent = Upstream::silent().await;
    let origin = silent.origin();
    let requests = format!("settings.url = \"{origin}/\"\ngrants.http = [\"{origin}\"]\n");
    let (large, too_large) = (Upstream::with_header(60 << 10).await, Upstream::with_header(70 << 10).await);
    let requests_to = |upstream: &Upstream| {
        let origin = upstream.origin();
        format!("settings.url = \"{origin}/\"\ngrants.http = [\"{origin}\"]\n")
    };
    let scratch = format!("grants.scratch = \"{}KiB\"\n", SCRATCH_BYTES >> 10);
    let attacks = [
        // Time.
        single_behaviour(
            "spins-in-a-call",
            "limits.cpu = \"300ms\"",
            plugin_fails(&["300 ms of CPU", "limit `cpu`"]),
        ),
        behaviour(
            "waits-for-an-hour",
            "limits.wall = \"500ms\"",
            Fails(504, "turn-timeout", &["limit `wall`"]),
        ),
        behaviour("waits-for-nothing", "", plugin_fails(&["trap"])),
        behaviour("leaves-a-task", "", Completes(&[])),
        behaviour("drops-a-request", &requests, Completes(&[])),
        // Memory: the guest's own, and what the host holds for the guest.
        single_behaviour(
            "hoards",
            "limits.memory = \"16MiB\"",
            plugin_fails(&["16777216 bytes", "limit `memory`"]),
        ),
        behaviour("recurses", "", plugin_fails(&["stack"])),
        behaviour(
            "hands-over-too-much",
            "limits.memory = \"256MiB\"",
            plugin_fails(&["limit `hostcall_bytes`"]),
        ),
        behaviour("logs-a-long-line", "limits.memory = \"64MiB\"", plugin_fails(&["limit `hostcall_bytes`"])),
        behaviour("prints-a-long-line", "", Completes(&["xxxxxxxx"])),
        behaviour("logs-many-lines", "", Completes(&["logged more than its limit", "9800"])),
        behaviour("hoards-headers", "", plugin_fails(&["limit `resources`"])),
        behaviour("hoards-streams", "", plugin_fails(&["limit `handles`"])),
        behaviour("fills-headers", "limits.memory = \"128MiB\"", plugin_fails(&["limit `host_memory`"])),
        behaviour("fills-trailers", "", plugin_fails(&["limit `host_memory`"])),
        behaviour("hoards-unsent-bodies", "", plugin_fails(&["limit `host_memory`"])),
        behaviour("hoards-methods", "", plugin_fails(&["limit `host_memory`"])),
        behaviour("hoards-paths", "", plugin_fails(&["limit `host_memory`"])),
        behaviour("gets-large-headers", &requests_to(&too_large), plugin_fails(&["limit `header_bytes`"])),
        behaviour("holds-its-responses", &requests_to(&large), plugin_fails(&["limit `requests`"])),
        behaviour("hoards-log-streams", "", plugin_fails(&["limit `resources`"])),
        // What outlives the call.
        behaviour("fills-its-scratch", &scratch, plugin_fails(&["limit `scratch`"])),
        behaviour(
            "rewrites-its-scratch",
            &format!("{scratch}limits.wall = \"500ms\""),
            Fails(504, "turn-timeout", &["limit `wall`"]),
        ),
        behaviour(
            "fills-its-state",
            "limits.state = \"1MiB\"\ngrants.state = true",
            plugin_fails(&["failed with `denied`", "limit `state`"]),
        ),
        behaviour(
            "rewrites-its-state",
            "grants.state = true",
            plugin_fails(&["failed with `denied`", "limit `state_writes`"]),
        ),
        behaviour("sends-a-thousand-requests", &requests, plugin_fails(&["limit `requests`"])),
        // Abnormal exits.
        behaviour("traps", "", plugin_fails(&["trap", "unreachable"])),
        behaviour("aborts", "", plugin_fails(&["trap", "unreachable"])),
        behaviour("exits", "", plugin_fails(&["exit status"])),
        single_behaviour("panics", "", plugin_fails(&["trap"])),
        // Results that break the contract.
        behaviour("says-nothing", "", plugin_fails(&["broke the contract", "no message"])),
        behaviour("names-no-role", "", plugin_fails(&["broke the contract", "role"])),
    ];
    let host = Attack::setup(&attacks).start().await;

    assert_withstood(&host, "attacks within a call", &attacks).await;

    let status = host.client().get("/status").send().await.expect(200);
    let refusals = |name| {
        let plugins = status["plugins"].as_array().unwrap();
        plugins.iter().find(|plugin| plugin["name"] == name).unwrap()["state_refusals"].as_u64().unwrap()
    };
    assert!(refusals("fills-its-state") >= super::ROUNDS as u64 && refusals("elara") == 0, "{status}");

    let log = host.log();
    let logged = log.lines().filter(|line| line.contains("one more")).count();
    assert!(logged <= 200 * super::ROUNDS, "one plugin logged {logged} lines");
    let longest = log.lines().map(str::len).max().unwrap_or_default();
    assert!(longest < 16 << 10, "a line of {longest} bytes");
    assert!(silent.seen().len() <= 9 * super::ROUNDS, "{} requests at once", silent.seen().len());
    for (name, bytes) in scratch_folders(&host) {
        assert!(bytes <= SCRATCH_BYTES, "{bytes} bytes in the scratch folder {name}");
    }
}

/// The scratch folders of a host with the bytes that they take on disk.
fn scratch_folders(host: &Host) -> Vec<(String, u64)> {
    let folders: Vec<_> =
        std::fs::read_dir(host.data().join("scratch")).unwrap().map(Result::unwrap).collect();
    // One for each plugin with the grant.
    assert_eq!(folders.len(), 2, "{folders:?}");
    let bytes = |folder: &Path| -> u64 {
        // Ignore a file that is removed meanwhile, by an operation that outlives its call.
        let files = std::fs::read_dir(folder).unwrap().filter_map(|file| file.ok()?.metadata().ok());
        files.map(|file| file.blocks() * 512).sum()
    };
    folders.iter().map(|folder| (format!("{:?}", folder.file_name()), bytes(&folder.path()))).collect()
}

#[tokio::test]
async fn a_greeting_with_the_role_user_is_refused() {
    let name = "greets-as-the-user";
    let attack = behaviour(name, "", Completes(&[]));
    let host = Attack::setup(&[attack]).start().await;
    let body = json!({ "companion": name });
    host.client().post("/conversations", &body).send().await.problem(500, "plugin-failed");
    host.logged_in_one_line(&["plugin `greets-as-the-user`", "greet: broke the contract", "`assistant`"])
        .await;
}
