//! Export and erasure of a user over the API and the command line: what an erased user has said is in no answer and in no
//! file any more, and not in a copy of the data from before once the erasure list was applied to it.

use std::path::Path;

use masque_store_postgres::testing::TestServer;
use masque_tests::{Answer, Client, Gate, MockModel, Setup, claims, eventually, token};
use serde_json::{Value, json};

const SECRET_WORD: &str = "marzipan-4711";

fn of(client: &Client, subject: &str) -> Client {
    client.bearer(&token(&claims(subject)))
}

async fn export(client: &Client) -> Value {
    client.get("/users/me/data").send().await.expect(200)
}

/// Says the secret as `ana` and something else as `ben`.
async fn plant(client: &Client) -> (Client, Client) {
    let (ana, ben) = (of(client, "ana-of-this-test"), of(client, "ben"));
    let body = json!({ "message": format!("My secret is {SECRET_WORD}.") });
    ana.chat(&body).key("once").send().await.expect(200);
    ben.say("I like nougat-4711.").await;
    (ana, ben)
}

/// Erases the caller and waits until the receipt says that it is done; returns the receipt.
async fn erase(client: &Client) -> Value {
    let accepted = client.delete("/users/me/data").send().await;
    let receipt = accepted.expect(202);
    let path = accepted.header("location").unwrap().to_owned();
    assert_eq!(path, format!("/users/me/erasures/{}", receipt["id"].as_str().unwrap()));
    eventually("the erasure to be done", || async {
        let receipt = client.get(&path).send().await.expect(200);
        (receipt["state"] == "done").then_some(receipt)
    })
    .await
}

async fn user_id(client: &Client) -> Option<String> {
    let reply = client.post("/auth/validate", &json!({})).send().await.expect(200);
    reply["user_id"].as_str().map(str::to_owned)
}

