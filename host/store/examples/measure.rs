//! What a turn costs the store: `cargo run --release -p masque-store --example measure [FOLDER]`.
//!
//! Prints the time of an admission until its outcome and until it is on disk, of a commit, and how many whole turns a
//! second go through at several numbers of conversations at once. Run it on the disk that matters.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use masque_store::{
    Admission, Commit, ConversationId, JobId, MessageId, NewJob, NewMessage, Outcome, Owner, SqliteStore,
    Started, Store, StoreError, TailLimit, Target, TurnId, UsageRecord,
};
use serde_json::json;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let temporary = tempfile::tempdir()?;
    let folder = std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let store: Arc<dyn Store> = SqliteStore::open(&folder).await?;

    let mut outcome = Vec::new();
    let mut durable = Vec::new();
    let mut commit = Vec::new();
    let mut target = new();
    for _ in 0..500 {
        let began = Instant::now();
        let admitted = store.admit(admission(target)).await?;
        outcome.push(began.elapsed());
        admitted.durable.wait().await?;
        durable.push(began.elapsed());
        let started = started(admitted.outcome)?;
        target = Target::Existing(started.conversation);
        let began = Instant::now();
        store.commit(reply(&started)).await?;
        commit.push(began.elapsed());
    }
    for (what, mut times) in
        [("admission, outcome", outcome), ("admission, on disk", durable), ("commit", commit)]
    {
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
        println!("{what:20} p50 {:?}  p90 {:?}  p99 {:?}", at(50), at(90), at(99));
    }

    for conversations in [1_u32, 8, 64, 256] {
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..conversations {
            tasks.spawn(talk(Arc::clone(&store), began + Duration::from_secs(2)));
        }
        let mut turns = 0;
        while let Some(done) = tasks.join_next().await {
            turns += done??;
        }
        println!(
            "{conversations:4} conversations: {:.0} turns/s",
            f64::from(turns) / began.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

async fn talk(store: Arc<dyn Store>, until: Instant) -> Result<u32, Failure> {
    let mut target = new();
    let mut turns = 0;
    while Instant::now() < until {
        let admitted = store.admit(admission(target)).await?;
        let started = started(admitted.outcome)?;
        admitted.durable.wait().await?;
        store.commit(reply(&started)).await?;
        target = Target::Existing(started.conversation);
        turns += 1;
    }
    Ok(turns)
}

fn new() -> Target {
    Target::New { id: ConversationId::new(), companion: "elara".into(), title: "Measured".into() }
}

fn owner() -> Owner {
    Owner { tenant: "default".into(), issuer: "local".into(), subject: "local".into() }
}

fn admission(target: Target) -> Admission {
    Admission {
        owner: owner(),
        host: Uuid::from_u128(1),
        lease: Duration::from_secs(30),
        turn: TurnId::new(),
        target,
        companion: None,
        companions: Arc::new(["elara".to_owned()].into()),
        message: NewMessage {
            id: MessageId::new(),
            content: "What did I say before? ".repeat(5),
            metadata: json!({}),
        },
        idempotency: None,
        tail: TailLimit { messages: 64, bytes: 65536 },
    }
}

fn started(outcome: Outcome) -> Result<Started, StoreError> {
    match outcome {
        Outcome::Started(started) => Ok(started),
        other => Err(StoreError::Refused(format!("not started: {other:?}"))),
    }
}

fn reply(started: &Started) -> Commit {
    let content = "You said that you would come back, and here you are. ".repeat(10);
    Commit {
        owner: owner(),
        conversation: started.conversation,
        turn: started.turn,
        epoch: started.epoch,
        response: json!({ "reply": content }),
        reply: NewMessage { id: MessageId::new(), content, metadata: json!({}) },
        finish: "stop".into(),
        usage: UsageRecord { input_tokens: 900, output_tokens: 120, cached_tokens: 0 },
        jobs: vec![NewJob {
            id: JobId::new(),
            plugin: "window".into(),
            ability: masque_store::Ability::Observe,
            payload: started.turn.to_string(),
        }],
        charge: masque_store::Charge::default(),
    }
}
