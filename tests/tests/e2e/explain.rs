//! Explanations of turns, over the API, the socket and the command line: what the user of a turn sees, what `content:read`
//! shows and records, and that what is deleted is not shown.

use masque_store_postgres::testing::TestServer;
use masque_tests::{Client, CommandOutput, Host, Setup, claims, eventually, token};
use serde_json::{Value, json};

/// Words of the persona's card, which are in each prompt.
const SCENARIO: &str = "marzipan-lighthouse";
const SECRET_WORD: &str = "nougat-4711";

const COMPANIONS: &str = "[companions.ida]\npersona = \"ida\"\nmemory = \"window\"\nmodels = [\"offline\"]\n\
    [companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"offline\"]\n\
    [plugins.ida]\nsource = \"builtin:card\"\nsettings = { card = { file = \"ida.json\" } }\n";

/// A host with authentication whose companion `ida` has a card with [`SCENARIO`].
fn setup(content: &str) -> Setup {
    let data = json!({ "name": "Ida", "first_mes": "Evening.", "scenario": format!("At the {SCENARIO}.") });
    let card = json!({ "spec": "chara_card_v2", "spec_version": "2.0", "data": data });
    Setup::file(COMPANIONS)
        .and(&format!("[records]\ncontent = \"{content}\""))
        .beside("ida.json", card.to_string().as_bytes())
        .with_authentication()
}

fn ana(host: &Host) -> Client {
    host.client().bearer(&token(&claims("ana-of-this-test")))
}

fn path(turn: &str) -> String {
    format!("/turns/{turn}/explain")
}

/// Says the secret to Ida; returns the ids of the conversation and of the turn, once the turn is recorded.
async fn recorded(client: &Client) -> (String, String) {
    let body = json!({ "message": format!("My secret is {SECRET_WORD}."), "companion": "ida" });
    let reply = client.chat(&body).send().await.expect(200);
    let [conversation, turn] =
        ["conversation_id", "turn_id"].map(|name| reply[name].as_str().unwrap().to_owned());
    explained(client, &turn).await;
    (conversation, turn)
}

/// The explanation of a turn, as soon as it is recorded.
async fn explained(client: &Client, turn: &str) -> Value {
    eventually("the record of the turn", || async {
        let answer = client.get(&path(turn)).send().await;
        if answer.status == 404 {
            answer.problem(404, "explanation-not-found");
            return None;
        }
        Some(answer.expect(200))
    })
    .await
}

async fn run(host: &Host, words: &[&str]) -> CommandOutput {
    let data = host.data().to_str().unwrap().to_owned();
    host.run(&[words, &["--data", &data]].concat()).await
}

/// The entries of the audit log about explanations, the newest first.
async fn entries(auditor: &Client) -> Vec<Value> {
    let log = auditor.get("/admin/audit").send().await.expect(200);
    let items = log["items"].as_array().unwrap().iter();
    items.filter(|entry| entry["action"] == "turn.explained").cloned().collect()
}

