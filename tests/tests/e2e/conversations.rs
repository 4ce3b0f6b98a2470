//! The routes of conversations: create, continue, list, rename, read, delete.

use masque_tests::{Answer, MockModel, Setup};
use serde_json::json;

#[tokio::test]
async fn a_turn_answers_with_the_whole_reply_object() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    model.next(Answer::pieces(&["Good ", "evening."]));

    let reply = host.client().say("Hello.").await;

    assert_eq!(reply["companion"], "elara");
    assert_eq!(reply["reply"], json!({ "role": "assistant", "content": "Good evening." }));
    assert_eq!(reply["finish"], "stop");
    assert_eq!(reply["usage"], json!({ "input_tokens": 21, "output_tokens": 7, "cached_tokens": 3 }));
    for id in ["turn_id", "conversation_id"] {
        let id: uuid::Uuid = reply[id].as_str().unwrap().parse().unwrap();
        assert_eq!(id.get_version_num(), 7);
    }
    let timing = &reply["timing"];
    for name in ["first_content_ms", "total_ms", "host_ms"] {
        assert!(timing[name].as_f64().is_some_and(|ms| ms >= 0.0), "{name} in {timing}");
    }
    let plugins = timing["plugins"].as_array().unwrap();
    let names: Vec<_> = plugins.iter().map(|plugin| plugin["name"].as_str().unwrap()).collect();
    for (kind, name) in [("persona", "elara"), ("memory", "window"), ("model", "mock")] {
        let position =
            names.iter().position(|&found| found == name).unwrap_or_else(|| panic!("{name} in {timing}"));
        assert_eq!(plugins[position]["kind"], kind);
        assert!(plugins[position]["digest"].as_str().unwrap().starts_with("sha256:"));
        assert!(plugins[position]["version"].is_string() && plugins[position]["ms"].is_number());
    }
}

#[tokio::test]
async fn the_model_sees_the_persona_and_the_earlier_messages() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    model.next(Answer::says("Blue, like the sea."));

    let first = client.say("What is your favourite colour?").await;
    client.say_in(first["conversation_id"].as_str().unwrap(), "And why?").await;

    let messages = model.request(1).await.messages();
    let (role, system) = &messages[0];
    assert_eq!(role, "system");
    assert!(system.contains("Elara"), "{system}");
    let said: Vec<_> = messages.iter().map(|(role, text)| (role.as_str(), text.as_str())).collect();
    let position = |wanted: (&str, &str)| {
        said.iter().position(|&found| found == wanted).unwrap_or_else(|| panic!("{wanted:?} in {said:?}"))
    };
    let question = position(("user", "What is your favourite colour?"));
    let answer = position(("assistant", "Blue, like the sea."));
    let why = position(("user", "And why?"));
    assert!(question < answer && answer < why);
}

#[tokio::test]
async fn the_longest_message_does_not_hide_the_messages_before_it() {
    let model = MockModel::start().await;
    let host = with_budget(&model, 60_000).start().await;
    let client = host.client();
    model.next(Answer::says("Nice to meet you."));
    model.next(Answer::says("Quite a story."));

    let long = longest_message();
    let first = client.say("I am Zephyrine.").await;
    let conversation = first["conversation_id"].as_str().unwrap();
    client.say_in(conversation, &long).await;
    client.say_in(conversation, "What is my name?").await;

    let messages = model.request(2).await.messages();
    let past: Vec<_> = messages
        .iter()
        .map(|(role, text)| (role.as_str(), text.as_str()))
        .skip_while(|&(role, _)| role == "system")
        .take_while(|&(role, _)| role != "system")
        .collect();
    let wanted = [
        ("user", "I am Zephyrine."),
        ("assistant", "Nice to meet you."),
        ("user", long.as_str()),
        ("assistant", "Quite a story."),
        ("user", "What is my name?"),
    ];
    assert_eq!(past, wanted);
}

