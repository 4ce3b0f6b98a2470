//! A workload in which everything happens that a metric counts: twice, with a scrape between, so that rates are above zero.

use masque_tests::prometheus::Prometheus;
use masque_tests::{Answer, Gate, Host, LinkState, RawConnection, Step, eventually};
use serde_json::{Value, json};

use super::installation::{INSTANCES, Installation};
use crate::hot_reload::{build, plugin_file, replace_by_rename};

/// One plugin gets three quarters of the instances at most.
const HELD: usize = INSTANCES * 3 / 4;

/// The trace that the client of the workload has begun, and sampled.
pub(super) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Makes everything happen once. Rounds count from 0.
pub(super) async fn play(installation: &Installation, prometheus: &Prometheus, round: usize) {
    turns(installation).await;
    misbehaving_plugins(installation).await;
    refusals(installation, round).await;
    crowd(installation, prometheus).await;
    reloads(&installation.single, prometheus, round).await;
    if round == 0 {
        let expiry = "masque_certificate_expiry_timestamp_seconds";
        installation.replace_certificate();
        prometheus.until(&format!("changes({expiry}[5m]) > 0")).await;
    }
    lost_lease(installation).await;
    outages(installation, prometheus).await;
    prometheus.until("masque_jobs_oldest_seconds > 0").await;
    prometheus.scraped().await;
}

/// Turns that complete, fail before and after their head, and are cancelled by their client.
async fn turns(installation: &Installation) {
    let (ana, model) = (installation.user("ana"), &installation.model);
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let hello = json!({ "message": "Hello.", "companion": "elara" });
    ana.chat(&hello).header("traceparent", &traceparent).send().await.expect(200);
    let streamed = json!({ "message": "Tell me a story.", "stream": true, "companion": "elara" });
    let events = ana.chat(&streamed).header("traceparent", &traceparent).events().await;
    events.transcript().await.completed();
    // Its record is too long.
    let long = json!({ "message": "Once upon a time. ".repeat(500), "companion": "elara" });
    ana.chat(&long).send().await.expect(200);
    // The memory's job fails, and waits to be tried again. Jobs are counted every 15 s.
    let forgotten = json!({ "message": "Remember this.", "companion": "forgetful" });
    ana.chat(&forgotten).send().await.expect(200);

    model.next(Answer::error(500, "server_error", "The server had an error."));
    assert!(ana.chat(&hello).send().await.status >= 500);
    model.next(Answer::steps(vec![Step::Text("Half a".into()), Step::Cut]));
    let cut = json!({ "message": "After the head.", "stream": true, "companion": "elara" });
    let transcript = ana.chat(&cut).events().await.transcript().await;
    assert_eq!(transcript.last().name, "turn.failed");
    // A route that waits for no model.
    ana.get("/companions").send().await.expect(200);
    ana.get("/conversations").send().await.expect(200);
}

/// A trap, a limit, a missing grant, a full quota, a question to the model, and so many that the record of the turn is too
/// large.
async fn misbehaving_plugins(installation: &Installation) {
    let ana = installation.user("ana");
    for companion in ["trapping", "hoarding", "filling"] {
        let body = json!({ "message": "Hello.", "companion": companion });
        ana.chat(&body).send().await.problem(500, "plugin-failed");
    }
    let turns =
        [("denied", "state x"), ("asking", "ask How are you?"), ("asking", "ask-often Are you still there?")];
    for (companion, message) in turns {
        ana.chat(&json!({ "message": message, "companion": companion })).send().await.expect(200);
    }
}

