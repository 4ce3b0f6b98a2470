//! Measures what each operation of a turn costs when a database holds a thousand to a million conversations, on PostgreSQL
//! and on SQLite, and prints the plans of their queries.
//!
//!     cargo bench -p masque-store-postgres --bench growth -- 1000 10000 100000 1000000
//!
//! A million conversations take about 9 GB in each database, one after the other, and some minutes to fill. The tables are
//! those of `docs/scaling.md`; the plans come after them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark ends when it can't continue, and prints what it measured"
)]

mod cpu;
mod operations;
mod postgres;
mod sqlite;

use std::time::Instant;

use crate::operations::{Measured, measure};

#[tokio::main]
async fn main() {
    let sizes: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000, 10_000] } else { sizes };
    for size in sizes {
        let begin = Instant::now();
        let database = postgres::fill(size).await;
        let store = database.open().await;
        let filled = begin.elapsed();
        let bytes = store.size().await.unwrap().database;
        eprintln!("PostgreSQL: {size} conversations in {filled:.1?}");
        let measured = measure(&store, size, || database.cpu()).await;
        print_table("PostgreSQL", size, bytes, &measured);
        store.close().await;
        println!("{}", database.plans(size).await);
        drop(database);

        let begin = Instant::now();
        let folder = sqlite::fill(size).await;
        let store = sqlite::open(folder.path()).await;
        eprintln!("SQLite: {size} conversations in {:.1?}", begin.elapsed());
        let bytes = store.size().await.unwrap().database;
        let measured = measure(&store, size, cpu::of_this_process).await;
        print_table("SQLite", size, bytes, &measured);
        store.close().await;
        println!("{}", sqlite::plans(folder.path()));
    }
}

fn print_table(database: &str, size: u64, bytes: u64, measured: &[Measured]) {
    println!("\n{database}, {size} conversations, {} MB\n", bytes / 1_000_000);
    println!("| operation | p50 ms | p99 ms | CPU ms |\n| --- | ---: | ---: | ---: |");
    for Measured { name, p50, p99, cpu } in measured {
        println!("| {name} | {p50:.2} | {p99:.2} | {cpu:.2} |");
    }
    println!();
}
