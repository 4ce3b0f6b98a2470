//! Attacks from within a call that should have been over in a moment.

use masque_tests::Upstream;
use serde_json::json;

use super::AttackOutcome::{Fails, GoesOn};
use super::{Attack, AttackOutcome, withstands};

/// A persona of the fixture that does what its setting says, the setting being its name.
fn does(name: &'static str, more: &str, outcome: AttackOutcome) -> Attack {
    let entry = format!("settings.behaviour = {name:?}\n{more}");
    Attack { name, fixture: "breaks-a-call", entry, function: "compose", outcome }
}

/// A persona that can do only one thing.
fn only(name: &'static str, more: &str, outcome: AttackOutcome) -> Attack {
    Attack { name, fixture: name, entry: more.to_owned(), function: "compose", outcome }
}

const fn fails(words: &'static [&'static str]) -> AttackOutcome {
    Fails(500, "plugin-failed", words)
}

#[tokio::test]
async fn no_attack_within_a_call_costs_more_than_the_call() {
    let silent = Upstream::silent().await;
    let origin = silent.origin();
    let requests =
        format!("limits.wall = \"2s\"\nsettings.url = \"{origin}/\"\ngrants.http = [\"{origin}\"]\n");
    let attacks = [
        // Time.
        only("spins-in-a-call", "limits.cpu = \"300ms\"", fails(&["300 ms of CPU", "limit `cpu`"])),
        does("waits-for-an-hour", "limits.wall = \"500ms\"", Fails(504, "turn-timeout", &["limit `wall`"])),
        does("waits-for-nothing", "", fails(&["trap"])),
        does("leaves-a-task", "", GoesOn(&[])),
        does("drops-a-request", &requests, GoesOn(&[])),
        // Memory: its own, and the host's on its behalf.
        only("hoards", "limits.memory = \"16MiB\"", fails(&["16777216 bytes", "limit `memory`"])),
        does("recurses", "", fails(&["stack"])),
        does("hands-over-too-much", "limits.memory = \"256MiB\"", fails(&["limit `hostcall_bytes`"])),
        does("logs-a-long-line", "limits.memory = \"64MiB\"", fails(&["limit `hostcall_bytes`"])),
        does("prints-a-long-line", "", GoesOn(&["xxxxxxxx"])),
        does("logs-many-lines", "", GoesOn(&["logged more than its limit", "9800"])),
        does("hoards-headers", "", fails(&["limit `resources`"])),
        does("hoards-streams", "", fails(&["limit `handles`"])),
        does("sends-a-thousand-requests", &requests, fails(&["limit `requests`"])),
        // Ends that are none.
        does("traps", "", fails(&["trap", "unreachable"])),
        does("aborts", "", fails(&["trap", "unreachable"])),
        does("exits", "", fails(&["exit status"])),
        only("panics", "", fails(&["trap"])),
        // Answers that break the contract.
        does("says-nothing", "", fails(&["broke the contract", "no message"])),
        does("names-no-role", "", fails(&["broke the contract", "role"])),
    ];
    let host = Attack::tables(&attacks).start().await;

    withstands(&host, "attacks within a call", &attacks).await;

    let log = host.log();
    let said = log.lines().filter(|line| line.contains("one more")).count();
    assert!(said <= 200 * super::ROUNDS, "{said} lines of one plugin's");
    let longest = log.lines().map(str::len).max().unwrap_or_default();
    assert!(longest < 16 << 10, "a line of {longest} bytes");
    assert!(silent.seen().len() <= 9 * super::ROUNDS, "{} requests at once", silent.seen().len());
}

#[tokio::test]
async fn a_greeting_in_the_users_name_is_refused() {
    let name = "greets-as-the-user";
    let attack = does(name, "", GoesOn(&[]));
    let host = Attack::tables(&[attack]).start().await;
    let body = json!({ "companion": name });
    host.client().post("/conversations", &body).send().await.problem(500, "plugin-failed");
    host.logged_in_one_line(&["plugin `greets-as-the-user`", "greet: broke the contract", "`assistant`"])
        .await;
}
