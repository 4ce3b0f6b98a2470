//! Commands that work on the state of a host without asking it: in a folder that no host uses, they would succeed and change
//! nothing for the host that was meant.

use masque_tests::{Setup, eventually};
use serde_json::json;

const ID: &str = "018f0000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_command_without_the_state_of_a_host_is_refused_and_makes_nothing() {
    let setup = Setup::defaults();
    let folder = setup.folder();
    std::fs::create_dir(folder.join("empty")).unwrap();
    std::fs::write(folder.join("list"), "").unwrap();
    for words in [
        &["tokens", "revoke", "--user", "ana"][..],
        &["keys", "list"],
        &["keys", "revoke", "0000000000000000"],
        &["keys", "rotate", "0000000000000000"],
        &["jobs"],
        &["jobs", "--retry", "all"],
        &["users", "id", "ana"],
        &["erase", ID],
        &["erase", "--replay", "list"],
        &["explain", ID],
        &["backup", "file.db"],
        &["backup", "-"],
    ] {
        for (name, said) in
            [("nowhere", "there is no data folder"), ("empty", "there is no database in the data folder")]
        {
            let refused = setup.run(&[words, &["--data", name]].concat()).await;
            assert_eq!(refused.status.code(), Some(1), "{words:?}: {}", refused.text);
            // With its whole path: what a relative one means depends on the shell's folder.
            let whole = format!("/{name}");
            for part in [said, whole.as_str(), "--data"] {
                assert!(refused.text.contains(part), "{words:?}: {part} is not in {}", refused.text);
            }
        }
    }
    let nowhere = setup.run(&["erasures", "--data", "nowhere"]).await;
    assert!(
        !nowhere.status.success() && nowhere.text.contains("there is no data folder"),
        "{}",
        nowhere.text
    );
    let unused = setup.run(&["erasures", "--data", "empty"]).await;
    assert!(
        unused.status.success() && unused.text.contains("/empty/erasures.jsonl"),
        "the list that is missing is named: {}",
        unused.text
    );
    let no_host = setup.run(&["log", "--data", "nowhere"]).await;
    assert!(
        !no_host.status.success() && no_host.text.contains("there is no data folder"),
        "{}",
        no_host.text
    );
    assert!(!folder.join("nowhere").exists() && !folder.join("file.db").exists());
    assert_eq!(std::fs::read_dir(folder.join("empty")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_first_key_makes_the_data_folder_and_each_command_names_the_state() {
    let setup = Setup::defaults();
    for words in [
        &["keys", "create", "first", "--scope", "chat"][..],
        &["keys", "list"],
        &["tokens", "revoke", "--user", "ana"],
        &["jobs"],
        &["backup", "file.db"],
    ] {
        let done = setup.run(&[words, &["--data", "new"]].concat()).await;
        assert!(done.status.success(), "{words:?}: {}", done.text);
        let state = done.text.lines().find(|line| line.starts_with("state: SQLite in /"));
        assert!(state.is_some_and(|line| line.ends_with("/new")), "{words:?}: {}", done.text);
    }
    assert!(setup.folder().join("new/masque.db").is_file());
}

#[tokio::test]
async fn a_mistake_in_a_part_that_a_command_does_not_need_does_not_stop_it() {
    let host = Setup::defaults().start().await;
    let data = host.data().to_str().unwrap();
    let made = host.run(&["keys", "create", "robot", "--scope", "chat", "--data", data]).await;
    let id = made.text.split("msq_").nth(1).map(|rest| &rest[..16]).unwrap();
    let reply = host.client().chat(&json!({ "message": "Hello." })).send().await.expect(200);
    let turn = reply["turn_id"].as_str().unwrap();

    let broken = "[plugins.ghost]\nsource = \"ghost.wasm\"\n\
                  [credentials.one]\norigin = \"http://a.test\"\nheader = \"x-key\"\nvalue_file = \"none\"\n";
    std::fs::write(host.folder().join("masque.toml"), broken).unwrap();
    assert_eq!(host.run(&["check", "--data", data]).await.status.code(), Some(1));
    // The record of a turn is written a little after its reply.
    eventually("the record of the turn", || async {
        host.run(&["explain", turn, "--data", data]).await.status.success().then_some(())
    })
    .await;
    for words in [
        &["keys", "revoke", id][..],
        &["tokens", "revoke", "--user", "ana"],
        &["jobs"],
        &["erasures"],
        &["explain", turn],
        &["backup", "file.db"],
        &["log"],
        &["log", "debug"],
    ] {
        let done = host.run(&[words, &["--data", data]].concat()).await;
        assert!(done.status.success(), "{words:?}: {}", done.text);
        let told = done.text.lines().filter(|line| line.contains("see `masque check`")).count();
        assert_eq!(told, 1, "{words:?}: {}", done.text);
    }
    assert!(host.run(&["health", "--data", data]).await.status.success());

    // With the folder in the file, as in production.
    let file = format!("[data]\nfolder = {data:?}\n{broken}");
    std::fs::write(host.folder().join("masque.toml"), &file).unwrap();
    for words in [&["keys", "list"][..], &["log"], &["health"]] {
        let done = host.run(words).await;
        assert!(done.status.success(), "{words:?}: {}", done.text);
    }
    std::fs::write(host.folder().join("masque.toml"), file.replace("folder", "foldr")).unwrap();
    let refused = host.run(&["keys", "list"]).await;
    assert!(!refused.status.success() && refused.text.contains("Did you mean `folder`?"), "{}", refused.text);
}
