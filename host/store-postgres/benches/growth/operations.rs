//! The operations that are measured: those of a turn, of a job, and of a host.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use masque_store::conformance::fixtures::{
    LONG, admission, admit, host, job, kept, key, new_conversation, reply,
};
use masque_store::{
    Admission, AdmissionOutcome, Commit, ConversationId, JobCompletion, JobLimits, Owner, Page, Started,
    StateChange, StateKey, StateScope, StateSpace, StateWrite, Store, TailLimit, Target,
};
use masque_store_postgres::testing::{CONVERSATIONS_OF_A_USER, conversation_id};

/// How often each operation is run.
const TIMES: usize = 400;

/// What an operation costs, in milliseconds.
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) cpu: f64,
}

/// A conversation of the filled database.
#[derive(Clone)]
pub(crate) struct Filled {
    owner: Owner,
    id: ConversationId,
}

/// Some conversations, spread over all, each at most once.
fn some(size: u64, rng: &mut Rng, count: usize) -> Vec<Filled> {
    let chosen = rng.choose_multiple(0..size, count.min(size as usize));
    let filled = |number: u64| Filled {
        owner: Owner {
            tenant: "default".into(),
            issuer: "bench".into(),
            subject: format!("user-{}", number / CONVERSATIONS_OF_A_USER),
        },
        id: ConversationId::from(conversation_id(size, number)),
    };
    chosen.into_iter().map(filled).collect()
}

fn state_key(filled: &Filled) -> StateKey {
    let scope = StateScope::Conversation(filled.id);
    let space = StateSpace { tenant: "default".into(), plugin: "window".into(), scope };
    StateKey { space, key: "summary".into() }
}

async fn start(store: &Arc<dyn Store>, owner: &Owner, target: Target, name: String) -> (Owner, Started) {
    let keyed = Admission {
        owner: owner.clone(),
        idempotency: key(&name),
        companions: Arc::new(["elara".to_owned(), "bran".to_owned()].into()),
        ..admission(target, "Tell me.")
    };
    match admit(store, keyed).await {
        AdmissionOutcome::Started(started) => (owner.clone(), started),
        other => panic!("{other:?}"),
    }
}

/// Runs an operation on each of some things, and measures it.
async fn each<T, R, F: Future<Output = R>>(
    measured: &mut Vec<Measured>,
    name: &'static str,
    cpu: &impl Fn() -> Duration,
    things: Vec<T>,
    run: impl Fn(T) -> F,
) -> Vec<R> {
    let (count, cpu_before) = (things.len(), cpu());
    let (mut times, mut results) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for thing in things {
        let begin = Instant::now();
        results.push(run(thing).await);
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    let used = cpu().saturating_sub(cpu_before).as_secs_f64() * 1000.0;
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((count as f64 * part) as usize).min(count - 1)];
    measured.push(Measured { name, p50: at(0.5), p99: at(0.99), cpu: used / count as f64 });
    results
}

