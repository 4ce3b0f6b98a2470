//! What one call may write to its state. The quota of what is stored does not bound it: a call may write the same key again and
//! again, and each write is work for the store's only writer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use masque_grants::Limits;

/// The writes that a call has left.
#[derive(Debug)]
pub(crate) struct StateBudget {
    max_writes: usize,
    max_bytes: usize,
    left: Mutex<Left>,
    was_refused: AtomicBool,
}

#[derive(Debug)]
struct Left {
    writes: usize,
    bytes: usize,
}

impl StateBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let left = Left { writes: limits.state_writes, bytes: limits.state_write_bytes };
        Self {
            max_writes: left.writes,
            max_bytes: left.bytes,
            left: Mutex::new(left),
            was_refused: AtomicBool::new(false),
        }
    }

    /// Whether this is the call's first refusal; a guest may go on and try ten thousand times.
    pub(crate) fn is_first_refusal(&self) -> bool {
        !self.was_refused.swap(true, Ordering::Relaxed)
    }

    /// Counts one write of `bytes`, whether or not it succeeds.
    ///
    /// # Errors
    /// The limit that it would exceed; nothing is counted.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), String> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writes) = left.writes.checked_sub(1) else {
            return Err(format!("more than {} writes to `state` (limit `state_writes`)", self.max_writes));
        };
        let Some(bytes) = left.bytes.checked_sub(bytes) else {
            return Err(format!(
                "more than {} bytes written to `state` (limit `state_write_bytes`)",
                self.max_bytes
            ));
        };
        *left = Left { writes, bytes };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_bytes_are_bounded_and_the_limit_is_named() {
        let budget = |state_writes, state_write_bytes| {
            StateBudget::new(&Limits { state_writes, state_write_bytes, ..Limits::default() })
        };
        let few = budget(2, 100);
        assert!(few.charge(1).is_ok() && few.charge(0).is_ok());
        assert!(few.charge(0).unwrap_err().contains("`state_writes`"));
        let little = budget(10, 100);
        assert!(little.charge(60).is_ok());
        assert!(little.charge(41).unwrap_err().contains("`state_write_bytes`"));
        assert!(little.charge(40).is_ok());
    }
}
