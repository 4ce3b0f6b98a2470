//! Turns through the plugins, and what is stored of them.

use super::*;

#[tokio::test]
async fn a_reply_streams_as_it_is_written_and_is_on_disk_before_it_is_complete() {
    let mut host = TestHost::new().await;
    let sent = host.send(says("Hello there."));
    let answer = host.upstream.next().await.stream();
    answer.say("Good ").await;
    let mut reader = sent.await.unwrap().unwrap();
    let mut events = reader.next().await.unwrap();
    while text(&events) != "Good " {
        events.extend(reader.next().await.unwrap());
    }
    let (turn, conversation) = created(&events);
    assert_eq!(host.record(turn).await.status, TurnStatus::Running);
    answer.say("evening.").await;
    answer.finish("stop").await;
    events.extend(all(reader).await);

    let response = completed(&events);
    assert_eq!(response["reply"]["content"], "Good evening.");
    assert_eq!(response["finish"], "stop");
    assert_eq!(response["companion"], "elara");
    assert_eq!(
        response["usage"],
        serde_json::json!({ "input_tokens": 12, "output_tokens": 3, "cached_tokens": 0 })
    );
    let kinds: Vec<_> =
        response["timing"]["plugins"].as_array().unwrap().iter().map(|share| &share["kind"]).collect();
    assert_eq!(kinds, ["memory", "persona", "model"]);
    let record = host.record(turn).await;
    assert_eq!(record.status, TurnStatus::Completed);
    assert_eq!(record.response.as_ref(), Some(response));
    let messages = host.messages(conversation).await;
    let contents: Vec<_> = messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(contents, ["Hello there.", "Good evening."]);
}

#[tokio::test]
async fn the_next_turn_knows_what_was_said_before() {
    let mut host = TestHost::new().await;
    let (_, conversation) = created(&host.exchange(says("My cat is called Ada."), "A fine name.").await);
    let sent = host.send(says_in(conversation, "What is my cat called?"));
    let asked = host.upstream.next().await;
    let prompt = asked.prompt().join("\n");
    assert!(prompt.contains("My cat is called Ada.") && prompt.contains("A fine name."), "{prompt}");
    assert_eq!(prompt.matches("What is my cat called?").count(), 1, "{prompt}");
    asked.reply("Ada.").await;
    completed(&all(sent.await.unwrap().unwrap()).await);
}

#[tokio::test]
async fn a_failure_before_the_first_content_is_the_answer_and_the_message_is_not_remembered() {
    let mut host = TestHost::new().await;
    let (_, conversation) = created(&host.exchange(says("Hello."), "Hello.").await);
    let table = [
        (401, None, Kind::ModelUnauthorized),
        (429, Some("7"), Kind::ModelRateLimited),
        (400, None, Kind::ModelInvalid),
        (500, None, Kind::ModelUnavailable),
    ];
    for (status, wait, kind) in table {
        let sent = host.send(says_in(conversation, "Lost words."));
        host.upstream.next().await.refuse(status, wait);
        let problem = sent.await.unwrap().unwrap_err();
        assert_eq!(problem.kind, kind, "{status}");
        assert!(!problem.to_value(None).to_string().contains("own words"), "{problem:?}");
        if wait.is_some() {
            assert_eq!(problem.retry_after, Some(std::time::Duration::from_secs(7)));
        }
    }
    let sent = host.send(says_in(conversation, "Again."));
    let asked = host.upstream.next().await;
    assert!(!asked.prompt().join("\n").contains("Lost words."));
    asked.reply("Yes.").await;
    completed(&all(sent.await.unwrap().unwrap()).await);
}

#[tokio::test]
async fn the_next_model_takes_over_before_the_first_content_and_not_after() {
    let mut host = TestHost::with_models("[\"openai\", \"offline\"]").await;
    let sent = host.send(says("Hello."));
    host.upstream.next().await.refuse(503, None);
    let events = all(sent.await.unwrap().unwrap()).await;
    assert_eq!(completed(&events)["timing"]["plugins"][2]["name"], "offline");

    let sent = host.send(says("Hello."));
    let answer = host.upstream.next().await.stream();
    answer.say("I was about to").await;
    let reader = sent.await.unwrap().unwrap();
    answer.cut().await;
    let events = all(reader).await;
    assert_eq!(text(&events), "I was about to");
    failed(&events);
}

#[tokio::test]
async fn a_request_that_was_refused_for_what_it_says_is_not_passed_on() {
    let mut host = TestHost::with_models("[\"openai\", \"offline\"]").await;
    let sent = host.send(says("Hello."));
    host.upstream.next().await.refuse(400, None);
    assert_eq!(sent.await.unwrap().unwrap_err().kind, Kind::ModelInvalid);
}

#[tokio::test]
async fn a_client_can_choose_among_the_companions_models_and_no_others() {
    let mut host = TestHost::with_models("[\"openai\", \"offline\"]").await;
    let chosen = |model: &str| ChatRequest { model: Some(model.into()), ..says("Hello.") };
    let reader = host.turns.chat(chosen("offline")).await.unwrap();
    assert_eq!(completed(&all(reader).await)["timing"]["plugins"][2]["name"], "offline");
    assert!(host.upstream.is_idle());
    assert_eq!(host.turns.chat(chosen("window")).await.unwrap_err().kind, Kind::ModelNotOffered);
    let sent = host.send(chosen("openai"));
    host.upstream.next().await.refuse(503, None);
    assert_eq!(sent.await.unwrap().unwrap_err().kind, Kind::ModelOverloaded, "the choice is not overruled");
}

#[tokio::test]
async fn unknown_names_have_different_problems() {
    let host = TestHost::new().await;
    let companion = ChatRequest { companion: Some("nobody".into()), ..says("Hello.") };
    assert_eq!(host.turns.chat(companion).await.unwrap_err().kind, Kind::CompanionNotFound);
    let conversation = says_in(ConversationId::new(), "Hello.");
    assert_eq!(host.turns.chat(conversation).await.unwrap_err().kind, Kind::ConversationNotFound);
    let missing = host.turns.events(&owner(), TurnId::new(), None).await.unwrap_err();
    assert_eq!(missing.kind, Kind::TurnNotFound);
}

#[tokio::test]
async fn a_reply_that_reaches_its_limit_ends_there_and_the_model_is_stopped() {
    let mut host = TestHost::with(|options| options.max_reply_bytes = 1024).await;
    let sent = host.send(says("Go on and on."));
    let answer = host.upstream.next().await.stream();
    for _ in 0..3 {
        answer.say(&"x".repeat(500)).await;
    }
    answer.hung_up().await;
    let events = all(sent.await.unwrap().unwrap()).await;
    assert_eq!(text(&events).len(), 1024);
    assert_eq!(completed(&events)["finish"], "length");
    assert_eq!(completed(&events)["reply"]["content"], text(&events));
}

#[tokio::test]
async fn a_companions_greetings_can_be_chosen_and_one_that_is_not_there_is_refused() {
    let host = TestHost::new().await;
    let profile = UserProfile { name: Some("Zephyrine".into()), ..UserProfile::default() };
    let greet = |index| host.turns.greet(GreetingRequest { profile: profile.clone(), ..greeting(index) });
    let first = greet(None).await.unwrap().unwrap();
    // Elara's first words name the user.
    assert!(first.content.contains("Zephyrine"), "{}", first.content);
    assert_eq!(greet(Some(0)).await.unwrap().unwrap().content, first.content);
    assert_eq!(greet(Some(99)).await.unwrap_err().kind, Kind::InvalidRequest);
}
