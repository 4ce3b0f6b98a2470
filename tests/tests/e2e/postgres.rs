//! Hosts that keep their state in PostgreSQL, with a server of these tests.

use masque_store_postgres::testing::{TestDatabase, TestServer};
use masque_tests::{Setup, eventually};
use serde_json::json;

/// A host on this database.
fn on(database: &TestDatabase) -> Setup {
    Setup::defaults().environment("DATABASE_URL", &database.url)
}

#[tokio::test]
async fn a_database_is_migrated_by_a_command_and_not_by_a_host() {
    let database = TestServer::shared().empty_database();
    let setup = on(&database);
    let refused = setup.serve_to_end().await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.text.contains("masque migrate"), "{}", refused.text);
    let asked = setup.run(&["migrate", "--check"]).await;
    assert_eq!(asked.status.code(), Some(1), "{}", asked.text);
    for words in [&["migrate"][..], &["migrate"], &["migrate", "--check"]] {
        let done = setup.run(words).await;
        assert!(done.status.success(), "{words:?}: {}", done.text);
    }
    setup.start().await.client().say("Hello.").await;
}

#[tokio::test]
async fn a_conversation_goes_on_at_another_host_and_after_a_restart() {
    let database = TestServer::shared().migrated_database().await;
    let (mut first, second) = (on(&database).start().await, on(&database).start().await);
    let begun = first.client().chat(&json!({ "message": "I am Ada." })).send().await.expect(200);
    let conversation = begun["conversation_id"].as_str().unwrap().to_owned();
    let body = json!({ "message": "Who am I?", "conversation_id": conversation });
    second.client().chat(&body).send().await.expect(200);
    first.restart().await;
    first.client().chat(&body).send().await.expect(200);

    let path = format!("/conversations/{conversation}/messages");
    let listed = second.client().get(&path).send().await.expect(200);
    let roles: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|item| item["role"].as_str()).collect();
    assert_eq!(roles.iter().filter(|role| **role == Some("user")).count(), 3, "{listed}");
    assert_eq!(roles.len(), 6, "{listed}");
}

#[tokio::test]
async fn conversations_that_are_idle_for_longer_than_the_operator_keeps_them_are_deleted() {
    let database = TestServer::shared().migrated_database().await;
    let mut host = on(&database).and("[retention]\nconversations = \"30d\"\n").start().await;
    let [old, young] = [host.client().say("Hello.").await, host.client().say("Hello.").await]
        .map(|reply| reply["conversation_id"].as_str().unwrap().to_owned());
    // As after a month. A host looks at its start, and every minute from then on.
    let month_ago = format!(
        "UPDATE leases SET updated_at = updated_at - 31 * 86400000::bigint WHERE conversation = '{old}'"
    );
    TestServer::shared().psql(&database.name, &month_ago);
    host.restart().await;
    host.logged("conversations were deleted").await;
    let path = format!("/conversations/{old}");
    eventually("the conversation to be gone", || async {
        let answer = host.client().get(&path).send().await;
        (answer.status == 404).then_some(())
    })
    .await;
    host.client().say_in(&young, "Still there?").await;
}

#[tokio::test]
async fn the_command_line_manages_keys_in_the_database() {
    let database = TestServer::shared().migrated_database().await;
    let setup = on(&database);
    let made = setup.run(&["keys", "create", "robot", "--scope", "chat"]).await;
    assert!(made.status.success(), "{}", made.text);
    let listed = setup.run(&["keys", "list"]).await;
    assert!(listed.text.contains("robot"), "{}", listed.text);
    let state = listed.text.lines().find(|line| line.starts_with("state: PostgreSQL at ")).unwrap();
    assert!(state.ends_with(&format!("/{}", database.name)), "{state}");
    assert!(setup.run(&["jobs"]).await.status.success());
    assert!(!setup.data().join("masque.db").exists(), "nothing is kept in SQLite");
}

#[tokio::test]
async fn a_url_that_is_wrong_is_refused_by_check_without_showing_the_password() {
    for (url, words) in [
        ("mysql://ada:hunter2@db/masque", "no URL of PostgreSQL"),
        ("postgres://ada:hunter2@db:port/masque", "can't be used"),
        ("sqlite:///masque.db", "SQLite database is kept in the data folder"),
    ] {
        let refused = Setup::defaults().environment("DATABASE_URL", url).check().await;
        assert_eq!(refused.status.code(), Some(1), "{url}: {}", refused.text);
        assert!(!refused.text.contains("hunter2"), "{}", refused.text);
        let named =
            refused.text.contains(words) || refused.text.contains("not the URL of a PostgreSQL database");
        assert!(named, "{url}: {}", refused.text);
    }
}
