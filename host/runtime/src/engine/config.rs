//! The engine's configuration. The compiler process and the host must agree on it, or the code does not load.

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Bytes of stack that compiled code may use: wasmtime's default. It is set here because errors name it.
pub(crate) const MAX_STACK_BYTES: usize = 512 << 10;
/// Tables for each memory of the pool.
pub(crate) const TABLES_PER_MEMORY: u32 = 8;
/// Core instances that one component may have: a Rust component has 4, one of componentize-py about 30.
pub(crate) const CORE_INSTANCES: u32 = 64;

/// Stacks for each permit of the pool. A guest that is suspended in a host call keeps its stack.
pub(crate) const STACKS_PER_PERMIT: u32 = 4;

/// The size of the pool that instances are allocated from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLayout {
    pub(crate) instances: u32,
    /// The size of each pooled memory, in bytes.
    pub(crate) memory_bytes: usize,
}

/// How much address space each memory of a guest takes. Compiled code fits one of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryReservation {
    /// All that a guest can address and a guard: code needs no bounds checks.
    Full,
    /// What the guest uses, which moves when it grows: code checks the bounds of each access. For machines that can't give
    /// [`MemoryReservation::Full`] to enough instances.
    Small,
}

/// Guard of a small reservation. Accesses within it need no check of their own offset.
const SMALL_GUARD: u64 = 64 << 10;
/// What a memory of a small reservation may grow by before it moves.
const SMALL_GROWTH: u64 = 1 << 20;

/// The engine's configuration with pooled instances, or with instances that are allocated on demand. Only memories of a full
/// reservation are pooled.
pub(crate) fn engine_config(pool: Option<&PoolLayout>, reservation: MemoryReservation) -> Config {
    let mut config = Config::new();
    config.wasm_component_model_async(true).epoch_interruption(true).max_wasm_stack(MAX_STACK_BYTES);
    if reservation == MemoryReservation::Small {
        config
            .memory_reservation(0)
            .memory_guard_size(SMALL_GUARD)
            .memory_reservation_for_growth(SMALL_GROWTH)
            .guard_before_linear_memory(false);
    }
    if let Some(layout) = pool {
        let n = layout.instances;
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(n)
            .total_core_instances(n.saturating_mul(CORE_INSTANCES))
            .total_memories(n)
            .total_tables(n.saturating_mul(TABLES_PER_MEMORY))
            .total_stacks(n.saturating_mul(STACKS_PER_PERMIT))
            .max_core_instances_per_component(CORE_INSTANCES)
            .max_memories_per_component(TABLES_PER_MEMORY)
            .max_tables_per_component(CORE_INSTANCES)
            .table_elements(100_000)
            .max_memory_size(layout.memory_bytes)
            // Linux 6.7 resets only the pages that were written: with 128 KiB kept resident there are 20 % more turns.
            // Without it, keeping more only costs memory and time.
            .pagemap_scan(Enabled::Auto)
            .linear_memory_keep_resident(128 << 10)
            .table_keep_resident(64 << 10);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}
