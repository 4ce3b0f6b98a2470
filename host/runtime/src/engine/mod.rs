//! Wasmtime's engine: its configuration, what the machine has room for, and what components may import.

mod config;
mod linker;
mod machine;

pub(crate) use self::config::{
    CORE_INSTANCES, MAX_STACK_BYTES, PoolLayout, STACKS_PER_PERMIT, TABLES_PER_MEMORY, engine_config,
};
pub(crate) use self::linker::build_linker;
pub(crate) use self::machine::{MachineLimits, plan_pool};