#[tokio::test]
async fn the_user_of_a_turn_sees_what_was_recalled_where_the_tokens_went_and_what_each_step_cost() {
    let host = setup("full").start().await;
    let ana = ana(&host);
    let (conversation, first) = recorded(&ana).await;
    let body = json!({ "message": "What is it?", "conversation_id": conversation });
    let reply = ana.chat(&body).send().await.expect(200);
    let turn = reply["turn_id"].as_str().unwrap();
    let seen = explained(&ana, turn).await;
    assert_ne!(turn, first);
    assert_eq!((&seen["turn_id"], &seen["companion"]), (&json!(turn), &json!("ida")));
    assert_eq!((&seen["outcome"], &seen["recorded"]), (&json!("completed"), &json!("full")));
    assert_eq!((&seen["shows_content"], &seen["message"]["text"]), (&json!(false), &json!("What is it?")));
    assert_eq!(seen["reply"]["text"], reply["reply"]["content"]);
    assert_eq!(seen["usage"]["output_tokens"], reply["usage"]["output_tokens"]);
    let recalled = seen["recalled"]["messages"].to_string();
    let composed = seen["prompt"]["messages"].to_string();
    assert!(recalled.contains(SECRET_WORD) || composed.contains(SECRET_WORD), "{seen}");
    let sources: Vec<_> =
        seen["prompt"]["sources"].as_array().unwrap().iter().map(|part| part["source"].clone()).collect();
    for source in ["card.scenario", "conversation"] {
        assert!(sources.contains(&json!(source)), "{seen}");
    }
    let steps = seen["steps"].as_array().unwrap();
    let names =
        steps.iter().map(|step| (step["function"].as_str().unwrap(), step["plugin"].as_str().unwrap()));
    let names: Vec<_> = names.collect();
    assert_eq!(names, [("recall", "window"), ("compose", "ida"), ("generate", "offline")]);
    for step in steps {
        assert_eq!(step["outcome"], "ok", "{step}");
        assert!(step["digest"].as_str().unwrap().starts_with("sha256:"), "{step}");
        for cost in ["wall_ms", "cpu_ms", "peak_memory_bytes"] {
            assert!(step[cost].as_f64().unwrap() > 0.0, "{cost} of {step}");
        }
        for hidden in ["limits", "settings_digest", "grants"] {
            assert_eq!(step[hidden], Value::Null, "{step}");
        }
    }
    assert!(!seen.to_string().contains(SCENARIO), "{seen}");
}

#[tokio::test]
async fn the_scope_shows_prompts_of_any_user_and_each_use_is_in_the_audit_log() {
    let setup = setup("full");
    let reader = setup.create_key(&["--scope", "content:read"]).await;
    let auditor = setup.create_key(&["--scope", "admin:read"]).await;
    let writer = setup.create_key(&["--scope", "admin:write"]).await;
    let limited = setup.create_key(&["--scope", "content:read", "--companion", "elara"]).await;
    let host = setup.start().await;
    let client = host.client();
    let auditor = client.bearer(&auditor);
    let (_, turn) = recorded(&ana(&host)).await;
    let path = path(&turn);
    let ben = client.bearer(&token(&claims("ben")));
    ben.get(&path).send().await.problem(404, "turn-not-found");
    for refused in [&auditor, &client.bearer(&writer)] {
        refused.get(&path).send().await.problem(403, "insufficient-scope");
    }
    client.bearer(&limited).get(&path).send().await.problem(404, "turn-not-found");
    assert_eq!(entries(&auditor).await, Vec::<Value>::new(), "nobody was shown the content of the turn");

    let answer = client.bearer(&reader).get(&path).send().await;
    let seen = answer.expect(200);
    assert_eq!((&seen["shows_content"], answer.header("cache-control")), (&json!(true), Some("no-store")));
    assert!(seen["prompt"].to_string().contains(SCENARIO), "{seen}");
    assert_eq!(seen["message"]["text"], format!("My secret is {SECRET_WORD}."));
    for step in seen["steps"].as_array().unwrap() {
        assert!(step["settings_digest"].is_string() && step["grants"].is_array(), "{step}");
        assert!(step["limits"]["cpu_us"].as_u64().unwrap() > 0, "{step}");
    }
    let logged = entries(&auditor).await;
    assert_eq!(logged.len(), 1, "{logged:?}");
    let id = reader.split('_').nth(1).unwrap();
    assert_eq!(
        (&logged[0]["actor"], &logged[0]["detail"]),
        (&json!(format!("key:{id}")), &json!({ "turn": turn }))
    );
    let text = json!(logged).to_string();
    assert!(text.contains("\"user:") && !text.contains("ana-of-this-test"), "{text}");

    // The scope gives nothing else of a turn.
    for other in [format!("/turns/{turn}"), format!("/turns/{turn}/events")] {
        client.bearer(&reader).get(&other).send().await.problem(403, "insufficient-scope");
    }
    let unknown = "/turns/018f0000-0000-7000-8000-000000000000/explain";
    client.bearer(&reader).get(unknown).send().await.problem(404, "turn-not-found");
    assert_eq!(entries(&auditor).await.len(), 1);
}

