//! Wasmtime's engine: its configuration, what the machine has room for, and what components may import.

mod address_space;
mod config;
mod linker;
mod machine;

pub(crate) use self::config::{
    CORE_INSTANCES, MAX_STACK_BYTES, MemoryReservation, PoolLayout, STACKS_PER_PERMIT, TABLES_PER_MEMORY,
    engine_config,
};
pub(crate) use self::linker::build_linker;
pub(crate) use self::machine::{MIN_POOLED_INSTANCES, MachineLimits, PoolPlan, cpu_time_limit, plan_pool};
