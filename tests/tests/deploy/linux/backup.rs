//! Encrypted backups: what `masque-backup.service` runs, and a drill of the restore.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

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
    let before = names(&backups);
    for failing in ["printf half; exit 3", "printf half; false | cat"] {
        let mut command = script(&backups, &public);
        let (is_success, text) = run(command.env("BACKUP_COMMAND", failing).env("BACKUPS_KEPT", "1"));
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