/// Measures every operation on a filled store.
pub(crate) async fn measure(store: &Arc<dyn Store>, size: u64, cpu: impl Fn() -> Duration) -> Vec<Measured> {
    let mut rng = Rng::with_seed(1);
    let mut measured = Vec::new();
    store.heartbeat(host(), &[], LONG).await.unwrap();
    // Statements are prepared on their first use, and what a start reads into memory is there.
    run_once(store, size, &mut rng).await;
    let (m, cpu) = (&mut measured, &cpu);
    let mut chosen = || some(size, &mut rng, TIMES);

    let things = chosen();
    each(m, "admission, new conversation", cpu, things, |filled| async move {
        start(store, &filled.owner, new_conversation(), format!("new-{}", filled.id)).await
    })
    .await;
    let things = chosen();
    let started = each(m, "admission, existing conversation", cpu, things, |filled| async move {
        start(store, &filled.owner, Target::Existing(filled.id), format!("old-{}", filled.id)).await
    })
    .await;
    let turns: Vec<_> = started.iter().map(|(_, started)| started.turn).take(32).collect();
    let turns = &turns;
    each(m, "heartbeat with 32 turns", cpu, vec![(); TIMES / 4], |()| async move {
        assert_eq!(store.heartbeat(host(), turns, LONG).await.unwrap().held.len(), turns.len());
    })
    .await;
    each(m, "commit with a job", cpu, started, |(owner, started)| async move {
        kept(store.commit(Commit { owner, jobs: vec![job("window")], ..reply(&started, "Hi") }).await);
    })
    .await;
    let things = chosen();
    each(m, "conversations, a page of 20", cpu, things, |filled| async move {
        let page = Page { limit: 20, after: None };
        assert!(!store.conversations(&filled.owner, page).await.unwrap().items.is_empty());
    })
    .await;
    let things = chosen();
    each(m, "messages, a page of 20", cpu, things, |filled| async move {
        let page = Page { limit: 20, after: None };
        let page = store.messages(&filled.owner, filled.id, page).await.unwrap().unwrap();
        assert!(page.items.len() >= 10);
    })
    .await;
    let things = chosen();
    each(m, "newest messages (tail)", cpu, things, |filled| async move {
        let limit = TailLimit { messages: 64, bytes: 65536 };
        assert!(store.messages_before(&filled.owner, filled.id, None, limit).await.unwrap().len() >= 10);
    })
    .await;
    let things = chosen();
    each(m, "state, read", cpu, things, |filled| async move {
        assert!(store.state_get(&state_key(&filled)).await.unwrap().is_some());
    })
    .await;
    let things = chosen();
    each(m, "state, write", cpu, things, |filled| async move {
        let change = StateChange::Set { value: vec![1; 300], if_version: None, ttl: None };
        let write = StateWrite { key: state_key(&filled), change, quota: Some(1 << 20) };
        store.state_write(None, vec![write]).await.unwrap().unwrap();
    })
    .await;
    let taken = each(m, "job, taken", cpu, vec![(); TIMES / 4], |()| async move {
        store.take(host(), LONG, JobLimits::total(1), None).await.unwrap().jobs
    })
    .await;
    let taken = taken.into_iter().flatten().collect();
    each(m, "job, completed", cpu, taken, |job| async move {
        assert!(store.complete(job.id, job.epoch, JobCompletion::default()).await.unwrap());
    })
    .await;
    each(m, "counts of jobs", cpu, vec![(); TIMES / 4], |()| async move { store.counts().await.unwrap() })
        .await;
    each(m, "recovery, nothing to do", cpu, vec![(); TIMES / 4], |()| async move {
        store.recover(host()).await.unwrap()
    })
    .await;
    each(
        m,
        "sweep, nothing to do",
        cpu,
        vec![(); TIMES / 4],
        |()| async move { store.sweep().await.unwrap() },
    )
    .await;
    measured
}

/// Runs the operations of a turn once, and looks at a few conversations.
pub(crate) async fn run_once(store: &Arc<dyn Store>, size: u64, rng: &mut Rng) {
    for (number, filled) in some(size, rng, 8).into_iter().enumerate() {
        let name = format!("first-{}-{number}", filled.id);
        let (owner, started) = start(store, &filled.owner, Target::Existing(filled.id), name).await;
        let write = StateWrite {
            key: state_key(&filled),
            change: StateChange::Set { value: vec![1; 300], if_version: None, ttl: None },
            quota: Some(1 << 20),
        };
        store.state_get(&write.key).await.unwrap();
        store.state_write(None, vec![write]).await.unwrap().unwrap();
        store.heartbeat(host(), &[started.turn], LONG).await.unwrap();
        kept(store.commit(Commit { owner, jobs: vec![job("window")], ..reply(&started, "Hi") }).await);
        let page = || Page { limit: 20, after: None };
        store.conversations(&filled.owner, page()).await.unwrap();
        store.messages(&filled.owner, filled.id, page()).await.unwrap();
        let tail = TailLimit { messages: 64, bytes: 65536 };
        store.messages_before(&filled.owner, filled.id, None, tail).await.unwrap();
        for job in store.take(host(), LONG, JobLimits::total(1), None).await.unwrap().jobs {
            store.complete(job.id, job.epoch, JobCompletion::default()).await.unwrap();
        }
        store.recover(host()).await.unwrap();
        store.sweep().await.unwrap();
    }
}
