//! Holds a store to its limits on memory and tables.

use std::sync::Arc;

use masque_grants::Limits;
use wasmtime::ResourceLimiter;

use crate::diagnostics::{CallDiagnostics, ExhaustedLimit};
use crate::observe::CallUsage;

/// Sums all memories and all tables of a store. Wasmtime's `StoreLimits` counts each of them alone.
#[derive(Debug)]
pub(crate) struct StoreLimiter {
    memory_bytes: usize,
    memory_limit: usize,
    table_elements: usize,
    table_limit: usize,
    diagnostics: CallDiagnostics,
    usage: Arc<CallUsage>,
}

impl StoreLimiter {
    pub(crate) fn new(limits: &Limits, diagnostics: CallDiagnostics, usage: Arc<CallUsage>) -> Self {
        Self {
            memory_bytes: 0,
            memory_limit: limits.memory_bytes,
            table_elements: 0,
            table_limit: limits.table_elements,
            diagnostics,
            usage,
        }
    }

    /// Reports to the next call of the store. It begins with the memory that the last one left.
    pub(crate) fn begin_call(&mut self, diagnostics: CallDiagnostics, usage: Arc<CallUsage>) {
        usage.record_memory(self.memory_bytes);
        (self.diagnostics, self.usage) = (diagnostics, usage);
    }

    /// Counts the growth from `current` to `desired`. Returns false where it would exceed the limit; nothing is counted then.
    fn grow(used: &mut usize, limit: usize, current: usize, desired: usize) -> bool {
        let after = used.saturating_add(desired.saturating_sub(current));
        if after > limit {
            return false;
        }
        *used = after;
        true
    }
}

impl ResourceLimiter for StoreLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = Self::grow(&mut self.memory_bytes, self.memory_limit, current, desired);
        if granted {
            self.usage.record_memory(self.memory_bytes);
        } else {
            self.diagnostics.record_exhaustion(ExhaustedLimit::Memory);
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
            self.diagnostics.record_exhaustion(ExhaustedLimit::Table);
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
    use std::time::Instant;

    use super::*;

    #[test]
    fn memories_are_counted_together() {
        let diagnostics = CallDiagnostics::default();
        let limits = Limits { memory_bytes: 100, ..Limits::default() };
        let usage = CallUsage::new(Instant::now());
        let mut limiter = StoreLimiter::new(&limits, diagnostics.clone(), usage.clone());
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert_eq!(diagnostics.exhausted(), None);
        assert!(!limiter.memory_growing(40, 41, None).unwrap());
        assert_eq!(diagnostics.exhausted(), Some(ExhaustedLimit::Memory));
        assert_eq!(usage.peak_memory(), 100);
        let next = CallUsage::new(Instant::now());
        limiter.begin_call(CallDiagnostics::default(), next.clone());
        assert_eq!(next.peak_memory(), 100, "the memory is still there");
    }

    #[test]
    fn a_refused_growth_is_not_counted() {
        let diagnostics = CallDiagnostics::default();
        let limits = Limits { table_elements: 10, ..Limits::default() };
        let mut limiter = StoreLimiter::new(&limits, diagnostics.clone(), CallUsage::new(Instant::now()));
        assert!(!limiter.table_growing(0, 11, None).unwrap());
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert_eq!(diagnostics.exhausted(), Some(ExhaustedLimit::Table));
    }
}