#[tokio::test]
async fn digests_are_explained_without_the_texts_of_prompts() {
    let setup = setup("digests");
    let reader = setup.create_key(&["--scope", "content:read"]).await;
    let host = setup.start().await;
    let ana = ana(&host);
    let (_, turn) = recorded(&ana).await;
    for client in [&ana, &host.client().bearer(&reader)] {
        let seen = client.get(&path(&turn)).send().await.expect(200);
        assert_eq!((&seen["recorded"], &seen["outcome"]), (&json!("digests"), &json!("completed")));
        assert_eq!(seen["message"]["text"], format!("My secret is {SECRET_WORD}."));
        assert!(seen["prompt"]["tokens"].as_u64().unwrap() > 0, "{seen}");
        assert!(!seen.to_string().contains(SCENARIO), "{seen}");
    }
    let files = std::fs::read_dir(host.data()).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with("records.db")) {
        let bytes = std::fs::read(&file).unwrap();
        for text in [SCENARIO, SECRET_WORD] {
            let is_in = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!is_in, "{text} is in {}", file.display());
        }
    }
}

#[tokio::test]
async fn a_turn_without_a_record_is_unexplained_and_its_user_is_told_why() {
    let setup = setup("off");
    let reader = setup.create_key(&["--scope", "content:read"]).await;
    let host = setup.start().await;
    let ana = ana(&host);
    let reply = ana.chat(&json!({ "message": "Hello.", "companion": "ida" })).send().await.expect(200);
    let path = path(reply["turn_id"].as_str().unwrap());
    let problem = ana.get(&path).send().await.problem(404, "explanation-not-found");
    assert_eq!(problem["detail"], "This host records no turns.");
    host.client().bearer(&token(&claims("ben"))).get(&path).send().await.problem(404, "turn-not-found");
    host.client().bearer(&reader).get(&path).send().await.problem(404, "turn-not-found");
}

#[tokio::test]
async fn nothing_of_a_deleted_conversation_is_explained() {
    let setup = setup("full");
    let reader = setup.create_key(&["--scope", "content:read"]).await;
    let host = setup.start().await;
    let ana = ana(&host);
    let (conversation, turn) = recorded(&ana).await;
    ana.delete(&format!("/conversations/{conversation}")).send().await.expect(204);
    for client in [&ana, &host.client().bearer(&reader)] {
        client.get(&path(&turn)).send().await.problem(404, "turn-not-found");
    }
    let refused = run(&host, &["explain", &turn]).await;
    assert!(!refused.status.success() && refused.text.contains("there is no record"), "{}", refused.text);
    assert!(!refused.text.contains(SECRET_WORD), "{}", refused.text);
}

#[tokio::test]
async fn the_command_line_explains_a_turn_beside_a_running_host() {
    let setup = setup("full");
    let reader = setup.create_key(&["--scope", "content:read"]).await;
    let auditor = setup.create_key(&["--scope", "admin:read"]).await;
    let host = setup.start().await;
    let (_, turn) = recorded(&ana(&host)).await;
    let shown = run(&host, &["explain", &turn]).await;
    assert!(shown.status.success(), "{}", shown.text);
    let recall = "recall window";
    for part in
        [&*format!("Turn {turn}: completed"), SECRET_WORD, SCENARIO, "card.scenario", recall, "of CPU time"]
    {
        assert!(shown.text.contains(part), "{part} is not in {}", shown.text);
    }
    assert!(!shown.text.contains('\x1b'), "no terminal reads it: {:?}", shown.text);

    let printed = run(&host, &["explain", &turn, "--json"]).await;
    assert!(printed.status.success(), "{}", printed.text);
    // Warnings on standard error may follow.
    let mut values = serde_json::Deserializer::from_str(&printed.text).into_iter::<Value>();
    let over_http = host.client().bearer(&reader).get(&path(&turn)).send().await.expect(200);
    assert_eq!(values.next().unwrap().unwrap(), over_http);

    let actors: Vec<_> =
        entries(&host.client().bearer(&auditor)).await.iter().map(|entry| entry["actor"].clone()).collect();
    let id = reader.split('_').nth(1).unwrap();
    assert_eq!(actors, [json!(format!("key:{id}")), json!("cli"), json!("cli")]);
    for (wrong, words) in
        [("nonsense", "no id of a turn"), ("018f0000-0000-7000-8000-000000000000", "there is no record")]
    {
        let refused = run(&host, &["explain", wrong]).await;
        assert!(!refused.status.success() && refused.text.contains(words), "{}", refused.text);
    }
}