/// Wrong credentials, a rate limit, a spent budget, and a client that speaks no TLS.
async fn refusals(installation: &Installation, round: usize) {
    let client = installation.single.client();
    client.bearer("guess").get("/conversations").send().await.problem(401, "invalid-token");
    let slow = client.bearer(&installation.slow_key);
    // Whether the first request passes depends on when the round before was.
    slow.get("/conversations").send().await;
    slow.get("/conversations").send().await.problem(429, "rate-limited");

    let poor = client.bearer(&installation.poor_keys[round]);
    // The persona's question spends the budget, and the reply is refused.
    let asking = json!({ "message": "ask How are you?", "companion": "asking" });
    assert_ne!(poor.chat(&asking).send().await.status, 200);
    poor.chat(&json!({ "message": "More.", "companion": "elara" })).send().await.problem(429, "budget-spent");

    let mut plain = RawConnection::open(installation.single.address()).await;
    plain.send("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    plain.read_to_end().await;
}

/// As many turns as there are instances, so that another one waits for an instance, and one for its conversation.
async fn crowd(installation: &Installation, prometheus: &Prometheus) {
    let model = &installation.model;
    let mut held = Vec::new();
    for number in 0..HELD {
        let gate = Gate::new();
        model.next(Answer::held("Well,", &gate, " so it is."));
        // Users of their own, so that neither their jobs nor their places matter. A memory and a persona run before each
        // model, so turns begin one after the other.
        let user = installation.user(&format!("user-{number}"));
        let body = json!({ "message": "Hello.", "stream": true, "companion": "elara" });
        let (events, created) = eventually("an instance that no background job uses", || async {
            let mut events = user.chat(&body).events().await;
            let created = events.expect("turn.created").await;
            (events.next().await?.data["text"] == "Well,").then_some((events, created))
        })
        .await;
        held.push((gate, events, created));
    }
    let conversation = held[0].2.data["conversation_id"].as_str().unwrap().to_owned();
    let first = installation.user("user-0");
    let waits_for_conversation = tokio::spawn(async move { first.say_in(&conversation, "And then?").await });
    let other = installation.user("ben");
    let waits_for_instance = tokio::spawn(async move {
        let body = json!({ "message": "Is there room?", "companion": "elara" });
        // It waits for a bounded time, and is refused then.
        let answered = async || Some(other.chat(&body).send().await).filter(|answer| answer.status == 200);
        eventually("room for another turn", answered).await.expect(200)
    });
    for waiting in ["masque_instances_waiting > 0", "masque_turns_waiting{for=\"conversation\"} > 0"] {
        prometheus.until(waiting).await;
    }
    prometheus.until(&format!("masque_turns_running >= {HELD}")).await;
    for (gate, mut events, _) in held {
        gate.open();
        assert_eq!(events.rest().await.last().unwrap().name, "turn.completed");
    }
    let answers: [Value; 2] = [waits_for_conversation.await.unwrap(), waits_for_instance.await.unwrap()];
    assert!(answers.iter().all(|answer| answer["reply"]["content"].is_string()), "{answers:?}");
    // Open connections and requests in progress fall again.
    prometheus.until("max(masque_turns_running) == 0").await;
}

/// A refused change, then two that take effect: another build of a plugin, and a new plugin.
async fn reloads(host: &Host, prometheus: &Prometheus, round: usize) {
    let number = u32::try_from(round).unwrap();
    let before = 1 + 2 * round;
    replace_by_rename(&plugin_file(host, "speaker"), b"not a component");
    prometheus.until("masque_last_reload_refused == 1").await;
    replace_by_rename(&plugin_file(host, "speaker"), &build(10 + number));
    prometheus.until(&format!("masque_active_generation == {}", before + 1)).await;
    replace_by_rename(&plugin_file(host, &format!("added-{round}")), &build(20 + number));
    prometheus.until(&format!("masque_active_generation == {}", before + 2)).await;
}

/// A turn whose lease ends while it runs.
async fn lost_lease(installation: &Installation) {
    let gate = Gate::new();
    installation.model.next(Answer::held("Well,", &gate, " so it is."));
    let body = json!({ "message": "Hello.", "stream": true, "companion": "elara" });
    let mut events = installation.shared.client().chat(&body).events().await;
    events.until_text("Well,").await;
    installation.end_leases();
    let rest = events.rest().await;
    let last = &rest.last().unwrap().data;
    assert!(last["problem"]["type"].as_str().is_some_and(|kind| kind.ends_with("lease-lost")), "{last}");
    gate.open();
}

/// Redis is away for a while, then the database.
async fn outages(installation: &Installation, prometheus: &Prometheus) {
    let client = installation.shared.client();
    client.chat(&json!({ "message": "Before.", "companion": "elara" })).send().await.expect(200);
    for (link, database) in [(&installation.redis_link, "redis"), (&installation.database_link, "postgresql")]
    {
        link.set(LinkState::Cut);
        let answer = client.chat(&json!({ "message": "Is it there?", "companion": "elara" })).send().await;
        assert_eq!(answer.status, if database == "redis" { 200 } else { 503 }, "{}", answer.text);
        prometheus.until(&format!("masque_database_up{{database={database:?}}} == 0")).await;
        prometheus
            .until(&format!("increase(masque_degraded_seconds_total{{database={database:?}}}[1m]) > 0"))
            .await;
        link.set(LinkState::Open);
        prometheus.until(&format!("min(masque_database_up{{database={database:?}}}) == 1")).await;
    }
    masque_tests::eventually("the host to answer again", || async {
        let answer =
            client.chat(&json!({ "message": "After.", "companion": "elara" })).try_send().await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}