fn files_have(folder: &Path, text: &str) -> bool {
    ["masque.db", "masque.db-wal", "erasures.jsonl"].iter().any(|name| {
        let bytes = std::fs::read(folder.join(name)).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["masque.db", "masque.db-wal"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// Asserts that the export has everything that was planted.
async fn assert_exported(client: &Client) {
    let answer = client.get("/users/me/data").send().await;
    assert!(answer.header("content-disposition").unwrap().starts_with("attachment"));
    let data = answer.expect(200);
    let count = |name: &str| data[name].as_array().unwrap().len();
    assert_eq!(data["user"]["subject"], "ana-of-this-test", "{data}");
    assert_eq!(data["user"]["user_id"].as_str().map(str::to_owned), user_id(client).await);
    assert_eq!(
        (count("conversations"), count("messages"), count("turns"), count("idempotency_keys")),
        (1, 2, 1, 1)
    );
    assert!(data["messages"][0]["content"].as_str().unwrap().contains(SECRET_WORD), "{data}");
    assert_eq!(data["turns"][0]["status"], "completed");
    assert_eq!(data["idempotency_keys"][0]["key"], "once");
    assert!(!data.to_string().contains("nougat"), "{data}");
}

/// Asserts that nothing of the user is there.
async fn assert_empty(client: &Client) {
    let data = export(client).await;
    assert!(!data.to_string().contains(SECRET_WORD), "{data}");
    assert_eq!(data["user"]["user_id"], Value::Null, "{data}");
    assert_eq!((&data["conversations"], &data["messages"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn an_erased_user_is_in_no_answer_no_file_and_no_copy_that_the_list_was_applied_to() {
    let host = Setup::defaults().with_authentication().start().await;
    let (ana, ben) = plant(&host.client()).await;
    assert_exported(&ana).await;
    let old = user_id(&ana).await.unwrap();
    let setup = Setup::defaults().with_authentication();
    let copy = setup.folder().join("restored");
    copy_files(host.data(), &copy);
    assert!(files_have(host.data(), SECRET_WORD) && files_have(&copy, SECRET_WORD));

    let receipt = erase(&ana).await;
    assert_eq!(receipt["removed"]["messages"], 2, "{receipt}");
    assert_eq!(receipt["user_id"], json!(old));
    assert!(!files_have(host.data(), SECRET_WORD));
    assert!(files_have(host.data(), "nougat-4711"));
    assert_empty(&ana).await;
    ben.get(&format!("/users/me/erasures/{}", receipt["id"].as_str().unwrap()))
        .send()
        .await
        .problem(404, "erasure-not-found");
    assert_eq!(export(&ben).await["messages"].as_array().unwrap().len(), 2);

    ana.say("I am back.").await;
    let new = user_id(&ana).await.unwrap();
    assert_ne!(new, old);
    assert_eq!(export(&ana).await["messages"].as_array().unwrap().len(), 2);

    let data = host.data().to_str().unwrap().to_owned();
    let listed = host.run(&["erasures", "--data", &data]).await;
    assert!(listed.status.success(), "{}", listed.text);
    for part in [&receipt["id"], &receipt["pseudonym"]] {
        assert!(listed.text.contains(part.as_str().unwrap()), "{}", listed.text);
    }
    let list = host.data().join("erasures.jsonl");
    let words = ["erase", "--replay", list.to_str().unwrap(), "--data"];
    let beside = host.run(&[&words[..], &[&data]].concat()).await;
    assert!(!beside.status.success(), "a host runs: {}", beside.text);
    let setup = setup.on_data(&copy);
    let replayed = setup.run(&[&words[..], &[copy.to_str().unwrap()]].concat()).await;
    assert!(
        replayed.status.success() && replayed.text.contains("1 user was erased again"),
        "{}",
        replayed.text
    );
    assert!(!files_have(&copy, SECRET_WORD));
    let restored = setup.start().await;
    assert_empty(&of(&restored.client(), "ana-of-this-test")).await;
    assert_eq!(export(&of(&restored.client(), "ben")).await["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_running_turn_of_an_erased_user_ends_and_leaves_nothing() {
    let model = MockModel::start().await;
    let gate = Gate::new();
    model.next(Answer::held("The first word", &gate, SECRET_WORD));
    let host = Setup::model(&model).with_authentication().start().await;
    let ana = of(&host.client(), "ana-of-this-test");
    let mut events = ana.stream("Say it.").await;
    while events.next().await.expect("a first word").name != "reply.delta" {}
    let receipt = erase(&ana).await;
    gate.open();
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    let last = last.expect("the end of the turn");
    assert_eq!(last.name, "turn.failed");
    assert_eq!(last.data["problem"]["type"], "/docs/errors#conversation-not-found");
    assert_eq!(receipt["removed"]["turns"], 1, "{receipt}");
    assert_empty(&ana).await;
    assert!(!files_have(host.data(), "The first word"));
}

#[tokio::test]
async fn the_data_of_others_needs_a_scope_that_no_minted_token_has() {
    let setup =
        Setup::file("[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"offline\"]\n")
            .with_authentication();
    let reader = setup.create_key(&["--scope", "content:read"]).await;
    let writer = setup.create_key(&["--scope", "admin:write"]).await;
    let auditor = setup.create_key(&["--scope", "admin:read"]).await;
    let minter = setup.create_key(&["--scope", "tokens:mint", "--scope", "content:read"]).await;
    let limited = setup.create_key(&["--scope", "chat", "--companion", "elara"]).await;
    let host = setup.start().await;
    let client = host.client();
    let (ana, ben) = plant(&client).await;
    let id = user_id(&ana).await.unwrap();
    let path = format!("/users/{id}/data");

    for own in [&path, "/users/me/data"] {
        ana.get(own).send().await.expect(200);
    }
    ben.get(&path).send().await.problem(404, "user-not-found");
    ben.delete(&path).send().await.problem(404, "user-not-found");
    client.bearer(&auditor).get(&path).send().await.problem(403, "insufficient-scope");
    client.bearer(&writer).get(&path).send().await.problem(403, "insufficient-scope");
    client.bearer(&reader).delete(&path).send().await.problem(403, "insufficient-scope");
    client.bearer(&reader).get("/users/me/data").send().await.problem(403, "insufficient-scope");
    for method in ["GET", "DELETE"] {
        let request = client.bearer(&limited).request(method.parse().unwrap(), "/users/me/data");
        request.send().await.problem(403, "companion-not-allowed");
    }
    let asked = json!({ "user_id": "ana", "scopes": ["content:read"] });
    client.bearer(&minter).post("/auth/token", &asked).send().await.problem(422, "invalid-request");
    let data = client.bearer(&reader).get(&path).send().await.expect(200);
    assert_eq!(data["messages"].as_array().unwrap().len(), 2);
    let unknown = "/users/018f0000-0000-7000-8000-000000000000/data";
    client.bearer(&reader).get(unknown).send().await.problem(404, "user-not-found");
    client.bearer(&writer).delete("/users/ana/data").send().await.problem(404, "user-not-found");

    let writer = client.bearer(&writer);
    let accepted = writer.delete(&path).send().await;
    let receipt = accepted.expect(202);
    let receipt_path = accepted.header("location").unwrap().to_owned();
    eventually("the erasure to be done", || async {
        let receipt = writer.get(&receipt_path).send().await.expect(200);
        (receipt["state"] == "done").then_some(())
    })
    .await;
    assert_eq!(writer.delete(&path).send().await.expect(202)["id"], receipt["id"], "it is erased once");
    ana.get(&receipt_path).send().await.expect(200);
    ben.get(&receipt_path).send().await.problem(404, "erasure-not-found");
    assert_empty(&ana).await;

    let audit = client.bearer(&auditor).get("/admin/audit").send().await.expect(200);
    let actions: Vec<_> =
        audit["items"].as_array().unwrap().iter().map(|item| item["action"].as_str()).collect();
    for action in ["user.export", "user.erase", "user.erased"] {
        assert!(actions.contains(&Some(action)), "{actions:?}");
    }
    let pseudonym = format!("user:{}", receipt["pseudonym"].as_str().unwrap());
    assert!(
        audit.to_string().contains(&pseudonym) && !audit.to_string().contains("ana-of-this-test"),
        "{audit}"
    );
}

#[tokio::test]
async fn the_socket_exports_and_erases_the_data_of_any_user_and_each_use_is_in_the_audit_log() {
    let host = Setup::defaults().with_authentication().start().await;
    let (ana, ben) = plant(&host.client()).await;
    let id = user_id(&ana).await.unwrap();
    let (socket, path) = (host.socket(), format!("/users/{id}/data"));
    let data = socket.get(&path).send().await.expect(200);
    assert_eq!(data["user"]["subject"], "ana-of-this-test", "{data}");
    assert!(data["messages"][0]["content"].as_str().unwrap().contains(SECRET_WORD), "{data}");

    let accepted = socket.delete(&path).send().await;
    let receipt = accepted.expect(202);
    let found = socket.get(accepted.header("location").unwrap()).send().await.expect(200);
    assert_eq!(found["id"], receipt["id"]);
    socket.get(&path).send().await.problem(404, "user-not-found");
    assert_empty(&ana).await;
    assert_eq!(export(&ben).await["messages"].as_array().unwrap().len(), 2);

    let audit = socket.get("/admin/audit").send().await.expect(200);
    let by_machine = audit["items"].as_array().unwrap().iter().filter(|entry| entry["actor"] == "machine");
    let actions: Vec<_> = by_machine.map(|entry| (&entry["action"], &entry["target"])).collect();
    let target = json!(format!("user:{}", receipt["pseudonym"].as_str().unwrap()));
    assert_eq!(actions, [(&json!("user.erase"), &target), (&json!("user.export"), &target)], "{audit}");
}

#[tokio::test]
async fn the_command_line_erases_a_user_beside_a_running_host() {
    let host = Setup::defaults().with_authentication().start().await;
    let (ana, _) = plant(&host.client()).await;
    let data = host.data().to_str().unwrap().to_owned();
    let named = host.run(&["erase", "ana-of-this-test", "--data", &data]).await;
    assert!(!named.status.success() && named.text.contains("masque users id"), "{}", named.text);
    let found = host.run(&["users", "id", "ana-of-this-test", "--data", &data]).await;
    // Standard output comes first, and has the id alone.
    let id = found.text.lines().next().unwrap_or_default();
    assert_eq!((found.status.success(), id), (true, user_id(&ana).await.unwrap().as_str()), "{}", found.text);
    let erased = host.run(&["erase", id, "--data", &data]).await;
    for part in ["running hosts have reported", "waiting for ", "Erased. The receipt is"] {
        assert!(erased.status.success() && erased.text.contains(part), "{part}: {}", erased.text);
    }
    assert!(!files_have(host.data(), SECRET_WORD));
    assert_empty(&ana).await;
    let again = host.run(&["erase", id, "--data", &data]).await;
    assert!(again.status.success() && again.text.contains("Erased."), "{}", again.text);
    assert!(!again.text.contains("waiting"), "{}", again.text);
    for wrong in [
        &["ben", "--issuer", "https://id.example.com/"][..],
        &["ben", "--tenant", "acme"],
        &["ana-of-this-test"],
    ] {
        let unknown = host.run(&[&["users", "id"][..], wrong, &["--data", &data]].concat()).await;
        assert_eq!(unknown.status.code(), Some(1), "{wrong:?}: {}", unknown.text);
        assert!(unknown.text.contains("nothing is stored for a user"), "{wrong:?}: {}", unknown.text);
    }
    for wrong in ["ana", "018f0000-0000-7000-8000-000000000000"] {
        assert!(!host.run(&["erase", wrong, "--data", &data]).await.status.success(), "{wrong}");
    }
}

#[tokio::test]
async fn without_authentication_the_local_user_exports_and_erases_themselves() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    client.say(&format!("My secret is {SECRET_WORD}.")).await;
    assert_eq!(export(&client).await["user"]["subject"], "local");
    erase(&client).await;
    assert_empty(&client).await;
    assert!(!files_have(host.data(), SECRET_WORD));
}

#[tokio::test]
async fn a_dump_from_before_an_erasure_is_erased_again_by_the_list() {
    let server = TestServer::shared();
    let database = server.migrated_database().await;
    let on = |url: &str| Setup::defaults().with_authentication().environment("DATABASE_URL", url);
    let mut host = on(&database.url).start().await;
    let (ana, ben) = plant(&host.client()).await;
    assert_exported(&ana).await;
    let dump = host.folder().join("before.dump");
    server.dump(&database, &dump);
    erase(&ana).await;
    assert_empty(&ana).await;
    assert_eq!(export(&ben).await["messages"].as_array().unwrap().len(), 2);
    let counted = server.psql(&database.name, "SELECT count(*) FROM messages WHERE text LIKE '%marzipan%'");
    assert_eq!(counted, "0");

    let restored = server.empty_database();
    server.restore(&restored, &dump);
    let list = host.data().join("erasures.jsonl");
    let setup = on(&restored.url);
    let data = setup.data().to_str().unwrap().to_owned();
    let words = ["erase", "--replay", list.to_str().unwrap(), "--data", &data];
    let beside = on(&database.url).run(&words).await;
    assert!(!beside.status.success() && beside.text.contains("stop all hosts"), "{}", beside.text);
    host.kill().await;
    // The host that made the dump counts as alive for some seconds.
    let replayed = eventually("the host of the dump to be gone", || async {
        let replayed = setup.run(&words).await;
        (!replayed.text.contains("stop all hosts")).then_some(replayed)
    })
    .await;
    assert!(
        replayed.status.success() && replayed.text.contains("1 user was erased again"),
        "{}",
        replayed.text
    );
    let host = setup.start().await;
    assert_empty(&of(&host.client(), "ana-of-this-test")).await;
    assert_eq!(export(&of(&host.client(), "ben")).await["messages"].as_array().unwrap().len(), 2);
}
