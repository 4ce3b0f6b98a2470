//! The engine and what all calls share: the linker, the instance slots, the clients for outgoing requests.

mod machine;
mod ticker;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi::filesystem::WasiFilesystem;
use wasmtime_wasi::p3::bindings::filesystem as p3;

use self::machine::Machine;
use self::ticker::{Ticker, Ticking};
use crate::compile::{Compiler, Workshop};
use crate::contract::imports::Imports;
use crate::egress::Upstreams;
use crate::error::{Cause, SandboxError};
use crate::guest::{Counted, Guest};
use crate::reuse::Shelves;
use crate::scratch::Scratches;

/// How the sandbox is laid out. Durations and sizes are the operator's; the rest follows from the engine.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Calls that may hold an instance at the same time, at most: fewer where the machine has no room for so many.
    pub instances: u32,
    /// The most that any plugin's `memory` limit may be, in bytes: the size of a pooled memory.
    pub memory_bytes: usize,
    /// How often a running guest yields.
    pub tick: Duration,
    /// How long a call waits for a free instance before it fails as busy.
    pub slot_wait: Duration,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// The folder that compiled components are kept in; none keeps nothing.
    pub cache: Option<PathBuf>,
    /// Holds the scratch folders of plugins, is emptied at start and belongs to the sandbox alone; without it no plugin has one.
    pub scratch: Option<PathBuf>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            instances: 1000,
            memory_bytes: 256 << 20,
            // Short enough that a busy guest delays others by little; an epoch check costs the guest next to nothing.
            tick: Duration::from_millis(2),
            slot_wait: Duration::from_secs(2),
            compiler: Compiler::InProcess,
            cache: None,
            scratch: None,
        }
    }
}

/// The shared part of every sandbox. One for a process.
pub struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) upstreams: Upstreams,
    pub(crate) workshop: Workshop,
    pub(crate) shelves: Shelves,
    pub(crate) scratches: Scratches,
    slots: Arc<Semaphore>,
    /// Each plugin's, by its name.
    shares: Mutex<HashMap<String, Weak<Semaphore>>>,
    instances: u32,
    slot_wait: Duration,
    tick: Duration,
    memory_bytes: usize,
    ticker: Ticker,
    pooled: bool,
}

/// A place in the pool, and the epoch kept rising while it is taken.
pub(crate) struct Slot {
    places: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
    _ticking: Ticking,
}

impl Slot {
    /// The first `weight` of its places; the others are free again.
    pub(crate) fn into_places(mut self, weight: u32) -> Option<OwnedSemaphorePermit> {
        self.places.split(self.places.num_permits().min(weight as usize))
    }
}

/// The places that one plugin may hold at once, its versions together: three quarters of all. A plugin that hangs or spins
/// then leaves every fourth place to the others, and one that is merely popular hardly notices.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    free: Arc<Semaphore>,
    whole: u32,
}

