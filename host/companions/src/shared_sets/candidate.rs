//! A set that a host has made of a generation and can switch to, or why it could make none.

use std::sync::Arc;
use std::time::Duration;

use masque_config::Config;
use tokio::time::Instant;

use crate::set::ActiveSet;

/// How long after a failure the same generation is tried again: a secret or a database may be back by then.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);

/// What a set was made of.
#[derive(Clone)]
pub(crate) struct Ingredients {
    /// The number of the generation.
    pub(crate) generation: u64,
    /// The configuration of this host.
    pub(crate) local: Arc<Config>,
    /// The set in use, from which packages and plugins are taken.
    pub(crate) base: Option<Arc<ActiveSet>>,
}

/// A set that is ready.
pub(crate) struct Candidate {
    pub(crate) of: Ingredients,
    pub(crate) revision: u64,
    pub(crate) set: ActiveSet,
    /// What the operator should know nevertheless.
    pub(crate) warnings: Vec<String>,
}

/// Why there is none.
pub(crate) struct Failure {
    pub(crate) of: Ingredients,
    /// One line each.
    pub(crate) problems: Vec<String>,
    pub(crate) at: Instant,
}

impl Ingredients {
    /// Whether a set made of either is the same.
    pub(crate) fn are_same(&self, other: &Self) -> bool {
        let bases = (&self.base, &other.base);
        self.generation == other.generation
            && Arc::ptr_eq(&self.local, &other.local)
            && match bases {
                (Some(one), Some(two)) => Arc::ptr_eq(one, two),
                (None, None) => true,
                _ => false,
            }
    }
}

impl Failure {
    pub(crate) fn is_worth_a_retry(&self, wanted: &Ingredients) -> bool {
        !self.of.are_same(wanted) || self.at.elapsed() >= RETRY_INTERVAL
    }
}
