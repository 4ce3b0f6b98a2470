//! Random operations, applied one after the other to SQLite and to PostgreSQL, have equal results.
//!
//! Each seed makes another sequence. `MASQUE_SEED=17` runs one seed alone, `MASQUE_FULL=1` runs many more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "all of this crate is a test"
)]

mod basics;
mod generate;
mod generate_users;
mod normalise;
mod operation;
mod parts;
mod spending;
mod user_data;
mod world;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use masque_store::Store;
use masque_store_postgres::PostgresStore;
use masque_store_postgres::testing::TestServer;
use masque_store_sqlite::SqliteStore;

use crate::normalise::Outcome;
use crate::operation::{Operation, apply};
use crate::world::World;

/// How many operations a sequence has before everything is read.
const LENGTH: usize = 250;

/// How many operations before a difference are shown.
const SHOWN: usize = 30;

/// Applies an operation to both stores. A difference is described.
async fn compare(stores: &[Arc<dyn Store>; 2], operation: &Operation) -> Result<Outcome, String> {
    // What is ordered by the time of an operation needs another time than the one before.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let sqlite = apply(&stores[0], operation).await;
    let postgres = apply(&stores[1], operation).await;
    if sqlite.seen == postgres.seen {
        return Ok(sqlite);
    }
    Err(format!("{operation:#?}\n\nSQLite:   {}\n\nPostgres: {}", sqlite.seen, postgres.seen))
}

/// Applies the sequence of a seed to empty stores. `fault` is SQL that breaks the one on PostgreSQL.
async fn run(seed: u64, fault: Option<&str>) -> Result<(), String> {
    let server = TestServer::shared();
    let database = server.migrated_database().await;
    if let Some(fault) = fault {
        tokio::task::block_in_place(|| server.psql(&database.name, fault));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut options = database.options();
    options.max_connections = 2;
    let stores: [Arc<dyn Store>; 2] =
        [SqliteStore::open(folder.path()).await.unwrap(), PostgresStore::open(&options).await.unwrap()];
    let mut world = World::new(seed);
    let mut applied = VecDeque::new();
    let mut left = VecDeque::new();
    for number in 0.. {
        if number == LENGTH {
            left.extend(world.reads());
        }
        let operation = if number < LENGTH { Some(world.next()) } else { left.pop_front() };
        let Some(operation) = operation else { break };
        match compare(&stores, &operation).await {
            Ok(outcome) => world.learn(&outcome.learned),
            Err(difference) => {
                let applied: Vec<String> = applied.iter().map(|operation| format!("{operation:?}")).collect();
                return Err(format!("MASQUE_SEED={seed}, after\n{}\n\n{difference}", applied.join("\n")));
            }
        }
        applied.push_back(operation);
        if applied.len() > SHOWN {
            applied.pop_front();
        }
    }
    for store in stores {
        store.close().await;
    }
    Ok(())
}

/// The first difference of some seeds.
async fn first_difference(seeds: Range<u64>, fault: Option<&'static str>) -> Option<String> {
    let mut runs = stream::iter(seeds).map(|seed| tokio::spawn(run(seed, fault))).buffered(4);
    while let Some(ended) = runs.next().await {
        if let Err(difference) = ended.unwrap() {
            return Some(difference);
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_have_equal_results_on_both_databases() {
    let full = std::env::var("MASQUE_FULL").is_ok_and(|value| value == "1");
    let seeds = match std::env::var("MASQUE_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("MASQUE_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..if full { 400 } else { 16 },
    };
    if let Some(difference) = first_difference(seeds, None).await {
        panic!("{difference}");
    }
}

/// Faults of the kinds that a store could have.
const FAULTS: [(&str, &str); 4] = [
    (
        "a turn that lost its lease goes on running",
        "CREATE OR REPLACE FUNCTION masque_interrupt_v1(p_turn uuid, p_now bigint) RETURNS void
         LANGUAGE sql AS 'SELECT 1'",
    ),
    (
        "a queue stops after its first job",
        "CREATE OR REPLACE FUNCTION masque_advance_v1(p_queue text) RETURNS void LANGUAGE sql AS 'SELECT 1'",
    ),
    ("changed values are not counted", "DROP TRIGGER state_changed ON state"),
    (
        "one user reads the conversations of another",
        "CREATE OR REPLACE FUNCTION masque_user_v1(p_tenant text, p_issuer text, p_subject text, p_new uuid) RETURNS uuid
         LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO users (id, tenant, issuer, subject) VALUES (p_new, 'default', p_issuer, p_subject)
                 ON CONFLICT DO NOTHING;
             RETURN (SELECT id FROM users WHERE issuer = p_issuer AND subject = p_subject);
         END $$",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_comparison_finds_each_fault_that_is_planted_in_a_store() {
    for (fault, sql) in FAULTS {
        assert!(first_difference(0..16, Some(sql)).await.is_some(), "not found: {fault}");
    }
}
