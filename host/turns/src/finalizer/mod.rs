//! Ends turns: in the store first, and for the readers after that. No client is told that a turn is complete before the
//! exchange is on disk, and no failed turn keeps its conversation.

mod finalize;
mod outcome;
mod records;
#[cfg(test)]
mod tests;

pub(crate) use finalize::Finalizer;
pub(crate) use outcome::{FinalizedTurn, FinishedTurn, TurnOutcome};
