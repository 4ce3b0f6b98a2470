//! How much one call may use, and the counters that hold it to that.
//!
//! Wasmtime's own defaults leave the host's memory open (128 MiB of lifted data a call, 100,000 handles, every memory
//! counted alone), so each is set here, per store.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use crate::guest::Notes;

/// The limits of one call. The defaults fit a plugin written in Rust; a heavier runtime is given more by its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first instruction of instantiation to the last item of the reply.
    pub wall: Duration,
    /// Time on a core, what the host does on the guest's behalf included.
    pub cpu: Duration,
    /// Bytes in all linear memories together.
    pub memory_bytes: usize,
    /// Elements in all tables together.
    pub table_elements: usize,
    /// Bytes that the guest may hand to the host in one host call, or in the result of a call.
    pub hostcall_bytes: usize,
    /// Live component-model handles.
    pub handles: usize,
    /// Live resources on the host's side (requests, bodies, fields).
    pub resources: usize,
    /// Bytes in the headers of one request or response.
    pub header_bytes: usize,
    /// Outgoing requests that are under way at the same time.
    pub requests: usize,
    /// Questions that one call may ask the companion's models.
    pub questions: usize,
    /// Bytes in one item of a reply.
    pub delta_bytes: usize,
    /// Lines that one call may log; the rest is dropped and counted.
    pub log_lines: usize,
    /// Bytes in all log lines of one call.
    pub log_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A slow model on a busy day; what bounds the whole turn is its deadline.
            wall: Duration::from_secs(60),
            cpu: Duration::from_secs(2),
            memory_bytes: 64 << 20,
            // Rust components have a few hundred; componentize-py's about 20,000.
            table_elements: 100_000,
            // A prompt at its largest is a few hundred KiB; lifting costs a multiple of the bytes.
            hostcall_bytes: 8 << 20,
            handles: 10_000,
            resources: 1_000,
            header_bytes: 64 << 10,
            requests: 8,
            questions: 8,
            delta_bytes: 64 << 10,
            log_lines: 200,
            log_bytes: 64 << 10,
        }
    }
}

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