#[tokio::test]
async fn a_reply_is_not_recalled_without_the_message_it_answers() {
    let model = MockModel::start().await;
    let host = with_budget(&model, 500).start().await;
    let client = host.client();
    model.next(Answer::says("Quite a story."));

    let first = client.say(&longest_message()).await;
    client.say_in(first["conversation_id"].as_str().unwrap(), "Did you like it?").await;

    let messages = model.request(1).await.messages();
    assert!(!messages.iter().any(|(role, _)| role == "assistant"), "{messages:?}");
}

/// A message that fills the whole tail of a turn.
fn longest_message() -> String {
    "once upon a time ".repeat(4_000)[..64 << 10].trim_end().to_owned()
}

fn with_budget(model: &MockModel, tokens: u32) -> Setup {
    Setup::file(&format!(
        "[companions.elara]\npersona = \"elara\"\nmodels = [\"mock\"]\nmemory_budget = {tokens}\n"
    ))
    .and(&model.plugin("mock", ""))
}

#[tokio::test]
async fn a_conversation_does_not_see_the_messages_of_another() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;

    host.client().say("The secret word is marzipan.").await;
    host.client().say("What is the secret word?").await;

    let messages = model.request(1).await.messages();
    assert!(!messages.iter().any(|(_, text)| text.contains("marzipan")), "{messages:?}");
}

#[tokio::test]
async fn a_conversation_can_begin_with_one_of_the_companions_greetings() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();

    let mut greetings = Vec::new();
    for index in [0, 1] {
        let body = json!({ "companion": "elara", "greeting": index });
        let conversation = client.post("/conversations", &body).send().await.expect(201);
        assert_eq!(conversation["companion"], "elara");
        let messages = client.messages(conversation["id"].as_str().unwrap()).await;
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert_eq!(messages[0]["role"], "assistant");
        greetings.push((conversation["id"].as_str().unwrap().to_owned(), messages[0]["content"].clone()));
    }
    assert_ne!(greetings[0].1, greetings[1].1);

    let (conversation, greeting) = &greetings[1];
    client.say_in(conversation, "Good morning.").await;
    let messages = model.request(0).await.messages();
    assert!(
        messages.contains(&("assistant".to_owned(), greeting.as_str().unwrap().to_owned())),
        "{messages:?}"
    );
}

#[tokio::test]
async fn a_conversation_begins_without_a_name_where_there_is_one_companion() {
    let host = Setup::defaults().start().await;
    let conversation = host.client().post("/conversations", &json!({})).send().await.expect(201);
    assert_eq!(conversation["companion"], "elara");

    let toml = "[companions.one]\npersona = \"elara\"\nmodels = [\"offline\"]\n\
                [companions.two]\npersona = \"elara\"\nmodels = [\"offline\"]\n";
    let host = Setup::file(toml).start().await;
    let answer = host.client().post("/conversations", &json!({})).send().await;
    let problem = answer.problem(422, "companion-not-named");
    for name in ["`one`", "`two`"] {
        assert!(problem["detail"].as_str().unwrap().contains(name), "{problem}");
    }
}

#[tokio::test]
async fn a_greeting_that_the_companion_does_not_have_is_refused() {
    let host = Setup::defaults().start().await;
    let body = json!({ "companion": "elara", "greeting": 4096 });
    host.client().post("/conversations", &body).send().await.problem(422, "invalid-request");
}

