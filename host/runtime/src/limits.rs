//! How much one call may use, and the counters that hold it to that.
//!
//! Wasmtime's own defaults leave the host's memory open (128 MiB of lifted data a call, 100,000 handles, every memory
//! counted alone), so each is set here, per store.

pub(crate) use masque_grants::Limits;
use wasmtime::ResourceLimiter;

use crate::guest::Notes;

/// Which limit a guest ran into when it was refused more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    Memory,
    Table,
}

/// Counts all memories and tables of a store together; wasmtime's `StoreLimits` counts each alone.
#[derive(Debug)]
pub(crate) struct Ledger {
    memory_bytes: usize,
    memory_limit: usize,
    table_elements: usize,
    table_limit: usize,
    /// Of the call that runs.
    pub(crate) notes: Notes,
}

impl Ledger {
    pub(crate) fn new(limits: &Limits, notes: Notes) -> Self {
        Self {
            memory_bytes: 0,
            memory_limit: limits.memory_bytes,
            table_elements: 0,
            table_limit: limits.table_elements,
            notes,
        }
    }

    fn grow(used: &mut usize, limit: usize, current: usize, desired: usize) -> bool {
        let after = used.saturating_add(desired.saturating_sub(current));
        if after > limit {
            return false;
        }
        *used = after;
        true
    }
}

impl ResourceLimiter for Ledger {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = Self::grow(&mut self.memory_bytes, self.memory_limit, current, desired);
        if !granted {
            self.notes.exhausted(Exhausted::Memory);
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = Self::grow(&mut self.table_elements, self.table_limit, current, desired);
        if !granted {
            self.notes.exhausted(Exhausted::Table);
        }
        Ok(granted)
    }

    fn instances(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        8
    }

    fn tables(&self) -> usize {
        64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_counted_together() {
        let notes = Notes::default();
        let mut ledger = Ledger::new(&Limits { memory_bytes: 100, ..Limits::default() }, notes.clone());
        assert!(ledger.memory_growing(0, 60, None).unwrap());
        assert!(ledger.memory_growing(0, 40, None).unwrap());
        assert_eq!(notes.exhaustion(), None);
        assert!(!ledger.memory_growing(40, 41, None).unwrap());
        assert_eq!(notes.exhaustion(), Some(Exhausted::Memory));
    }

    #[test]
    fn a_refused_growth_is_not_counted() {
        let notes = Notes::default();
        let mut ledger = Ledger::new(&Limits { table_elements: 10, ..Limits::default() }, notes.clone());
        assert!(!ledger.table_growing(0, 11, None).unwrap());
        assert!(ledger.table_growing(0, 10, None).unwrap());
        assert_eq!(notes.exhaustion(), Some(Exhausted::Table));
    }
}
