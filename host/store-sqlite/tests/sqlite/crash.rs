//! A kill at any instant: every acknowledged turn is stored, once.
//!
//! A child process writes turns and prints the id of each one after its acknowledgement. The test kills it at a random
//! instant, opens the folder and looks up every id that was printed in this and all earlier rounds. `MASQUE_FULL=1` runs more
//! rounds.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::SqliteStore;

const FOLDER: &str = "MASQUE_STORE_TEST_FOLDER";

/// Appends the arguments that run one ignored test of this binary, and starts the command as a child process on `folder`.
pub(crate) fn child(mut command: Command, test: &str, folder: &Path) -> Child {
    command
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The folder that the child process works on.
pub(crate) fn child_folder() -> PathBuf {
    PathBuf::from(std::env::var_os(FOLDER).expect("only the parent process runs this test"))
}

pub(crate) fn this_binary() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// Prints one line and flushes it. The parent process takes every printed line for acknowledged.
pub(crate) fn acknowledge(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

#[test]
#[ignore = "runs in the child process of the next test"]
fn writes_turns_until_it_is_killed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store: Arc<dyn Store> = SqliteStore::open(&child_folder()).await.unwrap();
        let writers: Vec<_> = (0..6).map(|_| tokio::spawn(write_turns(Arc::clone(&store)))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn write_turns(store: Arc<dyn Store>) {
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

/// The acknowledged turns: the conversation of each, and whether its commit was acknowledged too.
type Acknowledged = HashMap<TurnId, (ConversationId, bool)>;

fn record(acknowledged: &mut Acknowledged, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    if let [word @ ("admitted" | "committed"), turn, conversation] = words[..] {
        let committed = word == "committed";
        acknowledged.insert(turn.parse().unwrap(), (conversation.parse().unwrap(), committed));
    }
}

#[test]
fn every_acknowledged_turn_is_stored_once_after_any_kill() {
    let full = std::env::var("MASQUE_FULL").is_ok_and(|value| value == "1");
    let rounds = if full { 200 } else { 20 };
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut acknowledged = Acknowledged::new();
    for round in 0..rounds {
        let mut child =
            child(Command::new(this_binary()), "crash::writes_turns_until_it_is_killed", folder.path());
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // The last bytes of an id are random.
        let [.., first, second] = Uuid::now_v7().into_bytes();
        for _ in 0..2 + usize::from(first) {
            let mut line = String::new();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "round {round}: the child ended by itself");
            record(&mut acknowledged, line.trim_end());
        }
        for _ in 0..u32::from(second) * 50 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        // Complete lines that are still in the pipe were acknowledged, too. An incomplete last line was not.
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        let (complete, _incomplete) = rest.rsplit_once('\n').unwrap_or_default();
        complete.lines().for_each(|line| record(&mut acknowledged, line));
        child.wait().unwrap();
        runtime.block_on(check(folder.path(), &acknowledged, round));
    }
    assert!(acknowledged.values().any(|(_, committed)| *committed));
    println!("{rounds} kills, {} turns acknowledged, each stored once", acknowledged.len());
}

async fn check(folder: &Path, acknowledged: &Acknowledged, round: usize) {
    let store = SqliteStore::open(folder).await.unwrap();
    let mut conversations: HashMap<ConversationId, Vec<TurnId>> = HashMap::new();
    for (turn, (conversation, committed)) in acknowledged {
        let found = store.turn(&ada(), *turn).await.unwrap();
        let status = found.unwrap_or_else(|| panic!("round {round}: {turn} is lost")).status;
        let is_expected =
            status == TurnStatus::Completed || (status == TurnStatus::Interrupted && !committed);
        assert!(is_expected, "round {round}: {turn} is {status}");
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
            let is_complete = of_turn[0].status == "complete";
            assert_eq!(
                roles,
                if is_complete { vec!["user", "assistant"] } else { vec!["user"] },
                "round {round}: {turn}"
            );
        }
    }
    store.close().await;
}
