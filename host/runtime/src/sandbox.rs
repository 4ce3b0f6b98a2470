//! What all calls share: the engine, the linker, the instance pool, the compiler and the clients for outgoing requests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::compile::{Compiler, ComponentCompiler};
use crate::egress::UpstreamClients;
use crate::engine::{
    MIN_POOLED_INSTANCES, MachineLimits, MemoryReservation, PoolLayout, PoolPlan, build_linker,
    cpu_time_limit, engine_config, plan_pool,
};
use crate::error::SandboxError;
use crate::guest::Guest;
use crate::pool::{InstancePool, PoolOptions};
use crate::scratch::ScratchFolders;
use crate::warm::WarmPools;

/// How the sandbox is laid out. Durations and sizes are the operator's; the rest follows from the engine.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// The most calls that may hold an instance at the same time. There are fewer where the machine has no room for so many.
    pub instances: u32,
    /// The most that any plugin's `memory` limit may be, in bytes: the size of a pooled memory.
    pub memory_bytes: usize,
    /// How often a running guest yields.
    pub tick: Duration,
    /// How long a call waits for a free instance before it fails as busy.
    pub slot_wait: Duration,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// The folder that compiled components are kept in; with `None` they are compiled at every start.
    pub cache: Option<PathBuf>,
    /// The folder for the scratch folders of plugins; with `None` no plugin has one. It belongs to the sandbox alone and is
    /// emptied at start.
    pub scratch: Option<PathBuf>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            instances: 1000,
            memory_bytes: 256 << 20,
            // Short enough that a busy guest delays others by little. The epoch checks cost a guest next to nothing.
            tick: Duration::from_millis(2),
            slot_wait: Duration::from_secs(2),
            compiler: Compiler::InProcess,
            cache: None,
            scratch: None,
        }
    }
}

/// The shared part of every sandbox. A process has one.
pub struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) upstreams: UpstreamClients,
    pub(crate) compiler: ComponentCompiler,
    pub(crate) pool: InstancePool,
    pub(crate) warm_pools: Arc<WarmPools>,
    pub(crate) scratch_folders: ScratchFolders,
    memory_bytes: usize,
    pooled: bool,
}

impl Sandbox {
    /// Starts the engine with pooled instances or, where the machine can't reserve them, with instances on demand.
    ///
    /// # Errors
    /// The engine, its thread or TLS can't be set up.
    pub fn new(config: &SandboxConfig) -> Result<Arc<Self>, SandboxError> {
        let plan = plan_pool(&MachineLimits::read(config.instances), config.instances);
        if let Some(scarce) = plan.scarce {
            tracing::warn!(
                wanted = config.instances,
                instances = plan.instances,
                pooled = plan.pooled,
                "this machine has too little of {scarce} for all instances"
            );
        }
        if plan.reservation == MemoryReservation::Small {
            tracing::warn!(
                "memories of plugins are not reserved: their code checks each access and is slower"
            );
        }
        if let Some(seconds) = cpu_time_limit() {
            tracing::warn!("the kernel ends this process after {seconds} s of CPU time (`ulimit -t`)");
        }
        let engine_error = |error: wasmtime::Error| SandboxError::Engine(format!("{error:#}"));
        let (engine, plan) = make_engine(plan, config.memory_bytes).map_err(engine_error)?;
        let warm_pools = Arc::new(WarmPools::new(plan.instances));
        let options =
            PoolOptions { instances: plan.instances, slot_wait: config.slot_wait, tick: config.tick };
        Ok(Arc::new(Self {
            linker: build_linker(&engine).map_err(engine_error)?,
            upstreams: UpstreamClients::new()?,
            compiler: ComponentCompiler::new(
                &engine,
                plan.reservation,
                config.compiler.clone(),
                config.cache.as_deref(),
            ),
            pool: InstancePool::new(&engine, options, warm_pools.clone()).map_err(SandboxError::Ticker)?,
            warm_pools,
            scratch_folders: ScratchFolders::new(config.scratch.as_deref()),
            memory_bytes: config.memory_bytes,
            pooled: plan.pooled,
            engine,
        }))
    }

    /// Whether instances come from a pool; otherwise each call maps memory of its own.
    pub fn pooled(&self) -> bool {
        self.pooled
    }

    /// Calls that may hold an instance at the same time on this machine.
    pub fn instances(&self) -> u32 {
        self.pool.instances()
    }

    /// Calls that could begin at this moment without waiting.
    pub fn free_instances(&self) -> usize {
        self.pool.free_instances()
    }

    /// Resolves when the thread that makes guests yield has ended, which it does not while the sandbox is in use. Without
    /// it a guest that spins is never stopped, so the process has to end.
    pub async fn ticker_ended(&self) {
        self.pool.ticker_ended().await;
    }

    /// The most memory that a plugin may be given, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

/// The engine for the plan, and the plan as the machine allowed it. A pool that the machine can't reserve is halved until it can
/// or is not worth it: memory that may not be overcommitted (`vm.overcommit_memory = 2`), `ulimit -d` and the like show only
/// when it is reserved.
fn make_engine(plan: PoolPlan, memory_bytes: usize) -> wasmtime::Result<(Engine, PoolPlan)> {
    let mut instances = plan.instances;
    while plan.pooled && u64::from(instances) >= MIN_POOLED_INSTANCES.min(u64::from(plan.instances)) {
        let layout = PoolLayout { instances, memory_bytes };
        match Engine::new(&engine_config(Some(&layout), plan.reservation)) {
            Ok(engine) => return Ok((engine, PoolPlan { instances, ..plan })),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, instances, "the machine can't reserve a pool of so many instances");
                instances /= 2;
            }
        }
    }
    if plan.pooled {
        tracing::warn!("no pooled instances on this machine; calls allocate their own");
    }
    let engine = Engine::new(&engine_config(None, plan.reservation))?;
    Ok((engine, PoolPlan { pooled: false, ..plan }))
}
