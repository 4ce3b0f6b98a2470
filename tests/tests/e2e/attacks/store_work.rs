//! Clients and plugins that pile up what the store has to pass over: failed turns, jobs, long conversations. All of them share
//! the store's one writer, and anyone may ask for the host's health. How much work an operation takes is counted in the crate
//! of the store (`bounded_work`); here is what others notice of it.

use std::collections::BTreeSet;

use futures::future::join_all;
use masque_tests::{Answer, Client, Host, MockModel, Setup, eventually, fixture, full};
use serde_json::json;

/// Asserts that the host is in service, and that what it says to anyone does not depend on what is stored.
async fn assert_in_service(host: &Host) {
    let client = host.client();
    for health in join_all((0..100).map(|_| client.get("/health").send())).await {
        let health = health.expect(200);
        assert_eq!(health["checks"]["store"], "ok", "{health}");
        let members: BTreeSet<&str> = health.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, BTreeSet::from(["checks", "status"]));
    }
    client.get("/readyz").send().await.expect(200);
}

#[tokio::test]
async fn failed_turns_stand_in_the_way_of_no_later_one() {
    let failures = if full() { 2000 } else { 100 };
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    let first = client.say("Remember me.").await;
    let conversation = first["conversation_id"].as_str().unwrap();
    for number in 0..failures {
        model.next(Answer::error(500, "server_error", "The server had an error."));
        let body = json!({ "message": format!("Lost {number}."), "conversation_id": conversation });
        client.chat(&body).send().await.problem(502, "model-unavailable");
    }
    let asked = model.seen().len();

    assert_in_service(&host).await;
    client.say("Hello.").await;
    client.say_in(conversation, "Do you remember?").await;

    let messages = model.request(asked + 1).await.messages();
    let said: Vec<&str> =
        messages.iter().filter(|(role, _)| role == "user").map(|(_, text)| text.as_str()).collect();
    // The first exchange is still the newest one, however many failed messages are between it and the question.
    assert!(said.ends_with(&["Remember me.", "Do you remember?"]), "{said:?}");
}

#[tokio::test]
async fn a_job_that_writes_too_much_is_refused_and_holds_up_one_queue() {
    const EXCHANGES: u64 = 20;
    let memory = fixture("counts-exchanges");
    let host = Setup::file("[companions.elara]\npersona = \"elara\"\nmodels = [\"offline\"]\n")
        .and("[companions.scribbler]\npersona = \"elara\"\nmemory = \"scribbler\"\nmodels = [\"offline\"]\n")
        .and(&format!(
            "[plugins.scribbler]\nsource = {memory:?}\nsettings.writes = 500\ngrants.state = true\n"
        ))
        .start()
        .await;
    let client = host.client();
    let body = json!({ "message": "Write this down.", "companion": "scribbler" });
    for _ in 0..EXCHANGES {
        client.chat(&body).send().await.expect(200);
    }
    host.logged_in_one_line(&["a job failed", "scribbler", "observe", "a job writes 128 values"]).await;

    assert_in_service(&host).await;
    client
        .chat(&json!({ "message": "Hello.", "companion": super::HEALTHY_COMPANION }))
        .send()
        .await
        .expect(200);
    eventually("no job to be lost or done", || async {
        let status = client.get("/status").send().await.expect(200);
        let count = |name: &str| status["jobs"][name].as_u64().unwrap();
        (count("queued") + count("running") == EXCHANGES).then_some(())
    })
    .await;
    // The jobs behind the one that failed wait for it and are not tried.
    let log = host.log();
    let failed = log.lines().filter(|line| line.contains("a job failed"));
    let jobs: BTreeSet<&str> =
        failed.filter_map(|line| line.split_once("job=")?.1.split(' ').next()).collect();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
}

/// Makes a conversation of so many exchanges with long messages, and returns its id.
async fn long_conversation(client: &Client, exchanges: usize) -> String {
    let text = "x".repeat(60 << 10);
    let first = client.say(&text).await;
    let conversation = first["conversation_id"].as_str().unwrap();
    for _ in 1..exchanges {
        client.say_in(conversation, &text).await;
    }
    conversation.to_owned()
}

#[tokio::test]
async fn the_deletion_of_a_long_conversation_holds_up_nobody() {
    let mut host = Setup::defaults().start().await;
    let client = host.client();
    let conversation = long_conversation(&client, if full() { 1000 } else { 40 }).await;
    let path = format!("/conversations/{conversation}");

    client.delete(&path).send().await.expect(204);

    // It is gone at once. Its messages are removed a megabyte at a time, between the turns of others.
    client.get(&path).send().await.problem(404, "conversation-not-found");
    client.delete(&path).send().await.problem(404, "conversation-not-found");
    assert_in_service(&host).await;
    let kept = client.say("Hello.").await;
    host.restart().await;
    let client = host.client();
    client.get(&path).send().await.problem(404, "conversation-not-found");
    let items = client.get("/conversations").send().await.expect(200)["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 1, "{items}");
    client.say_in(kept["conversation_id"].as_str().unwrap(), "Still there?").await;
}
