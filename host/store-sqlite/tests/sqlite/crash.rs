//! Killed at any moment: what was acknowledged is there, once.
//!
//! The test runs itself as a child that writes turns and prints the id of each after its acknowledgement, kills it
//! somewhere in between, opens the folder and looks for every id it was told, over all rounds. `MASQUE_FULL=1` runs more
//! rounds.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::SqliteStore;

const FOLDER: &str = "MASQUE_STORE_TEST_FOLDER";

/// Runs one ignored test of this binary in a process of its own, on `folder`.
pub(crate) fn child(mut command: Command, test: &str, folder: &Path) -> Child {
    command
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The folder that a child was given.
pub(crate) fn childs_folder() -> PathBuf {
    PathBuf::from(std::env::var_os(FOLDER).expect("only run by its parent"))
}

pub(crate) fn this_binary() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// Prints one line at once: what has been printed has been acknowledged.
pub(crate) fn acknowledge(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

#[test]
#[ignore = "the child of the test below"]
fn writes_turns_until_it_is_killed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store: Arc<dyn Store> = SqliteStore::open(&childs_folder()).await.unwrap();
        let writers: Vec<_> = (0..6).map(|_| tokio::spawn(write_for_ever(Arc::clone(&store)))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn write_for_ever(store: Arc<dyn Store>) {
    loop {
        let mut target = new_conversation();
        for _ in 0..10 {
            let started = start(&store, admission(target, "Hello")).await;
            acknowledge(&format!("admitted {} {}", started.turn, started.conversation));
            kept(store.commit(reply(&started, "Hi")).await);
            acknowledge(&format!("committed {} {}", started.turn, started.conversation));
            target = Target::Existing(started.conversation);
        }
    }
}

/// What the child said of a turn: the last word counts.
type Told = HashMap<TurnId, (ConversationId, bool)>;

fn note(told: &mut Told, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    if let [word @ ("admitted" | "committed"), turn, conversation] = words[..] {
        let committed = word == "committed";
        told.insert(turn.parse().unwrap(), (conversation.parse().unwrap(), committed));
    }
}

#[test]
fn every_acknowledged_turn_is_there_once_after_any_kill() {
    let full = std::env::var("MASQUE_FULL").is_ok_and(|value| value == "1");
    let rounds = if full { 200 } else { 20 };
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut told = Told::new();
    for round in 0..rounds {
        let mut child =
            child(Command::new(this_binary()), "crash::writes_turns_until_it_is_killed", folder.path());
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // An id's last bytes are as random as anything.
        let [.., first, second] = Uuid::now_v7().into_bytes();
        for _ in 0..2 + usize::from(first) {
            let mut line = String::new();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "round {round}: the child ended by itself");
            note(&mut told, line.trim_end());
        }
        for _ in 0..u32::from(second) * 50 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        // What is still in the pipe was acknowledged, too; a line without its end was not.
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        let (whole, _cut) = rest.rsplit_once('\n').unwrap_or_default();
        whole.lines().for_each(|line| note(&mut told, line));
        child.wait().unwrap();
        runtime.block_on(check(folder.path(), &told, round));
    }
    assert!(told.values().any(|(_, committed)| *committed));
    println!("{rounds} kills, {} turns acknowledged, each there once", told.len());
}

async fn check(folder: &Path, told: &Told, round: usize) {
    let store = SqliteStore::open(folder).await.unwrap();
    let mut conversations: HashMap<ConversationId, Vec<TurnId>> = HashMap::new();
    for (turn, (conversation, committed)) in told {
        let found = store.turn(&ada(), *turn).await.unwrap();
        let status = found.unwrap_or_else(|| panic!("round {round}: {turn} is lost")).status;
        let fits = status == TurnStatus::Completed || (status == TurnStatus::Interrupted && !committed);
        assert!(fits, "round {round}: {turn} is {status}");
        conversations.entry(*conversation).or_default().push(*turn);
    }
    for (id, turns) in conversations {
        let page = Page { limit: 1000, after: None };
        let messages = store.messages(&ada(), id, page).await.unwrap().unwrap().items;
        for (index, message) in messages.iter().enumerate() {
            assert_eq!(message.sequence, index as i64 + 1, "round {round}: a gap in {id}");
            assert_ne!(message.status, "running", "round {round}: {id}");
        }
        for turn in turns {
            let of_turn: Vec<_> = messages.iter().filter(|message| message.turn == Some(turn)).collect();
            let roles: Vec<&str> = of_turn.iter().map(|message| message.role.as_str()).collect();
            let whole = of_turn[0].status == "complete";
            assert_eq!(
                roles,
                if whole { vec!["user", "assistant"] } else { vec!["user"] },
                "round {round}: {turn}"
            );
        }
    }
    store.close().await;
}
