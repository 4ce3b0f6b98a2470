//! Runs a piece a number of times: `masque-counts PIECE TIMES`. Without arguments, prints the names of all pieces.
#![allow(clippy::print_stdout, reason = "a command line prints")]

use anyhow::Context;
use masque_counts::PIECES;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(wanted) = arguments.next() else {
        for (name, _) in PIECES {
            println!("{name}");
        }
        return Ok(());
    };
    let times: u32 = arguments.next().context("PIECE TIMES")?.parse()?;
    let (_, make) = PIECES.iter().find(|(name, _)| *name == wanted).context("there is no such piece")?;
    let mut work = make()?;
    for _ in 0..times {
        std::hint::black_box(work()?);
    }
    Ok(())
}