impl Sandbox {
    /// Starts the engine with pooled instances or, where the machine can't reserve them, with instances on demand.
    pub fn new(config: &SandboxConfig) -> Result<Arc<Self>, SandboxError> {
        let plan = machine::plan(&Machine::read(), config.instances);
        if let Some(scarce) = plan.scarce {
            tracing::warn!(
                wanted = config.instances,
                instances = plan.instances,
                pooled = plan.pooled,
                "this machine has too little of {scarce} for all instances"
            );
        }
        let config = &SandboxConfig { instances: plan.instances, ..config.clone() };
        let pool = if plan.pooled {
            let refused = |error| {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "no pooled instances on this machine; calls allocate their own"
                );
            };
            Engine::new(&engine_config(Some(config))).map_err(refused).ok()
        } else {
            None
        };
        let pooled = pool.is_some();
        let engine = match pool {
            Some(engine) => engine,
            None => Engine::new(&engine_config(None)).map_err(|e| SandboxError::Engine(format!("{e:#}")))?,
        };
        let linker = linker(&engine).map_err(|error| SandboxError::Engine(format!("{error:#}")))?;
        let ticker = Ticker::start(&engine, config.tick).map_err(SandboxError::Ticker)?;
        let workshop = Workshop::new(&engine, config.compiler.clone(), config.cache.as_deref())?;
        Ok(Arc::new(Self {
            engine,
            linker,
            workshop,
            upstreams: Upstreams::new()?,
            shelves: Shelves::new(config.instances),
            scratches: Scratches::new(config.scratch.as_deref()).map_err(SandboxError::Scratch)?,
            slots: Arc::new(Semaphore::new(config.instances as usize)),
            shares: Mutex::default(),
            instances: config.instances,
            slot_wait: config.slot_wait,
            tick: config.tick,
            memory_bytes: config.memory_bytes,
            ticker,
            pooled,
        }))
    }

    /// Whether instances come from a pool; otherwise each call maps memory of its own.
    pub fn pooled(&self) -> bool {
        self.pooled
    }

    /// Calls that may hold an instance at the same time on this machine.
    pub fn instances(&self) -> u32 {
        self.instances
    }

    /// Calls that could begin at this moment without waiting.
    pub fn free_instances(&self) -> usize {
        self.slots.available_permits()
    }

    /// The most memory that a plugin may be given, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    pub(crate) fn tick(&self) -> Duration {
        self.tick
    }

    /// What the plugin of that name may hold. Its versions have one share together.
    pub(crate) fn share(&self, plugin: &str) -> Share {
        let whole = (self.instances.saturating_mul(3) / 4).max(1);
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let free = shares.get(plugin).and_then(Weak::upgrade).unwrap_or_else(|| {
            shares.retain(|_, share| share.strong_count() > 0);
            let free = Arc::new(Semaphore::new(whole as usize));
            shares.insert(plugin.to_owned(), Arc::downgrade(&free));
            free
        });
        Share { free, whole }
    }

    fn occupy(&self, places: OwnedSemaphorePermit, share: OwnedSemaphorePermit) -> Slot {
        Slot { places, _share: share, _ticking: self.ticker.hold() }
    }

    /// The places of an instance that was kept, and `answers` more if they are free at this moment. A wait would be one
    /// that holds places, and enough of those wait for one another. Gives the places back where there are no more.
    pub(crate) fn resume(
        &self,
        share: &Share,
        mut places: OwnedSemaphorePermit,
        answers: u32,
    ) -> Result<Slot, OwnedSemaphorePermit> {
        let held = u32::try_from(places.num_permits()).unwrap_or(u32::MAX).saturating_add(answers);
        let Ok(part) = share.free.clone().try_acquire_many_owned(held.min(share.whole)) else {
            return Err(places);
        };
        match self.slots.clone().try_acquire_many_owned(answers) {
            Ok(more) => places.merge(more),
            Err(_) => return Err(places),
        }
        Ok(self.occupy(places, part))
    }

    /// Waits its turn for a place in the pool, but not for ever: exhaustion in the pool itself would be an error at once,
    /// and an unbounded wait would turn load into latency for everyone.
    /// The wait is part of the call, which began at `begun` and ends at `deadline`.
    pub(crate) async fn slot(
        &self,
        share: &Share,
        weight: u32,
        begun: Instant,
        deadline: Instant,
    ) -> Result<Slot, Cause> {
        let weight = weight.clamp(1, self.instances);
        let permits = async {
            // Everyone takes them in this order, so nobody waits for a share while holding places.
            let part = share.free.clone().acquire_many_owned(weight.min(share.whole)).await?;
            // A call that can begin comes before an instance that is kept for one that may never come.
            while self.slots.available_permits() < weight as usize && self.shelves.make_room() {}
            let places = self.slots.clone().acquire_many_owned(weight).await?;
            Ok::<_, AcquireError>(self.occupy(places, part))
        };
        let patience = begun + self.slot_wait;
        match tokio::time::timeout_at(patience.min(deadline).into(), permits).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(closed)) => Err(Cause::Engine(closed.to_string())),
            Err(_) if deadline < patience => Err(Cause::WallTime(begun.elapsed())),
            Err(_) => Err(Cause::Busy(self.slot_wait)),
        }
    }
}

/// Core instances that one component may have: a Rust component has 4, one of componentize-py's about 30.
const CORE_INSTANCES: u32 = 64;
/// Bytes of stack that compiled code may use: wasmtime's default, here because errors name it.
pub(crate) const STACK: usize = 512 << 10;
/// Tables for each memory of the pool.
pub(crate) const TABLES: u32 = 8;

pub(crate) fn engine_config(pool: Option<&SandboxConfig>) -> Config {
    let mut config = Config::new();
    config.wasm_component_model_async(true).epoch_interruption(true).max_wasm_stack(STACK);
    if let Some(sandbox) = pool {
        let n = sandbox.instances;
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(n)
            .total_core_instances(n.saturating_mul(CORE_INSTANCES))
            .total_memories(n)
            .total_tables(n.saturating_mul(TABLES))
            // A guest that is suspended in a host call keeps its stack; a few may be at once within one call.
            .total_stacks(n.saturating_mul(4))
            .max_core_instances_per_component(CORE_INSTANCES)
            .max_memories_per_component(TABLES)
            .max_tables_per_component(CORE_INSTANCES)
            .table_elements(100_000)
            .max_memory_size(sandbox.memory_bytes)
            // Linux 6.7 resets only the pages that were written: with 128 KiB kept, 20 % more turns. Without it, keeping
            // more only costs memory and time.
            .pagemap_scan(Enabled::Auto)
            .linear_memory_keep_resident(128 << 10)
            .table_keep_resident(64 << 10);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// Everything that a component may import. What a call then does is decided by its grants.
fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    // Files are the one thing of WASI's own that is not taken as it is.
    linker.allow_shadowing(true);
    wasmtime_wasi::p2::bindings::filesystem::types::add_to_linker::<Guest, Counted>(
        &mut linker,
        Guest::files,
    )?;
    p3::types::add_to_linker::<Guest, WasiFilesystem>(&mut linker, Guest::looking)?;
    p3::preopens::add_to_linker::<Guest, WasiFilesystem>(&mut linker, Guest::looking)?;
    linker.allow_shadowing(false);
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    Imports::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    Ok(linker)
}
