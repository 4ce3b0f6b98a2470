//! Attacks by a model, whose call goes on while its reply is read.

use masque_tests::Upstream;
use serde_json::json;

use super::AttackOutcome::{Fails, GoesOn};
use super::{Attack, AttackOutcome, withstands};

fn model(name: &'static str, fixture: &'static str, entry: &str, outcome: AttackOutcome) -> Attack {
    Attack { name, fixture, entry: entry.to_owned(), function: "generate", outcome }
}

fn alone(name: &'static str, entry: &str, outcome: AttackOutcome) -> Attack {
    model(name, name, entry, outcome)
}

const fn fails(words: &'static [&'static str]) -> AttackOutcome {
    Fails(500, "plugin-failed", words)
}

#[tokio::test]
async fn no_attack_in_a_reply_costs_more_than_the_reply() {
    let silent = Upstream::silent().await;
    let origin = silent.origin();
    let waits = |speaks: bool| {
        format!(
            "settings = {{ speaks = {speaks}, url = \"{origin}/\" }}\ngrants.http = [\"{origin}\"]\nlimits.wall = \"500ms\""
        )
    };
    let overlong = format!("settings.reason = \"{}\"", "x".repeat(65));
    let attacks = [
        alone("spins-in-a-stream", "limits.cpu = \"300ms\"", fails(&["300 ms of CPU", "limit `cpu`"])),
        // Cut at the limit for a reply, as a reply of any length is.
        alone("streams-for-ever", "", GoesOn(&[])),
        alone("says-too-much-at-once", "", fails(&["limit `delta_bytes`"])),
        alone("drops-its-stream", "", Fails(502, "model-truncated", &["without `finish` or `failed`"])),
        model(
            "ends-for-no-reason",
            "finishes-wrongly",
            "settings.reason = \"\"",
            fails(&["contract", "reason"]),
        ),
        model("ends-for-a-long-reason", "finishes-wrongly", &overlong, fails(&["contract", "reason"])),
        model(
            "says-nothing-for-ever",
            "never-answers",
            &waits(false),
            Fails(504, "turn-timeout", &["limit `wall`"]),
        ),
        model(
            "stops-in-the-middle",
            "never-answers",
            &waits(true),
            Fails(504, "turn-timeout", &["limit `wall`"]),
        ),
    ];
    let host = Attack::tables(&attacks).start().await;

    withstands(&host, "attacks in a reply", &attacks).await;

    // Who reads along has had the first word before, and is told how it ended.
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
