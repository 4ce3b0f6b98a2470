//! Measures the time of the pieces whose instructions are counted: `cargo xtask bench pieces`.
#![allow(clippy::unwrap_used, reason = "a benchmark ends at an error")]

use divan::{Bencher, black_box};
use masque_counts::PIECES;

fn main() {
    divan::main();
}

#[divan::bench(args = PIECES.iter().map(|(name, _)| *name))]
fn piece(bencher: Bencher<'_, '_>, name: &str) {
    let (_, make) = PIECES.iter().find(|(piece, _)| *piece == name).unwrap();
    let mut work = make().unwrap();
    bencher.bench_local(|| black_box(work().unwrap()));
}