#[tokio::test]
async fn conversations_are_listed_newest_first_and_in_pages() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    let mut ids = Vec::new();
    for number in 0..5 {
        let reply = client.say(&format!("This is number {number}.")).await;
        ids.insert(0, reply["conversation_id"].as_str().unwrap().to_owned());
    }

    let mut listed = Vec::new();
    let mut path = "/conversations?limit=2".to_owned();
    loop {
        let page = client.get(&path).send().await.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        listed.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => path = format!("/conversations?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(listed, ids);
}

#[tokio::test]
async fn messages_come_oldest_first_and_in_pages_without_gaps() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    let reply = client.say("One.").await;
    let conversation = reply["conversation_id"].as_str().unwrap();
    client.say_in(conversation, "Two.").await;
    client.say_in(conversation, "Three.").await;

    let mut read = Vec::new();
    let mut path = format!("/conversations/{conversation}/messages?limit=2");
    loop {
        let page = client.get(&path).send().await.expect(200);
        read.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => path = format!("/conversations/{conversation}/messages?limit=2&after={next}"),
            None => break,
        }
    }

    assert_eq!(read, client.messages(conversation).await);
    let of_user: Vec<_> = read.iter().filter(|message| message["role"] == "user").collect();
    let contents: Vec<_> = of_user.iter().map(|message| message["content"].as_str().unwrap()).collect();
    assert_eq!(contents, ["One.", "Two.", "Three."]);
    for pair in read.windows(2) {
        assert_eq!(pair[1]["sequence"].as_i64().unwrap(), pair[0]["sequence"].as_i64().unwrap() + 1);
        assert_eq!(pair[1]["parent_id"], pair[0]["id"]);
    }
    let message = &read[1];
    assert_eq!(message["turn_id"], reply["turn_id"]);
    assert_eq!(message["status"], "complete");
    assert!(message["created_at"].is_string() || message["created_at"].is_number());
    assert!(message["metadata"].is_object());
}

#[tokio::test]
async fn a_conversation_is_titled_after_its_first_message_until_it_is_renamed() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    let reply = client.say("Which birds sing at night?").await;
    let path = format!("/conversations/{}", reply["conversation_id"].as_str().unwrap());

    let conversation = client.get(&path).send().await.expect(200);
    assert!(
        "Which birds sing at night?"
            .starts_with(conversation["title"].as_str().unwrap().trim_end_matches('…'))
    );

    let renamed = client.patch(&path, &json!({ "title": "Nightingales" })).send().await.expect(200);
    assert_eq!(renamed["title"], "Nightingales");
    assert_eq!(client.get(&path).send().await.expect(200)["title"], "Nightingales");
}

#[tokio::test]
async fn a_deleted_conversation_is_gone_with_its_turns_and_messages() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    let reply = client.say("Forget this.").await;
    let conversation = reply["conversation_id"].as_str().unwrap();
    let turn = reply["turn_id"].as_str().unwrap();
    let path = format!("/conversations/{conversation}");

    assert_eq!(client.delete(&path).send().await.status, 204);

    client.get(&path).send().await.problem(404, "conversation-not-found");
    client.get(&format!("{path}/messages")).send().await.problem(404, "conversation-not-found");
    client.get(&format!("/turns/{turn}")).send().await.problem(404, "turn-not-found");
    client.delete(&path).send().await.problem(404, "conversation-not-found");
    let body = json!({ "message": "Are you there?", "conversation_id": conversation });
    client.chat(&body).send().await.problem(404, "conversation-not-found");
    let page = client.get("/conversations").send().await.expect(200);
    assert_eq!(page["items"], json!([]));
}

#[tokio::test]
async fn the_companions_are_listed_with_their_plugins() {
    let model = MockModel::start().await;
    let setup = Setup::file(
        "[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"mock\", \"offline\"]\n",
    )
    .and(&model.plugin("mock", ""));
    let host = setup.start().await;

    let answer = host.client().get("/companions").send().await.expect(200);
    let companions = answer["items"].as_array().unwrap();
    let elara = companions.iter().find(|companion| companion["name"] == "elara").unwrap();
    assert_eq!(elara["models"], json!(["mock", "offline"]));
}

#[tokio::test]
async fn a_client_chooses_among_the_companions_models_and_no_others() {
    let model = MockModel::start().await;
    let setup = Setup::file(
        "[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"offline\", \"mock\"]\n",
    )
    .and(&model.plugin("mock", ""));
    let host = setup.start().await;
    let client = host.client();

    let chosen = client.chat(&json!({ "message": "Hello.", "model": "mock" })).send().await.expect(200);
    assert_eq!(chosen["reply"]["content"], "You said: Hello.");
    client.chat(&json!({ "message": "Hello." })).send().await.expect(200);
    assert_eq!(model.seen().len(), 1, "the first of the list serves if none is chosen");
    client
        .chat(&json!({ "message": "Hello.", "model": "gpt-9" }))
        .send()
        .await
        .problem(422, "model-not-offered");
}
