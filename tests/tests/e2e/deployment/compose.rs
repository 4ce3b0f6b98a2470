//! Backups with Compose: the commands of the guide make one, and restore it into the place of the database. A
//! [stand-in](compose.sh) for `docker` runs what would run in containers.

use std::path::Path;
use std::process::Stdio;

use masque_store_postgres::testing::TestServer;
use masque_tests::deploy::in_repository;
use masque_tests::{binary, skipped, within};
use tokio::process::Command;

use super::{blocks, missing_program, section};

/// What happens between the commands of the guide: keys of a person with two machines, a key before the backup and one after it,
/// and what the other machine sends back.
const KEYS: &str = "age-keygen -o private.txt; age-keygen -y private.txt >backup-recipients\n";
const BEFORE: &str =
    "docker compose --file deploy/compose.yaml exec masque masque keys create before --scope chat\n";
const AFTER: &str = "docker compose --file deploy/compose.yaml exec masque masque keys create after --scope chat\n\
    age --decrypt --identity private.txt backups/*Z.age >masque.dump\n\
    age --decrypt --identity private.txt backups/*Z.erasures.age >erasures.jsonl\n";
const LIST: &str =
    "\necho '=== restored'\ndocker compose --file deploy/compose.yaml exec masque masque keys list\n";

async fn run(root: &Path, port: u16, script: &str) -> String {
    let file = root.join("commands");
    std::fs::write(&file, script).unwrap();
    let mut command = Command::new("bash");
    command.arg(&file).current_dir(root).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("HOME", root).env("ROOT", root).env("BINARY", binary()).env("PGPORT", port.to_string());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = within("the commands to end", command.output()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the commands of the guide fail:\n{text}\n{errors}");
    text
}

#[tokio::test]
async fn a_backup_with_compose_is_restored_by_the_commands_of_the_guide() {
    if let Some(program) = missing_program() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "there is no `{program}`");
        return skipped("a_backup_with_compose", &format!("there is no `{program}`"));
    }
    let server = TestServer::start();
    server.psql("postgres", "CREATE ROLE masque LOGIN");
    server.psql("postgres", "CREATE DATABASE masque OWNER masque ENCODING 'UTF8' TEMPLATE template0");
    let folder = tempfile::Builder::new().prefix("masque-compose-").tempdir().unwrap();

    let commands = blocks(&section("Docker Compose"), "sh");
    let [_, backup, restore] = commands.as_slice() else {
        panic!("the section has {} blocks", commands.len())
    };
    let machine = std::fs::read_to_string(in_repository("tests/tests/e2e/deployment/compose.sh")).unwrap();
    let migrate = "docker compose --file deploy/compose.yaml run --rm -T migrate\n";
    let script = [machine.as_str(), KEYS, migrate, BEFORE, backup, AFTER, restore, LIST].concat();
    let text = run(folder.path(), server.port(), &script).await;

    assert!(text.contains("No user of this database was erased before."), "the list is applied: {text}");
    let (_, listed) = text.split_once("=== restored\n").unwrap();
    assert!(listed.contains("before") && !listed.contains("after"), "{listed}");
    let databases =
        server.psql("postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database");
    assert!(databases.contains("before_restore masque"), "{databases}");
    for name in ["masque.dump", "deploy/data/replay.jsonl"] {
        assert!(!folder.path().join(name).exists(), "{name} is left");
    }
}
