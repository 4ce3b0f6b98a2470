//! What is done when the metrics are read: values that are read rather than counted are set then.

use std::sync::{Arc, Mutex, PoisonError};

type Hook = Arc<dyn Fn() + Send + Sync>;

static HOOKS: Mutex<Vec<Hook>> = Mutex::new(Vec::new());

/// Calls `hook` before the metrics are written, for as long as the process lives: it sets gauges whose values are read, such
/// as instances in use.
///
/// It runs on a thread for blocking work, several times at once where several readers come together. It must return within
/// milliseconds, ask no server, and hold what it reads weakly where that has an end.
pub fn on_scrape(hook: impl Fn() + Send + Sync + 'static) {
    HOOKS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(hook));
}

/// Calls all hooks.
pub(crate) fn run_hooks() {
    // Not while the list is locked: a hook may add another.
    let hooks = HOOKS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for hook in hooks {
        hook();
    }
}
