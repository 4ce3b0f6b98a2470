//! Limits by address, user and API key: requests, concurrent turns and tokens of the model.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use masque_tests::{Answer, Gate, MockModel, SECRET, Setup, Step, claims, token};
use serde_json::json;

/// A host with authentication and these limits.
fn with_limits(limits: &str) -> Setup {
    Setup::file(limits).environment("JWT_SECRET_KEY", SECRET)
}

#[tokio::test]
async fn a_user_gets_the_burst_and_is_told_when_to_retry() {
    let host = with_limits("[limits.user]\nper_minute = 1\nburst = 3").start().await;
    let client = host.client();
    let ana = client.bearer(&token(&claims("ana")));
    for left in [2, 1, 0] {
        let answer = ana.get("/conversations").send().await;
        answer.expect(200);
        let state = answer.header("ratelimit").unwrap();
        assert!(
            state.contains(&format!("\"user\";r={left};t=")) && state.contains("\"address\";r="),
            "{state}"
        );
        let policy = answer.header("ratelimit-policy").unwrap();
        assert!(policy.contains("\"user\";q=3;w=180"), "{policy}");
    }
    let refused = ana.get("/conversations").send().await;
    refused.problem(429, "rate-limited");
    assert!(refused.header("ratelimit").unwrap().contains("\"user\";r=0"), "{:?}", refused.headers);
    // Another user at the same address is not with_limits.
    client.bearer(&token(&claims("ben"))).get("/conversations").send().await.expect(200);
    // Probes are not counted.
    for _ in 0..10 {
        client.get("/readyz").send().await.expect(200);
    }
}

#[tokio::test]
async fn unauthenticated_requests_are_counted_by_address() {
    let host = with_limits("[limits.address]\nper_minute = 1\nburst = 5").start().await;
    let client = host.client();
    for _ in 0..5 {
        client.bearer("guess").get("/conversations").send().await.problem(401, "invalid-token");
    }
    client.bearer("guess").get("/conversations").send().await.problem(429, "rate-limited");
    client.post("/auth/validate", &json!({ "token": "guess" })).send().await.problem(429, "rate-limited");
    client.get("/nowhere").send().await.problem(429, "rate-limited");
    client.get("/livez").send().await.expect(200);
}

#[tokio::test]
async fn the_tokens_of_a_key_share_its_limit() {
    let setup = Setup::defaults().with_authentication();
    let options = ["--scope", "chat", "--scope", "tokens:mint", "--requests-per-minute", "4"];
    let key = setup.create_key(&options).await;
    let host = setup.start().await;
    let client = host.client().bearer(&key);
    // 4 requests a minute make a burst of 1.
    let minted = client.post("/auth/token", &json!({ "user_id": "ana" })).send().await.expect(200);
    client.get("/conversations").send().await.problem(429, "rate-limited");
    let ana = client.bearer(minted["access_token"].as_str().unwrap());
    ana.get("/conversations").send().await.problem(429, "rate-limited");
}

