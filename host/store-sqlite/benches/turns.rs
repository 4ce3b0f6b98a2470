//! Measures turns in the store, from admission to commit, one after another and several at the same time. Run by
//! `cargo xtask bench pieces`.
//!
//! The data is in the target folder, so that it is on a disk and not in memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark ends when it can't continue")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use futures::future::join_all;
use masque_store::{
    Admission, AdmissionOutcome, Commit, ConversationId, Idempotency, MessageId, NewMessage, Owner,
    TailLimit, Target, TurnId, Turns, UsageRecord,
};
use masque_store_sqlite::SqliteStore;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

fn main() {
    divan::main();
}

struct Bench {
    runtime: Runtime,
    store: Arc<SqliteStore>,
    host: Uuid,
    _folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let store = runtime.block_on(SqliteStore::open(folder.path())).unwrap();
        Self { runtime, store, host: Uuid::now_v7(), _folder: folder }
    }

    fn owner() -> Owner {
        Owner { tenant: "default".into(), issuer: "bench".into(), subject: "user".into() }
    }

    fn new_conversation() -> Target {
        Target::New { id: ConversationId::new(), companion: "elara".into(), title: "Tell me.".into() }
    }

    fn admission(&self, target: Target) -> Admission {
        Admission {
            owner: Self::owner(),
            host: self.host,
            lease: Duration::from_secs(10),
            turn: TurnId::new(),
            target,
            companion: None,
            companions: Arc::new(BTreeSet::from(["elara".to_owned()])),
            message: message("Tell me."),
            idempotency: Some(Idempotency {
                route: "POST /chat".into(),
                key: Uuid::now_v7().to_string(),
                digest: vec![0; 32],
                ttl: Duration::from_secs(60),
            }),
            resume: false,
            tail: TailLimit { messages: 64, bytes: 64 << 10 },
            waiting: None,
        }
    }

    /// Runs one turn from its admission to its commit, and waits until both are durable.
    async fn turn(&self, target: Target) -> ConversationId {
        let admitted = self.store.admit(self.admission(target)).await.unwrap();
        let AdmissionOutcome::Started(started) = admitted.outcome else {
            panic!("the turn was not admitted")
        };
        admitted.durable.wait().await.unwrap();
        let commit = Commit {
            owner: Self::owner(),
            conversation: started.conversation,
            turn: started.turn,
            epoch: started.epoch,
            reply: message(&"word ".repeat(40)),
            finish: "stop".into(),
            usage: UsageRecord::default(),
            response: json!({ "reply": { "role": "assistant", "content": "word ".repeat(40) } }),
            jobs: Vec::new(),
        };
        black_box(self.store.commit(commit).await.unwrap());
        started.conversation
    }

    /// A conversation of ten turns.
    async fn conversation(&self) -> ConversationId {
        let id = self.turn(Self::new_conversation()).await;
        for _ in 1..10 {
            self.turn(Target::Existing(id)).await;
        }
        id
    }
}

fn message(content: &str) -> NewMessage {
    NewMessage { id: MessageId::new(), content: content.into(), metadata: json!({}) }
}

/// Measures the time per turn in new conversations, with `concurrent` turns at the same time. Operations that are ready
/// together share a transaction and its `fdatasync`.
#[divan::bench(args = [1, 8, 64])]
fn turns(bencher: Bencher<'_, '_>, concurrent: usize) {
    let bench = Bench::new();
    bencher.counter(ItemsCount::new(concurrent)).bench_local(|| {
        bench.runtime.block_on(join_all((0..concurrent).map(|_| bench.turn(Bench::new_conversation()))))
    });
}

/// Measures the time per turn in existing conversations, whose tails have at least 20 messages.
#[divan::bench(args = [1, 8, 64])]
fn follow_ups(bencher: Bencher<'_, '_>, concurrent: usize) {
    let bench = Bench::new();
    let ids = bench.runtime.block_on(join_all((0..concurrent).map(|_| bench.conversation())));
    bencher.counter(ItemsCount::new(concurrent)).bench_local(|| {
        bench.runtime.block_on(join_all(ids.iter().map(|id| bench.turn(Target::Existing(*id)))))
    });
}

/// Measures the lookup of an idempotency key that does not exist.
#[divan::bench]
fn unseen_key(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let owner = Bench::owner();
    bencher
        .bench_local(|| bench.runtime.block_on(bench.store.keyed(&owner, "POST /chat", "unseen")).unwrap());
}
