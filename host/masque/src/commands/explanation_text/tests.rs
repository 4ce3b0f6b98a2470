use masque_api::{ExplainedHostCall, ExplainedSource, ExplainedTiming, ExplainedUsage};
use serde_json::json;
use uuid::Uuid;

use super::*;

fn explained() -> Explanation {
    let message = ExplainedMessage {
        id: Some("01998a3e-7c1f-7d52-9b7e-3f1d00000001".into()),
        role: "user".into(),
        tokens: 3,
        text: Some("Hello\n\x1b[31mthere".into()),
        ..ExplainedMessage::default()
    };
    let gone = ExplainedMessage { deleted: true, text: None, ..message.clone() };
    let unknown = ExplainedMessage { not_looked_up: true, text: None, ..message.clone() };
    let memory = ExplainedMemory {
        id: Some("m1".into()),
        source: Some("diary".into()),
        score: Some(0.82),
        tokens: 4,
        text: Some("likes tea".into()),
        ..ExplainedMemory::default()
    };
    let step = ExplainedStep {
        function: "recall".into(),
        plugin: "diary".into(),
        version: "1.2.0".into(),
        digest: "sha256:11".into(),
        outcome: "timeout".into(),
        wall_ms: 12.5,
        peak_memory_bytes: 1_572_864,
        grants: Some(vec!["state".into()]),
        host_calls: vec![ExplainedHostCall {
            interface: "state".into(),
            operation: "get".into(),
            outcome: "ok".into(),
            detail: Some(json!({ "key": "mood" })),
            ..ExplainedHostCall::default()
        }],
        ..ExplainedStep::default()
    };
    let sources = vec![ExplainedSource { source: "card.scenario".into(), count: 1, tokens: 40 }];
    Explanation {
        turn_id: Uuid::from_u128(1),
        conversation_id: Uuid::from_u128(2),
        companion: "elara".into(),
        attempt: 1,
        recorded: "full".into(),
        shows_content: true,
        truncated: false,
        outcome: "failed".into(),
        problem: Some("turn-timeout".into()),
        started_at: "2026-01-01T00:00:00.000Z".into(),
        request_id: "r".into(),
        trace_id: "t".into(),
        host: None,
        generation: Some(7),
        timing: ExplainedTiming { total_ms: Some(812.4), ..ExplainedTiming::default() },
        usage: ExplainedUsage { input_tokens: 47, ..ExplainedUsage::default() },
        message: message.clone(),
        recalled: Some(ExplainedRecollection {
            plugin: "diary".into(),
            budget_tokens: Some(2048),
            tokens: 7,
            messages: vec![gone, unknown],
            memories: vec![memory],
        }),
        prompt: Some(ExplainedPrompt {
            tokens: 47,
            sources,
            messages: vec![message],
            ..ExplainedPrompt::default()
        }),
        reply: Some(ExplainedReply { text: Some("Hi.".into()), ..ExplainedReply::default() }),
        steps: vec![step],
    }
}

#[test]
fn the_text_says_what_was_recalled_where_the_tokens_went_and_what_each_step_cost() {
    let text = text(&explained(), Style::Plain);
    for line in [
        "Turn 00000000-0000-0000-0000-000000000001: failed (turn-timeout)",
        "  time          total 812.40 ms",
        "  7 of 2048 tokens",
        "  score 0.820  memory m1 from diary, 4 tokens",
        "      likes tea",
        "      (deleted)",
        "      (not looked up: the record names too many messages)",
        "         40  card.scenario (1)",
        "  recall diary 1.2.0: timeout",
        "      at 0.00 ms, 12.50 ms of wall time, 0.00 ms of CPU time, instance in 0.00 ms, 1.5 MiB of memory",
        "      state get: ok, 0.00 ms",
        "          {\"key\":\"mood\"}",
        "      Hi.",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line:?} is not in\n{text}");
    }
    assert!(!text.ends_with('\n') && !text.contains(" \n"), "{text:?}");
}

#[test]
fn a_text_of_a_user_can_not_command_the_terminal() {
    let plain = text(&explained(), Style::Plain);
    assert!(!plain.contains('\x1b'), "{plain:?}");
    assert!(plain.contains("\\u{1b}[31mthere"), "{plain}");
    let coloured = text(&explained(), Style::Coloured);
    assert!(coloured.contains("\x1b[31mfailed\x1b[0m"), "{coloured:?}");
    assert!(!coloured.contains("\x1b[31mthere"), "{coloured:?}");
    assert_eq!(printable("a\u{202e}b\tc"), "a\\u{202e}b c");
}
