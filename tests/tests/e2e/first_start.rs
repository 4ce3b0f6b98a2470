//! A host without a configuration: no file, no key, no network.

use masque_tests::Setup;
use serde_json::json;

#[tokio::test]
async fn a_host_without_a_file_replies_and_explains_how_to_connect_a_model() {
    let host = Setup::defaults().compiling().start().await;
    let reply = host.client().say("Hello! I feel curious today.").await;

    assert_eq!(reply["companion"], "elara");
    assert_eq!(reply["reply"]["role"], "assistant");
    assert_eq!(reply["finish"], "stop");
    let text = reply["reply"]["content"].as_str().unwrap();
    assert!(text.contains("Connecting a model"), "the first reply explains how to go on: {text}");
}

#[tokio::test]
async fn the_offline_model_is_deterministic_and_explains_itself_once() {
    let host = Setup::defaults().start().await;
    let client = host.client();

    let mut replies = Vec::new();
    for _ in 0..2 {
        let first = client.say("I am tired of the rain.").await;
        let conversation = first["conversation_id"].as_str().unwrap();
        let second = client.say_in(conversation, "I need a holiday.").await;
        replies.push((first["reply"]["content"].clone(), second["reply"]["content"].clone()));
    }

    assert_eq!(replies[0], replies[1]);
    let second = replies[0].1.as_str().unwrap();
    assert!(!second.contains("Connecting a model"), "{second}");
    assert!(second.to_lowercase().contains("holiday"), "the reply repeats words of the user: {second}");
}

#[tokio::test]
async fn messages_survive_a_restart() {
    let mut host = Setup::defaults().start().await;
    let reply = host.client().say("Remember me.").await;
    let conversation = reply["conversation_id"].as_str().unwrap().to_owned();
    let before = host.client().messages(&conversation).await;

    host.restart().await;

    assert_eq!(host.client().messages(&conversation).await, before);
    host.client().say_in(&conversation, "And on we go.").await;
    assert_eq!(host.client().messages(&conversation).await.len(), before.len() + 2);
}

#[tokio::test]
async fn only_the_user_of_the_host_can_access_the_data_folder() {
    use std::os::unix::fs::PermissionsExt;

    let host = Setup::defaults().compiling().start().await;
    host.client().say("This is private.").await;

    let mode = std::fs::metadata(host.data()).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "the folder's mode is {mode:o}");
}

#[tokio::test]
async fn metadata_of_a_message_is_returned_with_it() {
    let host = Setup::defaults().start().await;
    let body = json!({ "message": "Hello.", "metadata": { "channel": "kitchen" } });
    let reply = host.client().chat(&body).send().await.expect(200);

    let messages = host.client().messages(reply["conversation_id"].as_str().unwrap()).await;
    let user = messages.iter().find(|message| message["role"] == "user").unwrap();
    assert_eq!(user["metadata"]["channel"], "kitchen");
}