#[tokio::test]
async fn the_socket_explains_turns_of_any_user_with_an_audit_entry() {
    let host = setup("full").start().await;
    let (_, turn) = recorded(&ana(&host)).await;
    let seen = host.socket().get(&path(&turn)).send().await.expect(200);
    assert!(seen["prompt"].to_string().contains(SCENARIO), "{seen}");
    let logged = entries(&host.socket()).await;
    assert_eq!((logged.len(), &logged[0]["actor"]), (1, &json!("machine")), "{logged:?}");
}

#[tokio::test]
async fn without_authentication_the_local_user_sees_own_texts_and_the_command_line_shows_prompts() {
    let host = Setup::defaults().start().await;
    let reply = host.client().say(&format!("My secret is {SECRET_WORD}.")).await;
    let turn = reply["turn_id"].as_str().unwrap();
    let seen = explained(&host.client(), turn).await;
    assert_eq!((&seen["recorded"], &seen["shows_content"]), (&json!("full"), &json!(false)));
    assert_eq!(seen["message"]["text"], format!("My secret is {SECRET_WORD}."));
    let printed = run(&host, &["explain", turn, "--json"]).await;
    let mut values = serde_json::Deserializer::from_str(&printed.text).into_iter::<Value>();
    let all = values.next().unwrap().unwrap();
    let parts = all["prompt"]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|message| message["parts"].as_array().unwrap());
    assert!(parts.filter(|part| part["text"].is_string()).count() > 0, "{all}");
}

#[tokio::test]
async fn with_a_shared_database_any_host_explains_any_turn_and_nothing_is_shown_that_can_not_be_audited() {
    let server = TestServer::shared();
    let database = server.migrated_database().await;
    let on = || setup("full").and("[active_set]\nrevision = 1").environment("DATABASE_URL", &database.url);
    let setup = on();
    let reader = setup.create_key(&["--scope", "content:read"]).await;
    let (first, second) = (setup.start().await, on().start().await);
    let (_, turn) = recorded(&ana(&first)).await;
    let own = ana(&second).get(&path(&turn)).send().await.expect(200);
    assert_eq!(own["message"]["text"], format!("My secret is {SECRET_WORD}."));
    let reader = second.client().bearer(&reader);
    assert!(reader.get(&path(&turn)).send().await.expect(200).to_string().contains(SCENARIO));
    let shown = run(&second, &["explain", &turn]).await;
    assert!(shown.status.success() && shown.text.contains(SCENARIO), "{}", shown.text);

    server.psql(&database.name, "ALTER TABLE audit RENAME TO audit_away");
    let refused = reader.get(&path(&turn)).send().await;
    refused.problem(503, "storage-unavailable");
    let shown = run(&second, &["explain", &turn]).await;
    assert!(!shown.status.success() && shown.text.contains("audit log"), "{}", shown.text);
    for text in [&refused.text, &shown.text] {
        assert!(!text.contains(SCENARIO) && !text.contains(SECRET_WORD), "{text}");
    }
    // What is one's own is shown without an entry.
    ana(&second).get(&path(&turn)).send().await.expect(200);

    server.psql(&database.name, "ALTER TABLE audit_away RENAME TO audit");
    reader.get(&path(&turn)).send().await.expect(200);
    let kept = server.psql(&database.name, "SELECT count(*) FROM audit WHERE action = 'turn.explained'");
    assert_eq!(kept, "3", "each time that content was shown");
}
