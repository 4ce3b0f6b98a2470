//! Encrypted backups: what `masque-backup.service` runs, and a drill of the restore.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use masque_store_postgres::testing::TestServer;
use masque_tests::deploy::in_repository;
use masque_tests::{Host, Setup, binary};
use serde_json::json;

use super::{has, run, succeed};

/// What a restore may take, from the encrypted file to a host that answers.
const RESTORE_LIMIT: Duration = Duration::from_secs(300);

/// The command that makes a backup of this host's data.
fn backup_of(data: &Path) -> String {
    format!("'{}' backup - --data '{}'", binary().display(), data.display())
}

/// The script of the service, with public keys and without an erasure list.
fn script(folder: &Path, recipients: &Path) -> Command {
    let mut command = Command::new(in_repository("deploy/systemd/masque-backup"));
    command.arg(folder).env("BACKUP_RECIPIENTS", recipients).env("BACKUP_ERASURES", folder.join("none"));
    command
}

/// Makes a pair of keys. Returns the files of the private and of the public key.
fn keys(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let (private, public) = (folder.join("private"), folder.join("public"));
    succeed(Command::new("age-keygen").arg("-o").arg(&private));
    succeed(Command::new("age-keygen").arg("-y").arg("-o").arg(&public).arg(&private));
    (private, public)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn conversations(host: &Host) -> usize {
    let listed = host.client().get("/conversations").send().await.expect(200);
    listed["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn an_encrypted_backup_of_a_running_host_is_restored_in_a_drill_within_minutes() {
    if !has("age", "an_encrypted_backup_of_a_running_host_is_restored_in_a_drill_within_minutes") {
        return;
    }
    let host = Setup::defaults().start().await;
    host.client().chat(&json!({ "message": "My cat is called Miso" })).send().await.expect(200);
    let list = host.data().join("erasures.jsonl");
    std::fs::write(&list, "").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = keys(folder.path());
    let backups = folder.path().join("backups");
    std::fs::create_dir(&backups).unwrap();

    let mut made = script(&backups, &public);
    made.env("BACKUP_COMMAND", backup_of(host.data())).env("BACKUP_ERASURES", &list);
    let text = succeed(&mut made);
    let names = names(&backups);
    let [encrypted, erasures] = &names[..] else { panic!("{names:?}") };
    assert!(text.contains(encrypted.as_str()) && erasures.ends_with("Z.erasures.age"), "{text} {names:?}");
    let bytes = std::fs::read(backups.join(encrypted)).unwrap();
    assert!(!bytes.windows(4).any(|window| window == b"Miso"), "the backup can be read without the key");
    host.client().chat(&json!({ "message": "After the backup" })).send().await.expect(200);
    assert_eq!(conversations(&host).await, 2);

    // The drill: another machine, which has the private key.
    let start = Instant::now();
    let restored = Setup::defaults();
    for (name, to) in [(encrypted, "backup.db"), (erasures, "erasures.jsonl")] {
        // With --output, age makes no file for an empty list.
        let mut decrypt = Command::new("age");
        decrypt.stdout(std::fs::File::create(restored.folder().join(to)).unwrap());
        succeed(decrypt.args(["--decrypt", "--identity"]).arg(&private).arg(backups.join(name)));
    }
    let data = restored.data().to_str().unwrap().to_owned();
    let done = restored.run(&["restore", "backup.db", "--erasures", "erasures.jsonl", "--data", &data]).await;
    assert!(done.status.success(), "{}", done.text);
    let second = restored.start().await;
    assert_eq!(conversations(&second).await, 1);
    let took = start.elapsed();
    println!("the restore took {took:?}");
    assert!(took < RESTORE_LIMIT, "{took:?}");
}

/// The example for PostgreSQL at the head of the unit.
pub(super) fn postgresql_example() -> String {
    let unit = std::fs::read_to_string(in_repository("deploy/systemd/masque-backup.service")).unwrap();
    let lines = unit.lines().filter_map(|line| line.strip_prefix("#     "));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The backup command that a part of a unit sets. systemd reads `\"` within quotes as `"`, and replaces only `%` (systemd.exec(5)).
fn backup_command(settings: &str) -> String {
    let line = settings.lines().find_map(|line| line.strip_prefix("Environment=\"BACKUP_COMMAND="));
    let value = line.unwrap_or_else(|| panic!("no command in {settings}")).strip_suffix('"').unwrap();
    assert!(!value.contains('%'), "{value}");
    value.replace("\\\"", "\"")
}

/// The backup command of an example, with the password in this file.
fn with_password_in(secret: &Path, example: &str) -> String {
    let command = backup_command(example);
    assert!(command.starts_with("PGPASSWORD=$(cat /etc/masque/secrets/database) pg_dump "), "{command}");
    command.replace("/etc/masque/secrets/database", secret.to_str().unwrap())
}

#[tokio::test]
async fn the_example_for_postgresql_backs_up_the_database_of_the_host() {
    if !has("age", "the_example_for_postgresql_backs_up_the_database_of_the_host") {
        return;
    }
    let example = postgresql_example();
    let page = std::fs::read_to_string(in_repository("docs/linux.md")).unwrap();
    assert!(page.contains(&format!("```ini\n{example}```\n")), "the unit and the page differ:\n{example}");
    let secret = tempfile::NamedTempFile::new().unwrap();
    let command = with_password_in(secret.path(), &example);

    let database = TestServer::shared().migrated_database().await;
    // The second variable takes precedence: `pg_dump` does not work through every pooler.
    let url = database.url.as_str();
    for variables in [
        vec![("DATABASE_URL", url)],
        vec![("DATABASE_URL", "postgresql://127.0.0.1:1/pooler"), ("DATABASE_DIRECT_URL", url)],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (private, public) = keys(folder.path());
        let backups = folder.path().join("backups");
        std::fs::create_dir(&backups).unwrap();
        let mut made = script(&backups, &public);
        made.env_remove("DATABASE_URL").env_remove("DATABASE_DIRECT_URL").envs(variables);
        succeed(made.env("BACKUP_COMMAND", &command));
        let made = names(&backups);
        let [encrypted] = &made[..] else { panic!("{made:?}") };
        let dump = folder.path().join("dump");
        let mut decrypt = Command::new("age");
        decrypt.args(["--decrypt", "--identity"]).arg(&private).arg("--output").arg(&dump);
        succeed(decrypt.arg(backups.join(encrypted)));
        let listed = succeed(Command::new("pg_restore").arg("--list").arg(&dump));
        assert!(listed.contains("TABLE DATA") && listed.contains(" messages "), "{listed}");
    }
}

#[test]
fn the_password_for_postgresql_is_in_no_argument() {
    if !has("age", "the_password_for_postgresql_is_in_no_argument") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = keys(folder.path());
    let [secret, backups, bin] = ["secret", "backups", "bin"].map(|name| folder.path().join(name));
    std::fs::write(&secret, "the password\n").unwrap();
    std::fs::create_dir(&backups).unwrap();
    std::fs::create_dir(&bin).unwrap();
    // Only prints what it is given: a server that asks for a password is no matter of this script.
    std::fs::write(bin.join("pg_dump"), "#!/bin/sh\necho \"$PGPASSWORD\" \"$@\"\n").unwrap();
    std::fs::set_permissions(bin.join("pg_dump"), std::fs::Permissions::from_mode(0o755)).unwrap();

    let mut made = script(&backups, &public);
    made.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    made.env("DATABASE_URL", "postgres://masque@db.example/masque").env_remove("DATABASE_DIRECT_URL");
    succeed(made.env("BACKUP_COMMAND", with_password_in(&secret, &postgresql_example())));
    let made = names(&backups);
    let [encrypted] = &made[..] else { panic!("{made:?}") };
    let mut decrypt = Command::new("age");
    let text = succeed(decrypt.args(["--decrypt", "--identity"]).arg(&private).arg(backups.join(encrypted)));
    assert_eq!(text, "the password --format=custom postgres://masque@db.example/masque\n");
}

#[test]
fn a_backup_that_fails_half_way_leaves_no_file_and_removes_none() {
    if !has("age", "a_backup_that_fails_half_way_leaves_no_file_and_removes_none") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_, public) = keys(folder.path());
    let backups = folder.path().join("backups");
    std::fs::create_dir(&backups).unwrap();
    for old in ["masque-20250101T000000Z.age", "masque-20250102T000000Z.age"] {
        std::fs::write(backups.join(old), "old").unwrap();
    }
    let list = folder.path().join("erasures.jsonl");
    std::fs::write(&list, "a line\n").unwrap();
    let before = names(&backups);
    for failing in ["printf half; exit 3", "printf half; false | cat"] {
        let mut command = script(&backups, &public);
        command.env("BACKUP_COMMAND", failing).env("BACKUPS_KEPT", "1");
        // The list is written before the backup fails.
        let (is_success, text) = run(command.env("BACKUP_ERASURES", &list));
        assert!(!is_success, "{failing}: {text}");
        assert_eq!(names(&backups), before, "{failing}");
    }
    let (is_success, text) = run(&mut script(&backups, &folder.path().join("no-keys")));
    assert!(!is_success && text.contains("age-keygen"), "{text}");
}

#[test]
fn the_oldest_backups_are_removed_with_their_erasure_lists() {
    if !has("age", "the_oldest_backups_are_removed_with_their_erasure_lists") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_, public) = keys(folder.path());
    let backups = folder.path().join("backups");
    std::fs::create_dir(&backups).unwrap();
    for old in ["masque-20250101T000000Z", "masque-20250102T000000Z"] {
        std::fs::write(backups.join(format!("{old}.age")), "old").unwrap();
        std::fs::write(backups.join(format!("{old}.erasures.age")), "old").unwrap();
    }
    std::fs::write(backups.join("notes"), "of the operator").unwrap();

    let mut command = script(&backups, &public);
    succeed(command.env("BACKUP_COMMAND", "printf whole").env("BACKUPS_KEPT", "2"));

    let names = names(&backups);
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names.contains(&"notes".to_owned()) && names.contains(&"masque-20250102T000000Z.age".to_owned()));
    assert!(names.contains(&"masque-20250102T000000Z.erasures.age".to_owned()), "{names:?}");
}

#[tokio::test]
async fn a_backup_into_a_program_that_ends_early_fails_and_leaves_nothing() {
    let host = Setup::defaults().start().await;
    let before = names(host.data());
    let command = format!("set -o pipefail; {} | head -c 10", backup_of(host.data()));
    let (is_success, text) = run(Command::new("bash").args(["-c", &command]));
    assert!(!is_success && text.contains("the output can't be used"), "{text}");
    assert_eq!(names(host.data()), before);
}
