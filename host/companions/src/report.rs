//! How an attempt to change the active set went, for the status page and the log.

use std::time::SystemTime;

/// The result of the last attempt to make a new generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadReport {
    /// When the attempt ended.
    pub at: SystemTime,
    /// Whether the change is in effect.
    pub outcome: ReloadOutcome,
    /// The generation in use since then.
    pub generation: u64,
    /// One line for each problem: every error if the change was refused, otherwise the warnings.
    pub problems: Vec<String>,
}

/// Whether a change of the files is in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// What the files say is in effect.
    Applied,
    /// The files have errors, and the previous generation stays in effect.
    Refused,
}

impl ReloadReport {
    /// A report of an attempt that ends now.
    pub(crate) fn new(outcome: ReloadOutcome, generation: u64, problems: Vec<String>) -> Self {
        Self { at: SystemTime::now(), outcome, generation, problems }
    }

    /// Whether both say the same, apart from the time. A repeated report is not logged again.
    pub(crate) fn equals_apart_from_time(&self, other: &Self) -> bool {
        (self.outcome, self.generation, &self.problems) == (other.outcome, other.generation, &other.problems)
    }
}
