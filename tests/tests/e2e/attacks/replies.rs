//! Attacks by a model within its reply, which streams while the call runs.

use masque_tests::Upstream;
use serde_json::json;

use super::AttackOutcome::{Completes, Fails};
use super::{Attack, AttackOutcome, assert_withstood, with_cpu};

/// An attack by the fixture `fixture` under the name `name`.
fn attack(name: &'static str, fixture: &'static str, entry: &str, outcome: AttackOutcome) -> Attack {
    Attack { name, fixture, entry: with_cpu(entry), function: "generate", outcome }
}

/// An attack by the fixture `name`, which has only one behaviour.
fn single_behaviour(name: &'static str, entry: &str, outcome: AttackOutcome) -> Attack {
    attack(name, name, entry, outcome)
}

const fn plugin_fails(words: &'static [&'static str]) -> AttackOutcome {
    Fails(500, "plugin-failed", words)
}

#[tokio::test]
async fn no_attack_in_a_reply_costs_more_than_the_reply() {
    let silent = Upstream::silent().await;
    let origin = silent.origin();
    // Long enough for the first words on a busy machine.
    let never_answers = |speaks: bool| {
        format!(
            "settings = {{ speaks = {speaks}, url = \"{origin}/\" }}\ngrants.http = [\"{origin}\"]\nlimits.wall = \"3s\""
        )
    };
    let overlong = format!("settings.reason = \"{}\"", "x".repeat(65));
    let attacks = [
        single_behaviour(
            "spins-in-a-stream",
            "limits.cpu = \"300ms\"",
            plugin_fails(&["300 ms of CPU", "limit `cpu`"]),
        ),
        // The host ends the reply at the limit `reply_bytes`, as it does with every long reply.
        single_behaviour("streams-for-ever", "", Completes(&[])),
        single_behaviour("says-too-much-at-once", "", plugin_fails(&["limit `delta_bytes`"])),
        single_behaviour(
            "drops-its-stream",
            "",
            Fails(502, "model-truncated", &["without `finish` or `failed`"]),
        ),
        attack(
            "ends-for-no-reason",
            "finishes-wrongly",
            "settings.reason = \"\"",
            plugin_fails(&["contract", "reason"]),
        ),
        attack(
            "ends-for-a-long-reason",
            "finishes-wrongly",
            &overlong,
            plugin_fails(&["contract", "reason"]),
        ),
        attack(
            "says-nothing-for-ever",
            "never-answers",
            &never_answers(false),
            Fails(504, "turn-timeout", &["limit `wall`"]),
        ),
        attack(
            "stops-in-the-middle",
            "never-answers",
            &never_answers(true),
            Fails(504, "turn-timeout", &["limit `wall`"]),
        ),
    ];
    let host = Attack::setup(&attacks).start().await;

    assert_withstood(&host, "attacks in a reply", &attacks).await;

    // A streaming client receives the text before the failure, and then an event that names the failure.
    for (name, kind) in [
        ("spins-in-a-stream", "plugin-failed"),
        ("drops-its-stream", "model-truncated"),
        ("ends-for-no-reason", "plugin-failed"),
        ("stops-in-the-middle", "turn-timeout"),
    ] {
        let body = json!({ "message": "Hello.", "companion": name, "stream": true });
        let transcript = host.client().chat(&body).events().await.transcript().await;
        transcript.failed(kind);
        assert_eq!(transcript.text, "well", "{name}");
    }

    let body = json!({ "message": "Hello.", "companion": "streams-for-ever" });
    let reply = host.client().chat(&body).send().await.expect(200);
    assert_eq!(reply["finish"], "length");
    assert_eq!(reply["reply"]["content"].as_str().unwrap().len(), 64 << 10);
}
