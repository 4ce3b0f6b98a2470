//! The allocations of a call, compared with the stored figures in `bench/counts/allocations.txt`.
//!
//! The test counts the host's side of a call with ten messages in a fresh instance: binding the arguments, the store, lowering,
//! lifting and translating. The number does not depend on the speed of the machine. It rises, for instance, when an argument is
//! copied for each call. `cargo xtask counts --store` stores new figures.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a failed precondition fails the test"
)]

mod fixtures;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fixtures::{built, call, sandbox, turn};
use masque_grants::{Grants, Limits};
use masque_runtime::Plugin;
use masque_runtime::contract::{Delta, Message, Prompt, Recollection, Turn};

/// Calls of which the one with the fewest allocations counts: the first calls fill caches.
const CALLS: usize = 20;
/// The messages of each call, besides the turn's own.
const MESSAGES: usize = 10;
/// Set by `cargo xtask counts --store`: the figures are stored and not compared.
const STORE: &str = "MASQUE_STORE_ALLOCATIONS";

/// Counts the allocations of each thread.
struct CountingAllocator;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // At the end of a thread the counter is gone, and nobody reads it any more.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every function passes its arguments on to the system's allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

// On one thread, so that its counter sees everything that the call does.
#[tokio::test]
async fn a_call_allocates_no_more_than_is_stored() {
    let (memory, persona, model) = (plugin("window").await, plugin("card").await, plugin("offline").await);
    let turn = Turn { tail: messages(), ..turn("Hello") };
    let recalled = Recollection { messages: messages(), memories: Vec::new(), metadata: Vec::new() };
    let prompt =
        Prompt { messages: messages(), tools: Vec::new(), options: Vec::new(), metadata: Vec::new() };

    let counted = BTreeMap::from([
        (
            "compose",
            fewest(async || {
                let recalled = recalled.clone();
                let before = allocations();
                persona.compose(call(), &turn, recalled).await.unwrap();
                allocations() - before
            })
            .await,
        ),
        (
            "generate",
            fewest(async || {
                let before = allocations();
                let mut deltas = model.generate(call(), &prompt).await.unwrap();
                let mut last = None;
                while let Some(batch) = deltas.next().await {
                    last = batch.unwrap().pop();
                }
                assert!(matches!(last, Some(Delta::Finish(_))), "{last:?}");
                allocations() - before
            })
            .await,
        ),
        (
            "recall",
            fewest(async || {
                let before = allocations();
                memory.recall(call(), &turn, 4096).await.unwrap();
                allocations() - before
            })
            .await,
        ),
    ]);
    if std::env::var_os(STORE).is_some() {
        let lines: String =
            counted.iter().map(|(function, count)| format!("{count:>9}  {function}\n")).collect();
        std::fs::write(stored_path(), lines).unwrap();
        return;
    }
    let stored = stored();
    for (function, count) in &counted {
        let before = stored.get(*function).copied().unwrap_or_default();
        println!("{function}: {count} allocations, {before} stored");
        assert!(
            *count <= before,
            "`{function}` allocates {count} times, and {before} are stored. If that is intended, run `cargo xtask counts --store` \
             and give the reason in the commit."
        );
    }
    assert_eq!(stored.len(), counted.len(), "a stored function is no longer counted");
}

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

async fn fewest(call: impl AsyncFn() -> u64) -> u64 {
    let mut fewest = u64::MAX;
    for _ in 0..CALLS {
        fewest = fewest.min(call().await);
    }
    fewest
}

/// A built-in plugin with default settings.
async fn plugin(name: &str) -> Plugin {
    let package = sandbox().load(built("plugins", name).into(), &Limits::default()).await.unwrap();
    Plugin::new(package, name.to_owned(), "{}".to_owned(), Grants::default(), Limits::default())
}

fn messages() -> Vec<Message> {
    let one = |index: usize| {
        let role = if index.is_multiple_of(2) { "user" } else { "assistant" };
        let mut message =
            Message::new(role, "What was said here is as long as a sentence of a talk mostly is.");
        message.id = Some(format!("message-{index}").into());
        message
    };
    (0..MESSAGES).map(one).collect()
}

fn stored_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/counts/allocations.txt")
}

fn stored() -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(stored_path()).unwrap();
    let line = |line: &str| {
        let (count, function) = line.trim().split_once("  ").unwrap();
        (function.to_owned(), count.parse().unwrap())
    };
    text.lines().map(line).collect()
}
