//! Backups of a running host, restoring them, and moving to PostgreSQL, with the commands that the guide names.

use std::process::Command;

use masque_store_postgres::testing::{TestDatabase, TestServer};
use masque_tests::{Host, Setup};
use serde_json::{Value, json};

/// Says something in a new conversation. Returns the conversation's id.
async fn say(host: &Host, message: &str) -> String {
    let reply = host.client().chat(&json!({ "message": message })).send().await.expect(200);
    reply["conversation_id"].as_str().unwrap().to_owned()
}

async fn conversations(host: &Host) -> Vec<String> {
    let listed: Value = host.client().get("/conversations").send().await.expect(200);
    let ids = listed["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned());
    ids.collect()
}

#[tokio::test]
async fn a_backup_beside_a_running_host_is_restored_when_the_host_is_stopped() {
    let setup = Setup::defaults();
    let file = setup.folder().join("backup.db");
    let file = file.to_str().unwrap();
    let mut host = setup.start().await;
    let data = host.data().to_str().unwrap().to_owned();
    let kept = say(&host, "Before the backup").await;
    let made = host.run(&["backup", file, "--data", &data]).await;
    assert!(made.status.success(), "{}", made.text);
    say(&host, "After it").await;

    let again = host.run(&["backup", file, "--data", &data]).await;
    assert!(!again.status.success() && again.text.contains("exists already"), "{}", again.text);
    let list = host.data().join("erasures.jsonl");
    std::fs::write(&list, "").unwrap();
    let running = host.run(&["restore", file, "--data", &data]).await;
    assert!(!running.status.success() && running.text.contains("in use by another host"), "{}", running.text);
    host.kill().await;
    std::fs::remove_file(&list).unwrap();
    let without = host.run(&["restore", file, "--data", &data]).await;
    assert!(!without.status.success() && without.text.contains("--erasures"), "{}", without.text);
    std::fs::write(&list, "").unwrap();
    let restored = host.run(&["restore", file, "--data", &data]).await;
    assert!(restored.status.success(), "{}", restored.text);
    assert!(restored.text.contains("masque.db.before-restore-1"), "{}", restored.text);
    assert!(restored.text.contains(&format!("state: SQLite in {data}")), "{}", restored.text);
    host.restart().await;
    assert_eq!(conversations(&host).await, [kept]);
}

#[tokio::test]
async fn a_backup_that_can_not_be_written_says_why_once() {
    let host = Setup::defaults().start().await;
    let data = host.data().to_str().unwrap();
    let setup = Setup::defaults().launched_by(&["sh", "-c", "\"$@\" > /dev/full", "sh"]);
    let written = setup.run(&["backup", "-", "--data", data]).await;
    let nowhere = host.run(&["backup", "/nowhere/backup.db", "--data", data]).await;
    for (output, reason) in [(written, "No space left on device"), (nowhere, "No such file or directory")] {
        assert_eq!(output.status.code(), Some(1), "{}", output.text);
        assert_eq!(output.text.matches(reason).count(), 1, "{}", output.text);
    }
}

#[tokio::test]
async fn with_postgresql_the_commands_name_its_own_tools_and_these_work() {
    let server = TestServer::shared();
    let database = server.migrated_database().await;
    let mut host = on(&database).start().await;
    let kept = say(&host, "Before the dump").await;
    for (command, tool) in [("backup", "pg_dump"), ("restore", "pg_restore")] {
        let refused = host.run(&[command, "file.db"]).await;
        assert!(!refused.status.success() && refused.text.contains(tool), "{}", refused.text);
    }
    let dump = host.folder().join("masque.dump");
    let dump = dump.to_str().unwrap();
    run(&["pg_dump", "--format=custom", &format!("--file={dump}"), &database.url]);
    say(&host, "After it").await;
    host.kill().await;

    let restored = server.empty_database();
    let target = format!("--dbname={}", restored.url);
    run(&["pg_restore", "--no-owner", "--exit-on-error", &target, dump]);
    let second = on(&restored).start().await;
    assert_eq!(conversations(&second).await, [kept]);
    say(&second, "Goes on").await;
}

#[tokio::test]
async fn a_host_goes_on_in_postgresql_with_what_it_had_in_sqlite() {
    let mut host = Setup::defaults().start().await;
    let begun = say(&host, "I am Ada.").await;
    let data = host.data().to_str().unwrap().to_owned();
    let from = format!("sqlite:{data}");
    let database = TestServer::shared().empty_database();
    let running = host.run(&["migrate", "--from", &from, "--to", &database.url]).await;
    assert!(!running.status.success() && running.text.contains("in use by another host"), "{}", running.text);
    host.kill().await;
    for words in ["is copied, and is the same", "was copied before, and is the same"] {
        let copied = host.run(&["migrate", "--from", &from, "--to", &database.url]).await;
        assert!(copied.status.success() && copied.text.contains(words), "{}", copied.text);
        assert!(copied.text.contains("messages"), "{}", copied.text);
    }

    let host = on(&database).start().await;
    assert_eq!(conversations(&host).await, std::slice::from_ref(&begun));
    let body = json!({ "message": "Who am I?", "conversation_id": begun });
    host.client().chat(&body).send().await.expect(200);
    let path = format!("/conversations/{begun}/messages");
    let messages = host.client().get(&path).send().await.expect(200);
    assert_eq!(messages["items"].as_array().unwrap().len(), 4, "{messages}");
}

/// A host on this database.
fn on(database: &TestDatabase) -> Setup {
    Setup::defaults().environment("DATABASE_URL", &database.url)
}

/// Runs a command that must succeed.
fn run(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