#[tokio::test]
async fn concurrent_requests_take_no_more_than_the_bucket_holds() {
    const CLIENTS: usize = 64;
    let host = with_limits(
        "[limits.user]\nper_minute = 3000\nburst = 30\n[limits.address]\nper_minute = 1000000\nburst = 1000000",
    )
    .start()
    .await;
    let client = host.client().bearer(&token(&claims("ana")));
    let (passed, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    let started = Instant::now();
    let clients = (0..CLIENTS).map(|_| async {
        for _ in 0..10 {
            match client.get("/companions").send().await.status {
                200 => passed.fetch_add(1, Ordering::Relaxed),
                429 => refused.fetch_add(1, Ordering::Relaxed),
                other => panic!("{other}"),
            };
        }
    });
    futures::future::join_all(clients).await;
    let most = 30.0 + 50.0 * started.elapsed().as_secs_f64();
    let passed = passed.into_inner();
    assert!(passed >= 30 && f64::from(passed) <= most, "{passed} passed where {most:.0} may");
    assert_eq!(passed + refused.into_inner(), 640);
}

#[tokio::test]
async fn one_user_can_not_use_up_the_turns_of_others() {
    let model = MockModel::start().await;
    let setup = Setup::model(&model).environment("JWT_SECRET_KEY", SECRET);
    let host = setup.and("[limits.user]\nturns = 1").start().await;
    let ana = host.client().bearer(&token(&claims("ana")));
    let gates = [Gate::new(), Gate::new()];
    for gate in &gates {
        model.next(Answer::complete(vec![Step::Text("Well, ".into()), Step::Wait(gate.clone())]));
    }
    let first = ana.stream("One.").await;
    gates[0].reached().await;
    // The second turn waits for a slot and is refused; the third is refused at once, because the second waits.
    let body = json!({ "message": "Two." });
    let (second, third) = tokio::join!(ana.chat(&body).send(), ana.chat(&body).send());
    second.problem(503, "overloaded");
    third.problem(503, "overloaded");
    // Another user has slots of their own.
    let ben = host.client().bearer(&token(&claims("ben")));
    let other = ben.stream("And I?").await;
    gates[1].reached().await;
    for gate in &gates {
        gate.open();
    }
    first.transcript().await.completed();
    other.transcript().await.completed();
    ana.say("Now?").await;
}

/// A model reports its usage at the end of its reply, which this client does not wait for.
#[tokio::test]
async fn a_turn_that_is_interrupted_is_charged_too() {
    let model = MockModel::start().await;
    let setup = Setup::model(&model).with_authentication().and("[turn]\nlinger = \"50ms\"");
    let key = setup.create_key(&["--scope", "chat", "--tokens-per-day", "20"]).await;
    let host = setup.start().await;
    let client = host.client().bearer(&key);
    model.next(Answer::steps(vec![Step::Text("A long story. ".repeat(20)), Step::Stall]));
    let mut events = client.stream("Tell me.").await;
    let created = events.expect("turn.created").await;
    events.until_text("A long story.").await;
    drop(events);
    let turn = created.data["turn_id"].as_str().unwrap();
    masque_tests::eventually("the turn to be interrupted", || async {
        (client.turn(turn).await["status"] == "interrupted").then_some(())
    })
    .await;
    client.chat(&json!({ "message": "More." })).send().await.problem(429, "budget-spent");
}

#[tokio::test]
async fn a_turn_is_refused_when_the_tokens_of_the_day_are_used() {
    let model = MockModel::start().await;
    let setup = Setup::model(&model).with_authentication();
    let key = setup.create_key(&["--scope", "chat", "--tokens-per-day", "1"]).await;
    let other = setup.create_key(&["--scope", "chat", "--tokens-per-day", "1000000"]).await;
    let mut host = setup.start().await;
    let client = host.client().bearer(&key);
    let hello = json!({ "message": "Hello." });
    let reply = client.chat(&hello).key("one").send().await.expect(200);
    assert!(reply["usage"]["output_tokens"].as_u64().unwrap() >= 1, "{reply}");
    let conversation = reply["conversation_id"].as_str().unwrap();
    let body = json!({ "message": "More.", "conversation_id": conversation });
    client.chat(&body).send().await.problem(429, "budget-spent");
    // A completed turn can still be replayed, and the conversation can still be read.
    let again = client.chat(&hello).key("one").send().await.expect(200);
    assert_eq!(again["turn_id"], reply["turn_id"]);
    client.chat(&hello).key("two").send().await.problem(429, "budget-spent");
    assert_eq!(client.messages(conversation).await.len(), 2);
    host.client().bearer(&other).say("Hello.").await;
    host.restart().await;
    let client = host.client().bearer(&key);
    client.chat(&body).send().await.problem(429, "budget-spent");
    assert_eq!(client.messages(conversation).await.len(), 2);
}

/// None of these replies ends with a report of usage.
#[tokio::test]
async fn a_turn_that_fails_is_charged_for_what_the_model_did() {
    let thought = || Step::Thought("Hmm, let me think. ".repeat(10));
    let failing = [
        Answer::steps(vec![thought(), Step::Cut]),
        Answer::steps(vec![thought(), Step::Finish("stop"), Step::Done]),
        Answer::error(500, "server_error", "no"),
    ];
    let model = MockModel::start().await;
    let setup = Setup::model(&model).with_authentication();
    let mut keys = Vec::new();
    for _ in &failing {
        keys.push(setup.create_key(&["--scope", "chat", "--tokens-per-day", "20"]).await);
    }
    let host = setup.start().await;
    for (answer, key) in failing.into_iter().zip(&keys) {
        let client = host.client().bearer(key);
        model.next(answer);
        // However it ends.
        let _reply = client.chat(&json!({ "message": "Tell me. ".repeat(10) })).send().await;
        client.chat(&json!({ "message": "More." })).send().await.problem(429, "budget-spent");
    }
}
